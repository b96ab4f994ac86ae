//! The cases a run will measure, listed before it starts.

use serde::Serialize;

use super::file::Threads;
use super::resolve::Resolved;
use crate::artifact::sha256_bytes;
use crate::error::{Error, Result};
use crate::graph::Dim;
use crate::load::{self, Arrivals, Batching, Open, Scenario};
use crate::units::Nanos;
use crate::variant::{BackendId, Engine, Variant};

/// variant × backend × batching × threads × scenario: one thing measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Hash of the case as requested, the variant's and the data's: the same on every machine.
    pub id: String,
    /// Index into [`Resolved::variants`].
    pub variant: usize,
    /// Where it runs.
    pub backend: BackendId,
    /// How requests become batches.
    pub batching: Batching,
    /// Sessions that serve at once.
    pub sessions: u16,
    /// Threads a session, as requested.
    pub threads: Threads,
    /// How requests come.
    pub scenario: Scenario,
}

/// A combination of the workload's lists that can never run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// What it is.
    pub case: String,
    /// Why it can't run.
    pub reason: String,
}

/// What a run will measure, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The cases.
    pub cases: Vec<Case>,
    /// Combinations that can't run; shown, never silently dropped.
    pub excluded: Vec<Excluded>,
}

impl Plan {
    /// The cross product of a workload's lists.
    ///
    /// An error when nothing of it can run.
    pub fn of(resolved: &Resolved) -> Result<Self> {
        let workload = &resolved.workload;
        let mut plan = Self { cases: Vec::new(), excluded: Vec::new() };
        let fixed_batch = fixed_batch(resolved);
        let is_free = |input: &crate::graph::ValueSpec| {
            input.dims.len() == 2 && !matches!(input.dims[1], Dim::Fixed(_))
        };
        if !workload.load.buckets.is_empty() && !resolved.outline.inputs.iter().any(is_free) {
            return Err(Error::input(
                "load.buckets",
                "the model has no input of a free length to pad",
            )
            .remedy(
                "buckets are lengths of inputs with two axes, batch and length; leave them out",
            ));
        }
        // The model first, then the baseline: the others are compared with them.
        let baseline = resolved.baseline();
        let mut order: Vec<usize> = (0..resolved.variants.len()).collect();
        order.sort_by_key(|i| (*i != 0, resolved.variants[*i].name != baseline));
        for index in order {
            let variant = &resolved.variants[index];
            for backend in &workload.backends.ids {
                for &threads in &workload.backends.threads {
                    for &sessions in &workload.load.sessions {
                        for &batching in &workload.load.batching {
                            for scenario in &workload.load.scenarios {
                                let case = Case {
                                    id: String::new(),
                                    variant: index,
                                    backend: backend.clone(),
                                    batching,
                                    sessions,
                                    threads,
                                    scenario: scenario.clone(),
                                };
                                plan.add(case, variant, resolved, fixed_batch)?;
                            }
                        }
                    }
                }
            }
        }
        match plan.excluded.first() {
            Some(Excluded { case, reason }) if plan.cases.is_empty() => {
                Err(Error::input("plan", format!("nothing can run; {case}: {reason}"))
                    .remedy("change load.scenarios, load.batching or load.sessions"))
            }
            _ => Ok(plan),
        }
    }

    fn add(
        &mut self,
        mut case: Case,
        variant: &Variant,
        resolved: &Resolved,
        fixed_batch: Option<usize>,
    ) -> Result<()> {
        let batch = case.batching.size() as usize;
        let impossible = case.scenario.impossible_with(case.batching).or_else(|| {
            if let Some(fixed) = fixed_batch
                && (fixed != batch || fixed != case.batching.least() as usize)
            {
                return Some(format!("the model takes batches of exactly {fixed}"));
            }
            if case.backend.engine == Engine::Mock && case.sessions > 1 {
                return Some("the mock's virtual clock serves one session".to_owned());
            }
            let least = case.batching.least() as usize;
            let queue = resolved.workload.load.queue;
            if let (Scenario::Open(_), Some(queue)) = (&case.scenario, queue)
                && queue < least
            {
                return Some(format!("a queue of {queue} never holds a batch of {least}"));
            }
            let outstanding = case.scenario.outstanding(case.batching)? as usize;
            (usize::from(case.sessions) > 1 && outstanding < least * usize::from(case.sessions))
                .then(|| {
                    format!(
                        "{outstanding} outstanding requests never occupy {} sessions",
                        case.sessions
                    )
                })
        });
        if let Some(reason) = impossible {
            self.excluded.push(Excluded { case: case.label(&variant.name), reason });
            return Ok(());
        }
        case.id = case.hash(variant, resolved)?;
        if self.cases.iter().all(|other| other.id != case.id) {
            self.cases.push(case);
        }
        Ok(())
    }
}

