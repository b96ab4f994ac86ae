//! The timed life of one request.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::Nanos;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered.
    Ok,
    /// The session returned an error.
    Error,
    /// The queue was full when it came; it was never run.
    Rejected,
    /// It still waited when the load's time was over; it was never run.
    Unfinished,
}

/// The timed life of one request, on the clock of the process that issued it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// When it was due: its arrival (open load) or the end of the client's last one (closed).
    pub scheduled: Nanos,
    /// When the client handed it over; `sent − scheduled` is the client's lag.
    pub sent: Nanos,
    /// When its batch began to run; `start − sent` is waiting for batch and session. Of a request that
    /// was never run this and `done` are when it was sent.
    pub start: Nanos,
    /// When its outputs were on the host.
    pub done: Nanos,
    /// Number of the batch that carried it, in order of dispatch; the largest number for none.
    pub batch: u32,
    /// The session that ran it.
    pub session: u16,
    /// Index of the sample in the data set.
    pub sample: u32,
    /// How it ended.
    pub outcome: Outcome,
}

impl Outcome {
    /// Whether a session ran it.
    pub fn was_run(self) -> bool {
        matches!(self, Self::Ok | Self::Error)
    }
}

impl Observation {
    /// Latency as users feel it: from the scheduled time to outputs on the host. It says nothing of a
    /// request that was never run.
    pub fn latency(&self) -> Nanos {
        self.done - self.scheduled
    }

    /// Time in the session: assembling the batch, running it, outputs back on the host.
    pub fn service(&self) -> Nanos {
        self.done - self.start
    }

    /// How late the client was.
    pub fn lag(&self) -> Nanos {
        self.sent - self.scheduled
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Rejected => "rejected",
            Self::Unfinished => "unfinished",
        })
    }
}
