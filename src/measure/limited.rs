//! A foreign command with input, output and a time limit: a scorer, a look at a driver.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::units::{Bytes, Clock, Nanos, RealClock};

/// How often it is looked at.
const TICK: Duration = Duration::from_millis(10);
/// How long its output may come after its end.
const GRACE: Duration = Duration::from_millis(500);
/// More than this is not taken from a command.
const MOST_OUTPUT: u64 = 64 << 20;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It ended well and printed this.
    Fine(String),
    /// It could not be started.
    NotStarted(String),
    /// It ended otherwise; the last lines of its standard error.
    Failed {
        /// Exit code or signal, in words.
        how: String,
        /// The last lines of its standard error.
        said: String,
    },
    /// The time was over and it was stopped.
    TookTooLong,
    /// Ctrl-C.
    Interrupted,
}

/// Runs `command` in a process group of its own, writes `input` to it and waits at most `limit`.
///
/// Whatever it started is ended with it.
pub fn run_limited(
    mut command: Command,
    input: Vec<u8>,
    limit: Nanos,
    interrupted: Option<&AtomicBool>,
) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return Ended::NotStarted(e.to_string()),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A command that reads nothing closes the pipe: that is its choice.
        std::thread::spawn(move || drop(stdin.write_all(&input)));
    }
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    let text = |from: &Option<Receiver<Output>>| match from {
        // What left the group may hold the pipe for ever.
        Some(from) => from.recv_timeout(GRACE).ok(),
        None => Some(Output::All(String::new())),
    };
    let clock = RealClock::start();
    let group = rustix::process::Pid::from_child(&child);
    let stop = |child: &mut std::process::Child| {
        // The group is gone already when the command ended by itself.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = child.wait();
    };
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                // What it left running must not hold its output open.
                stop(&mut child);
                let (out, said) = (text(&stdout), text(&stderr));
                return match (out, said) {
                    (Some(Output::TooMuch), _) => Ended::Failed {
                        how: format!("more than {} of output", Bytes(MOST_OUTPUT)),
                        said: String::new(),
                    },
                    (Some(Output::All(out)), _) if status.success() => Ended::Fine(out),
                    (None, _) if status.success() => Ended::Failed {
                        how: "a process left behind that holds its output open".to_owned(),
                        said: String::new(),
                    },
                    (_, said) => {
                        let said = match said {
                            Some(Output::All(said)) => said,
                            _ => String::new(),
                        };
                        let lines: Vec<&str> =
                            said.lines().filter(|l| !l.trim().is_empty()).collect();
                        let last = lines[lines.len().saturating_sub(3)..].join("\n    ");
                        Ended::Failed { how: how(status), said: last }
                    }
                };
            }
            Ok(None) if interrupted.is_some_and(|flag| flag.load(Ordering::SeqCst)) => {
                stop(&mut child);
                return Ended::Interrupted;
            }
            Ok(None) if clock.now() < limit => std::thread::sleep(TICK),
            Ok(None) => {
                stop(&mut child);
                return Ended::TookTooLong;
            }
            Err(e) => {
                stop(&mut child);
                return Ended::NotStarted(e.to_string());
            }
        }
    }
}

/// What was read of a pipe.
enum Output {
    All(String),
    TooMuch,
}

fn collect(mut from: impl Read + Send + 'static) -> Receiver<Output> {
    let (tx, rx) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is what there is.
        let _ = from.by_ref().take(MOST_OUTPUT).read_to_end(&mut bytes);
        let read = if bytes.len() as u64 == MOST_OUTPUT {
            // Read on, so that the command ends by itself and not by a broken pipe.
            let _ = std::io::copy(&mut from, &mut std::io::sink());
            Output::TooMuch
        } else {
            Output::All(String::from_utf8_lossy(&bytes).into_owned())
        };
        let _ = tx.send(read);
    });
    rx
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit_ms: u64) -> Ended {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run_limited(command, b"hello".to_vec(), Nanos::from_millis(limit_ms), None)
    }

    #[test]
    fn every_end_is_told() {
        assert_eq!(sh("cat", 10_000), Ended::Fine("hello".to_owned()));
        let failed = Ended::Failed { how: "exit code 3".into(), said: "no".into() };
        assert_eq!(sh("echo no >&2; exit 3", 10_000), failed);
        assert_eq!(sh("sleep 60 & sleep 60", 100), Ended::TookTooLong);
        // A child left behind holds the pipe; it is ended too.
        assert_eq!(sh("sleep 60 & echo done", 10_000), Ended::Fine("done\n".to_owned()));
        // One that left the group holds the pipe too, but nobody waits for it.
        let left = sh("setsid sleep 20 & echo done", 10_000);
        assert!(
            matches!(&left, Ended::Failed { how, .. } if how.contains("left behind")),
            "{left:?}"
        );
        let much = sh("head -c 70000000 /dev/zero", 20_000);
        assert!(
            matches!(&much, Ended::Failed { how, .. } if how.contains("more than")),
            "{much:?}"
        );
        let nothing = Command::new("/no/such/command");
        let ended = run_limited(nothing, Vec::new(), Nanos::from_secs(1), None);
        assert!(matches!(ended, Ended::NotStarted(_)), "{ended:?}");
    }
}
