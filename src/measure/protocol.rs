//! The two-way line protocol between the steering process and a worker.
//!
//! One JSON object a line: [`Command`]s go in on standard input, [`Event`]s come back on standard
//! output. Every command is answered by exactly one closing event or by [`Event::Failed`];
//! [`Event::Observations`] may come before it. A worker written in another language needs
//! `prepare`, `warm`, `burst` and `quit` to be compared with ours (docs/worker-protocol.md).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::backend::{Coverage, Inspection, PrepareOptions, PreparedFacts};
use crate::error::Error;
use crate::hardware::Samples;
use crate::load::{Batching, Observation, Outcome, Scenario};
use crate::units::Nanos;
use crate::variant::{BackendId, Variant};

/// Rows sent in one [`Event::Observations`].
pub const WINDOW_ROWS: usize = 4096;

/// What a worker is asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case")]
pub enum Command {
    /// Load, compile, make the sessions. Answer: `prepared`.
    Prepare(Box<PrepareSpec>),
    /// Run the first inference, then the case's load for this long. Answer: `warmed`.
    Warm {
        /// How long.
        duration: Nanos,
    },
    /// Run these samples, batch by batch, one after the other. Answer: `burst_done`.
    Burst(Burst),
    /// Run the case's load. Answer: `loaded`; its observations are kept for `fetch`.
    Load {
        /// Length of the window.
        duration: Nanos,
        /// Batches to run even if the window is over.
        min_batches: u32,
    },
    /// Send the observations of the last load. Answer: `fetched`.
    Fetch,
    /// Run samples `from` to `to` (not included) once each, in the case's batch size. Answer:
    /// `outputs`.
    Outputs {
        /// The output that is judged; the first one when `null`.
        output: Option<String>,
        /// First sample.
        from: u32,
        /// The sample after the last one.
        to: u32,
    },
    /// Run a model on given samples, whatever is prepared: nothing is timed. Answer: `ran`.
    Run(Box<RunSpec>),
    /// Say which operators of a model a backend lacks, whatever is prepared. Answer: `covered`.
    Cover {
        /// The ONNX file.
        model: PathBuf,
        /// The engine and device.
        backend: BackendId,
        /// Threads, library.
        options: PrepareOptions,
    },
    /// Say what ran where, from an untimed run. Answer: `inspected`.
    Inspect {
        /// Beside what the device can do.
        #[serde(default)]
        profile: bool,
    },
    /// End. Answer: `bye`.
    Quit,
}

/// What a worker must know before it can run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrepareSpec {
    /// The artifact.
    pub variant: Variant,
    /// The engine and device.
    pub backend: BackendId,
    /// Threads, optimisation, library.
    pub options: PrepareOptions,
    /// Sessions that serve at once.
    pub sessions: u16,
    /// How requests become batches.
    pub batching: Batching,
    /// How requests come.
    pub scenario: Scenario,
    /// Requests that may wait; more are rejected. No bound when `null`.
    #[serde(default)]
    pub queue: Option<usize>,
    /// How long an open load may be drained after its window; what waits then is given up.
    #[serde(default)]
    pub drain: Nanos,
    /// Lengths that batches are padded to, in order; none for the longest sample's.
    #[serde(default)]
    pub buckets: Vec<usize>,
    /// The stored data set.
    pub data: PathBuf,
    /// Seed of the order of samples.
    pub seed: u64,
}

impl PrepareSpec {
    /// One session that is given batches of one, each when the last is done: what comparisons and whatever
    /// is not timed start from.
    pub fn alone(
        variant: Variant,
        backend: BackendId,
        options: PrepareOptions,
        data: PathBuf,
    ) -> Self {
        Self {
            variant,
            backend,
            options,
            sessions: 1,
            batching: Batching::Fixed(1),
            scenario: Scenario::Single,
            queue: None,
            drain: Nanos(0),
            buckets: Vec::new(),
            data,
            seed: 1,
        }
    }
}

/// A model to be run on samples, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The artifact.
    pub variant: Variant,
    /// The engine and device.
    pub backend: BackendId,
    /// Threads, optimisation, library.
    pub options: PrepareOptions,
    /// The file of their inputs, in the format safetensors: `0/NAME` is sample 0's input `NAME`.
    pub inputs: PathBuf,
    /// How many samples it holds.
    pub samples: usize,
    /// The file that outputs are written to, named the same way.
    pub outputs: PathBuf,
    /// Whether the session of the last `run` may serve again: the file is the same one.
    pub again: bool,
}

/// A short run of given samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burst {
    /// Samples in order; as many as fill whole batches.
    pub samples: Vec<u32>,
}

