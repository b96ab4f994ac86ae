//! What the harness itself costs: a request in a closed load on the session's own thread, the
//! hand-off when it is not, and writing what was measured.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot run should say so and stop"
)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use infermark::load::{self, Batching, Engine, SampleOrder, Served, Setup, Source, Stop, Target};
use infermark::measure::{NullSession, SessionTarget};
use infermark::stats;
use infermark::store::{self, Manifest, RunDir};
use infermark::units::RealClock;

const REQUESTS: u32 = 20_000;
const SAMPLES: u32 = 1000;

/// A closed load of `concurrency` clients on `sessions` null sessions.
fn closed(concurrency: u32, sessions: u16) -> Served {
    let data = NullSession::data(SAMPLES as usize).expect("a data set of zeros");
    let mut null: Vec<NullSession> = (0..sessions).map(|_| NullSession::default()).collect();
    let mut targets: Vec<Box<dyn Target + '_>> = null
        .iter_mut()
        .map(|session| Box::new(SessionTarget::new(session, &data)) as Box<dyn Target + '_>)
        .collect();
    let order = SampleOrder::shuffled(SAMPLES, 1);
    let engine = Engine::new(Setup {
        source: Source::Clients(concurrency),
        batching: Batching::Fixed(1),
        sessions,
        queue: None,
        samples: order,
    });
    load::drive(engine, &mut targets, &RealClock::start(), Stop::Batches(REQUESTS))
}

/// Median time from one completion to the next, in ns: with a null session, all of it is ours.
fn between_completions(served: &Served) -> f64 {
    let gaps: Vec<f64> = served
        .observations
        .windows(2)
        .map(|pair| pair[1].done.since(pair[0].done).0 as f64)
        .collect();
    stats::median(&gaps).expect("more than one request")
}

/// Median time from sending a request to its completion, in ns.
fn round_trip(served: &Served) -> f64 {
    let spans: Vec<f64> =
        served.observations.iter().map(|o| o.done.since(o.sent).0 as f64).collect();
    stats::median(&spans).expect("more than one request")
}

fn load(c: &mut Criterion) {
    let inline = closed(1, 1);
    let handed = closed(1, 2);
    println!(
        "null session, one client, p50 over {REQUESTS} requests: {:.0} ns a request on the \
         session's thread; {:.0} ns from sending to completion when handed to another thread",
        between_completions(&inline),
        round_trip(&handed),
    );
    let mut group = c.benchmark_group("closed load on null sessions");
    group.throughput(Throughput::Elements(u64::from(REQUESTS)));
    group.sample_size(20);
    group.bench_function("on the session's thread", |b| b.iter(|| black_box(closed(1, 1))));
    group.bench_function("on the session's thread, 16 clients", |b| {
        b.iter(|| black_box(closed(16, 1)));
    });
    group.bench_function("handed to one of two threads", |b| b.iter(|| black_box(closed(1, 2))));
    group.finish();
}

fn writing(c: &mut Criterion) {
    let served = closed(1, 1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let record: store::Record =
        serde_json::from_str(include_str!("record.json")).expect("a record of this schema");
    let manifest = Manifest {
        schema_version: store::SCHEMA_VERSION,
        started_at: String::new(),
        model: String::new(),
        conditions: String::new(),
    };
    let mut group = c.benchmark_group("writing");
    group.sample_size(20);
    group.bench_function("a record, appended and synced", |b| {
        b.iter_batched(
            || RunDir::create(folder.path(), "bench", &manifest, "").expect("a run's folder"),
            |run| run.append(&record).expect("an appended record"),
            BatchSize::SmallInput,
        );
    });
    group.throughput(Throughput::Elements(u64::from(REQUESTS)));
    group.bench_function("observations, compressed and synced", |b| {
        b.iter(|| {
            store::write_observations(folder.path(), "o.csv.gz", &served.observations)
                .expect("written observations")
        });
    });
    group.finish();
}

criterion_group!(benches, load, writing);
criterion_main!(benches);
