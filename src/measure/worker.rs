//! The worker's side: one process, one case, commands in and events out.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc;

use super::protocol::{Burst, Command, Event, Loaded, PrepareSpec, RunSpec, WINDOW_ROWS, to_rows};
use super::shapes::shapes;
use super::target::SessionTarget;
use crate::backend::{self, Prepared, Session, Trace};
use crate::error::{Error, Result};
use crate::hardware::{Pressure, Sampler, process_use};
use crate::load::{
    self, Engine, Observation, SampleOrder, Scenario, Served, Setup, Source, Stop, Target,
};
use crate::units::{Clock, Nanos, RealClock, VirtualClock};
use crate::variant::{self, Tensors};
use crate::workload::Dataset;

/// Least batches that warm a session up, whatever the time they take.
const LEAST_WARM_BATCHES: u32 = 3;
/// Requests of an offline load at most: each is held in memory.
const MOST_OFFLINE: u32 = 10_000_000;
/// An open load's ramp is this part of its window: its queue fills up first.
const RAMP_SHARE: u64 = 10;

/// Serves commands from standard input until `quit` or until the steering process is gone.
///
/// Anything a library prints goes to standard error: standard output belongs to the protocol.
pub fn serve() -> Result<()> {
    serve_with(&|session| session)
}

/// What is put around every session that bursts and loads run on.
type Wrap<'a> = &'a dyn Fn(Box<dyn Session>) -> Box<dyn Session>;

/// [`serve`], each prepared session handed to `wrap` first: benches hold gates against sessions that do
/// more than the model asks for.
pub fn serve_with(wrap: Wrap<'_>) -> Result<()> {
    exit_on_panic();
    let mut out = Events::take_stdout()?;
    let commands = read_commands();
    let mut prepared: Option<Ready> = None;
    let mut last: Option<Box<dyn Session>> = None;
    while let Ok(line) = commands.recv() {
        let event = match serde_json::from_str::<Command>(&line) {
            Ok(Command::Quit) => {
                out.send(&Event::Bye)?;
                return Ok(());
            }
            Ok(Command::Prepare(spec)) => Ready::new(*spec, wrap).map(|(ready, facts)| {
                prepared = Some(ready);
                Event::Prepared { facts }
            }),
            Ok(Command::Run(spec)) => run_all(&spec, &mut last),
            Ok(Command::Cover { model, backend, options }) => {
                backend::open(&backend, Arc::new(VirtualClock::default()))
                    .and_then(|engine| engine.coverage(&model, &options))
                    .map(Event::Covered)
            }
            Ok(command) => match &mut prepared {
                Some(ready) => ready.carry_out(command, &mut out),
                None => Err(Error::internal("worker", "was commanded before `prepare`")),
            },
            Err(e) => Err(Error::internal("worker", format!("cannot read a command: {e}"))),
        };
        out.send(&event.unwrap_or_else(|error| Event::Failed { error }))?;
    }
    Ok(())
}

/// Runs a model on each sample and writes what it gave; its session is kept as the `last` one.
fn run_all(spec: &RunSpec, last: &mut Option<Box<dyn Session>>) -> Result<Event> {
    let inputs = Tensors::read(&spec.inputs)?;
    let mut session = if let Some(session) = last.take().filter(|_| spec.again) {
        session
    } else {
        let engine = backend::open(&spec.backend, Arc::new(VirtualClock::default()))?;
        engine.prepare(&spec.variant, &spec.options)?.spawn()?
    };
    let mut outputs = Tensors::default();
    for (at, sample) in inputs.unstacked(spec.samples).iter().enumerate() {
        outputs.stack(at, session.run(sample, &mut Trace::default())?);
    }
    outputs.write(&spec.outputs)?;
    *last = Some(session);
    Ok(Event::Ran)
}

/// A panic on any thread ends the process: a worker that lost a thread must not look alive.
fn exit_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        #[expect(clippy::exit, reason = "the process is a case's; its end is the outcome")]
        std::process::exit(101);
    }));
}

/// Commands as they come. When the steering process is gone the input ends, and so does the
/// worker at once, in the middle of whatever it runs.
fn read_commands() -> mpsc::Receiver<String> {
    let (tx, rx) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if tx.send(line).is_err() {
                return;
            }
        }
        #[expect(clippy::exit, reason = "nobody is left to answer to")]
        std::process::exit(0);
    });
    rx
}

/// Where events go: what standard output was when the process started.
struct Events {
    out: std::fs::File,
}

