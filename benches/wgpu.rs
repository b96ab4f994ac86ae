//! The wgpu backend on whatever adapter there is: kernels, models, and other engines beside it, in one call.
//!
//! `cargo bench --bench wgpu -- [--adapter NAME] [--sizes 512,2048] [--batch 1,8,32] [--length 32,128,512]
//! [--model FILE.onnx] [--seconds 3] [--python PYTHON]`. docs/measurements/wgpu.md has what it said.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark that cannot run should say so and stop"
)]

use std::path::Path;
use std::process::{Command, ExitCode};

use infermark::backend::{self, Ceilings};
use infermark::graph::Graph;
use serde_json::Value;

/// What `--name` says, or `default`.
fn given(name: &str, default: &str) -> String {
    let args: Vec<String> = std::env::args().collect();
    let at = args.iter().position(|a| a == name);
    at.and_then(|at| args.get(at + 1)).cloned().unwrap_or_else(|| default.to_owned())
}

fn numbers(name: &str, default: &str) -> Vec<usize> {
    given(name, default).split(',').map(|n| n.parse().expect("a list of numbers")).collect()
}

fn main() -> ExitCode {
    let adapter = given("--adapter", "default");
    let mut told = false;
    println!("| size | factors | kernel | ms | GFLOP/s | of the f32 peak | × naive |");
    println!("|---|---|---|---|---|---|---|");
    for size in numbers("--sizes", "256,512,1024,2048,4096") {
        match backend::products(&adapter, [size; 3]) {
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
            Ok((device, ceilings, rows)) => {
                if !told {
                    eprintln!("{device}");
                    said(&ceilings);
                    told = true;
                }
                let flops = 2.0 * (size as f64).powi(3);
                let naive = rows.iter().find(|r| r.kernel == "naive").expect("it is measured");
                for row in &rows {
                    let rate = flops / row.ns as f64;
                    println!(
                        "| {size} | {} | {} | {:.3} | {rate:.1} | {:.1} % | {:.2} |",
                        row.factors,
                        row.kernel,
                        row.ns as f64 / 1e6,
                        rate * 1e11 / ceilings.f32_flops_per_s,
                        naive.ns as f64 / row.ns as f64
                    );
                }
            }
        }
    }
    models(&adapter);
    ExitCode::SUCCESS
}

fn said(found: &Ceilings) {
    let tera = |rate: Option<f64>| rate.map_or("–".to_owned(), |r| format!("{:.2} T", r / 1e12));
    eprintln!(
        "f32 {}FLOP/s, f16 {}FLOP/s, bytes {}OP/s, copies {:.1} GB/s",
        tera(Some(found.f32_flops_per_s)),
        tera(found.f16_flops_per_s),
        tera(found.int8_ops_per_s),
        found.bytes_per_s / 1e9
    );
}