/// What a worker answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// To `prepare`.
    Prepared {
        /// What is known now.
        facts: PreparedFacts,
    },
    /// To `warm`.
    Warmed {
        /// The very first batch.
        first: Nanos,
        /// Batches run.
        batches: u32,
        /// Largest resident set so far, in bytes.
        peak_rss: Option<u64>,
        /// Time that choosing kernels by measuring them took; no part of `first`.
        #[serde(default)]
        tuning: Nanos,
    },
    /// Timed requests; several of these may precede the closing event.
    Observations {
        /// scheduled, sent, start, done (ns), batch, session, sample, outcome (0 ok, 1 error,
        /// 2 rejected, 3 unfinished; the latter two were never run).
        rows: Vec<[u64; 8]>,
    },
    /// To `cover`.
    Covered(Coverage),
    /// To `run`; the file of outputs is written.
    Ran,
    /// To `burst`.
    BurstDone,
    /// To `load`.
    Loaded(Box<Loaded>),
    /// To `fetch`, after the observations.
    Fetched,
    /// To `outputs`.
    Outputs {
        /// The values of each sample, in order, as the bits of `f32`: JSON has no NaN.
        rows: Vec<Vec<u32>>,
        /// Size of the last axis.
        width: usize,
        /// Whether the output's element type is an integer.
        integers: bool,
    },
    /// To `inspect`.
    Inspected {
        /// `null` where the engine cannot tell.
        inspection: Option<Inspection>,
        /// Shapes of the inputs of the batch that was run, by name.
        #[serde(default)]
        shapes: Vec<(String, Vec<usize>)>,
    },
    /// The command could not be carried out; the worker lives on.
    Failed {
        /// Why.
        error: Error,
    },
    /// To `quit`.
    Bye,
}

/// What came with a window besides its observations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// The load was steady from here on.
    pub start: Nanos,
    /// Last request issued.
    pub end: Nanos,
    /// Batches for whose shape a plan had to be made; `null` where the engine does not say.
    pub shape_misses: Option<u32>,
    /// Timed outputs compared with an untimed run of the same batch.
    pub outputs_checked: u32,
    /// How many differed.
    pub outputs_differing: u32,
    /// Input values of all batches, padding included; 0 where samples are of one length.
    pub values: u64,
    /// Of those, padding.
    pub padded: u64,
    /// Batches by the share of their values that was padding, in tenths.
    #[serde(default)]
    pub padding_tenths: [u32; 10],
    /// The first error of a session.
    pub first_error: Option<Error>,
    /// Real time over which the following were counted: ramp, window and drain.
    pub counted: Nanos,
    /// The worker's CPU time in ticks.
    pub worker_ticks: u64,
    /// The machine's CPU time in ticks, all CPUs, idle included.
    pub total_ticks: u64,
    /// Of that, used by anyone.
    pub busy_ticks: u64,
    /// Of that, given to other machines by the hypervisor.
    pub steal_ticks: u64,
    /// Time held back by a CPU quota.
    pub throttled_ns: Option<u64>,
    /// When requests of an open load's ramp were done in the window.
    #[serde(default)]
    pub carried: Vec<Nanos>,
    /// What was seen meanwhile, look by look.
    #[serde(default)]
    pub samples: Samples,
}

/// Observations as rows of the protocol.
pub fn to_rows(observations: &[Observation]) -> Vec<[u64; 8]> {
    observations
        .iter()
        .map(|o| {
            [
                o.scheduled.0,
                o.sent.0,
                o.start.0,
                o.done.0,
                u64::from(o.batch),
                u64::from(o.session),
                u64::from(o.sample),
                match o.outcome {
                    Outcome::Ok => 0,
                    Outcome::Error => 1,
                    Outcome::Rejected => 2,
                    Outcome::Unfinished => 3,
                },
            ]
        })
        .collect()
}

/// Rows of the protocol as observations; `None` when a number is out of its range.
pub fn from_rows(rows: &[[u64; 8]]) -> Option<Vec<Observation>> {
    rows.iter()
        .map(|&[scheduled, sent, start, done, batch, session, sample, outcome]| {
            Some(Observation {
                scheduled: Nanos(scheduled),
                sent: Nanos(sent),
                start: Nanos(start),
                done: Nanos(done),
                batch: u32::try_from(batch).ok()?,
                session: u16::try_from(session).ok()?,
                sample: u32::try_from(sample).ok()?,
                outcome: match outcome {
                    0 => Outcome::Ok,
                    1 => Outcome::Error,
                    2 => Outcome::Rejected,
                    3 => Outcome::Unfinished,
                    _ => return None,
                },
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn observations_cross_the_protocol(
            times: [u32; 4], batch: u32, session: u16, sample: u32, ended in 0_usize..4,
        ) {
            let [a, b, c, d] = times.map(|t| Nanos(u64::from(t)));
            let outcomes =
                [Outcome::Ok, Outcome::Error, Outcome::Rejected, Outcome::Unfinished];
            let outcome = outcomes[ended];
            let o = Observation {
                scheduled: a, sent: b, start: c, done: d, batch, session, sample, outcome,
            };
            prop_assert_eq!(from_rows(&to_rows(&[o])), Some(vec![o]));
        }
    }

    #[test]
    fn commands_are_plain_lines() {
        let burst = Command::Burst(Burst { samples: vec![3, 1] });
        let line = serde_json::to_string(&burst).unwrap();
        assert_eq!(line, r#"{"cmd":"burst","samples":[3,1]}"#);
        assert_eq!(serde_json::from_str::<Command>(&line).unwrap(), burst);
    }
}
