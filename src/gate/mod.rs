//! Whether a change made a model slower: a decision from paired observations, with a stated probability of crying wolf.

mod case;
mod decision;
mod exact;
mod metric;
mod pair;
mod session;
mod tail;

pub use case::{CaseGate, Found, Step, TAIL};
pub use decision::{
    CONFIRM, Confirmation, Evidence, FALSE_ALARMS, LOOKS, Look, MARGIN, SPENT, Verdict,
    confirmation_levels, confirms, evidence, false_alarm_rate, look, worst,
};
pub use exact::Exact;
pub use metric::{Budgets, Metric};
pub use pair::Pair;
pub use session::{Identity, Instructions, Probe, Session};
