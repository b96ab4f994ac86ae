//! Damaged models never make us panic: `make fuzz` tries for ten minutes, every test run a little.

use std::cell::Cell;
use std::sync::OnceLock;

use infermark::graph::passes::{self, Pass};
use infermark::graph::{Graph, Outline, cost, dump, schedule};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::conformance::members;
use super::passes::{MAGIKA, fetched};

/// ONNX's node tests: every operator, and few bytes around each. And one whole model.
fn models() -> &'static [bytes::Bytes] {
    static MODELS: OnceLock<Vec<bytes::Bytes>> = OnceLock::new();
    MODELS.get_or_init(|| {
        let mut models: Vec<bytes::Bytes> =
            members(|path| path.ends_with("model.onnx")).into_iter().map(|(_, b)| b).collect();
        models.retain(|bytes| bytes.len() < 20_000);
        models.push(std::fs::read(fetched(MAGIKA)).unwrap().into());
        models
    })
}

/// A change to a file's bytes.
#[derive(Debug, Clone)]
enum Damage {
    Set { at: usize, to: u8 },
    Flip { at: usize, bit: u8 },
    Remove { at: usize, count: usize },
    Repeat { at: usize, count: usize },
    Cut { at: usize },
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = || any::<usize>();
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, to)| Damage::Set { at, to }),
        4 => (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        1 => (at(), 1..16_usize).prop_map(|(at, count)| Damage::Remove { at, count }),
        1 => (at(), 1..64_usize).prop_map(|(at, count)| Damage::Repeat { at, count }),
        1 => at().prop_map(|at| Damage::Cut { at }),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        match self {
            Self::Set { at, to } => bytes[at % length] = *to,
            Self::Flip { at, bit } => bytes[at % length] ^= 1 << bit,
            Self::Remove { at, count } => {
                let from = at % length;
                bytes.drain(from..(from + count).min(length));
            }
            Self::Repeat { at, count } => {
                let from = at % length;
                let part = bytes[from..(from + count).min(length)].to_vec();
                bytes.splice(from..from, part);
            }
            Self::Cut { at } => bytes.truncate(at % length),
        }
    }
}

/// Everything that is done with a graph without an engine; whether it was one.
fn use_it(bytes: Vec<u8>) -> bool {
    let Ok(mut graph) = Graph::parse("damaged", bytes.into()) else { return false };
    drop(graph.to_model());
    drop(dump(&graph));
    let sizes = graph.free_dims().into_iter().map(|name| (name, 3)).collect();
    if graph.bind(&sizes).is_ok() {
        drop(infermark::graph::infer(&mut graph));
    }
    drop(cost::of(&graph));
    drop(schedule::of(&graph));
    // A pass that breaks a graph is a defect of ours, whatever the graph.
    if let Err(error) = passes::run(&mut graph, &Pass::ALL, usize::MAX) {
        assert!(error.kind() != infermark::error::ErrorKind::Internal, "{error}");
    }
    drop(graph.to_model());
    true
}

#[test]
fn damaged_models_never_make_us_panic() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let (tried, read) = (Cell::new(0_u64), Cell::new(0_u64));
    let strategy = (any::<prop::sample::Index>(), prop::collection::vec(damage(), 1..4));
    let result = TestRunner::new(config).run(&strategy, |(index, damages)| {
        let mut bytes = index.get(models()).to_vec();
        for damage in &damages {
            damage.apply(&mut bytes);
        }
        tried.set(tried.get() + 1);
        read.set(read.get() + u64::from(use_it(bytes)));
        Ok(())
    });
    eprintln!("{} damaged models, {} of them still graphs", tried.get(), read.get());
    result.unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn models_that_are_whole_pass_the_same_way() {
    for bytes in models() {
        use_it(bytes.to_vec());
    }
    drop(Outline::read(&fetched(MAGIKA)).unwrap());
}
