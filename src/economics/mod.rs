//! What a measurement costs: prices with their sources, and the cost of a sample.
//!
//! Pure functions of records and price tables; nothing here touches a device.

mod advise;
mod against;
mod bands;
mod business;
mod carbon;
mod catalogue;
mod check;
mod choose;
mod cost;
mod currency;
mod demand;
mod evaluate;
mod fleet;
mod grid;
mod import;
mod offer;
mod pay;
mod price;
#[cfg(test)]
mod properties;
mod region;
mod roi;
mod terms;
mod way;

pub use advise::{binding, cheapest_that_fits, is_assumed, pareto};
pub use against::Versus;
pub use bands::{Band, Spread};
pub use business::{Baseline, Business, ChangeSpec, DemandSpec, Extras, Stated, Targets, Value};
pub use carbon::{Carbon, Footprints};
pub use catalogue::Catalogue;
pub use choose::{Choice, Priced, choose};
pub use cost::{CostRow, Costs, costs};
pub use currency::{Currencies, Rate, check_currencies, parse_currency};
pub use demand::{Demand, HOURS_A_WEEK, Shape, parse_rate};
pub use evaluate::{Evaluated, Target, add_band, add_details, evaluate};
pub use fleet::{Basis, Fleet, Peaks, Rules};
pub use grid::{Asked, Shortlist, shortlist};
pub use import::{
    About, AwsOffer, AzureRetail, Ec2Instances, Gcosts, GcpBilling, Imported, OwnColumns,
    PriceSource, SkyPilot, azure_sizes,
};
pub use offer::{Machine, Offer, PriceOf};
pub use pay::{Hourly, Paying, SpotRules};
pub use price::{Instance, PriceTable, Quote, Term};
pub use region::{Part, Place};
pub use roi::{Change, Return, Swing, tornado};
pub use terms::{Interruptions, Mix, Owned, Rates, cheapest};
pub use way::{Capacity, Slo, parse_slo};

/// Hours of a month, as clouds bill it: 365 · 24 / 12.
pub const HOURS_A_MONTH: f64 = 730.0;
