//! One case in a worker of its own, from prepare to record.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::host::{Worker, WorkerCommand};
use super::judge;
use super::protocol::{Command, Event, Loaded, PrepareSpec};
use super::telemetry;
use super::validity::{self, Evidence};
use super::work;
use crate::artifact::Library;
use crate::backend::{
    Ceilings, Inspection, NumericFact, OpRow, PrepareOptions, PreparedFacts, Tuning,
};
use crate::error::{Error, ErrorKind, Result};
use crate::hardware::{Host, process_use};
use crate::load::{Observation, Scenario, Window};
use crate::quality::{Outputs, QualityFigure};
use crate::store::{
    self, EnergyRecord, LoadRecord, ObservationsFile, ProviderShare, Summary, Telemetry,
};
use crate::units::{Bytes, Nanos};
use crate::workload::{Case, Resolved};

/// Batches that a window holds at least, however slow the model.
const LEAST_BATCHES: u32 = 10;

/// What a case needs besides itself.
pub(super) struct Bench<'a> {
    pub(super) resolved: &'a Resolved,
    pub(super) host: &'a Host,
    pub(super) library: Option<&'a Library>,
    pub(super) worker: &'a WorkerCommand,
    pub(super) interrupted: &'a Arc<AtomicBool>,
    /// Where engines keep what they measured and compiled.
    pub(super) engine_folder: Option<&'a Path>,
}

/// What is asked of one case.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) window: Nanos,
    pub(super) quality: bool,
    pub(super) inspect: bool,
    /// Whether the op table is held against what the device can do.
    pub(super) profile: bool,
}

/// What a case gave.
pub(super) struct Measured {
    pub(super) facts: PreparedFacts,
    pub(super) first: Nanos,
    /// Time that choosing kernels took.
    pub(super) tuning: Nanos,
    pub(super) summary: Summary,
    pub(super) reasons: Vec<String>,
    pub(super) load: LoadRecord,
    pub(super) telemetry: Telemetry,
    pub(super) energy: Option<EnergyRecord>,
    pub(super) peak_rss: Option<Bytes>,
    pub(super) observations: Vec<Observation>,
    /// The output of every sample, where it was asked for.
    pub(super) outputs: Option<Outputs>,
    /// What they are worth, once they are judged.
    pub(super) quality: Option<Vec<QualityFigure>>,
    pub(super) ops: Option<Vec<store::OpRow>>,
    /// What the device can do, where it was asked for.
    pub(super) ceilings: Option<store::Ceilings>,
    /// What an inference has to do.
    pub(super) work: Option<store::WorkRecord>,
    /// What went wrong after the window.
    pub(super) late_failure: Option<Error>,
    /// Beside the baseline, in pairs of fresh processes.
    pub(super) paired: Option<Paired>,
}

/// A variant beside the baseline, in pairs of fresh processes.
#[derive(Debug, Clone, Default)]
pub(super) struct Paired {
    /// ln of each pair's speed-up.
    pub(super) pairs: Vec<f64>,
    pub(super) observations: Vec<ObservationsFile>,
    /// Why there are none.
    pub(super) failure: Option<String>,
    /// Time that they took.
    pub(super) took: Nanos,
}

/// What is found out about a case besides its latency.
#[derive(Default)]
struct Extras {
    outputs: Option<Outputs>,
    ops: Option<Vec<store::OpRow>>,
    ceilings: Option<store::Ceilings>,
    work: Option<store::WorkRecord>,
}

