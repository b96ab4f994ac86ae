//! Documentation that names a file of the repository names one that is there.

use std::path::{Path, PathBuf};

fn pages(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path, into);
        } else if path.extension().is_some_and(|e| e == "md") {
            into.push(path);
        }
    }
}

#[test]
fn named_files_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    pages(&root.join("docs"), &mut all);
    let mut missing = Vec::new();
    for page in &all {
        let text = std::fs::read_to_string(page).unwrap();
        let quoted = text.split('`').skip(1).step_by(2);
        let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for name in quoted.chain(linked) {
            let ours = ["src/", "docs/", "workloads/", "benches/", "tests/", ".ci/"];
            if ours.iter().any(|folder| name.starts_with(folder))
                && !name.contains(['*', '<', ' ', '{'])
                && !root.join(name.trim_end_matches(['.', ','])).exists()
            {
                missing.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_record_key_is_documented() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/records.md"))
            .unwrap();
    let sandbox = super::sandbox::Sandbox::new();
    let workload = sandbox.mock_workload("latency_us=1000", "scenarios = [\"single\"]");
    sandbox.run(&["run", workload.to_str().unwrap()]).assert_fine();
    for record in sandbox.records() {
        let record = record.as_object().unwrap();
        let nested = record.values().filter_map(serde_json::Value::as_object);
        for key in nested.flat_map(|o| o.keys()).chain(record.keys()) {
            assert!(text.contains(&format!("`{key}`")), "`{key}` is not in docs/records.md");
        }
    }
}

#[test]
fn every_workload_key_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/workloads.md")).unwrap();
    let schema = ["src/workload/file.rs", "src/workload/data_spec.rs", "src/workload/load_spec.rs"]
        .map(|file| std::fs::read_to_string(root.join(file)).unwrap())
        .join("\n");
    let keys = schema.lines().filter_map(|line| {
        let name = line.strip_prefix("    pub ")?.split(':').next()?;
        name.chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            .then_some(name)
    });
    for key in keys {
        assert!(text.contains(&format!("`{key}`")), "`{key}` is not in docs/workloads.md");
    }
}
