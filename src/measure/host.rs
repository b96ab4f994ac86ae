//! The steering side of a worker: start it, ask it, notice when it dies.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::protocol::{Command, Event, from_rows};
use crate::backend;
use crate::error::{Error, ErrorKind, Result};
use crate::hardware::Quota;
use crate::load::Observation;
use crate::units::{Clock, Nanos, RealClock};

/// How often a wait looks for Ctrl-C.
const TICK: Duration = Duration::from_millis(50);
/// How long a worker may take to end once it was asked to.
const FAREWELL: Nanos = Nanos::from_secs(10);
/// Lines of a worker's standard error that are kept for its obituary.
const LAST_WORDS: usize = 8;

/// The program that speaks the worker's side of the protocol.
#[derive(Debug, Clone)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// CPUs' worth of time that it gets; all there is when `None`.
    pub cpus: Option<f64>,
}

impl WorkerCommand {
    /// This very binary.
    pub fn own() -> Result<Self> {
        let program = std::env::current_exe()
            .map_err(|e| Error::internal("worker", format!("cannot find our own program: {e}")))?;
        Ok(Self { program, args: vec!["worker".into()], cpus: None })
    }
}

/// A live worker process. Dropping it ends the process.
pub struct Worker {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    last_words: Arc<Mutex<VecDeque<String>>>,
    clock: RealClock,
    interrupted: Arc<AtomicBool>,
    /// Removed after the process: fields are dropped in order, and `drop` has ended it.
    _quota: Option<Quota>,
}

impl Worker {
    /// Starts a worker for sessions of `threads` threads each; `name` is what errors call it. Once
    /// `interrupted` is set, waiting for it ends with an error.
    pub fn start(
        command: &WorkerCommand,
        name: &str,
        threads: usize,
        interrupted: Arc<AtomicBool>,
    ) -> Result<Self> {
        let quota = command.cpus.map(Quota::new).transpose()?;
        let mut process = std::process::Command::new(&command.program);
        for unwanted in backend::UNWANTED {
            process.env_remove(unwanted);
        }
        let mut child = process
            .args(&command.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // ONNX Runtime from 1.31 on reports its use to its makers, from a thread in the measured
            // process, unless told not to; `with_telemetry(false)` does not reach it.
            .env("ORT_DISABLE_TELEMETRY", "1")
            .envs(backend::environment(threads))
            // Ctrl-C goes to the steering process, which decides what is kept.
            .process_group(0)
            .spawn()
            .map_err(|e| {
                Error::environment(command.program.display(), format!("cannot be started: {e}"))
                    .remedy("check that the program is there and may be executed")
            })?;
        // Before it is asked for anything: its threads are made later, inside.
        if let Some(quota) = &quota {
            quota.hold(child.id())?;
        }
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(Error::internal("worker", "was started without pipes"));
        };
        let (tx, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tx.send(line).is_err() {
                    return;
                }
            }
        });
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        let words = Arc::clone(&last_words);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let Ok(mut words) = words.lock() else { return };
                words.push_back(line);
                if words.len() > LAST_WORDS {
                    words.pop_front();
                }
            }
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            stdin: Some(stdin),
            lines,
            last_words,
            clock: RealClock::start(),
            interrupted,
            _quota: quota,
        })
    }

    /// Sends a command and waits for its closing event; observations that came before it are
    /// returned too.
    ///
    /// Errors: what the worker says it failed with; that it died and how; that it was silent for
    /// `patience`, upon which it is stopped; Ctrl-C.
    pub fn ask(&mut self, command: &Command, patience: Nanos) -> Result<(Event, Vec<Observation>)> {
        self.send(command)?;
        let mut observations = Vec::new();
        loop {
            match self.next_event(patience)? {
                Event::Observations { rows } => {
                    observations.extend(from_rows(&rows).ok_or_else(|| {
                        self.broken("sent an observation with a number out of range")
                    })?);
                }
                Event::Failed { error } => return Err(error),
                event => return Ok((event, observations)),
            }
        }
    }

    /// Lets the worker end by itself; one that doesn't is stopped.
    pub fn quit(mut self) -> Result<()> {
        self.ask(&Command::Quit, FAREWELL).map(drop)
    }

    /// Ends the worker and waits until its process is gone: what runs around it writes its result then.
    pub fn quit_and_wait(mut self, patience: Nanos) -> Result<()> {
        self.ask(&Command::Quit, patience)?;
        drop(self.stdin.take());
        let since = self.clock.now();
        while self.clock.now() - since < patience {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(_)) | Err(_) => return Err(self.obituary()),
                Ok(None) => std::thread::sleep(TICK),
            }
        }
        Err(self.broken("did not end when it was told to"))
    }

    /// An error about an answer that does not belong to the question.
    pub fn unexpected(&self, event: &Event) -> Error {
        let text = serde_json::to_string(event).unwrap_or_default();
        let start: String = text.chars().take(60).collect();
        self.broken(&format!("gave an answer that does not fit: {start}"))
    }

    fn send(&mut self, command: &Command) -> Result<()> {
        let mut line = serde_json::to_vec(command).map_err(|e| Error::internal("command", e))?;
        line.push(b'\n');
        let sent =
            self.stdin.as_mut().map(|stdin| stdin.write_all(&line).and_then(|()| stdin.flush()));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(self.obituary()),
        }
    }

    fn next_event(&mut self, patience: Nanos) -> Result<Event> {
        let since = self.clock.now();
        loop {
            if self.interrupted.load(Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::Interrupted, &self.name, "interrupted"));
            }
            match self.lines.recv_timeout(TICK) {
                Ok(line) => {
                    return serde_json::from_str(&line).map_err(|e| {
                        let start: String = line.chars().take(60).collect();
                        self.broken(&format!("sent a line that is no event ({e}): {start}"))
                    });
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(self.obituary()),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if self.clock.now() - since > patience {
                        // It may be stuck in native code; nothing gentler would reach it.
                        let _ = self.child.kill();
                        return Err(Error::worker(
                            &self.name,
                            format!("the worker was silent for {patience} and was stopped"),
                        )
                        .remedy("raise load.timeout_s if the model is slow, then --resume"));
                    }
                }
            }
        }
    }

    fn broken(&self, how: &str) -> Error {
        Error::worker(&self.name, format!("the worker {how}"))
            .remedy("docs/worker-protocol.md says what a worker must speak")
    }

    /// How the worker died, with its last words.
    fn obituary(&mut self) -> Error {
        let status = self.wait_briefly();
        let how = match status {
            Some(status) => match (status.signal(), status.code()) {
                (Some(9), _) => "was killed (signal 9; when nobody did, memory ran out)".to_owned(),
                (Some(signal), _) => format!("died of signal {signal}"),
                (None, Some(code)) => format!("ended with exit code {code}"),
                (None, None) => "ended".to_owned(),
            },
            None => "closed its output".to_owned(),
        };
        let words = self.last_words.lock().map(|w| Vec::from(w.clone())).unwrap_or_default();
        let words = if words.is_empty() {
            String::new()
        } else {
            format!(
                "; it last said:
    {}",
                words.join(
                    "
    "
                )
            )
        };
        Error::worker(&self.name, format!("the worker {how}{words}"))
            .remedy("other cases are kept; --resume measures this one again")
    }

    fn wait_briefly(&mut self) -> Option<ExitStatus> {
        let since = self.clock.now();
        while self.clock.now() - since < Nanos::from_secs(2) {
            if let Ok(Some(status)) = self.child.try_wait() {
                // What it wrote to standard error is still on its way to us.
                std::thread::sleep(TICK);
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // A worker ends when its input does, unless it is stuck in native code.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