impl Bench<'_> {
    /// Runs `case`, calling `phase` as it goes from one to the next.
    pub(super) fn measure(
        &self,
        case: &Case,
        ask: Ask,
        phase: &mut dyn FnMut(&str),
    ) -> Result<Measured> {
        let workload = &self.resolved.workload;
        let variant = &self.resolved.variants[case.variant];
        let silence = Nanos::from(std::time::Duration::from_secs_f64(workload.load.timeout_s));
        // Ramp and drain of many clients are silent too, however healthy the model.
        let outstanding = case.scenario.outstanding(case.batching).unwrap_or(0);
        let queued = outstanding / case.batching.size().max(1);
        let drain = seconds(workload.load.drain_s);
        let patience = Nanos(silence.0.saturating_mul(1 + u64::from(queued / 16))) + drain;
        let name = format!("case {} ({})", case.id, case.label(&variant.name));

        phase("load and compile");
        let spec = self.prepare_spec(case);
        let interrupted = Arc::clone(self.interrupted);
        let mut worker = Worker::start(self.worker, &name, spec.options.threads, interrupted)?;
        let prepare = Command::Prepare(Box::new(spec));
        let facts = match worker.ask(&prepare, patience)?.0 {
            Event::Prepared { facts } => facts,
            other => return Err(worker.unexpected(&other)),
        };

        phase("warm up");
        let duration = seconds(workload.load.warmup_s);
        let (first, warmup_batches, peak_rss, tuning) =
            match worker.ask(&Command::Warm { duration }, patience + duration)?.0 {
                Event::Warmed { first, batches, peak_rss, tuning } => {
                    (first, batches, peak_rss, tuning)
                }
                other => return Err(worker.unexpected(&other)),
            };

        phase("measure");
        let parent_before = process_use();
        let command = Command::Load { duration: ask.window, min_batches: LEAST_BATCHES };
        // An offline load is as long as the warm-up's speed made it think.
        let longest = Nanos(ask.window.0.saturating_mul(4));
        let loaded = match worker.ask(&command, patience + longest)?.0 {
            Event::Loaded(loaded) => loaded,
            other => return Err(worker.unexpected(&other)),
        };
        // Read before the observations are: taking them in is work of its own.
        let parent_ticks = process_use().cpu_ticks.saturating_sub(parent_before.cpu_ticks);
        let observations = match worker.ask(&Command::Fetch, patience)? {
            (Event::Fetched, observations) => observations,
            (other, _) => return Err(worker.unexpected(&other)),
        };
        let window = Window { start: loaded.start, end: loaded.end };
        let summary = store::summarise(&observations, window, &loaded.carried);
        if let (0, Some(error)) = (summary.answered, &loaded.first_error) {
            return Err(error.clone());
        }

        // What comes after the window may fail without taking its figures along.
        let (extras, late_failure) = self.after_the_window(worker, case, ask, patience, phase);
        // Ctrl-C is no failure of the case: it is measured again when the run goes on.
        if let Some(error) = late_failure.as_ref().filter(|e| e.kind() == ErrorKind::Interrupted) {
            return Err(error.clone());
        }
        let telemetry = telemetry::telemetry(&loaded, parent_ticks);
        let is_deployed = workload.deployment.is_some();
        Ok(Measured {
            reasons: reasons(case, &summary, &loaded, telemetry, (observations.len(), is_deployed)),
            energy: telemetry::energy(&loaded, &summary, self.host),
            load: self.load_record(case, &summary, &loaded, warmup_batches, &observations),
            facts,
            first,
            tuning,
            summary,
            telemetry,
            peak_rss: peak_rss.map(Bytes),
            observations,
            outputs: extras.outputs,
            quality: None,
            ops: extras.ops,
            ceilings: extras.ceilings,
            work: extras.work,
            late_failure,
            paired: None,
        })
    }

    /// Quality and op table, as far as they were asked for, and what went wrong.
    fn after_the_window(
        &self,
        mut worker: Worker,
        case: &Case,
        ask: Ask,
        patience: Nanos,
        phase: &mut dyn FnMut(&str),
    ) -> (Extras, Option<Error>) {
        let mut extras = Extras::default();
        let mut run = || -> Result<()> {
            if ask.quality {
                phase("quality");
                let spec = self.resolved.workload.quality.as_ref();
                let output = spec.and_then(|q| q.output.as_deref());
                let (samples, batch) = (self.resolved.data.samples, case.batching.size());
                let outputs = judge::outputs(&mut worker, output, samples, batch, patience)?;
                extras.outputs = Some(outputs);
            }
            if ask.inspect {
                phase("op table");
                match worker.ask(&Command::Inspect { profile: ask.profile }, patience)?.0 {
                    Event::Inspected { inspection, shapes } => {
                        let model = &self.resolved.variants[case.variant].path;
                        extras.work = Some(work::counted(model, shapes));
                        let Inspection { ops, ceilings } = inspection.unwrap_or_default();
                        extras.ops = Some(ops.into_iter().map(stored_op).collect());
                        extras.ceilings = ceilings.map(stored_ceilings);
                    }
                    other => return Err(worker.unexpected(&other)),
                }
            }
            Ok(())
        };
        let result = run().and_then(|()| worker.quit());
        (extras, result.err())
    }

    pub(super) fn prepare_spec(&self, case: &Case) -> PrepareSpec {
        let workload = &self.resolved.workload;
        PrepareSpec {
            variant: self.resolved.variants[case.variant].clone(),
            backend: case.backend.clone(),
            options: PrepareOptions {
                threads: case.threads_on(self.host.effective_cpus.count),
                optimization: workload.backends.optimization,
                spinning: workload.backends.spinning,
                library: self.library.map(|l| (l.path.clone(), l.sha256.clone())),
                weights: self.resolved.variants[case.variant].weights,
                tuning: Tuning {
                    autotune: workload.backends.autotune,
                    folder: self.engine_folder.map(Path::to_owned),
                },
            },
            sessions: case.sessions,
            batching: case.batching,
            scenario: self.resolved.located(&case.scenario),
            queue: workload.load.queue,
            drain: seconds(workload.load.drain_s),
            buckets: workload.load.buckets.clone(),
            data: self.resolved.data.path.clone(),
            seed: workload.load.seed,
        }
    }

    fn load_record(
        &self,
        case: &Case,
        summary: &Summary,
        loaded: &Loaded,
        warmup_batches: u32,
        observations: &[Observation],
    ) -> LoadRecord {
        let workload = &self.resolved.workload;
        LoadRecord {
            window_s: (loaded.end - loaded.start).as_secs_f64(),
            requests: observations.len(),
            batches: summary.batches,
            effective_batches: summary.effective_batches,
            warmup_batches,
            shape_misses: loaded.shape_misses,
            outputs_checked: loaded.outputs_checked,
            outputs_differing: loaded.outputs_differing,
            padding_share: (loaded.values > 0).then(|| loaded.padded as f64 / loaded.values as f64),
            padding_tenths: (loaded.values > 0).then_some(loaded.padding_tenths),
            batch_sizes: summary.serving.batch_sizes.clone(),
            offered_per_s: matches!(case.scenario, Scenario::Open(_))
                .then_some(summary.serving.offered_per_s),
            rejected: summary.serving.rejected,
            unfinished: summary.serving.unfinished,
            lag_ms: summary.serving.lag_ms,
            waiting_ms: summary.serving.waiting_ms,
            service_ms: summary.serving.service_ms,
            slo: workload.load.slo.map(|slo| {
                let percentile = text_of(&slo.percentile);
                store::slo(observations, &percentile, slo.percentile.share(), slo.ms)
            }),
            seed: workload.load.seed,
            optimization: text_of(&workload.backends.optimization),
            spinning: workload.backends.spinning,
            autotune: Some(workload.backends.autotune),
        }
    }
}

