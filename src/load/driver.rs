//! The engine on a clock, over targets that really run.
//!
//! With one target, its batches run on the thread that calls [`drive`]: nothing lies between a
//! request and its session. With several, each target has a thread of its own, batches are handed
//! over through a channel, and the dispatching thread sleeps until one comes back.

use std::sync::mpsc;

use super::{Dispatch, Engine, Observation, Outcome};
use crate::units::{Clock, Nanos};

/// Something that serves a batch: a session with its data set, an endpoint, a null target.
pub trait Target: Send {
    /// Runs the batch and returns when its outputs are on the host.
    fn serve(&mut self, dispatch: &Dispatch) -> Outcome;
}

impl<T: Target + ?Sized> Target for &mut T {
    #[inline]
    fn serve(&mut self, dispatch: &Dispatch) -> Outcome {
        (**self).serve(dispatch)
    }
}

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
    /// One row a request, in order of completion.
    pub observations: Vec<Observation>,
    /// When requests were issued.
    pub window: Window,
}

/// Runs `engine` until `stop`, drains it, and returns every request's timed life.
///
/// There must be as many `targets` as the engine has sessions, and at least one.
pub fn drive(
    mut engine: Engine,
    targets: &mut [Box<dyn Target + '_>],
    clock: &dyn Clock,
    stop: Stop,
) -> Served {
    let mut log = Log::new(clock.now(), stop);
    engine.start(log.window.start);
    if let Stop::After { skip_ramp: true, .. } = stop {
        log.ramp = engine.issued();
    }
    match targets {
        [target] => drive_inline(&mut engine, target.as_mut(), clock, &mut log),
        many => drive_threads(&mut engine, many, clock, &mut log),
    }
    Served { observations: log.observations, window: log.window }
}

fn drive_inline(engine: &mut Engine, target: &mut dyn Target, clock: &dyn Clock, log: &mut Log) {
    while let Some(dispatch) = engine.dispatch() {
        let start = clock.now();
        let outcome = target.serve(&dispatch);
        let done = clock.now();
        log.completed(engine, dispatch, start, done, outcome, done);
    }
}

fn drive_threads(
    engine: &mut Engine,
    targets: &mut [Box<dyn Target + '_>],
    clock: &dyn Clock,
    log: &mut Log,
) {
    std::thread::scope(|scope| {
        let (done_tx, done_rx) = mpsc::channel();
        let work: Vec<mpsc::Sender<Dispatch>> = targets
            .iter_mut()
            .map(|target| {
                let (tx, rx) = mpsc::channel::<Dispatch>();
                let done_tx = done_tx.clone();
                scope.spawn(move || {
                    while let Ok(dispatch) = rx.recv() {
                        let start = clock.now();
                        let outcome = target.serve(&dispatch);
                        let done = clock.now();
                        if done_tx.send((dispatch, start, done, outcome)).is_err() {
                            return;
                        }
                    }
                });
                tx
            })
            .collect();
        drop(done_tx);
        loop {
            while let Some(dispatch) = engine.dispatch() {
                let session = usize::from(dispatch.session);
                if work[session].send(dispatch).is_err() {
                    return; // The session's thread panicked; the scope passes the panic on.
                }
            }
            if engine.is_drained() {
                return;
            }
            let Ok((dispatch, start, done, outcome)) = done_rx.recv() else { return };
            // The client's next request is due when its answer was there, not when we noticed:
            // the difference is client lag and stays visible as `sent − scheduled`.
            let now = clock.now();
            log.completed(engine, dispatch, start, done, outcome, now);
        }
    });
}

/// Collects observations and decides when to stop.
struct Log {
    observations: Vec<Observation>,
    window: Window,
    stop: Stop,
    /// Requests of the ramp that are still to complete.
    ramp: u64,
    /// Batches completed since the ramp.
    batches: u32,
}

impl Log {
    fn new(start: Nanos, stop: Stop) -> Self {
        // Room for a burst of fast requests without growing while they run.
        let observations = Vec::with_capacity(4096);
        Self { observations, window: Window { start, end: start }, stop, ramp: 0, batches: 0 }
    }

    #[inline]
    fn completed(
        &mut self,
        engine: &mut Engine,
        dispatch: Dispatch,
        start: Nanos,
        done: Nanos,
        outcome: Outcome,
        now: Nanos,
    ) {
        if self.ramp > 0 {
            self.ramp = self.ramp.saturating_sub(dispatch.requests.len() as u64);
            self.window = Window { start: done, end: done };
            // An error counts wherever it happens.
            if outcome == Outcome::Ok {
                engine.complete(dispatch, done, now);
                return;
            }
        }
        self.batches += 1;
        for request in &dispatch.requests {
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
        if engine.is_accepting() {
            self.window.end = done;
            let over = match self.stop {
                Stop::Batches(n) => self.batches >= n,
                Stop::After { duration, min_batches, .. } => {
                    done - self.window.start >= duration && self.batches >= min_batches
                }
            };
            if over {
                engine.stop();
            }
        }
        engine.complete(dispatch, done, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Batching, SampleOrder, Scenario};
    use crate::units::{RealClock, VirtualClock};

    /// Takes exactly 10 µs of virtual time a batch.
    struct TenMicros<'a>(&'a VirtualClock);
    impl Target for TenMicros<'_> {
        fn serve(&mut self, _: &Dispatch) -> Outcome {
            self.0.advance(Nanos(10_000));
            Outcome::Ok
        }
    }

    fn order() -> SampleOrder {
        SampleOrder::shuffled(10, 1)
    }

    struct Null;
    impl Target for Null {
        fn serve(&mut self, dispatch: &Dispatch) -> Outcome {
            if dispatch.batch == 3 { Outcome::Error } else { Outcome::Ok }
        }
    }

    #[test]
    fn in_a_closed_load_latency_includes_the_wait_for_the_session() {
        let clock = VirtualClock::default();
        let engine =
            Engine::new(Scenario::Closed { concurrency: 4 }, Batching::Fixed(1), 1, order());
        let mut targets: Vec<Box<dyn Target + '_>> = vec![Box::new(TenMicros(&clock))];
        let stop = Stop::After { duration: Nanos(100_000), min_batches: 1, skip_ramp: true };
        let served = drive(engine, &mut targets, &clock, stop);
        // The first four met an empty queue and are not recorded.
        assert_eq!(served.window.start, Nanos(40_000));
        assert!(served.observations.iter().all(|o| o.latency().0 == 40_000));
        assert!(served.observations.iter().all(|o| o.service().0 == 10_000));
    }

    #[test]
    fn a_window_ends_after_its_duration_and_is_drained() {
        let clock = VirtualClock::default();
        let engine =
            Engine::new(Scenario::Closed { concurrency: 7 }, Batching::Fixed(2), 1, order());
        let mut targets: Vec<Box<dyn Target + '_>> = vec![Box::new(TenMicros(&clock))];
        let stop = Stop::After { duration: Nanos(95_000), min_batches: 1, skip_ramp: true };
        let served = drive(engine, &mut targets, &clock, stop);
        // Four batches of ramp carry the first seven requests; ten more fill the window; what is
        // outstanding then, and one request to fill the last batch, are drained after it.
        assert_eq!(served.window, Window { start: Nanos(40_000), end: Nanos(140_000) });
        assert_eq!(served.observations.len(), 20 + 6);
    }

    #[test]
    fn several_targets_run_on_threads_of_their_own() {
        let clock = RealClock::start();
        let engine =
            Engine::new(Scenario::Closed { concurrency: 6 }, Batching::Fixed(2), 3, order());
        let mut targets: Vec<Box<dyn Target + '_>> =
            vec![Box::new(Null), Box::new(Null), Box::new(Null)];
        let served = drive(engine, &mut targets, &clock, Stop::Batches(50));
        assert!(served.observations.len() >= 100);
        let errors = served.observations.iter().filter(|o| o.outcome == Outcome::Error).count();
        assert_eq!(errors, 2, "batch 3 carried two requests");
        for o in &served.observations {
            assert!(o.scheduled <= o.sent && o.sent <= o.start && o.start <= o.done, "{o:?}");
        }
    }
}
