//! The one error type: what went wrong, with which thing, and what to do next.
//!
//! An [`Error`] always names its subject (a file, a key, a case, a tool). It crosses the worker
//! protocol unchanged, so a bad model found in a child process reads the same as one found here.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Result with Infermark's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose move it is after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The user's file, key or argument cannot be used as it is; retrying changes nothing.
    Input,
    /// Something on this machine is missing or full: a library, a tool, disk space.
    Environment,
    /// A worker process died, hung or broke the protocol.
    Worker,
    /// The user pressed Ctrl-C or the process was asked to end.
    Interrupted,
    /// A rule of our own was broken; please report it.
    Internal,
}

/// What went wrong, with which thing, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    subject: String,
    message: String,
    remedy: Option<String>,
}

impl Error {
    /// An error of `kind` about `subject`.
    pub fn new(kind: ErrorKind, subject: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self { kind, subject: subject.to_string(), message: message.to_string(), remedy: None }
    }

    /// The user's own input cannot be used.
    pub fn input(subject: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Input, subject, message)
    }

    /// The machine lacks something.
    pub fn environment(subject: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Environment, subject, message)
    }

    /// A worker process died, hung or broke the protocol.
    pub fn worker(subject: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Worker, subject, message)
    }

    /// One of our own rules was broken.
    pub fn internal(subject: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Internal, subject, message)
            .remedy("this is a defect of infermark; please report it with the command you ran")
    }

    /// A failed file operation; the operating system's own words are kept.
    pub fn io(path: &std::path::Path, doing: &str, source: &std::io::Error) -> Self {
        let error = Self::environment(path.display(), format!("cannot {doing}: {source}"));
        match source.kind() {
            std::io::ErrorKind::NotFound => error.remedy("check the path; nothing is there"),
            std::io::ErrorKind::PermissionDenied => {
                error.remedy("check the permissions of the file and its folder")
            }
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                error.remedy("free some disk space, then continue with --resume")
            }
            std::io::ErrorKind::NotADirectory => {
                error.remedy("a part of the path is a file; name another folder")
            }
            _ => error.remedy("check the path and the disk, then run again"),
        }
    }

    /// Adds what the user can do next.
    #[must_use]
    pub fn remedy(mut self, remedy: impl fmt::Display) -> Self {
        self.remedy = Some(remedy.to_string());
        self
    }

    /// Whose move it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the user can do next.
    pub fn remedy_text(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// The message without subject and remedy.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n  try: {remedy}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_subject_message_and_remedy() {
        let error = Error::input("model.onnx", "is empty").remedy("export it again");
        assert_eq!(error.to_string(), "model.onnx: is empty\n  try: export it again");
    }

    #[test]
    fn crosses_the_protocol_unchanged() {
        let error = Error::worker("case a1", "died").remedy("--resume");
        let line = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<Error>(&line).unwrap(), error);
    }
}