impl Events {
    fn take_stdout() -> Result<Self> {
        let fail = |e: &dyn std::fmt::Display| Error::internal("worker", e);
        let own = std::io::stdout().as_fd().try_clone_to_owned().map_err(|e| fail(&e))?;
        rustix::stdio::dup2_stdout(std::io::stderr().as_fd()).map_err(|e| fail(&e))?;
        Ok(Self { out: own.into() })
    }

    fn send(&mut self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_vec(event).map_err(|e| Error::internal("event", e))?;
        line.push(b'\n');
        self.out
            .write_all(&line)
            .map_err(|e| Error::worker("worker", format!("the steering process is gone: {e}")))
    }

    fn observations(&mut self, observations: &[Observation]) -> Result<()> {
        for window in observations.chunks(WINDOW_ROWS) {
            self.send(&Event::Observations { rows: to_rows(window) })?;
        }
        Ok(())
    }
}

/// A prepared case.
struct Ready {
    spec: PrepareSpec,
    prepared: Box<dyn Prepared>,
    sessions: Vec<Box<dyn Session>>,
    data: Dataset,
    clock: Arc<dyn Clock>,
    /// Of the last load, until they are fetched.
    observations: Vec<Observation>,
    /// Samples a second of the warm-up.
    warm_rate: f64,
}

impl Ready {
    fn new(spec: PrepareSpec, wrap: Wrap<'_>) -> Result<(Self, backend::PreparedFacts)> {
        let virtual_clock = Arc::new(VirtualClock::default());
        let engine = backend::open(&spec.backend, Arc::clone(&virtual_clock))?;
        let clock: Arc<dyn Clock> = match spec.backend.engine {
            variant::Engine::Mock => virtual_clock,
            _ => Arc::new(RealClock::start()),
        };
        let data = Dataset::read(&spec.data)?;
        let prepared = engine.prepare(&spec.variant, &spec.options)?;
        let sessions =
            (0..spec.sessions).map(|_| prepared.spawn().map(wrap)).collect::<Result<Vec<_>>>()?;
        let facts = prepared.facts().clone();
        let observations = Vec::new();
        let ready = Self { spec, prepared, sessions, data, clock, observations, warm_rate: 0.0 };
        Ok((ready, facts))
    }

    fn carry_out(&mut self, command: Command, out: &mut Events) -> Result<Event> {
        match command {
            Command::Warm { duration } => self.warm(duration),
            Command::Burst(burst) => self.burst(burst, out),
            Command::Load { duration, min_batches } => self.load(duration, min_batches),
            Command::Fetch => {
                out.observations(&std::mem::take(&mut self.observations))?;
                Ok(Event::Fetched)
            }
            Command::Outputs { output, from, to } => self.outputs(output.as_deref(), from, to),
            Command::Inspect { profile } => {
                let batch = self.first_batch()?;
                let shape = |(name, tensor): &(String, variant::Tensor)| {
                    (name.clone(), tensor.shape().to_vec())
                };
                let shapes = batch.0.iter().map(shape).collect();
                let inspection = self.prepared.inspect(&batch, profile)?;
                Ok(Event::Inspected { inspection, shapes })
            }
            Command::Prepare(_) | Command::Run(_) | Command::Cover { .. } | Command::Quit => {
                Err(Error::internal("worker", "was prepared twice"))
            }
        }
    }

    fn batch_size(&self) -> usize {
        self.spec.batching.size().max(1) as usize
    }

    /// The first samples of the set as one batch.
    fn first_batch(&self) -> Result<Tensors> {
        let mut batch = Tensors::default();
        let samples = self.data.samples().iter().cycle().take(self.batch_size());
        let padding = &self.data.about().padding;
        if batch.assemble_padded(&samples, padding, &self.spec.buckets).is_some() {
            return Ok(batch);
        }
        Err(Error::input("data", "samples of a batch differ in shape")
            .remedy("pad them to one shape, or use batches of 1"))
    }

