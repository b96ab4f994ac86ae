//! A scripted engine on a virtual clock, for testing the harness itself.
//!
//! Its device is its script: `mock:latency_us=250,fail_at=7`. Every batch takes exactly the
//! scripted time of the virtual clock, and returns its first input's rows summed.

use std::sync::Arc;

use super::{
    Availability, Backend, Coverage, DeviceInfo, Inspection, PrepareOptions, Prepared,
    PreparedFacts, RuntimeInfo, Session, Ticket, Trace,
};
use crate::error::{Error, Result};
use crate::units::{Bytes, Nanos, VirtualClock};
use crate::variant::{BackendId, ShapePolicy, Tensor, TensorData, Tensors, Variant};

/// What the mock does, parsed from its device name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MockScript {
    /// Virtual time a batch takes.
    pub latency: Nanos,
    /// More virtual time with every batch.
    pub drift: Nanos,
    /// This batch (from 0, warm-up included) returns an error.
    pub fail_at: Option<u64>,
    /// At this batch the process ends, as if killed.
    pub die_at: Option<u64>,
    /// At this batch the process stops answering.
    pub hang_at: Option<u64>,
    /// From this batch on, outputs differ.
    pub corrupt_from: Option<u64>,
}

impl MockScript {
    fn parse(id: &BackendId) -> Result<Self> {
        let mut script = Self {
            latency: Nanos::from_millis(1),
            drift: Nanos(0),
            fail_at: None,
            die_at: None,
            hang_at: None,
            corrupt_from: None,
        };
        for part in id.device.split(',') {
            let bad = || {
                Error::input(format!("backend `{id}`"), format!("cannot read `{part}`")).remedy(
                    "the mock's device is a list of latency_us, drift_ns, fail_at, die_at, \
                     hang_at, corrupt_from, each `=` a number",
                )
            };
            let (key, value) = part.split_once('=').ok_or_else(bad)?;
            let value: u64 = value.parse().map_err(|_| bad())?;
            match key {
                "latency_us" => script.latency = Nanos(value * 1000),
                "drift_ns" => script.drift = Nanos(value),
                "fail_at" => script.fail_at = Some(value),
                "die_at" => script.die_at = Some(value),
                "hang_at" => script.hang_at = Some(value),
                "corrupt_from" => script.corrupt_from = Some(value),
                _ => return Err(bad()),
            }
        }
        Ok(script)
    }
}

/// The scripted engine.
pub(super) struct Mock {
    id: BackendId,
    script: MockScript,
    clock: Arc<VirtualClock>,
}

impl Mock {
    pub(super) fn new(id: BackendId, clock: Arc<VirtualClock>) -> Result<Self> {
        let script = MockScript::parse(&id)?;
        Ok(Self { id, script, clock })
    }

    fn runtime() -> RuntimeInfo {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        RuntimeInfo { name: "mock".to_owned(), version, path: None, sha256: None }
    }
}

impl Backend for Mock {
    fn id(&self) -> &BackendId {
        &self.id
    }

    fn availability(&self, _: &PrepareOptions) -> Availability {
        Availability::Ready(DeviceInfo { name: self.id.device.clone(), runtime: Self::runtime() })
    }

    fn coverage(&self, model: &std::path::Path, _: &PrepareOptions) -> Result<Coverage> {
        // It computes nothing, and so lacks nothing.
        let graph = crate::graph::Graph::read(model)?;
        Ok(Coverage::of(graph.nodes.len(), Vec::new()))
    }

    fn prepare(&self, _: &Variant, options: &PrepareOptions) -> Result<Box<dyn Prepared>> {
        Ok(Box::new(MockPrepared {
            script: self.script,
            clock: Arc::clone(&self.clock),
            facts: PreparedFacts {
                device: self.id.device.clone(),
                runtime: Self::runtime(),
                threads: options.threads,
                shapes: ShapePolicy::Dynamic,
                load: Nanos(0),
                compile: Nanos(0),
                weights: Bytes(0),
                numerics: Vec::new(),
            },
        }))
    }
}

struct MockPrepared {
    script: MockScript,
    clock: Arc<VirtualClock>,
    facts: PreparedFacts,
}

impl Prepared for MockPrepared {
    fn spawn(&self) -> Result<Box<dyn Session>> {
        let clock = Arc::clone(&self.clock);
        Ok(Box::new(MockSession { script: self.script, clock, batches: 0, waiting: None }))
    }

    fn facts(&self) -> &PreparedFacts {
        &self.facts
    }

    fn inspect(&self, _: &Tensors, _: bool) -> Result<Option<Inspection>> {
        Ok(None)
    }
}

struct MockSession {
    script: MockScript,
    clock: Arc<VirtualClock>,
    batches: u64,
    waiting: Option<(Ticket, Tensors)>,
}

impl Session for MockSession {
    fn submit(&mut self, inputs: &Tensors) -> Result<Ticket> {
        let batch = self.batches;
        self.batches += 1;
        if self.script.die_at == Some(batch) {
            std::process::abort();
        }
        if self.script.hang_at == Some(batch) {
            std::thread::sleep(std::time::Duration::from_hours(1));
        }
        self.clock.advance(self.script.latency + Nanos(self.script.drift.0 * batch));
        if self.script.fail_at == Some(batch) {
            return Err(Error::internal("mock", format!("scripted failure at batch {batch}")));
        }
        let corrupt = self.script.corrupt_from.is_some_and(|from| batch >= from);
        let ticket = Ticket(batch);
        self.waiting = Some((ticket, row_sums(inputs, corrupt)));
        Ok(ticket)
    }

    fn wait(&mut self, ticket: Ticket, trace: &mut Trace) -> Result<Tensors> {
        *trace = Trace { shape_miss: Some(false) };
        match self.waiting.take() {
            Some((submitted, outputs)) if submitted == ticket => Ok(outputs),
            _ => Err(Error::internal("mock", "waited for a batch that is not in flight")),
        }
    }
}

fn row_sums(inputs: &Tensors, corrupt: bool) -> Tensors {
    let extra = if corrupt { 1.0 } else { 0.0 };
    let sums = inputs.0.first().and_then(|(_, tensor)| {
        let rows = *tensor.shape().first()?;
        let sum = |row: &Tensor| match row.data() {
            TensorData::F32(v) => v.iter().sum::<f32>() + extra,
            TensorData::I32(v) => v.iter().map(|x| *x as f32).sum::<f32>() + extra,
            other => other.len() as f32 + extra,
        };
        let sums: Vec<f32> = (0..rows).filter_map(|i| tensor.row(i)).map(|r| sum(&r)).collect();
        Tensor::new(vec![rows, 1], TensorData::F32(sums))
    });
    Tensors(sums.map(|s| ("sum".to_owned(), s)).into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_strictly() {
        let parse = |text: &str| MockScript::parse(&text.parse().unwrap());
        assert_eq!(parse("mock:latency_us=250,fail_at=7").unwrap().fail_at, Some(7));
        assert!(parse("mock:speed=9").unwrap_err().to_string().contains("`speed=9`"));
    }
}
