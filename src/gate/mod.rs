//! Whether a change made a model slower: a decision from paired observations, with a stated probability of crying wolf.

mod case;
mod decision;
mod tail;

pub use case::{Budgets, CaseGate, Found, Metric, Pair, Step, TAIL};
pub use decision::{
    CONFIRM, Evidence, LOOKS, Look, MARGIN, SPENT, Verdict, confirms, evidence, false_alarm_rate,
    look, worst,
};
