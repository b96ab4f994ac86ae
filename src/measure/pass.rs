//! What a pass over the plan knows, and how a case becomes a record.

use std::collections::{HashMap, HashSet};

use super::beside::BASIS;
use super::case::{Ask, Bench, Measured, Paired, numerics, provider_shares};
use super::judge;
use super::run::RunOptions;
use super::validity::is_worth_another_attempt;
use crate::error::{ErrorKind, Result};
use crate::quality::{ALL, Outputs, QualityFigure};
use crate::store::{
    self, CaseRecord, CpuLimit, Hashes, LineageRecord, Machine, MemoryBytes, Record, TimingMs,
    Verdict, Versus,
};
use crate::units::{Bytes, Nanos};
use crate::variant::{Engine, Variant};
use crate::workload::{Case, QualitySpec};

/// What a pass over the plan knows.
pub(super) struct Pass<'a> {
    options: &'a RunOptions<'a>,
    bench: Bench<'a>,
    /// Records of cases that are measured, by case id.
    pub(super) done: HashMap<String, Record>,
    /// Processes that cases took in earlier passes, by case id.
    pub(super) processes: HashMap<String, u32>,
    /// Compositions (variant, engine, batch) whose quality pass is over.
    judged: HashSet<String>,
    /// The model's own outputs by composition, where variants are to be compared with it.
    parents: HashMap<String, Outputs>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(options: &'a RunOptions<'a>) -> Result<Self> {
        let records = options.run_dir.records()?;
        let attempts = options.resolved.workload.load.attempts;
        let (mut done, mut processes) = (HashMap::new(), HashMap::new());
        for record in records {
            let id = record.case.id.clone();
            processes.insert(id.clone(), record.process + 1);
            // The last record of a case counts. One that failed, and one whose attempts were cut
            // short, is measured again.
            let cut_short =
                is_worth_another_attempt(&record.verdict.reasons) && record.process + 1 < attempts;
            let failed = record.versus_baseline.as_ref().is_some_and(|v| v.failure.is_some());
            let has_none = record.versus_baseline.as_ref().is_some_and(|v| v.basis != BASIS);
            let may_have = record.case.sessions == 1 && options.resolved.workload.load.pairs > 0;
            let no_pairs = may_have && (failed || has_none);
            if record.failure.is_some() || cut_short || no_pairs {
                done.remove(&id);
            } else {
                done.insert(id, record);
            }
        }
        Ok(Self {
            options,
            bench: Bench {
                resolved: options.resolved,
                host: options.host,
                library: options.library,
                worker: &options.worker,
                interrupted: &options.interrupted,
                engine_folder: options.engine_folder,
            },
            done,
            processes,
            judged: HashSet::new(),
            parents: HashMap::new(),
        })
    }

    /// Measures a case and judges its outputs.
    pub(super) fn case(
        &mut self,
        case: &Case,
        process: u32,
        (window, may_pair): (Nanos, bool),
        phase: &mut dyn FnMut(&str),
    ) -> Result<Measured> {
        let resolved = self.options.resolved;
        let compares = resolved.variants.len() > 1;
        let key = composition(case);
        let judged = format!("{} {key}", case.variant);
        let wanted = resolved.workload.quality.is_some() || compares;
        let quality = wanted && !self.judged.contains(&judged) && self.quality_of(case).is_none();
        let profile = self.options.profile;
        let inspect = self.work_of(case).is_none() || (profile && self.ceilings_of(case).is_none());
        let mut measured =
            self.bench.measure(case, Ask { window, quality, inspect, profile }, phase)?;
        if measured.late_failure.is_none()
            && let Some(baseline) = self.pairs_with(case)
        {
            measured.paired = Some(if may_pair {
                phase("beside the baseline");
                self.bench.beside(case, process, baseline, self.options.run_dir)
            } else {
                let failure = Some("the time budget leaves no time for it".to_owned());
                Paired { failure, ..Paired::default() }
            });
        }
        let Some(outputs) = measured.outputs.take() else { return Ok(measured) };
        let is_parent = case.variant == 0;
        if compares && is_parent {
            self.options.run_dir.write_outputs(&key, &outputs)?;
        }
        let interrupted = self.bench.interrupted;
        let parents = match (compares, is_parent) {
            (true, false) => self.parents_of(&key),
            _ => None,
        };
        match judge::figures(resolved, &outputs, parents, interrupted) {
            Ok(figures) => {
                measured.quality = Some(figures);
                self.judged.insert(judged);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                measured.late_failure.get_or_insert(error);
            }
        }
        if compares && is_parent {
            self.parents.insert(key, outputs);
        }
        Ok(measured)
    }

    /// The model's own outputs in this composition: of this pass, or kept from an earlier one.
    fn parents_of(&mut self, key: &str) -> Option<&Outputs> {
        if !self.parents.contains_key(key)
            && let Some(kept) = self.options.run_dir.read_outputs(key)
        {
            self.parents.insert(key.to_owned(), kept);
        }
        self.parents.get(key)
    }

    /// Quality is the same for every load on one variant, engine and batch composition, so it is
    /// measured once for each.
    fn quality_of(&self, case: &Case) -> Option<Vec<QualityFigure>> {
        let known = self.sibling(case, case.variant, |r| !r.quality.is_empty());
        known.map(|r| r.quality.clone())
    }

    fn ops_of(&self, case: &Case) -> Option<Vec<store::OpRow>> {
        self.sibling(case, case.variant, |r| !r.ops.is_empty()).map(|r| r.ops.clone())
    }

    fn ceilings_of(&self, case: &Case) -> Option<store::Ceilings> {
        self.sibling(case, case.variant, |r| r.ceilings.is_some())?.ceilings
    }

    fn work_of(&self, case: &Case) -> Option<store::WorkRecord> {
        self.sibling(case, case.variant, |r| r.work.is_some())?.work.clone()
    }

    /// A record of `variant` on the same engine, in the same batches.
    fn sibling(
        &self,
        case: &Case,
        variant: usize,
        fits: impl Fn(&Record) -> bool,
    ) -> Option<&Record> {
        let resolved = self.options.resolved;
        let variant = &resolved.variants[variant];
        let backend = case.backend.to_string();
        let runtime = self.options.library.map(|l| &l.sha256);
        self.done.values().find(|r| {
            r.sha256.variant == variant.sha256
                && r.case.variant == variant.name
                && r.sha256.data == resolved.data.sha256
                && (r.sha256.runtime.is_none() || r.sha256.runtime.as_ref() == runtime)
                && r.case.backend == backend
                && r.case.threads == case.threads.to_string()
                && r.case.sessions == case.sessions
                && r.case.batching == case.batching
                && r.host_id == self.options.host.host_id
                && fits(r)
        })
    }

    /// The variant that `case` is to be compared with in pairs; `None` for the baseline itself, and where
    /// that is known or not asked for. With several sessions a burst of one says nothing.
    fn pairs_with(&self, case: &Case) -> Option<usize> {
        let resolved = self.options.resolved;
        let name = resolved.baseline();
        let baseline = resolved.variants.iter().position(|v| v.name == name)?;
        let asked = resolved.workload.load.pairs > 0 && case.sessions == 1;
        (asked && baseline != case.variant && self.paired_of(case).is_none()).then_some(baseline)
    }

    /// Pairs that `cases` still ask for, one set for each variant and composition.
    pub(super) fn pairs_to_come(&self, cases: &[Case]) -> u64 {
        let asks =
            |case: &&Case| !self.done.contains_key(&case.id) && self.pairs_with(case).is_some();
        let sets: HashSet<String> = cases
            .iter()
            .filter(asks)
            .map(|case| format!("{} {}", case.variant, composition(case)))
            .collect();
        sets.len() as u64 * u64::from(self.options.resolved.workload.load.pairs)
    }

    /// What pairs said of the case's variant on the same engine, in the same batches.
    fn paired_of(&self, case: &Case) -> Option<&Versus> {
        let name = self.options.resolved.baseline();
        let has_pairs = |r: &Record| {
            r.versus_baseline.as_ref().is_some_and(|v| v.basis == BASIS && v.baseline == name)
        };
        self.sibling(case, case.variant, has_pairs)?.versus_baseline.as_ref()
    }

    /// The case beside the baseline's, in pairs where there are any.
    fn compared(
        &self,
        case: &Case,
        record: &Record,
        measured: Option<&Measured>,
    ) -> Option<Versus> {
        let versus = self.versus(case, record);
        let unmeasured = || {
            let resolved = self.options.resolved;
            let name = resolved.baseline();
            let size = resolved.variants.iter().find(|v| v.name == name).map_or(0, |v| v.size.0);
            Versus::unmeasured(name, record.size_bytes.0, size)
        };
        if let Some(paired) = measured.and_then(|m| m.paired.clone()) {
            let mut versus = versus.unwrap_or_else(unmeasured);
            paired.into_versus(&mut versus);
            return Some(versus);
        }
        let Some(known) = self.paired_of(case) else { return versus };
        let mut versus = versus.unwrap_or_else(unmeasured);
        versus.speedup = known.speedup;
        versus.speedup_low = known.speedup_low;
        versus.speedup_high = known.speedup_high;
        versus.basis.clone_from(&known.basis);
        versus.pairs.clone_from(&known.pairs);
        versus.observations.clone_from(&known.observations);
        Some(versus)
    }

    /// The case beside the baseline's, as far as that is measured.
    fn versus(&self, case: &Case, record: &Record) -> Option<Versus> {
        let resolved = self.options.resolved;
        let name = resolved.baseline();
        let baseline = resolved.variants.iter().position(|v| v.name == name)?;
        if baseline == case.variant {
            return None;
        }
        let other = self
            .sibling(case, baseline, |r| r.case.scenario == case.scenario && r.failure.is_none())?;
        Some(record.versus(other))
    }

    pub(super) fn record(
        &self,
        case: &Case,
        process: u32,
        started_at: String,
        result: &Result<Measured>,
    ) -> Record {
        let (measured, failure) = match result {
            Ok(measured) => (Some(measured), measured.late_failure.as_ref()),
            Err(error) => (None, Some(error)),
        };
        let resolved = self.options.resolved;
        let workload = &resolved.workload;
        let host = self.options.host;
        let variant = &resolved.variants[case.variant];
        let facts = measured.map(|m| &m.facts);
        let quality = measured
            .and_then(|m| m.quality.clone().or_else(|| self.quality_of(case)))
            .unwrap_or_default();
        let ops =
            measured.and_then(|m| m.ops.clone().or_else(|| self.ops_of(case))).unwrap_or_default();
        let mut reasons = measured.map(|m| m.reasons.clone()).unwrap_or_default();
        if let Some(error) = failure {
            reasons.push(format!("failed: {}", error.message()));
        }
        let meets_quality = workload.quality.as_ref().and_then(|spec| meets(spec, &quality));
        let mut record = Record {
            schema_version: store::SCHEMA_VERSION,
            run_id: self.options.run_dir.id(),
            started_at,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            case: case_record(case, variant, &workload.name, facts.map(|f| f.device.clone())),
            sha256: Hashes {
                variant: variant.sha256.clone(),
                data: resolved.data.sha256.clone(),
                workload: resolved.workload_sha256.clone(),
                runtime: facts.and_then(|f| f.runtime.sha256.clone()),
            },
            runtime_version: facts.map(|f| format!("{} {}", f.runtime.name, f.runtime.version)),
            baseline: Some(resolved.baseline().to_owned()),
            lineage: LineageRecord {
                parent: variant.lineage.parent.clone(),
                made_by: variant.lineage.made_by.clone(),
                upfront_cost_usd: variant.lineage.upfront_cost_usd,
                approval: variant.lineage.approval.map(|a| a.to_string()),
            },
            machine: Some(machine(host)),
            host_id: host.host_id.clone(),
            hardware_class: host.hardware_class.clone(),
            isa: host.cpu.isa.clone(),
            effective_cpus: CpuLimit {
                count: host.effective_cpus.count,
                reason: host.effective_cpus.reason.clone(),
                quota: host.effective_cpus.quota,
            },
            threads_used: case.threads_on(host.effective_cpus.count),
            process,
            round: 0,
            verdict: Verdict {
                valid: reasons.is_empty(),
                reasons,
                meets_quality,
                judged_by: workload.quality.as_ref().map(|q| q.metric.clone()),
                fewer_is_better: workload
                    .quality
                    .as_ref()
                    .is_some_and(QualitySpec::fewer_is_better),
            },
            latency_ms: measured.map(|m| m.summary.latency_ms.clone()).unwrap_or_default(),
            throughput_per_s: measured.and_then(|m| m.summary.throughput.clone()),
            quality,
            versus_baseline: None,
            timing_ms: measured.map(|m| TimingMs {
                load: m.facts.load.as_millis_f64(),
                compile: m.facts.compile.as_millis_f64(),
                first: m.first.as_millis_f64(),
                tuning: m.tuning.as_millis_f64(),
            }),
            memory_bytes: MemoryBytes {
                weights: variant.weights,
                peak_rss: measured.and_then(|m| m.peak_rss),
            },
            size_bytes: Bytes(variant.size.0),
            energy_j_per_inference: measured
                .and_then(|m| m.energy.as_ref())
                .map(|energy| energy.joules_per_inference),
            energy: measured.and_then(|m| m.energy.clone()),
            work: measured.and_then(|m| m.work.clone().or_else(|| self.work_of(case))),
            node_share: provider_shares(&ops),
            numerics: facts.map(numerics).unwrap_or_default(),
            ops,
            ceilings: measured.and_then(|m| m.ceilings).or_else(|| self.ceilings_of(case)),
            diagnoses: Vec::new(),
            load: measured.map(|m| m.load.clone()),
            telemetry: measured.map(|m| m.telemetry),
            observations: None,
            failure: failure.cloned(),
            provenance: match case.backend.engine {
                Engine::Mock => "mock".to_owned(),
                _ => "measured".to_owned(),
            },
        };
        record.versus_baseline = self.compared(case, &record, measured);
        record
    }
}

