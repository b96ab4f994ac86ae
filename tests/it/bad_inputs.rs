//! What a user can get wrong: each gives one screen that names the thing and what to do next.

use super::onnx_file::relu;
use super::sandbox::Sandbox;

/// A model whose samples have four values.
fn model(sandbox: &Sandbox) -> String {
    sandbox.write("relu.onnx", relu(&[-1, 4])).to_str().unwrap().to_owned()
}

fn workload(sandbox: &Sandbox, text: &str) -> String {
    model(sandbox);
    sandbox.write("w.toml", text).to_str().unwrap().to_owned()
}

const MINIMAL: &str = "name = \"w\"\n[model]\nsource = \"relu.onnx\"\n[data.generated]\n";

#[test]
fn models_that_are_none() {
    let sandbox = Sandbox::new();
    sandbox.write("empty.onnx", b"");
    let noise: Vec<u8> = (0..4096_u32).map(|i| (i * 7919 % 253).to_le_bytes()[0]).collect();
    sandbox.write("random.onnx", noise);
    let whole = relu(&[-1, 4]);
    sandbox.write("cut.onnx", &whole[..whole.len() - 10]);
    sandbox.write("notes.txt", b"hello");
    std::fs::create_dir(sandbox.path("folder.onnx")).unwrap();
    for (name, says) in [
        ("missing.onnx", "No such file"),
        ("empty.onnx", "is empty"),
        ("random.onnx", "not a"),
        ("cut.onnx", "not a complete ONNX model"),
        ("notes.txt", "neither a model nor a workload"),
        ("folder.onnx", "is a folder"),
    ] {
        sandbox.run(&["run", name]).assert_error(&[name, says]);
    }
    assert!(sandbox.runs().is_empty(), "nothing was started");
}

#[test]
fn a_model_that_only_the_engine_refuses() {
    let sandbox = Sandbox::new();
    let mut bytes = relu(&[-1, 4]);
    let at = bytes.windows(4).position(|w| w == b"Relu").unwrap();
    bytes[at..at + 4].copy_from_slice(b"Rulu");
    sandbox.write("rulu.onnx", bytes);
    sandbox.run(&["run", "rulu.onnx", "--duration", "0.2"]).assert_error(&[
        "rulu.onnx",
        "ONNX Runtime cannot load the model",
        "Rulu",
    ]);
}

#[test]
fn wrong_keys_and_types_show_their_line() {
    let sandbox = Sandbox::new();
    for (text, says) in [
        (format!("{MINIMAL}sampels = 3\n"), "sampels"),
        (format!("{MINIMAL}samples = \"three\"\n"), "three"),
        (format!("{MINIMAL}[load]\nscenarios = [\"open\"]\n"), "open"),
        (format!("{MINIMAL}[load]\nscenarios = [{{ closed = {{ clients = 3 }} }}]\n"), "clients"),
        (format!("{MINIMAL}[load]\nduration_s = -1\n"), "load.duration_s"),
        (format!("{MINIMAL}[backends]\nthreads = [0]\n"), "0 threads"),
        (format!("{MINIMAL}[quality]\nmetric = \"accuracy\"\n"), "labelled"),
        ("name = \"w\"\n[model]\nsource = \"relu.onnx\"\n[data]\n".to_owned(), "exactly one of"),
        ("name = \"a b\"\n[model]\nsource = \"x\"\n[data.generated]\n".to_owned(), "name"),
        ("not toml at all".to_owned(), "not a valid workload"),
    ] {
        let path = workload(&sandbox, &text);
        sandbox.run(&["run", &path]).assert_error(&["w.toml", says].map(|s| {
            // A missing label is about the workload's meaning, not its text.
            if says == "labelled" { "labelled" } else { s }
        }));
    }
    sandbox.run(&["run", "missing.toml"]).assert_error(&["missing.toml"]);
}

#[test]
fn backends_and_providers_that_do_not_exist() {
    let sandbox = Sandbox::new();
    let model = model(&sandbox);
    for (backend, says) in [
        ("onnx:cpu", "no such engine"),
        ("ort:gpu", "no such execution provider"),
        ("candle:tpu", "no such device"),
        ("mock:speed=1", "speed=1"),
    ] {
        sandbox.run(&["run", &model, "--backend", backend]).assert_error(&[backend, says]);
    }
    assert!(sandbox.runs().is_empty());
}

