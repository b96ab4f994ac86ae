//! The engine of `load` on a virtual clock: what a queue of requests would live through if serving a
//! batch took as long as somebody says.
//!
//! A simulated figure is a prediction, whatever its service times were made of.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::load::{Dispatch, Engine, Observation, Outcome};
use crate::units::Nanos;

/// Runs `engine` with `sessions` until nothing comes or waits any more, a batch taking as long as
/// `service` says; every request's life, in order of completion. Requests that found the queue full
/// come as they were noticed.
///
/// An engine of clients never ends by itself: it is stopped after `most` requests, and drained.
pub fn simulate(
    mut engine: Engine,
    sessions: u16,
    most: u64,
    mut service: impl FnMut(&Dispatch) -> Nanos,
) -> Vec<Observation> {
    let mut observations = Vec::new();
    let mut idle: Vec<u16> = (0..sessions).rev().collect();
    // Batches in flight: when they are done, and where they are kept.
    let mut done: BinaryHeap<Reverse<(Nanos, u16)>> = BinaryHeap::new();
    let mut running: Vec<Option<(Nanos, Dispatch)>> = (0..sessions).map(|_| None).collect();
    let mut now = Nanos(0);
    engine.start(now);
    loop {
        engine.advance(now);
        while let Some(session) = idle.last().copied() {
            let Some(dispatch) = engine.dispatch(session, now) else { break };
            idle.pop();
            done.push(Reverse((now + service(&dispatch), session)));
            running[usize::from(session)] = Some((now, dispatch));
        }
        let rejected = engine.take_rejected();
        observations.extend(rejected.iter().map(|r| r.unanswered(Outcome::Rejected)));
        let event = engine.next_event().filter(|_| !idle.is_empty());
        let next = match (event, done.peek()) {
            (Some(event), Some(Reverse((end, _)))) if event < *end => Some(event),
            (Some(event), None) => Some(event),
            _ => None,
        };
        if let Some(event) = next {
            now = now.max(event);
            continue;
        }
        let Some(Reverse((end, session))) = done.pop() else {
            // Where some were rejected, the last ones may not fill a fixed batch.
            let left = engine.abandon();
            observations.extend(left.iter().map(|r| r.unanswered(Outcome::Unfinished)));
            return observations;
        };
        now = end;
        idle.push(session);
        let Some((start, dispatch)) = running[usize::from(session)].take() else { continue };
        for request in &dispatch.requests {
            observations.push(Observation {
                scheduled: request.scheduled,
                sent: request.sent,
                start,
                done: end,
                batch: dispatch.batch,
                session,
                sample: request.sample,
                outcome: Outcome::Ok,
            });
        }
        if engine.issued() >= most {
            engine.stop();
        }
        engine.complete(dispatch, end, end);
    }
}

