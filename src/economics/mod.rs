//! What a measurement costs: prices with their sources, and the cost of a sample.
//!
//! Pure functions of records and price tables; nothing here touches a device.

mod choose;
mod cost;
mod price;

pub use choose::{Choice, Priced, choose};
pub use cost::{CostRow, Costs, costs};
pub use price::{Instance, PriceTable, Quote, Term};

/// Hours of a month, as clouds bill it: 365 · 24 / 12.
pub const HOURS_A_MONTH: f64 = 730.0;
