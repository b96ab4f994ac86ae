//! What `--baseline` and `--candidate` name.

use std::path::Path;

use crate::artifact::{Source, sha256_bytes, sha256_file};
use crate::error::{Error, Result};
use crate::measure::{Arena, Side, WorkerCommand};
use crate::settings::Settings;
use crate::variant::Engine;
use crate::workload::{self, Case, Plan, Resolved, Split};

/// One of the two as it was named.
pub(super) enum Reference {
    /// A variant of the workload.
    Variant(usize),
    /// Another model on the same data.
    Model(Box<Resolved>),
    /// Another program that serves the workload's model.
    Program(WorkerCommand),
}

impl Reference {
    /// What `text`, given to `flag`, names.
    pub(super) fn parse(
        flag: &str,
        text: &str,
        resolved: &Resolved,
        settings: &Settings,
    ) -> Result<Self> {
        if let Some(path) = text.strip_prefix("program:") {
            let path = Path::new(path);
            if !path.is_file() {
                return Err(Error::input(format!("{flag} {text}"), "is not there")
                    .remedy("give the path of another build of infermark"));
            }
            let program = path.canonicalize().map_err(|e| Error::io(path, "find", &e))?;
            let args = vec!["worker".into()];
            return Ok(Self::Program(WorkerCommand { program, args, cpus: None }));
        }
        if let Some(words) = text.strip_prefix("command:") {
            let mut words = words.split_whitespace();
            let program = words.next().ok_or_else(|| {
                Error::input(format!("{flag} {text}"), "names no program")
                    .remedy("write the program and its arguments: command:python3 server.py")
            })?;
            let args = words.map(Into::into).collect();
            return Ok(Self::Program(WorkerCommand { program: program.into(), args, cpus: None }));
        }
        if let Some(at) = resolved.variants.iter().position(|v| v.name == text) {
            return Ok(Self::Variant(at));
        }
        let path = Path::new(text);
        if path.is_file() && path.extension().is_none_or(|e| e != "onnx" && e != "json") {
            return Err(Error::input(format!("{flag} {text}"), "is no model").remedy(format!(
                "for another build of infermark write program:{text}; models end in .onnx"
            )));
        }
        if path.exists() {
            return Self::model(path, resolved, settings);
        }
        let names: Vec<&str> = resolved.variants.iter().map(|v| v.name.as_str()).collect();
        Err(Error::input(
            format!("{flag} {text}"),
            "is neither a variant of the workload nor a file",
        )
        .remedy(format!(
            "name one of {}, a model's path, program:PATH or command:WORDS",
            names.join(", ")
        )))
    }

    /// Another model on the workload's data.
    pub(super) fn model(path: &Path, resolved: &Resolved, settings: &Settings) -> Result<Self> {
        let mut workload = resolved.workload.clone();
        let path = path.canonicalize().map_err(|e| Error::io(path, "find", &e))?;
        workload.model.source = Source::Path(path);
        workload.model.sha256 = None;
        workload.variants.clear();
        workload.baseline = None;
        let other = workload::resolve(workload, Split::Test, &resolved.base, &settings.cache)?;
        Ok(Self::Model(Box::new(other)))
    }

    /// The side that it is of a case.
    pub(super) fn side(
        &self,
        name: &str,
        arena: &Arena<'_>,
        resolved: &Resolved,
        case: &Case,
        own: &WorkerCommand,
    ) -> Side {
        match self {
            Self::Variant(variant) => {
                let case = Case { variant: *variant, ..case.clone() };
                arena.side(name, resolved, &case, own)
            }
            Self::Program(program) => {
                let program = WorkerCommand { cpus: own.cpus, ..program.clone() };
                arena.side(name, resolved, case, &program)
            }
            Self::Model(other) => {
                let mut side = arena.side(name, other, case, own);
                // Both on the same inputs.
                side.spec.data.clone_from(&resolved.data.path);
                side
            }
        }
    }

    /// The id of the case that it is measured in: with its own artifact's hash.
    pub(super) fn case_id(&self, resolved: &Resolved, plan: &Plan, case: &Case) -> Result<String> {
        let is_same = |other: &&Case, variant: usize| {
            let same = |c: &Case| (c.backend.clone(), c.batching, c.sessions, c.threads);
            other.variant == variant && same(other) == same(case)
        };
        let found = match self {
            Self::Program(_) => Some(case.id.clone()),
            Self::Variant(variant) => {
                plan.cases.iter().find(|c| is_same(c, *variant)).map(|c| c.id.clone())
            }
            Self::Model(other) => {
                let mut other = (**other).clone();
                // It runs on the workload's data.
                other.data = resolved.data.clone();
                let plan = Plan::of(&other)?;
                plan.cases.iter().find(|c| is_same(c, 0)).map(|c| c.id.clone())
            }
        };
        found.ok_or_else(|| Error::internal("gate", "a side has no case in the plan"))
    }

    /// What serves it, so that two sessions can tell whether it was the same: an engine that is linked into the program
    /// changes with it, and so does a command with the files that it names.
    pub(super) fn program(&self, engine: Engine) -> Result<String> {
        let version = env!("CARGO_PKG_VERSION");
        let short = |sha: String| sha.chars().take(12).collect::<String>();
        match self {
            Self::Variant(_) | Self::Model(_) if engine == Engine::Ort => {
                Ok(format!("infermark {version}"))
            }
            Self::Variant(_) | Self::Model(_) => {
                let sha = sha256_file(&WorkerCommand::own()?.program)?;
                Ok(format!("infermark {version} {}", short(sha)))
            }
            Self::Program(command) => {
                let words = std::iter::once(command.program.as_os_str())
                    .chain(command.args.iter().map(AsRef::as_ref));
                let mut hashes = String::new();
                let mut named = Vec::new();
                for word in words {
                    let path = Path::new(word);
                    if path.is_file() {
                        hashes.push_str(&sha256_file(path)?);
                    }
                    // Where it lies differs from machine to machine.
                    let name = path.file_name().unwrap_or(word);
                    named.push(name.to_string_lossy().into_owned());
                }
                let named = named.join(" ");
                let sha = sha256_bytes(hashes.as_bytes());
                Ok(if hashes.is_empty() { named } else { format!("{named} {}", short(sha)) })
            }
        }
    }
}