    /// The first inference on its own, then every size and length of a batch on every session, then all
    /// sessions at once for `duration`.
    fn warm(&mut self, duration: Nanos) -> Result<Event> {
        let largest = self.spec.batching.size();
        let mut first = None;
        let shapes = shapes(&self.data, self.spec.batching, &self.spec.buckets);
        for session in &mut self.sessions {
            let mut target =
                SessionTarget::new(session.as_mut(), &self.data).padded_to(&self.spec.buckets);
            let (before, tuned) = (self.clock.now(), self.prepared.tuning());
            target.run(0..largest)?;
            // Measuring kernels is no part of an inference.
            let tuning = self.prepared.tuning() - tuned;
            first.get_or_insert((self.clock.now() - before) - tuning);
            for (sample, size) in &shapes {
                target.run(std::iter::repeat_n(*sample, *size as usize))?;
            }
        }
        let sessions = u32::from(self.spec.sessions);
        let min_batches = LEAST_WARM_BATCHES * sessions;
        // An open load's own pace would leave sessions idle, and a queue that grows while the first
        // inferences take long would be warmed up with.
        let clients = match self.spec.scenario.outstanding(self.spec.batching) {
            Some(outstanding) => outstanding,
            None => largest * sessions,
        };
        let (served, targets) = self.drive(
            Source::Clients(clients),
            Stop::After { duration, min_batches, skip_ramp: false },
        );
        if let Some(error) = targets.into_iter().find_map(|t| t.first_error) {
            return Err(error);
        }
        let span = served.window.end - served.window.start;
        let batches: BTreeSet<u32> = served.observations.iter().map(|o| o.batch).collect();
        self.warm_rate = served.observations.len() as f64 / span.as_secs_f64().max(1e-9);
        let batches = u32::try_from(batches.len()).unwrap_or(u32::MAX);
        let first = first.unwrap_or_default();
        let tuning = self.prepared.tuning();
        Ok(Event::Warmed { first, batches, peak_rss: process_use().peak_rss, tuning })
    }

    fn burst(&mut self, burst: Burst, out: &mut Events) -> Result<Event> {
        let batches = burst.samples.len() / self.batch_size();
        let stop = Stop::Batches(u32::try_from(batches).unwrap_or(u32::MAX));
        let order = SampleOrder::listed(burst.samples);
        let engine = Engine::new(Setup {
            source: Source::Clients(self.spec.batching.size()),
            batching: self.spec.batching,
            sessions: 1,
            queue: None,
            samples: order,
        });
        let session =
            self.sessions.first_mut().ok_or_else(|| Error::internal("worker", "has no session"))?;
        let mut target =
            SessionTarget::new(session.as_mut(), &self.data).padded_to(&self.spec.buckets);
        let served = {
            let mut targets: Vec<Box<dyn Target + '_>> = vec![Box::new(&mut target)];
            load::drive(engine, &mut targets, self.clock.as_ref(), stop)
        };
        if let Some(error) = target.first_error {
            return Err(error);
        }
        out.observations(&served.observations)?;
        Ok(Event::BurstDone)
    }

    fn load(&mut self, duration: Nanos, min_batches: u32) -> Result<Event> {
        let (source, stop) = self.source(duration, min_batches)?;
        let clock = RealClock::start();
        let sampler = Sampler::start(self.spec.backend.nvidia());
        let (pressure, used) = (Pressure::now(), process_use());
        let (served, targets) = self.drive(source, stop);
        let (pressure, counted) = (Pressure::now().since(pressure), clock.now());
        let used_after = process_use();
        let samples = sampler.stop();
        let mut loaded = Loaded {
            start: served.window.start,
            end: served.window.end,
            shape_misses: None,
            outputs_checked: 0,
            outputs_differing: 0,
            values: 0,
            padded: 0,
            padding_tenths: [0; 10],
            first_error: None,
            counted,
            worker_ticks: used_after.cpu_ticks.saturating_sub(used.cpu_ticks),
            total_ticks: pressure.total_ticks,
            busy_ticks: pressure.busy_ticks,
            steal_ticks: pressure.steal_ticks,
            throttled_ns: pressure.throttled_ns(),
            samples,
            carried: served.carried,
        };
        for mut target in targets {
            if let Some(misses) = target.shape_misses {
                *loaded.shape_misses.get_or_insert(0) += misses;
            }
            loaded.values += target.padding.values;
            loaded.padded += target.padding.padded;
            for (all, own) in loaded.padding_tenths.iter_mut().zip(target.padding_tenths) {
                *all += own;
            }
            loaded.first_error = loaded.first_error.or_else(|| target.first_error.take());
            let (checked, differing) = target.check_outputs()?;
            loaded.outputs_checked += checked;
            loaded.outputs_differing += differing;
        }
        self.observations = served.observations;
        Ok(Event::Loaded(Box::new(loaded)))
    }