/// From ONNX Runtime's op table: nodes by provider, most first.
pub(super) fn provider_shares(ops: &[store::OpRow]) -> Vec<ProviderShare> {
    let total: usize = ops.iter().map(|row| row.count).sum();
    let mut shares: Vec<ProviderShare> = Vec::new();
    for row in ops {
        match shares.iter_mut().find(|s| s.provider == row.provider) {
            Some(share) => share.nodes += row.count,
            None => shares.push(ProviderShare {
                provider: row.provider.clone(),
                nodes: row.count,
                share: 0.0,
            }),
        }
    }
    for share in &mut shares {
        share.share = share.nodes as f64 / total.max(1) as f64;
    }
    shares.sort_by_key(|share| std::cmp::Reverse(share.nodes));
    shares
}

/// What products are computed with, as it is stored.
pub(super) fn numerics(facts: &PreparedFacts) -> Vec<store::Numeric> {
    let stored = |fact: &NumericFact| {
        let NumericFact { kernel, products, activation_quant, emulated, reason } = fact.clone();
        store::Numeric { kernel, products, activation_quant, emulated, reason }
    };
    facts.numerics.iter().map(stored).collect()
}

fn stored_op(row: OpRow) -> store::OpRow {
    let OpRow { kind, provider, count, time_share, time_ns, flops, bytes, ceiling_share } = row;
    store::OpRow { kind, provider, count, time_share, time_ns, flops, bytes, ceiling_share }
}