/// Engine, threads, sessions and batch: what the outputs of a variant may depend on.
fn composition(case: &Case) -> String {
    format!("{} {} {} {}", case.backend, case.threads, case.sessions, case.batching)
}

fn deciding<'a>(spec: &QualitySpec, quality: &'a [QualityFigure]) -> Option<&'a QualityFigure> {
    quality.iter().find(|figure| figure.metric == spec.metric && figure.segment == ALL)
}

/// Whether the deciding figure is within its bounds; `None` without a bound or a figure.
fn meets(spec: &QualitySpec, quality: &[QualityFigure]) -> Option<bool> {
    if spec.at_least.is_none() && spec.at_most.is_none() {
        return None;
    }
    let value = deciding(spec, quality)?.value;
    let enough = spec.at_least.is_none_or(|bound| value >= bound);
    Some(enough && spec.at_most.is_none_or(|bound| value <= bound))
}

fn case_record(case: &Case, variant: &Variant, model: &str, device: Option<String>) -> CaseRecord {
    CaseRecord {
        id: case.id.clone(),
        model: model.to_owned(),
        variant: variant.name.clone(),
        recipe: variant.recipe.to_string(),
        backend: case.backend.to_string(),
        device,
        batching: case.batching,
        sessions: case.sessions,
        threads: case.threads.to_string(),
        scenario: case.scenario.clone(),
    }
}

fn machine(host: &crate::hardware::Host) -> Machine {
    Machine {
        cpu_model: host.cpu.model.clone(),
        microarchitecture: host.cpu.microarchitecture.clone(),
        logical_cpus: host.cpu.logical_cpus,
        threads_per_core: host.threads_per_core,
        provider: host.cloud.provider.clone(),
        instance_type: host.cloud.instance_type.clone(),
        region: host.cloud.region.clone(),
    }
}
