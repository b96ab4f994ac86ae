//! How requests come and how they are served.
//!
//! [`Scenario`] and [`Batching`] say what is issued and when; [`Engine`] is the state machine that
//! turns arrivals and completions into dispatches; [`drive`] runs it on a [`Clock`](crate::units::Clock)
//! over anything that is a [`Target`]. What comes out is one [`Observation`] a request.

mod driver;
mod engine;
mod observation;
mod scenario;

pub use driver::{Served, Stop, Target, Window, drive};
pub use engine::{Dispatch, Engine, Request, SampleOrder};
pub use observation::{Observation, Outcome};
pub use scenario::{Batching, Scenario};
