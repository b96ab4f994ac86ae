//! What a driver keeps of a load, and when it stops.

use super::{Dispatch, Observation, Outcome, Request};
use crate::units::Nanos;

/// When a load stops issuing requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// After this many batches.
    Batches(u32),
    /// After this long, but not before `min_batches`, both counted from the end of the ramp: the
    /// requests that were issued at once when the load began met an empty queue, and are not
    /// recorded.
    After {
        /// Length of the window.
        duration: Nanos,
        /// Batches to run even if the window is over.
        min_batches: u32,
        /// Whether the ramp is left out; a warm-up keeps it.
        skip_ramp: bool,
    },
    /// When an open load's schedule is over. Requests that were due within `ramp` met a queue that was
    /// still filling, and are not recorded.
    Open {
        /// Length of the ramp.
        ramp: Nanos,
        /// Length of the window after it.
        duration: Nanos,
        /// How long requests may be drained after it; what waits then is given up.
        grace: Nanos,
    },
    /// When all that was there at the start is done.
    Drained,
}

/// The time in which requests were issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The load was steady from here on.
    pub start: Nanos,
    /// No request was issued after this, except to fill the last batch.
    pub end: Nanos,
}

/// What a load produced.
#[derive(Debug)]
pub struct Served {
    /// One row a request, in order of completion; those that were never run stand where that was
    /// noticed.
    pub observations: Vec<Observation>,
    /// When requests were issued.
    pub window: Window,
    /// When requests of an open load's ramp were done in the window: they are part of what was served in it.
    pub carried: Vec<Nanos>,
}

/// Collects observations and decides when to stop.
pub(super) struct Log {
    observations: Vec<Observation>,
    carried: Vec<Nanos>,
    window: Window,
    stop: Stop,
    /// Requests of a closed load's ramp that are still to complete.
    ramp: u64,
    /// Requests that were due before this are an open load's ramp.
    steady: Nanos,
    /// When what still waits is given up.
    deadline: Option<Nanos>,
    /// Batches completed since the ramp.
    batches: u32,
    /// Whether the load was told to stop: what completes then is drained.
    is_over: bool,
}

impl Log {
    /// A log of a load that begins `now` with so many requests issued.
    pub(super) fn new(now: Nanos, stop: Stop, issued: u64) -> Self {
        let mut log = Self {
            // Room for a burst of fast requests without growing while they run.
            observations: Vec::with_capacity(4096),
            carried: Vec::new(),
            window: Window { start: now, end: now },
            stop,
            ramp: 0,
            steady: Nanos(0),
            deadline: None,
            batches: 0,
            is_over: false,
        };
        match stop {
            Stop::After { skip_ramp: true, .. } => log.ramp = issued,
            Stop::Open { ramp, duration, grace } => {
                log.steady = now + ramp;
                log.window = Window { start: log.steady, end: log.steady + duration };
                log.deadline = Some(log.window.end + grace);
            }
            _ => {}
        }
        log
    }

    /// When what still waits is given up.
    #[inline]
    pub(super) fn deadline(&self) -> Option<Nanos> {
        self.deadline
    }

    pub(super) fn served(self) -> Served {
        Served { observations: self.observations, window: self.window, carried: self.carried }
    }

    /// Keeps a batch, and says whether the load should stop.
    #[inline]
    pub(super) fn completed(
        &mut self,
        dispatch: &Dispatch,
        start: Nanos,
        done: Nanos,
        outcome: Outcome,
    ) -> bool {
        if self.ramp > 0 {
            self.ramp = self.ramp.saturating_sub(dispatch.requests.len() as u64);
            self.window = Window { start: done, end: done };
            // An error counts wherever it happens.
            if outcome == Outcome::Ok {
                return false;
            }
        }
        self.batches += 1;
        for request in &dispatch.requests {
            if request.scheduled < self.steady && outcome == Outcome::Ok {
                if done >= self.window.start && done <= self.window.end {
                    self.carried.push(done);
                }
                continue;
            }
            self.observations.push(Observation {
                scheduled: request.scheduled,
                sent: request.sent,
                start,
                done,
                batch: dispatch.batch,
                session: dispatch.session,
                sample: request.sample,
                outcome,
            });
        }
        if self.is_over {
            return false;
        }
        self.is_over = match self.stop {
            Stop::Batches(n) => self.batches >= n,
            Stop::After { duration, min_batches, .. } => {
                done - self.window.start >= duration && self.batches >= min_batches
            }
            // Its window is that of its schedule.
            Stop::Open { .. } => return false,
            Stop::Drained => false,
        };
        self.window.end = self.window.end.max(done);
        self.is_over
    }

    /// Keeps requests that were never run.
    #[inline]
    pub(super) fn unanswered(&mut self, requests: &[Request], outcome: Outcome) {
        let counted = requests.iter().filter(|r| r.scheduled >= self.steady);
        self.observations.extend(counted.map(|request| request.unanswered(outcome)));
    }
}
