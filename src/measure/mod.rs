//! Measuring: a worker process a case, its protocol, what is asked of it and what is believed.

mod beside;
mod case;
mod executor;
mod host;
mod instructions;
mod judge;
mod limited;
mod maker;
mod pairs;
mod pass;
mod probe;
mod protocol;
mod rounds;
mod run;
mod runner;
mod samples;
mod shapes;
mod sides;
mod sides_quality;
mod target;
mod telemetry;
mod validity;
mod work;
mod worker;

pub use host::{Worker, WorkerCommand};
pub use instructions::{Counted, count_instructions};
pub use judge::{outputs_of_model, outputs_of_variant};
pub use limited::{Ended, run_limited};
pub use maker::{Made, Maker};
pub use pairs::{PairBursts, PairPlan, Side, Start, alone, compare};
pub use probe::{Probe, Probed};
pub use protocol::{
    Burst, Command, Event, Loaded, PrepareSpec, RunSpec, WINDOW_ROWS, from_rows, to_rows,
};
pub use rounds::{BurstPlan, alternate, log_ratio_of_medians};
pub use run::{Observer, RunOptions, RunOutcome, estimate, run, timestamp};
pub use runner::Runner;
pub use sides::Arena;
pub use sides_quality::{SidesQuality, quality_of_sides};
pub use target::{NullSession, SessionTarget};
pub use validity::{Evidence, RULES, Rule, is_worth_another_attempt, judge};
pub use worker::{serve, serve_with};
