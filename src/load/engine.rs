//! The state machine of serving: arrive, complete → dispatch.
//!
//! It holds no clock and starts no thread. A driver tells it what happened and when, and asks it
//! what to run next; the same machine can therefore run on real clocks and on a virtual one.

use std::collections::VecDeque;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Batching, Scenario};
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

/// The state machine of serving.
#[derive(Debug)]
pub struct Engine {
    scenario: Scenario,
    batch_size: usize,
    samples: SampleOrder,
    queue: VecDeque<Request>,
    idle: VecDeque<u16>,
    busy: usize,
    next_batch: u32,
    issued: u64,
    accepting: bool,
    spare: Vec<Vec<Request>>,
}

impl Engine {
    /// A machine at rest; `sessions` batches can run at once.
    pub fn new(
        scenario: Scenario,
        batching: Batching,
        sessions: u16,
        samples: SampleOrder,
    ) -> Self {
        let batch_size = batching.size() as usize;
        let outstanding = scenario.outstanding(batching) as usize;
        Self {
            scenario,
            batch_size,
            samples,
            queue: VecDeque::with_capacity(outstanding),
            idle: (0..sessions).collect(),
            busy: 0,
            next_batch: 0,
            issued: 0,
            accepting: true,
            spare: Vec::new(),
        }
    }

    /// The first requests arrive.
    pub fn start(&mut self, now: Nanos) {
        let initial = match self.scenario {
            Scenario::Single => self.batch_size,
            Scenario::Closed { concurrency } => concurrency as usize,
        };
        for _ in 0..initial {
            self.arrive(now, now);
        }
    }

    /// A batch is done: its session is free and, in a closed load, its clients issue again.
    pub fn complete(&mut self, dispatch: Dispatch, scheduled: Nanos, now: Nanos) {
        self.busy -= 1;
        self.idle.push_back(dispatch.session);
        for _ in 0..dispatch.requests.len() {
            // After the stop, only as many as the last batch still lacks: every batch is full, so
            // that no shape runs which was not warmed up.
            let lacking = !self.issued.is_multiple_of(self.batch_size as u64);
            if self.accepting || lacking {
                self.arrive(scheduled, now);
            }
        }
        let mut requests = dispatch.requests;
        requests.clear();
        self.spare.push(requests);
    }

    /// The next batch to run, if one is full and a session is free.
    pub fn dispatch(&mut self) -> Option<Dispatch> {
        if self.queue.len() < self.batch_size {
            return None;
        }
        let session = self.idle.pop_front()?;
        let mut requests = self.spare.pop().unwrap_or_default();
        requests.extend(self.queue.drain(..self.batch_size));
        let batch = self.next_batch;
        self.next_batch += 1;
        self.busy += 1;
        Some(Dispatch { batch, session, requests })
    }

    /// No new requests from now on; those outstanding are drained.
    pub fn stop(&mut self) {
        self.accepting = false;
    }

    /// Whether new requests still arrive.
    pub fn is_accepting(&self) -> bool {
        self.accepting
    }

    /// Whether nothing is waiting or running.
    pub fn is_drained(&self) -> bool {
        self.busy == 0 && self.queue.len() < self.batch_size
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

/// Which sample the next request carries.
#[derive(Debug)]
pub struct SampleOrder {
    order: Vec<u32>,
    at: usize,
    shuffle: Option<ChaCha8Rng>,
}

impl SampleOrder {
    /// Concatenated seeded shuffles of samples `0..samples`, so that long and short inputs come
    /// equally often, to within one (LoadGen calls this equal issue).
    pub fn shuffled(samples: u32, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<u32> = (0..samples.max(1)).collect();
        order.shuffle(&mut rng);
        Self { order, at: 0, shuffle: Some(rng) }
    }

    /// These samples in this order, again and again. An empty list issues sample 0.
    pub fn listed(mut samples: Vec<u32>) -> Self {
        if samples.is_empty() {
            samples.push(0);
        }
        Self { order: samples, at: 0, shuffle: None }
    }

    fn next(&mut self) -> u32 {
        if self.at == self.order.len() {
            if let Some(rng) = &mut self.shuffle {
                self.order.shuffle(rng);
            }
            self.at = 0;
        }
        self.at += 1;
        self.order[self.at - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run_to_the_end(mut engine: Engine, batches_before_stop: u32) -> Vec<Dispatch> {
        let mut log = Vec::new();
        let mut running = VecDeque::new();
        engine.start(Nanos(0));
        let mut now = 0;
        loop {
            while let Some(dispatch) = engine.dispatch() {
                running.push_back(dispatch);
            }
            if engine.next_batch >= batches_before_stop {
                engine.stop();
            }
            let Some(dispatch) = running.pop_front() else { break };
            now += 10;
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
        let engine =
            Engine::new(Scenario::Single, Batching::Fixed(1), 2, SampleOrder::shuffled(3, 1));
        let log = run_to_the_end(engine, 4);
        let scheduled: Vec<u64> = log.iter().map(|d| d.requests[0].scheduled.0).collect();
        assert_eq!(scheduled, [0, 10, 20, 30]);
    }

    proptest! {
        #[test]
        fn every_batch_is_full_and_every_sample_comes_equally_often(
            batch in 1_u32..9, extra in 0_u32..20, sessions in 1_u16..4,
            samples in 1_u32..50, stop_after in 1_u32..60, seed: u64,
        ) {
            let scenario = Scenario::Closed { concurrency: batch + extra };
            let order = SampleOrder::shuffled(samples, seed);
            let engine = Engine::new(scenario, Batching::Fixed(batch), sessions, order);
            let log = run_to_the_end(engine, stop_after);
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
