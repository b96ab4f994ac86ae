//! How requests come and how they are served.
//!
//! [`Scenario`] and [`Batching`] say what is issued and when; [`Engine`] is the state machine that
//! turns arrivals, completions and timers into dispatches; [`drive`] runs it on a
//! [`Clock`](crate::units::Clock) over anything that is a [`Target`]. What comes out is one
//! [`Observation`] a request.

mod arrivals;
mod driver;
mod engine;
mod log;
mod observation;
mod order;
mod scenario;

pub use arrivals::schedule;
pub use driver::{Target, drive};
pub use engine::{Dispatch, Engine, Request, Setup, Source};
pub use log::{Served, Stop, Window};
pub use observation::{Observation, Outcome};
pub use order::SampleOrder;
pub use scenario::{Arrivals, Batching, Open, Scenario};