    /// Where the case's requests come from, and when its load stops.
    fn source(&self, duration: Nanos, min_batches: u32) -> Result<(Source, Stop)> {
        let batching = self.spec.batching;
        Ok(match &self.spec.scenario {
            Scenario::Single => {
                let stop = Stop::After { duration, min_batches, skip_ramp: true };
                (Source::Clients(batching.size()), stop)
            }
            Scenario::Closed { concurrency } => {
                let stop = Stop::After { duration, min_batches, skip_ramp: true };
                (Source::Clients(*concurrency), stop)
            }
            Scenario::Open(open) => {
                let ramp = Nanos(duration.0 / RAMP_SHARE);
                let times = load::schedule(open, ramp + duration, self.spec.seed)?;
                if times.last().is_none_or(|last| *last < ramp) {
                    return Err(Error::input(
                        "load.scenarios",
                        format!("{open}: no request is due in the window"),
                    )
                    .remedy(
                        "raise the rate or load.duration_s; a trace counts seconds from its start",
                    ));
                }
                (Source::Schedule(times), Stop::Open { ramp, duration, grace: self.spec.drain })
            }
            Scenario::Offline => {
                let wanted = self.warm_rate * duration.as_secs_f64();
                let least = batching.size().saturating_mul(min_batches);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "casts of floats saturate"
                )]
                let wanted = (wanted as u32).clamp(least, MOST_OFFLINE.max(least));
                // Fixed batches are all full.
                let all = wanted.next_multiple_of(batching.least());
                (Source::All(all), Stop::Drained)
            }
        })
    }

    /// Runs a load, and gives back each session's target for what it noticed.
    fn drive(&mut self, source: Source, stop: Stop) -> (Served, Vec<SessionTarget<'_>>) {
        let samples = u32::try_from(self.data.samples().len()).unwrap_or(u32::MAX);
        // Clients and what is there at the start may all wait; the bound is for those who come.
        let queue = self.spec.queue.filter(|_| matches!(source, Source::Schedule(_)));
        let engine = Engine::new(Setup {
            source,
            batching: self.spec.batching,
            sessions: self.spec.sessions,
            queue,
            samples: SampleOrder::shuffled(samples, self.spec.seed),
        });
        let buckets = &self.spec.buckets;
        let mut targets: Vec<SessionTarget<'_>> = self
            .sessions
            .iter_mut()
            .map(|session| SessionTarget::new(session.as_mut(), &self.data).padded_to(buckets))
            .collect();
        let served = {
            let mut boxed: Vec<Box<dyn Target + '_>> =
                targets.iter_mut().map(|t| Box::new(t) as Box<dyn Target + '_>).collect();
            load::drive(engine, &mut boxed, self.clock.as_ref(), stop)
        };
        (served, targets)
    }

    /// The output of each sample, run in batches of the case's size. The last batch is filled up
    /// with the samples that follow, from the start of the set if need be; their answers are
    /// dropped.
    fn outputs(&mut self, output: Option<&str>, from: u32, to: u32) -> Result<Event> {
        let samples = u32::try_from(self.data.samples().len()).unwrap_or(u32::MAX);
        let size = self.spec.batching.size();
        let session =
            self.sessions.first_mut().ok_or_else(|| Error::internal("worker", "has no session"))?;
        let mut target =
            SessionTarget::new(session.as_mut(), &self.data).padded_to(&self.spec.buckets);
        let (mut rows, mut width, mut integers) = (Vec::new(), 1, false);
        let mut next = from;
        while next < to {
            let outputs = target.run((next..next + size).map(|i| i % samples))?;
            let found = match output {
                Some(name) => outputs.get(name),
                None => outputs.0.first().map(|(_, tensor)| tensor),
            };
            let wrong = |message: String| {
                let name = output.unwrap_or("the first output");
                Error::input(format!("quality: {name}"), message)
                    .remedy("name an output with the batch as its first axis in quality.output")
            };
            let Some(tensor) = found else {
                return Err(wrong("is not among the outputs".to_owned()));
            };
            if tensor.shape().first() != Some(&(size as usize)) || tensor.data().is_empty() {
                let shape = tensor.shape();
                return Err(wrong(format!(
                    "has shape {shape:?}, not a row for each of {size} samples"
                )));
            }
            integers = tensor.dtype().is_integer();
            width = if tensor.shape().len() > 1 { *tensor.shape().last().unwrap_or(&1) } else { 1 };
            let values = tensor.to_f32();
            let row = values.len() / size as usize;
            let bits = |row: &[f32]| row.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
            rows.extend(values.chunks_exact(row).take((to - next) as usize).map(bits));
            next += size;
        }
        Ok(Event::Outputs { rows, width, integers })
    }
}