/// Each model in f32 and in f16, fused and not, and what other engines take for it.
fn models(adapter: &str) {
    let (model, python) = (given("--model", ""), given("--python", ""));
    println!();
    println!(
        "| model | batch | length | fused ms | unfused ms | samples/s | of ceiling | GFLOP/s | beside it |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut files = Vec::new();
    if model.is_empty() {
        eprintln!("NOT RUN: a model of one's own; give --model FILE.onnx");
    } else {
        files.push(("given", std::path::PathBuf::from(&model)));
    }
    if given("--bert", "yes") == "yes" {
        let bert = folder.path().join("bert-base");
        bert_base(&bert);
        let file = folder.path().join("bert-base.onnx");
        let graph = Graph::read(&bert).expect("it was written above");
        graph.write(&file).expect("it can be written");
        files.push(("bert-base", file));
    }
    for (name, path) in &files {
        let half = halved(path, folder.path());
        for (dtype, path) in [("f32", Some(path.clone())), ("f16", half)] {
            let Some(path) = path else {
                eprintln!("NOT RUN: {name} in f16, which could not be made");
                continue;
            };
            let path = path.display().to_string();
            for batch in numbers("--batch", "1,8,32") {
                for length in numbers("--length", "32,128,512") {
                    let fused = run(adapter, &path, (batch, length), "all");
                    let unfused = run(adapter, &path, (batch, length), "none");
                    let middle = |r: &Value| r["latency_ms"]["p50"]["value"].as_f64();
                    let ms = |r: &Value| middle(r).map_or("–".to_owned(), |v| format!("{v:.2}"));
                    let rate = fused["throughput_per_s"]["value"].as_f64().unwrap_or(f64::NAN);
                    let (mut least, mut all, mut flops) = (0.0, 0.0, 0.0);
                    for op in fused["ops"].as_array().into_iter().flatten() {
                        let time = op["time_ns"].as_f64().unwrap_or(0.0);
                        least += op["ceiling_share"].as_f64().unwrap_or(0.0) * time;
                        flops += op["flops"].as_f64().unwrap_or(0.0);
                        all += time;
                    }
                    println!(
                        "| {name} {dtype} | {batch} | {length} | {} | {} | {rate:.1} | {:.0} % | {:.1} | {} |",
                        ms(&fused),
                        ms(&unfused),
                        100.0 * least / f64::max(all, 1.0),
                        flops / f64::max(all, 1.0),
                        peers(&python, &path, name, (batch, length))
                    );
                }
            }
        }
    }
}

/// The model in f16, by the program's own recipe.
fn halved(path: &Path, folder: &Path) -> Option<std::path::PathBuf> {
    let out = folder.join("half");
    let done = Command::new(env!("CARGO_BIN_EXE_infermark"))
        .args(["compress", &path.display().to_string(), "--recipe", "fp16", "-o"])
        .arg(&out)
        .output()
        .expect("the program runs");
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    let file = out.join(format!("{stem}.fp16.onnx"));
    if !file.exists() {
        eprintln!("{}", String::from_utf8_lossy(&done.stderr));
    }
    file.exists().then_some(file)
}

/// The record of one case, by the program itself.
fn run(adapter: &str, path: &str, (batch, length): (usize, usize), optimization: &str) -> Value {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let backend = format!("wgpu:{adapter}");
    // Files call the length by either name; the other one is refused.
    for name in ["sequence", "seq"] {
        let done = Command::new(env!("CARGO_BIN_EXE_infermark"))
            .args([
                "run",
                path,
                "--profile",
                "--format",
                "json",
                "--attempts",
                "1",
                "--concurrency",
                "1",
            ])
            .args([
                "--backend",
                &backend,
                "--batch",
                &batch.to_string(),
                "--duration",
                &given("--seconds", "3"),
            ])
            .args(["--dim", &format!("{name}={length}"), "--optimization", optimization])
            .env("INFERMARK_REPORTS", folder.path())
            .output()
            .expect("the program runs");
        let json: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
        if !json["records"][0].is_null() {
            return json["records"][0].clone();
        }
        eprintln!("{}", String::from_utf8_lossy(&done.stderr));
    }
    Value::Null
}

/// Other engines' times for it, or why there are none.
fn peers(python: &str, path: &str, shape: &str, (batch, length): (usize, usize)) -> String {
    if python.is_empty() {
        return "not asked for (--python)".to_owned();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/wgpu.py");
    let done = Command::new(python)
        .args([script, path, shape, &batch.to_string(), &length.to_string()])
        .output();
    let Ok(done) = done else { return format!("{python} does not start") };
    let lines = String::from_utf8_lossy(&done.stdout).into_owned();
    let rows: Vec<String> = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|row| {
            let engine = row["engine"].as_str().unwrap_or("?").to_owned();
            match row["ms"].as_f64() {
                Some(ms) => format!("{engine} {ms:.2} ms"),
                None => format!("{engine}: {}", row["why_not"].as_str().unwrap_or("?")),
            }
        })
        .collect();
    rows.join("; ")
}

/// An encoder of BERT-base's sizes with random weights: a folder as Hugging Face has them.
///
/// Devlin et al., arXiv 1810.04805: 12 layers, 768 wide, 12 heads, 3072 between.
fn bert_base(folder: &Path) {
    std::fs::create_dir_all(folder).expect("a temporary folder");
    let config = serde_json::json!({
        "model_type": "bert", "architectures": ["BertModel"], "vocab_size": 30522, "hidden_size": 768,
        "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
        "hidden_act": "gelu", "max_position_embeddings": 512, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "position_embedding_type": "absolute",
    });
    std::fs::write(folder.join("config.json"), config.to_string()).expect("it can be written");
    let mut tensors: Vec<(String, Vec<usize>)> = vec![
        ("embeddings.word_embeddings.weight".into(), vec![30522, 768]),
        ("embeddings.position_embeddings.weight".into(), vec![512, 768]),
        ("embeddings.token_type_embeddings.weight".into(), vec![2, 768]),
        ("embeddings.LayerNorm.weight".into(), vec![768]),
        ("embeddings.LayerNorm.bias".into(), vec![768]),
        ("pooler.dense.weight".into(), vec![768, 768]),
        ("pooler.dense.bias".into(), vec![768]),
    ];
    for layer in 0..12 {
        let mut linear = |name: &str, out: usize, inner: usize| {
            let base = format!("encoder.layer.{layer}.{name}");
            tensors.push((format!("{base}.weight"), vec![out, inner]));
            tensors.push((format!("{base}.bias"), vec![out]));
        };
        for name in ["query", "key", "value"] {
            linear(&format!("attention.self.{name}"), 768, 768);
        }
        linear("attention.output.dense", 768, 768);
        linear("intermediate.dense", 3072, 768);
        linear("output.dense", 768, 3072);
        for name in ["attention.output.LayerNorm", "output.LayerNorm"] {
            let base = format!("encoder.layer.{layer}.{name}");
            tensors.push((format!("{base}.weight"), vec![768]));
            tensors.push((format!("{base}.bias"), vec![768]));
        }
    }
    // safetensors: the header's length, the header, the numbers.
    let (mut header, mut bytes) = (serde_json::Map::new(), Vec::<u8>::new());
    let mut state = 1_u64;
    for (name, shape) in tensors {
        let begin = bytes.len();
        for _ in 0..shape.iter().product::<usize>() {
            // Numerical Recipes' generator: any will do.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) & 0xffff_ffff;
            let value = (state as f32 / 4_294_967_296.0 - 0.5) * 0.08;
            bytes.extend(value.to_le_bytes());
        }
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, bytes.len()]});
        header.insert(name, entry);
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(bytes);
    std::fs::write(folder.join("model.safetensors"), file).expect("it can be written");
}
