//! The state machine of serving: arrive, complete, timer → dispatch.
//!
//! It holds no clock and starts no thread. A driver tells it what happened and when, and asks it
//! what to run next; the same machine therefore runs on real clocks and on a virtual one.

use std::collections::VecDeque;

use super::{Batching, Observation, Outcome, SampleOrder};
use crate::units::Nanos;

/// One arrival in the load, carrying one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// When it was due.
    pub scheduled: Nanos,
    /// When the client handed it over.
    pub sent: Nanos,
    /// Index of the sample in the data set.
    pub sample: u32,
}

impl Request {
    /// What is kept of a request that was never run.
    pub fn unanswered(&self, outcome: Outcome) -> Observation {
        Observation {
            scheduled: self.scheduled,
            sent: self.sent,
            start: self.sent,
            done: self.sent,
            batch: u32::MAX,
            session: 0,
            sample: self.sample,
            outcome,
        }
    }
}

/// A batch to be run by a session now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dispatch {
    /// Number of the batch, counting from 0 in order of dispatch.
    pub batch: u32,
    /// The session that must run it.
    pub session: u16,
    /// The requests it carries, first come first.
    pub requests: Vec<Request>,
}

/// Where requests come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Clients that each wait for their answer before they ask again.
    Clients(u32),
    /// Times at which requests come, counted from the start, in order; they wait for nobody.
    Schedule(Vec<Nanos>),
    /// So many requests, all there at the start.
    All(u32),
}

/// What an engine is built of.
#[derive(Debug)]
pub struct Setup {
    /// Where requests come from.
    pub source: Source,
    /// How they become batches.
    pub batching: Batching,
    /// Batches that can run at once.
    pub sessions: u16,
    /// Requests that may wait; those that find as many are rejected. No bound when `None`.
    pub queue: Option<usize>,
    /// Which samples they carry.
    pub samples: SampleOrder,
}

/// The state machine of serving.
#[derive(Debug)]
pub struct Engine {
    clients: u32,
    schedule: std::vec::IntoIter<Nanos>,
    /// The next arrival of the schedule.
    next: Option<Nanos>,
    start: Nanos,
    all: u32,
    batching: Batching,
    sessions: u16,
    bound: usize,
    samples: SampleOrder,
    queue: VecDeque<Request>,
    rejected: Vec<Request>,
    busy: u16,
    next_batch: u32,
    issued: u64,
    accepting: bool,
    spare: Vec<Vec<Request>>,
}

impl Engine {
    /// A machine at rest.
    pub fn new(setup: Setup) -> Self {
        let Setup { source, batching, sessions, queue, samples } = setup;
        let (clients, mut schedule, all) = match source {
            Source::Clients(clients) => (clients, Vec::new(), 0),
            // Fixed batches are all full: what would not fill the last one does not come.
            Source::Schedule(times) => (0, times, 0),
            Source::All(all) => (0, Vec::new(), all),
        };
        schedule.truncate(
            schedule.len() / batching.least().max(1) as usize * batching.least() as usize,
        );
        Self {
            clients,
            schedule: schedule.into_iter(),
            next: None,
            start: Nanos(0),
            all,
            batching,
            sessions,
            bound: queue.unwrap_or(usize::MAX),
            samples,
            queue: VecDeque::with_capacity(clients.max(all) as usize),
            rejected: Vec::new(),
            busy: 0,
            next_batch: 0,
            issued: 0,
            accepting: true,
            spare: Vec::new(),
        }
    }

    /// The load begins.
    pub fn start(&mut self, now: Nanos) {
        self.start = now;
        self.next = self.schedule.next().map(|offset| now + offset);
        for _ in 0..self.clients.max(self.all) {
            self.arrive(now, now);
        }
        // Nothing comes after what was there at the start.
        self.accepting = self.clients > 0 || self.next.is_some();
    }

    /// Takes in what is due by `now`.
    ///
    /// While every session was busy nobody could have done anything for a request: it counts as sent
    /// when it was due. One that came while a session was idle was noticed `now`, and the difference is
    /// the client's lag.
    pub fn advance(&mut self, now: Nanos) {
        while let Some(due) = self.next.filter(|due| *due <= now) {
            let sent = if self.busy < self.sessions { now } else { due };
            if self.queue.len() < self.bound {
                self.arrive(due, sent);
            } else {
                let sample = self.samples.next();
                self.rejected.push(Request { scheduled: due, sent, sample });
                self.issued += 1;
            }
            self.next = self.schedule.next().map(|offset| self.start + offset);
            self.accepting = self.next.is_some();
        }
    }