fn stored_ceilings(found: Ceilings) -> store::Ceilings {
    let Ceilings { f32_flops_per_s, f16_flops_per_s, int8_ops_per_s, bytes_per_s } = found;
    store::Ceilings { f32_flops_per_s, f16_flops_per_s, int8_ops_per_s, bytes_per_s }
}

/// A plain enum as the word that serde writes for it.
pub(super) fn text_of(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(_) => "unknown".to_owned(),
    }
}

/// Seconds of a checked workload file.
pub(super) fn seconds(s: f64) -> Nanos {
    Nanos::from(std::time::Duration::from_secs_f64(s))
}

fn reasons(
    case: &Case,
    summary: &Summary,
    loaded: &Loaded,
    telemetry: Telemetry,
    (requests, is_deployed): (usize, bool),
) -> Vec<String> {
    // What is answered a second of an open load is what came.
    let is_open = matches!(case.scenario, Scenario::Open(_));
    let mut reasons = validity::judge(&Evidence {
        errors: summary.errors,
        width: summary
            .throughput
            .as_ref()
            .filter(|_| !is_open)
            .and_then(|t| (t.value > 0.0).then_some(0.5 * (t.high? - t.low?) / t.value)),
        batches: summary.batches,
        lag: summary.lag,
        latency: summary.latency_at_lag,
        unfinished: summary.serving.unfinished,
        backlog_growth: summary.serving.backlog_growth,
        late_arrivals: summary.serving.late_arrivals,
        trend: summary.trend,
        // A quota that was asked for is what is measured.
        throttled_share: telemetry.throttled_share.filter(|_| !is_deployed),
        rss_trend: telemetry::rss_trend(loaded),
        rss: telemetry.rss_bytes.unwrap_or_default(),
        // The log doubles when it is full.
        log: Bytes(2 * (requests * size_of::<Observation>()) as u64),
        steal_share: telemetry.steal_share,
        foreign_share: telemetry.foreign_share,
        outputs_checked: loaded.outputs_checked,
        outputs_differing: loaded.outputs_differing,
    });
    let errors = reasons.iter_mut().find(|reason| reason.starts_with("errors: "));
    if let (Some(first), Some(reason)) = (&loaded.first_error, errors) {
        reason.push_str(&format!("; the first one: {first}"));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_shared_out_by_provider() {
        let row = |kind: &str, provider: &str, count| store::OpRow {
            kind: kind.into(),
            provider: provider.into(),
            count,
            time_share: 0.1,
            ..store::OpRow::default()
        };
        let shares =
            provider_shares(&[row("Conv", "A", 1), row("Add", "B", 2), row("Mul", "B", 1)]);
        assert_eq!(shares[0].provider, "B");
        assert!((shares[0].share - 0.75).abs() < 1e-12);
    }
}