/// A scenario with its trace's name in place of its path, which differs from machine to machine.
fn named(scenario: &Scenario) -> Scenario {
    let mut scenario = scenario.clone();
    if let Scenario::Open(Open { arrivals: Arrivals::Trace { file }, .. }) = &mut scenario
        && let Some(name) = file.file_name()
    {
        *file = name.into();
    }
    scenario
}

/// The batch that the model's signature fixes, if it does.
fn fixed_batch(resolved: &Resolved) -> Option<usize> {
    resolved.outline.inputs.iter().find_map(|input| match input.dims.first() {
        Some(Dim::Fixed(size)) => Some(*size),
        _ => None,
    })
}

impl Case {
    /// Threads that each session gets on a machine with this many effective CPUs.
    pub fn threads_on(&self, effective_cpus: usize) -> usize {
        match self.threads {
            Threads::Count(n) => n,
            Threads::Auto => (effective_cpus / usize::from(self.sessions.max(1))).max(1),
        }
    }

    /// For people: `fp32 ort:cpu fixed 8 closed 16 ×1`.
    pub fn label(&self, variant: &str) -> String {
        format!(
            "{variant} {} {} {} {} session{} × {} threads",
            self.backend,
            self.batching,
            self.scenario,
            self.sessions,
            if self.sessions == 1 { "" } else { "s" },
            self.threads,
        )
    }

    /// Hash of the trace that requests follow, which is read through once: what is wrong with it is said
    /// before anything is measured.
    fn trace_sha256(&self, resolved: &Resolved) -> Result<Option<String>> {
        let scenario = resolved.located(&self.scenario);
        let Scenario::Open(open @ Open { arrivals: Arrivals::Trace { file }, .. }) = &scenario
        else {
            return Ok(None);
        };
        load::schedule(open, Nanos::from_secs(86_400), 0)?;
        crate::artifact::sha256_file(file).map(Some)
    }

    /// The first 12 hex digits of a SHA-256 over all that is requested.
    fn hash(&self, variant: &Variant, resolved: &Resolved) -> Result<String> {
        #[derive(Serialize)]
        struct Requested<'a> {
            model: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            variant: Option<&'a str>,
            variant_sha256: &'a str,
            data_sha256: &'a str,
            backend: &'a BackendId,
            batching: Batching,
            sessions: u16,
            threads: Threads,
            scenario: &'a Scenario,
            #[serde(skip_serializing_if = "Option::is_none")]
            trace_sha256: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            queue: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            cpus: Option<f64>,
            #[serde(skip_serializing_if = "<[usize]>::is_empty")]
            buckets: &'a [usize],
            optimization: crate::variant::Optimization,
            spinning: bool,
            /// Of engines that could: an id from before they could stays what it was.
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            untuned: bool,
        }
        let requested = Requested {
            model: &resolved.workload.name,
            // Two names for the same bytes are two cases.
            variant: variant.lineage.parent.is_some().then_some(&variant.name),
            variant_sha256: &variant.sha256,
            data_sha256: &resolved.data.sha256,
            backend: &self.backend,
            batching: self.batching,
            sessions: self.sessions,
            threads: self.threads,
            scenario: &named(&self.scenario),
            trace_sha256: self.trace_sha256(resolved)?,
            queue: resolved
                .workload
                .load
                .queue
                .filter(|_| matches!(self.scenario, Scenario::Open(_))),
            cpus: resolved.workload.deployment.map(|d| d.cpus),
            buckets: &resolved.workload.load.buckets,
            optimization: resolved.workload.backends.optimization,
            spinning: resolved.workload.backends.spinning,
            untuned: self.backend.engine == Engine::Wgpu && !resolved.workload.backends.autotune,
        };
        let text = serde_json::to_string(&requested).map_err(|e| Error::internal("case", e))?;
        Ok(sha256_bytes(text.as_bytes())[..12].to_owned())
    }
}