    /// A batch was done at `done`, noticed `now`: its session is free, and clients that were waiting for
    /// it ask again.
    pub fn complete(&mut self, dispatch: Dispatch, done: Nanos, now: Nanos) {
        // What came before it found its session busy.
        self.advance(done);
        self.busy = self.busy.saturating_sub(1);
        if self.clients > 0 {
            for _ in 0..dispatch.requests.len() {
                // After the stop, only as many as the last fixed batch still lacks: every batch is
                // full, so that no shape runs which was not warmed up.
                let lacking = !self.issued.is_multiple_of(u64::from(self.batching.least()));
                if self.accepting || lacking {
                    self.arrive(done, now);
                }
            }
        }
        let mut requests = dispatch.requests;
        requests.clear();
        self.spare.push(requests);
        self.advance(now);
    }

    /// The batch that the free `session` must run now, if there is one.
    pub fn dispatch(&mut self, session: u16, now: Nanos) -> Option<Dispatch> {
        if !self.is_due(now) {
            return None;
        }
        let mut requests = self.spare.pop().unwrap_or_default();
        let take = self.queue.len().min(self.batching.size() as usize);
        requests.extend(self.queue.drain(..take));
        let batch = self.next_batch;
        self.next_batch += 1;
        self.busy += 1;
        Some(Dispatch { batch, session, requests })
    }

    /// Whether a batch is due and a session free.
    pub fn is_due(&self, now: Nanos) -> bool {
        self.busy < self.sessions && self.timer().is_some_and(|at| at <= now)
    }