#[cfg(test)]
mod tests {
    //! Against queueing theory, which knows some systems exactly.

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Exp1, Gamma};

    use super::*;
    use crate::load::{Arrivals, Batching, Open, SampleOrder, Setup, Source, schedule};

    const REQUESTS: f64 = 400_000.0;

    /// Sojourn times in units of the mean service time, sorted, of the second half of a Poisson load that
    /// keeps each of `servers` busy for `load` of the time.
    fn sojourns(
        load: f64,
        servers: u16,
        batching: Batching,
        mut service: impl FnMut(&Dispatch, &mut ChaCha8Rng) -> f64,
        seed: u64,
    ) -> Vec<f64> {
        const MEAN: f64 = 1e-3;
        let rate = load * f64::from(servers) / MEAN;
        let open = Open { rate: Some(rate), arrivals: Arrivals::Poisson };
        let length = std::time::Duration::from_secs_f64(REQUESTS / rate).into();
        let times = schedule(&open, length, seed).unwrap();
        let engine = Engine::new(Setup {
            source: Source::Schedule(times),
            batching,
            sessions: servers,
            queue: None,
            samples: SampleOrder::shuffled(1, 1),
        });
        let mut rng = ChaCha8Rng::seed_from_u64(seed + 1);
        let observations = simulate(engine, servers, u64::MAX, |dispatch| {
            std::time::Duration::from_secs_f64(service(dispatch, &mut rng) * MEAN).into()
        });
        let half = observations.len() / 2;
        let mut times: Vec<f64> =
            observations[half..].iter().map(|o| o.latency().as_secs_f64() / MEAN).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    fn mean(times: &[f64]) -> f64 {
        times.iter().sum::<f64>() / times.len() as f64
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    fn p99(sorted: &[f64]) -> f64 {
        sorted[(sorted.len() as f64 * 0.99) as usize]
    }

    #[track_caller]
    fn close(what: &str, found: f64, exact: f64, within: f64) {
        let apart = found / exact - 1.0;
        assert!(
            apart.abs() <= within,
            "{what}: {found:.4}, theory {exact:.4} ({:+.1} %)",
            100.0 * apart
        );
    }

    /// Erlang's C: the probability that all of `c` servers are busy at an offered load of `a`.
    fn erlang_c(c: u16, a: f64) -> f64 {
        // Erlang's B by its recursion, then C = B / (1 − ρ (1 − B)).
        let b = (1..=c).fold(1.0, |b, k| a * b / (f64::from(k) + a * b));
        let rho = a / f64::from(c);
        b / (1.0 - rho * (1.0 - b))
    }

    /// P(sojourn > t) of M/M/c with services of mean 1: the wait is exponential with rate c − a with
    /// probability C and 0 otherwise, and the service comes on top.
    fn mmc_tail(c: u16, a: f64, t: f64) -> f64 {
        let (wait, delay) = (erlang_c(c, a), f64::from(c) - a);
        let alone = (1.0 - wait) * (-t).exp();
        if (delay - 1.0).abs() < 1e-9 {
            return alone + wait * (1.0 + t) * (-t).exp();
        }
        alone + wait * (delay * (-t).exp() - (-delay * t).exp()) / (delay - 1.0)
    }

    #[test]
    fn as_many_servers_with_exponential_services_as_you_like_m_m_c() {
        for (c, rho) in [(1_u16, 0.5), (1, 0.8), (2, 0.7), (4, 0.8), (8, 0.6)] {
            let exponential = |_: &Dispatch, rng: &mut ChaCha8Rng| Exp1.sample(rng);
            let times = sojourns(rho, c, Batching::Fixed(1), exponential, 11);
            let a = rho * f64::from(c);
            let exact = 1.0 + erlang_c(c, a) / (f64::from(c) - a);
            close(&format!("M/M/{c} at {rho}, mean"), mean(&times), exact, 0.03);
            let (mut low, mut high) = (0.0, 200.0);
            while high - low > 1e-6 {
                let middle = 0.5 * (low + high);
                if mmc_tail(c, a, middle) > 0.01 { low = middle } else { high = middle }
            }
            close(&format!("M/M/{c} at {rho}, p99"), p99(&times), low, 0.05);
        }
    }

    /// P(wait ≤ t) of M/D/1 with a service of 1 at load ρ (Erlang 1909; Franx 2001 with whole parts):
    /// (1 − ρ) Σ_{k=0}^{⌊t⌋} (ρ(k − t))^k / k! · e^{−ρ(k − t)}.
    fn md1_wait(rho: f64, t: f64) -> f64 {
        let mut sum = 0.0;
        let mut k = 0.0;
        let mut factorial = 1.0;
        while k <= t {
            let x = rho * (k - t);
            sum += x.powf(k) / factorial * (-x).exp();
            k += 1.0;
            factorial *= k;
        }
        (1.0 - rho) * sum
    }

    #[test]
    fn services_that_all_take_the_same_m_d_1() {
        for rho in [0.3, 0.6, 0.8] {
            let times = sojourns(rho, 1, Batching::Fixed(1), |_, _| 1.0, 13);
            close(
                &format!("M/D/1 at {rho}, mean"),
                mean(&times),
                1.0 + rho / (2.0 * (1.0 - rho)),
                0.03,
            );
            let (mut low, mut high) = (0.0, 14.0);
            while high - low > 1e-6 {
                let middle: f64 = 0.5 * (low + high);
                // Powers of whole numbers: the sign of an odd one is that of its base.
                if md1_wait(rho, middle) < 0.99 { low = middle } else { high = middle }
            }
            close(&format!("M/D/1 at {rho}, p99"), p99(&times), 1.0 + low, 0.05);
        }
    }

    #[test]
    fn services_of_any_spread_have_the_mean_of_pollaczek_and_khinchine() {
        for (rho, cv) in [(0.5, 0.5), (0.7, 1.5), (0.6, 2.0)] {
            let shape: f64 = 1.0 / (cv * cv);
            let gamma = Gamma::new(shape, 1.0 / shape).unwrap();
            let times = sojourns(rho, 1, Batching::Fixed(1), |_, rng| gamma.sample(rng), 17);
            let exact = 1.0 + rho * (1.0 + cv * cv) / (2.0 * (1.0 - rho));
            close(&format!("M/G/1 at {rho}, cv {cv}, mean"), mean(&times), exact, 0.03);
        }
    }

    /// Inoue (2021, arXiv 1912.06322): the largest mean sojourn of a server that takes all that waits, where a
    /// batch of b takes `slope`·b + `fixed`.
    fn inoue(rate: f64, slope: f64, fixed: f64) -> f64 {
        let r = rate * slope;
        let first = (slope + fixed) / (2.0 * (1.0 - r))
            * (1.0 + 2.0 * rate * fixed + (1.0 - rate * fixed) / (1.0 + r));
        let second = 1.5 * fixed / (1.0 - r) + slope / 2.0 * (r + 2.0) / (1.0 - r * r);
        first.min(second)
    }

    #[test]
    fn batches_never_take_longer_than_the_bound_of_inoue() {
        let everything = Batching::Dynamic { max_batch: 1_000_000, max_delay_ms: 0.0 };
        for rate in [0.1, 0.5, 0.8] {
            let (slope, fixed) = (1.0, 5.0);
            let service =
                |d: &Dispatch, _: &mut ChaCha8Rng| slope * d.requests.len() as f64 + fixed;
            let times = sojourns(rate, 1, everything, service, 19);
            let (found, bound) = (mean(&times), inoue(rate, slope, fixed));
            assert!(found <= bound * 1.005, "at {rate}: {found} is above {bound}");
            assert!(found >= bound * 0.8, "at {rate}: {found} is far below {bound}");
        }
    }

    #[test]
    fn no_request_is_forgotten_where_some_are_rejected() {
        let engine = Engine::new(Setup {
            source: Source::Schedule((0..800).map(Nanos).collect()),
            batching: Batching::Fixed(8),
            sessions: 1,
            queue: Some(20),
            samples: SampleOrder::shuffled(5, 1),
        });
        let observations = simulate(engine, 1, u64::MAX, |_| Nanos(50));
        assert_eq!(observations.len(), 800);
        let left = observations.iter().filter(|o| o.outcome == Outcome::Unfinished).count();
        assert!(left < 8, "{left}");
    }

    #[test]
    fn clients_take_turns() {
        let engine = Engine::new(Setup {
            source: Source::Clients(3),
            batching: Batching::Fixed(1),
            sessions: 1,
            queue: None,
            samples: SampleOrder::shuffled(5, 1),
        });
        let observations = simulate(engine, 1, 30, |_| Nanos(10));
        assert!(observations.len() >= 30);
        assert!(observations[5..20].iter().all(|o| o.latency() == Nanos(30)));
    }
}
