//! Whether a change made a model slower: a decision from paired observations, with a stated probability of crying wolf.

mod accepted;
mod case;
mod decision;
mod exact;
mod limit;
mod metric;
mod pair;
mod records;
mod session;
mod tail;

pub use accepted::Accepted;
pub use case::{CaseGate, Found, Step, TAIL};
pub use decision::{
    CONFIRM, Confirmation, Evidence, FALSE_ALARMS, LOOKS, Look, MARGIN, SPENT, Verdict,
    confirmation_levels, confirms, evidence, false_alarm_rate, look, looks, worst,
};
pub use exact::Exact;
pub use limit::{Limit, LimitFound};
pub use metric::{Budgets, Metric};
pub use pair::Pair;
pub use records::{FromRecords, LEAST_SESSIONS, TIMES_DEVIATION, from_records};
pub use session::{Identity, Instructions, Probe, Session};