    /// When the next batch is due if nothing else comes: at once where one is full; `None` where that
    /// does not help.
    fn timer(&self) -> Option<Nanos> {
        let oldest = self.queue.front()?;
        if self.queue.len() >= self.batching.size() as usize {
            return Some(Nanos(0));
        }
        match self.batching {
            Batching::Fixed(_) => None,
            Batching::Dynamic { max_delay_ms, .. } => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a checked time, and casts of floats saturate"
                )]
                let delay = Nanos((max_delay_ms * 1e6) as u64);
                Some(oldest.scheduled + delay)
            }
        }
    }

    /// When something happens although no batch completes; `None` where only completions count.
    pub fn next_event(&self) -> Option<Nanos> {
        let timer = if self.busy < self.sessions { self.timer() } else { None };
        match (self.next, timer) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        }
    }

    /// No new requests from now on; those outstanding are drained.
    pub fn stop(&mut self) {
        self.accepting = false;
        self.next = None;
    }

    /// Gives up what still waits.
    pub fn abandon(&mut self) -> Vec<Request> {
        self.stop();
        self.queue.drain(..).collect()
    }

    /// Requests that found the queue full since this was last asked.
    pub fn take_rejected(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.rejected)
    }

    /// Whether new requests still arrive.
    pub fn is_accepting(&self) -> bool {
        self.accepting
    }

    /// Whether nothing is waiting or running, or will come.
    pub fn is_drained(&self) -> bool {
        self.busy == 0 && self.next.is_none() && self.queue.len() < self.batching.least() as usize
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Requests issued so far.
    pub fn issued(&self) -> u64 {
        self.issued
    }

    fn arrive(&mut self, scheduled: Nanos, sent: Nanos) {
        let sample = self.samples.next();
        self.queue.push_back(Request { scheduled, sent, sample });
        self.issued += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn setup(source: Source, batching: Batching, sessions: u16, samples: SampleOrder) -> Setup {
        Setup { source, batching, sessions, queue: None, samples }
    }

    /// Runs each batch for 10 ns, one session after the other in turn.
    fn run_to_the_end(mut engine: Engine, batches_before_stop: u32) -> Vec<Dispatch> {
        let mut log = Vec::new();
        let mut running = VecDeque::new();
        let mut idle: VecDeque<u16> = (0..engine.sessions).collect();
        engine.start(Nanos(0));
        let mut now = 0;
        loop {
            while let Some(session) = idle.front() {
                let Some(dispatch) = engine.dispatch(*session, Nanos(now)) else { break };
                idle.pop_front();
                running.push_back(dispatch);
            }
            if engine.next_batch >= batches_before_stop {
                engine.stop();
            }
            let Some(dispatch) = running.pop_front() else {
                let Some(at) = engine.next_event() else { break };
                now = now.max(at.0);
                engine.advance(Nanos(now));
                continue;
            };
            now += 10;
            idle.push_back(dispatch.session);
            log.push(Dispatch {
                batch: dispatch.batch,
                session: dispatch.session,
                requests: dispatch.requests.clone(),
            });
            engine.complete(dispatch, Nanos(now), Nanos(now));
        }
        assert!(engine.is_drained());
        log
    }

    #[test]
    fn a_single_client_waits_for_its_answer() {
        let order = SampleOrder::shuffled(3, 1);
        let engine = Engine::new(setup(Source::Clients(1), Batching::Fixed(1), 2, order));
        let log = run_to_the_end(engine, 4);
        let scheduled: Vec<u64> = log.iter().map(|d| d.requests[0].scheduled.0).collect();
        assert_eq!(scheduled, [0, 10, 20, 30]);
    }

    #[test]
    fn a_dynamic_batch_goes_when_it_is_full_or_its_oldest_has_waited() {
        let times = [0, 3, 4, 20].map(Nanos).to_vec();
        let batching = Batching::Dynamic { max_batch: 3, max_delay_ms: 10e-6 };
        let order = SampleOrder::shuffled(9, 1);
        let mut engine = Engine::new(setup(Source::Schedule(times), batching, 1, order));
        engine.start(Nanos(0));
        engine.advance(Nanos(3));
        assert_eq!(engine.dispatch(0, Nanos(3)), None);
        assert_eq!(engine.next_event(), Some(Nanos(4)), "the third arrival");
        engine.advance(Nanos(4));
        let full = engine.dispatch(0, Nanos(4)).unwrap();
        assert_eq!(full.requests.len(), 3);
        engine.complete(full, Nanos(5), Nanos(5));
        assert_eq!(engine.next_event(), Some(Nanos(20)));
        engine.advance(Nanos(21));
        assert_eq!(engine.next_event(), Some(Nanos(30)), "its delay");
        assert!(!engine.is_due(Nanos(29)));
        let late = engine.dispatch(0, Nanos(30)).unwrap();
        assert_eq!((late.requests[0].scheduled, late.requests[0].sent), (Nanos(20), Nanos(21)));
        engine.complete(late, Nanos(40), Nanos(40));
        assert!(engine.is_drained());
    }

    #[test]
    fn what_comes_while_all_are_busy_was_sent_when_it_was_due() {
        let times = [0, 5, 12].map(Nanos).to_vec();
        let order = SampleOrder::shuffled(9, 1);
        let mut engine = Engine::new(setup(Source::Schedule(times), Batching::Fixed(1), 1, order));
        engine.start(Nanos(0));
        engine.advance(Nanos(1));
        let first = engine.dispatch(0, Nanos(1)).unwrap();
        // Done at 10 and noticed at 14: the arrival of 12 came to an idle session that slept.
        engine.complete(first, Nanos(10), Nanos(14));
        let sent = |engine: &mut Engine| {
            let dispatch = engine.dispatch(0, Nanos(14)).unwrap();
            let sent = dispatch.requests[0].sent;
            engine.complete(dispatch, Nanos(14), Nanos(14));
            sent
        };
        assert_eq!(sent(&mut engine), Nanos(5));
        assert_eq!(sent(&mut engine), Nanos(14));
    }

    #[test]
    fn a_full_queue_rejects_and_what_never_ran_can_be_taken_back() {
        let times: Vec<Nanos> = (0..10).map(Nanos).collect();
        let order = SampleOrder::shuffled(9, 1);
        let source = Source::Schedule(times);
        let mut engine = Engine::new(Setup {
            source,
            batching: Batching::Fixed(1),
            sessions: 1,
            queue: Some(3),
            samples: order,
        });
        engine.start(Nanos(0));
        engine.advance(Nanos(0));
        let running = engine.dispatch(0, Nanos(0)).unwrap();
        engine.advance(Nanos(100));
        assert_eq!(engine.take_rejected().len(), 6);
        assert_eq!(engine.abandon().len(), 3);
        engine.complete(running, Nanos(100), Nanos(100));
        assert!(engine.is_drained());
    }

    proptest! {
        #[test]
        fn every_batch_is_full_and_every_sample_comes_equally_often(
            batch in 1_u32..9, extra in 0_u32..20, sessions in 1_u16..4,
            samples in 1_u32..50, stop_after in 1_u32..60, seed: u64, is_open: bool,
        ) {
            let clients = batch + extra;
            let source = if is_open {
                Source::Schedule((0..u64::from(stop_after * clients)).map(|i| Nanos(i / 3)).collect())
            } else {
                Source::Clients(clients)
            };
            let order = SampleOrder::shuffled(samples, seed);
            let engine = Engine::new(setup(source, Batching::Fixed(batch), sessions, order));
            let log = run_to_the_end(engine, if is_open { u32::MAX } else { stop_after });
            prop_assert!(log.iter().all(|d| d.requests.len() == batch as usize));
            let mut counts = vec![0_u32; samples as usize];
            for request in log.iter().flat_map(|d| &d.requests) {
                counts[request.sample as usize] += 1;
            }
            let (min, max) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            prop_assert!(max - min <= 1, "{counts:?}");
        }
    }
}
