//! What a measurement costs: prices with their sources, and the cost of a sample.
//!
//! Pure functions of records and price tables; nothing here touches a device.

mod business;
mod choose;
mod cost;
mod demand;
mod evaluate;
mod fleet;
mod import;
mod offers;
mod price;
mod roi;
mod terms;

pub use business::{Baseline, Business, ChangeSpec, DemandSpec, Extras, Stated, Targets};
pub use choose::{Choice, Priced, choose};
pub use cost::{CostRow, Costs, costs};
pub use demand::{Demand, HOURS_A_WEEK, Shape, parse_rate};
pub use evaluate::{
    Capacity, Evaluated, Offer, PriceOf, Target, Versus, cheapest_that_fits, evaluate, pareto,
};
pub use fleet::{Basis, Fleet, Rules};
pub use import::{About, AwsOffer, AzureRetail, GcpBilling, Imported, PriceSource, SkyPilot};
pub use offers::{Offers, Slo, offers, parse_slo, stated};
pub use price::{Instance, PriceTable, Quote, Term};
pub use roi::{Change, Return, Swing, break_even_requests, tornado};
pub use terms::{Interruptions, Mix, Owned, Rates, break_even_share, cheapest, on_demand};

/// Hours of a month, as clouds bill it: 365 · 24 / 12.
pub const HOURS_A_MONTH: f64 = 730.0;