#[test]
fn a_provider_this_library_lacks_is_an_error_and_never_a_fallback() {
    let sandbox = Sandbox::new();
    let model = model(&sandbox);
    let ran = sandbox.run(&["run", &model, "--backend", "ort:cuda,ort:cpu", "--duration", "0.2"]);
    ran.assert_error(&["CUDAExecutionProvider", "not available", "--runtime gpu"]);
    let records = sandbox.records();
    let failed = |backend: &str| -> Vec<bool> {
        let of = records.iter().filter(|r| r["case"]["backend"] == backend);
        of.map(|r| !r["failure"].is_null()).collect()
    };
    assert_eq!(failed("ort:cuda:0"), Vec::<bool>::new());
    assert!(failed("ort:cuda").iter().all(|f| *f), "no case of cuda ran on the CPU instead");
    assert!(failed("ort:cpu").iter().all(|f| !f), "the CPU was measured all the same");
}

#[test]
fn data_that_does_not_fit_the_model() {
    let sandbox = Sandbox::new();
    let npz = |arrays: &[(&str, Vec<f32>, [u64; 2])]| {
        use npyz::WriterBuilder;
        use std::io::Write;
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, values, shape) in arrays {
            let mut bytes = Vec::new();
            let options = npyz::WriteOptions::new().default_dtype().shape(shape);
            let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
            writer.extend(values).unwrap();
            writer.finish().unwrap();
            let plain = zip::write::SimpleFileOptions::default();
            zip.start_file(format!("{name}.npy"), plain).unwrap();
            zip.write_all(&bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    let text = "name = \"w\"\n[model]\nsource = \"relu.onnx\"\n[data.npz]\nsource = \"d.npz\"\n";
    let path = workload(&sandbox, text);
    for (arrays, says) in [
        (vec![("x", vec![0.0; 6], [2, 3])], "shape [1, 3]"),
        (vec![("y", vec![0.0; 8], [2, 4])], "`x`"),
        (vec![("x", vec![0.0; 8], [2, 4]), ("z", vec![0.0; 2], [2, 1])], "`z`"),
        (vec![("x", vec![0.0; 8], [2, 4]), ("z", vec![0.0; 3], [3, 1])], "3 samples"),
        (vec![("x", vec![], [0, 4])], "no samples"),
    ] {
        sandbox.write("d.npz", npz(&arrays));
        sandbox.run(&["run", &path]).assert_error(&[says]);
    }
    sandbox.write("d.npz", b"PK but not really");
    sandbox.run(&["run", &path]).assert_error(&["d.npz", "no .npz"]);
    let labels = format!("{text}labels = \"classes\"\n");
    let path = workload(&sandbox, &labels);
    sandbox.write("d.npz", npz(&[("x", vec![0.0; 8], [2, 4])]));
    sandbox.run(&["run", &path]).assert_error(&["classes", "no such array"]);
}

#[test]
fn wrong_hashes() {
    let sandbox = Sandbox::new();
    let wrong = "0".repeat(64);
    let text = MINIMAL.replace("\n[data", &format!("\nsha256 = \"{wrong}\"\n[data"));
    let path = workload(&sandbox, &text);
    sandbox.run(&["run", &path]).assert_error(&["relu.onnx", &wrong, "pin"]);
    let text = MINIMAL
        .replace("[data.generated]", &format!("[data]\nsha256 = \"{wrong}\"\n[data.generated]"));
    let path = workload(&sandbox, &text);
    sandbox.run(&["run", &path]).assert_error(&["data.sha256", &wrong]);
}

#[test]
fn no_pip_and_no_such_package() {
    let sandbox = Sandbox::new();
    let text = MINIMAL.replace("relu.onnx", "pypi:magika==1.0.3!magika/models/none.onnx");
    let path = workload(&sandbox, &text);
    let output = sandbox
        .command(&["run", &path])
        .env("XDG_CACHE_HOME", sandbox.path("empty-cache"))
        .env("PATH", sandbox.path("nowhere"))
        .output()
        .unwrap();
    super::sandbox::Ran::from(output).assert_error(&["magika==1.0.3", "no tool", "install pip"]);
    sandbox.run(&["run", &path]).assert_error(&["none.onnx", "holds no such file"]);
    let text = MINIMAL.replace("relu.onnx", "pypi:magika==0.0.0!x");
    let path = workload(&sandbox, &text);
    sandbox.run(&["run", &path]).assert_error(&["magika==0.0.0", "could not fetch it"]);
}

#[test]
fn libraries_that_are_none() {
    let sandbox = Sandbox::new();
    let model = model(&sandbox);
    sandbox.write("libonnxruntime.so", b"no library");
    sandbox.write("libonnxruntime.so.1.14.1", b"old");
    let libc = std::fs::read_dir("/lib/x86_64-linux-gnu").ok().and_then(|mut d| {
        d.find_map(|e| Some(e.ok()?.path()).filter(|p| p.ends_with("libc.so.6")))
    });
    let with = |library: &std::path::Path| {
        let mut command = sandbox.command(&["run", &model, "--duration", "0.2"]);
        let output = command.env("ORT_DYLIB_PATH", library).output().unwrap();
        super::sandbox::Ran::from(output)
    };
    with(&sandbox.path("none.so")).assert_error(&["none.so", "no file is there"]);
    with(&sandbox.path("libonnxruntime.so.1.14.1")).assert_error(&["1.14.1 is too old"]);
    with(&sandbox.path("libonnxruntime.so")).assert_error(&["libonnxruntime.so", "cannot be used"]);
    if let Some(libc) = libc {
        with(&libc).assert_error(&["libc.so.6", "cannot be used"]);
    }
}

#[test]
fn flags_that_cannot_be_meant() {
    let sandbox = Sandbox::new();
    let model = model(&sandbox);
    for (args, says) in [
        (vec!["--budget", "soon"], "soon"),
        (vec!["--dim", "seq"], "seq"),
        (vec!["--dim", "seq=7"], "`seq`"),
        (vec!["--batch", "0"], "at least 1"),
        (vec!["--batch", "8", "--concurrency", "2"], "never fill"),
        (vec!["--duration", "-1"], "duration"),
        (vec!["--resume", "20200101"], "20200101"),
        (vec!["--batch", "4000000000"], "65536"),
        (vec!["--concurrency", "4000000000"], "65536"),
    ] {
        let ran = sandbox.run(&[&["run", &model][..], &args].concat());
        assert_eq!(ran.code, Some(1), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{args:?}: {}", ran.stderr);
    }
    let ran = sandbox.run(&["run", &model, "--no-such-flag"]);
    assert_eq!(ran.code, Some(1), "usage errors are errors");
    sandbox.run(&["runs", "show", "none"]).assert_error(&["none", "runs list"]);
    sandbox.run(&["runs", "show", "latest"]).assert_error(&["reports"]);
}

#[test]
fn a_reports_folder_that_cannot_be_written() {
    let sandbox = Sandbox::new();
    let model = model(&sandbox);
    sandbox.write("file", b"");
    let output = sandbox
        .command(&["run", &model, "--duration", "0.2"])
        .env("INFERMARK_REPORTS", sandbox.path("file/reports"))
        .output()
        .unwrap();
    super::sandbox::Ran::from(output).assert_error(&["file/reports"]);
}

#[test]
fn inputs_that_are_too_large_or_have_no_common_batch() {
    let sandbox = Sandbox::new();
    sandbox.write("free.onnx", relu(&[-1, -1]));
    let ran = sandbox.run(&["run", "free.onnx", "--dim", "free1=30000000"]);
    ran.assert_error(&["`x`", "too large"]);
    sandbox.write("scalar.onnx", relu(&[]));
    sandbox.run(&["run", "scalar.onnx"]).assert_error(&["`x`", "no batch axis"]);
    sandbox.write("up.toml", MINIMAL.replace("relu.onnx", "pypi:magika==1.0.3!../x"));
    sandbox.run(&["run", "up.toml"]).assert_error(&["outside the package"]);
}
