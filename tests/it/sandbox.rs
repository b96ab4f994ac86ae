//! A folder of its own for each test, in which the real program runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An empty folder with its own reports; unless a test asks for another one, the cache is the
/// tests' own.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

/// A cache that all tests share and that outlives them: packages are fetched once.
pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// What the program did.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.through(assert_cmd::cargo::cargo_bin!("infermark"));
        command.args(args);
        command
    }

    /// Another program in the same folder and environment, which starts ours.
    pub(crate) fn through(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path());
        command.env("INFERMARK_REPORTS", self.path("reports"));
        command.env("XDG_CACHE_HOME", cache());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    /// The folders of runs in the reports folder, oldest first.
    pub(crate) fn runs(&self) -> Vec<PathBuf> {
        let mut runs: Vec<PathBuf> = std::fs::read_dir(self.path("reports"))
            .map(|entries| entries.map(|e| e.unwrap().path()).collect())
            .unwrap_or_default();
        runs.sort();
        runs
    }

    /// Records of the only run.
    pub(crate) fn records(&self) -> Vec<serde_json::Value> {
        let [run] = &self.runs()[..] else { panic!("one run, not {:?}", self.runs()) };
        records(run)
    }

    /// A built-in workload, edited, with the files that it names.
    pub(crate) fn workload_of(&self, name: &str, edit: impl FnOnce(String) -> String) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads");
        for entry in std::fs::read_dir(&folder).unwrap() {
            let from = entry.unwrap().path();
            std::fs::copy(&from, self.path(from.file_name().unwrap().to_str().unwrap())).unwrap();
        }
        let text = std::fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
        self.write("edited.toml", edit(text)).to_str().unwrap().to_owned()
    }

    /// A workload of a small model on a scripted engine with a virtual clock: exact to the digit.
    pub(crate) fn mock_workload(&self, device: &str, load: &str) -> PathBuf {
        self.write("relu.onnx", super::onnx_file::relu(&[-1, 4]));
        let text = format!(
            "name = \"relu\"\n[model]\nsource = \"relu.onnx\"\n[data.generated]\nsamples = 16\n\
             [backends]\nids = [\"mock:{device}\"]\nthreads = [1]\n\
             [load]\nduration_s = 1.0\nwarmup_s = 0.01\nattempts = 1\n{load}\n"
        );
        self.write("mock.toml", text)
    }
}

pub(crate) fn records(run: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.join("records.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// The command failed as errors must: exit code 1, one screen that names the thing and what
    /// to do, and no panic.
    #[track_caller]
    pub(crate) fn assert_error(&self, names: &[&str]) {
        let all = &self.stderr;
        assert_eq!(self.code, Some(1), "{all}");
        assert!(all.contains("error: "), "{all}");
        assert!(all.contains("try: "), "no remedy in: {all}");
        assert!(!all.contains("panicked") && !all.contains("RUST_BACKTRACE"), "{all}");
        assert!(all.lines().count() <= 24, "more than a screen: {all}");
        for name in names {
            assert!(all.contains(name), "`{name}` is not named in: {all}");
        }
    }

    #[track_caller]
    pub(crate) fn assert_fine(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}
