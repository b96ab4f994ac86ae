//! The engine on a clock, over targets that really run.
//!
//! Each session has a thread of its own (the only one runs on the calling thread) that takes its next
//! batch itself: nothing lies between a request and a free session. Arrivals of an open load are data, so
//! nobody need be awake for them while all sessions are busy; of the idle sessions one sleeps until the
//! next arrival or timer, never spins, and wakes another when it goes to work.

use std::sync::{Condvar, Mutex};

use super::log::{Log, Served, Stop};
use super::{Dispatch, Engine, Outcome};
use crate::units::{Clock, Nanos, exact_sleep};

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

/// Runs `engine` until `stop`, drains it, and returns every request's timed life.
///
/// There must be as many `targets` as the engine has sessions, and at least one.
pub fn drive(
    mut engine: Engine,
    targets: &mut [Box<dyn Target + '_>],
    clock: &dyn Clock,
    stop: Stop,
) -> Served {
    // Threads inherit it.
    exact_sleep();
    let now = clock.now();
    engine.start(now);
    let log = Log::new(now, stop, engine.issued());
    let mut core = Core { engine, log };
    match targets {
        [target] => drive_inline(&mut core, target.as_mut(), clock),
        many => core = drive_threads(core, many, clock),
    }
    core.log.served()
}

/// Engine and log, which change together.
struct Core {
    engine: Engine,
    log: Log,
}

/// What a free session does next.
enum Next {
    Run(Dispatch),
    /// Nothing until then, or until a batch completes.
    Wait(Option<Nanos>),
    /// Nothing ever again.
    Done,
}

impl Core {
    #[inline]
    fn next(&mut self, session: u16, now: Nanos) -> Next {
        self.engine.advance(now);
        let deadline = self.log.deadline();
        if deadline.is_some_and(|deadline| now >= deadline) {
            self.log.unanswered(&self.engine.abandon(), Outcome::Unfinished);
        }
        if let Some(dispatch) = self.engine.dispatch(session, now) {
            return Next::Run(dispatch);
        }
        self.log.unanswered(&self.engine.take_rejected(), Outcome::Rejected);
        if self.engine.is_drained() {
            // Where some were rejected, the last ones may not fill a fixed batch.
            self.log.unanswered(&self.engine.abandon(), Outcome::Unfinished);
            return Next::Done;
        }
        let event = self.engine.next_event();
        let until = deadline.filter(|deadline| now < *deadline && self.engine.waiting() > 0);
        Next::Wait(match (event, until) {
            (Some(event), Some(until)) => Some(event.min(until)),
            (event, until) => event.or(until),
        })
    }

    #[inline]
    fn completed(
        &mut self,
        dispatch: Dispatch,
        start: Nanos,
        done: Nanos,
        now: Nanos,
        outcome: Outcome,
    ) {
        if self.log.completed(&dispatch, start, done, outcome) && self.engine.is_accepting() {
            self.engine.stop();
        }
        self.engine.complete(dispatch, done, now);
    }
}

fn drive_inline(core: &mut Core, target: &mut dyn Target, clock: &dyn Clock) {
    loop {
        match core.next(0, clock.now()) {
            Next::Run(dispatch) => {
                let start = clock.now();
                let outcome = target.serve(&dispatch);
                let done = clock.now();
                core.completed(dispatch, start, done, done, outcome);
            }
            Next::Wait(Some(at)) => clock.sleep_until(at),
            Next::Wait(None) | Next::Done => return,
        }
    }
}

/// What session threads share.
struct Shared {
    core: Core,
    /// Whether an idle session sleeps until the next event.
    is_watched: bool,
    /// Idle sessions.
    idle: usize,
}

fn drive_threads(core: Core, targets: &mut [Box<dyn Target + '_>], clock: &dyn Clock) -> Core {
    let shared = Mutex::new(Shared { core, is_watched: false, idle: 0 });
    let wake = Condvar::new();
    std::thread::scope(|scope| {
        for (session, target) in (0_u16..).zip(targets.iter_mut()) {
            let (shared, wake) = (&shared, &wake);
            scope.spawn(move || serve(session, target.as_mut(), shared, wake, clock));
        }
    });
    // A thread that panicked has passed its panic on from the scope.
    shared.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).core
}

/// One session's life. A poisoned lock means that another session panicked: the scope passes it on.
fn serve(
    session: u16,
    target: &mut dyn Target,
    shared: &Mutex<Shared>,
    wake: &Condvar,
    clock: &dyn Clock,
) {
    let Ok(mut state) = shared.lock() else { return };
    loop {
        let now = clock.now();
        match state.core.next(session, now) {
            Next::Run(dispatch) => {
                let engine = &state.core.engine;
                let someone_must_watch = !state.is_watched && engine.next_event().is_some();
                if state.idle > 0 && (engine.is_due(now) || someone_must_watch) {
                    wake.notify_one();
                }
                drop(state);
                let start = clock.now();
                let outcome = target.serve(&dispatch);
                let done = clock.now();
                let Ok(again) = shared.lock() else { return };
                state = again;
                state.core.completed(dispatch, start, done, clock.now(), outcome);
            }
            Next::Wait(at) => {
                state.idle += 1;
                let woken = match at.filter(|_| !state.is_watched) {
                    Some(at) => {
                        state.is_watched = true;
                        wake.wait_timeout(state, (at - now).into())
                            .map(|(mut state, _)| {
                                state.is_watched = false;
                                state
                            })
                            .ok()
                    }
                    None => wake.wait(state).ok(),
                };
                let Some(woken) = woken else { return };
                state = woken;
                state.idle -= 1;
            }
            Next::Done => {
                wake.notify_all();
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Batching, SampleOrder, Setup, Source, Window};
    use crate::units::{RealClock, VirtualClock};

    /// Takes exactly 10 µs of virtual time a batch.
    struct TenMicros<'a>(&'a VirtualClock);
    impl Target for TenMicros<'_> {
        fn serve(&mut self, _: &Dispatch) -> Outcome {
            self.0.advance(Nanos(10_000));
            Outcome::Ok
        }
    }

    fn engine(source: Source, batching: Batching, sessions: u16) -> Engine {
        let samples = SampleOrder::shuffled(10, 1);
        Engine::new(Setup { source, batching, sessions, queue: None, samples })
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
        let engine = engine(Source::Clients(4), Batching::Fixed(1), 1);
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
        let engine = engine(Source::Clients(7), Batching::Fixed(2), 1);
        let mut targets: Vec<Box<dyn Target + '_>> = vec![Box::new(TenMicros(&clock))];
        let stop = Stop::After { duration: Nanos(95_000), min_batches: 1, skip_ramp: true };
        let served = drive(engine, &mut targets, &clock, stop);
        // Four batches of ramp carry the first seven requests; ten more fill the window; what is
        // outstanding then, and one request to fill the last batch, are drained after it.
        assert_eq!(served.window, Window { start: Nanos(40_000), end: Nanos(140_000) });
        assert_eq!(served.observations.len(), 20 + 6);
    }

    #[test]
    fn an_open_load_counts_from_its_schedule_and_gives_up_after_its_grace() {
        let clock = VirtualClock::default();
        // Every 4 µs, where each takes 10: the queue grows, and half of what is due is never run.
        let times: Vec<Nanos> = (0..50).map(|i| Nanos(i * 4_000)).collect();
        let engine = engine(Source::Schedule(times), Batching::Fixed(1), 1);
        let mut targets: Vec<Box<dyn Target + '_>> = vec![Box::new(TenMicros(&clock))];
        let stop =
            Stop::Open { ramp: Nanos(40_000), duration: Nanos(160_000), grace: Nanos(50_000) };
        let served = drive(engine, &mut targets, &clock, stop);
        let count = |outcome| served.observations.iter().filter(|o| o.outcome == outcome).count();
        assert_eq!(served.observations.len(), 40, "ten came in the ramp");
        assert_eq!((count(Outcome::Ok), count(Outcome::Unfinished)), (15, 25));
        // The 11th is due at 40 µs and is done at 110.
        let first = served.observations.iter().find(|o| o.outcome == Outcome::Ok).unwrap();
        assert_eq!((first.scheduled, first.sent), (Nanos(40_000), Nanos(40_000)));
        assert_eq!((first.latency(), first.service()), (Nanos(70_000), Nanos(10_000)));
        assert_eq!(served.window.end, Nanos(200_000));
    }

    #[test]
    fn several_targets_run_on_threads_of_their_own() {
        let clock = RealClock::start();
        let engine = engine(Source::Clients(6), Batching::Fixed(2), 3);
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

    /// Sleeps long enough for all sessions to be needed.
    struct Sleeps;
    impl Target for Sleeps {
        fn serve(&mut self, _: &Dispatch) -> Outcome {
            RealClock::start().sleep_until(Nanos::from_millis(2));
            Outcome::Ok
        }
    }

    #[test]
    fn in_an_open_load_idle_sessions_watch_in_turn_and_none_is_forgotten() {
        let clock = RealClock::start();
        let times: Vec<Nanos> = (0..200).map(|i| Nanos(i * 1_000_000)).collect();
        let engine = engine(Source::Schedule(times), Batching::Fixed(1), 3);
        let mut targets: Vec<Box<dyn Target + '_>> =
            vec![Box::new(Sleeps), Box::new(Sleeps), Box::new(Sleeps)];
        let stop = Stop::Open {
            ramp: Nanos(0),
            duration: Nanos::from_millis(200),
            grace: Nanos::from_secs(9),
        };
        let served = drive(engine, &mut targets, &clock, stop);
        assert_eq!(served.observations.len(), 200);
        assert!(served.observations.iter().all(|o| o.outcome == Outcome::Ok));
        let sessions: std::collections::BTreeSet<u16> =
            served.observations.iter().map(|o| o.session).collect();
        assert!(sessions.len() >= 2, "one session cannot serve a request a ms in 2 ms each");
        for o in &served.observations {
            assert!(o.scheduled <= o.sent && o.sent <= o.start && o.start <= o.done, "{o:?}");
        }
    }
}
