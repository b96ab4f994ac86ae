//! Trains the model of the workload `digits` and saves it as ONNX:
//!
//! ```text
//! cargo run --release --example train_digits -- workloads/digits.onnx
//! ```
//!
//! A small residual network on the rows of MNIST that the workload sets aside for training, but for those
//! that recipes are calibrated on and judged by. The rows of the test are counted after each epoch, and
//! nothing is chosen by them. Seeded.

#![expect(
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a tool that says how it gets on, with sets of a few thousand"
)]

use std::path::Path;

use candle_core::{D, DType, Device, Module, Tensor, Var};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};
use candle_nn::{Linear, loss};
use infermark::graph::op::{ConvAttributes, Pads, Unary, Window};
use infermark::graph::{Dim, Graph, Op, ValueId, Weight, infer};
use infermark::quality::Truth;
use infermark::settings::Settings;
use infermark::workload::{Dataset, Split, Workload, build_arrays};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

type Error = Box<dyn std::error::Error>;

const SEED: u64 = 7;
const EPOCHS: usize = 14;
const BATCH: usize = 32;
/// Channels of the three blocks.
const WIDTHS: [usize; 3] = [16, 32, 64];

/// A convolution as it is trained and as it is saved.
struct Conv {
    name: String,
    stride: usize,
    kernel: usize,
    weight: Var,
    bias: Var,
}

/// Two convolutions, and what goes past them.
struct Block {
    first: Conv,
    second: Conv,
    past: Option<Conv>,
}

struct Network {
    stem: Conv,
    blocks: Vec<Block>,
    weight: Var,
    bias: Var,
}

/// He initialisation: normal numbers of variance 2 / inputs (He et al. 2015).
fn normal(rng: &mut ChaCha8Rng, shape: &[usize], inputs: usize) -> Result<Var, Error> {
    let deviation = (2.0 / inputs as f64).sqrt();
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|_| {
            // Box and Muller's method.
            let (a, b): (f64, f64) = (rng.random(), rng.random());
            let radius = (-2.0 * (1.0 - a).ln()).sqrt();
            (radius * (std::f64::consts::TAU * b).cos() * deviation) as f32
        })
        .collect();
    Ok(Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu)?)?)
}

impl Conv {
    fn new(
        rng: &mut ChaCha8Rng,
        name: &str,
        (from, to): (usize, usize),
        kernel: usize,
        stride: usize,
    ) -> Result<Self, Error> {
        let weight = normal(rng, &[to, kernel, kernel, from], from * kernel * kernel)?;
        let bias = Var::zeros(to, DType::F32, &Device::Cpu)?;
        Ok(Self { name: name.to_owned(), stride, kernel, weight, bias })
    }

    /// Of `[batch, height, width, channels]`: the neighbours of each place side by side, then one
    /// product of matrices. candle's own convolution is many times slower to go back through.
    fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let mut x = x.clone();
        let (mut height, mut width) = (x.dim(1)?, x.dim(2)?);
        let edge = self.kernel / 2;
        x = x.pad_with_zeros(1, edge, edge)?.pad_with_zeros(2, edge, edge)?;
        if self.stride > 1 {
            (height, width) = (height.div_ceil(self.stride), width.div_ceil(self.stride));
        }
        let places = |from: usize, count: usize| {
            let list: Vec<u32> = (0..count).map(|at| (from + at * self.stride) as u32).collect();
            Tensor::from_vec(list, count, &Device::Cpu)
        };
        let mut neighbours = Vec::new();
        for row in 0..self.kernel {
            for column in 0..self.kernel {
                neighbours.push(if self.stride == 1 {
                    x.narrow(1, row, height)?.narrow(2, column, width)?
                } else {
                    x.index_select(&places(row, height)?, 1)?
                        .index_select(&places(column, width)?, 2)?
                });
            }
        }
        let (batch, to) = (x.dim(0)?, self.weight.as_tensor().dim(0)?);
        let all = Tensor::cat(&neighbours, 3)?.contiguous()?;
        let all = all.reshape((batch * height * width, all.dim(3)?))?;
        let weight = self.weight.as_tensor().reshape((to, all.dim(1)?))?.t()?;
        let product = all.matmul(&weight)?.broadcast_add(self.bias.as_tensor())?;
        Ok(product.reshape((batch, height, width, to))?)
    }

    fn save(&self, graph: &mut Graph, x: ValueId) -> Result<ValueId, Error> {
        // ONNX has the channels before height and width.
        let turned = self.weight.as_tensor().permute((0, 3, 1, 2))?.contiguous()?;
        let (weight, bias) = (weight_of(&turned)?, weight_of(self.bias.as_tensor())?);
        let weight = graph.add_constant(&format!("{}.weight", self.name), weight);
        let bias = graph.add_constant(&format!("{}.bias", self.name), bias);
        let window = Window {
            kernel_shape: vec![self.kernel; 2],
            strides: vec![self.stride; 2],
            dilations: Vec::new(),
            pads: Pads::Explicit(vec![self.kernel / 2; 4]),
        };
        let op = Op::Conv { conv: ConvAttributes { window, group: 1 }, activation: None };
        Ok(graph.push(&self.name, op, &[x, weight, bias]))
    }
}

fn weight_of(tensor: &Tensor) -> Result<Weight, Error> {
    let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
    Ok(Weight::floats(tensor.dims().to_vec(), &values).ok_or("a weight lost its shape")?)
}

impl Network {
    fn new() -> Result<Self, Error> {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let stem = Conv::new(&mut rng, "stem", (1, WIDTHS[0]), 3, 2)?;
        let mut blocks = Vec::new();
        let mut from = WIDTHS[0];
        for (at, to) in WIDTHS.into_iter().enumerate() {
            let stride = if at == 0 { 1 } else { 2 };
            let name = |part: &str| format!("block{}.{part}", at + 1);
            let first = Conv::new(&mut rng, &name("first"), (from, to), 3, stride)?;
            let second = Conv::new(&mut rng, &name("second"), (to, to), 3, 1)?;
            let past = if from == to {
                None
            } else {
                Some(Conv::new(&mut rng, &name("past"), (from, to), 1, stride)?)
            };
            blocks.push(Block { first, second, past });
            from = to;
        }
        let weight = normal(&mut rng, &[10, from], from)?;
        let bias = Var::zeros(10, DType::F32, &Device::Cpu)?;
        Ok(Self { stem, blocks, weight, bias })
    }

    fn variables(&self) -> Vec<Var> {
        let mut convs = vec![&self.stem];
        for block in &self.blocks {
            convs.extend([&block.first, &block.second]);
            convs.extend(&block.past);
        }
        let mut all: Vec<Var> =
            convs.iter().flat_map(|c| [c.weight.clone(), c.bias.clone()]).collect();
        all.extend([self.weight.clone(), self.bias.clone()]);
        all
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let mut x = self.stem.forward(x)?.relu()?;
        for block in &self.blocks {
            let past = match &block.past {
                Some(conv) => conv.forward(&x)?,
                None => x.clone(),
            };
            let through = block.second.forward(&block.first.forward(&x)?.relu()?)?;
            x = (through + past)?.relu()?;
        }
        let pooled = x.mean(1)?.mean(1)?;
        let weight = self.weight.as_tensor().clone();
        Ok(Linear::new(weight, Some(self.bias.as_tensor().clone())).forward(&pooled)?)
    }

    fn save(&self, path: &Path) -> Result<(), Error> {
        let mut graph = Graph::new("digits");
        let dims =
            vec![Dim::Named("batch".to_owned()), Dim::Fixed(1), Dim::Fixed(28), Dim::Fixed(28)];
        let input = graph.add_input("image", infermark::variant::DType::F32, dims);
        let stem = self.stem.save(&mut graph, input)?;
        let mut x = graph.push("stem.relu", Op::Unary(Unary::Relu), &[stem]);
        for (at, block) in self.blocks.iter().enumerate() {
            let name = |part: &str| format!("block{}.{part}", at + 1);
            let past = match &block.past {
                Some(conv) => conv.save(&mut graph, x)?,
                None => x,
            };
            let first = block.first.save(&mut graph, x)?;
            let relu = graph.push(&name("relu"), Op::Unary(Unary::Relu), &[first]);
            let second = block.second.save(&mut graph, relu)?;
            let add = Op::Binary(infermark::graph::op::Binary::Add);
            let sum = graph.push(&name("sum"), add, &[second, past]);
            x = graph.push(&name("out"), Op::Unary(Unary::Relu), &[sum]);
        }
        let pooled = graph.push("pool", Op::GlobalAveragePool, &[x]);
        let flat = graph.push("flat", Op::Flatten { axis: 1 }, &[pooled]);
        let weight = graph.add_constant("head.weight", weight_of(self.weight.as_tensor())?);
        let bias = graph.add_constant("head.bias", weight_of(self.bias.as_tensor())?);
        let op =
            Op::Gemm { alpha: 1.0, beta: 1.0, trans_a: false, trans_b: true, activation: None };
        let scores = graph.push("scores", op, &[flat, weight, bias]);
        graph.outputs.push(scores);
        infer(&mut graph)?;
        graph.write(path)?;
        Ok(())
    }
}

fn tensors(set: &Dataset) -> Result<(Tensor, Vec<u32>), Error> {
    let values: Vec<f32> = set
        .samples()
        .iter()
        .filter_map(|s| s.get("image"))
        .flat_map(infermark::variant::Tensor::to_f32)
        .collect();
    // One channel: the order of axes makes no difference yet.
    let images = Tensor::from_vec(values, (set.samples().len(), 28, 28, 1), &Device::Cpu)?;
    match &set.about().truth {
        Truth::Classes { labels, .. } => Ok((images, labels.clone())),
        _ => Err("the workload has no labels".into()),
    }
}

fn right(network: &Network, images: &Tensor, labels: &[u32]) -> Result<usize, Error> {
    let mut right = 0;
    for (at, chunk) in labels.chunks(256).enumerate() {
        let batch = images.narrow(0, at * 256, chunk.len())?;
        let said: Vec<u32> = network.forward(&batch)?.argmax(D::Minus1)?.to_vec1()?;
        right += said.iter().zip(chunk).filter(|(a, b)| a == b).count();
    }
    Ok(right)
}

fn main() -> Result<(), Error> {
    let out = std::env::args().nth(1).ok_or("say where the model goes: workloads/digits.onnx")?;
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads");
    let workload = Workload::read(&base.join("digits.toml"))?;
    let spec = workload.data.arrays.ok_or("the workload has no arrays")?;
    let cache = Settings::from_environment().cache;
    let (images, labels) = tensors(&build_arrays(&spec, Split::Train, &base, &cache)?)?;
    let (tests, answers) = tensors(&build_arrays(&spec, Split::Test, &base, &cache)?)?;
    println!("{} images set aside for training, {} for the test", labels.len(), answers.len());
    let network = Network::new()?;
    let parameters: usize = network.variables().iter().map(|v| v.elem_count()).sum();
    println!("{parameters} weights");
    let mut optimiser = AdamW::new(network.variables(), ParamsAdamW::default())?;
    let mut rng = ChaCha8Rng::seed_from_u64(SEED + 1);
    let (calibration, validation) = workload.calibration.unwrap_or_default().draw(labels.len());
    let mut order: Vec<u32> = (0..labels.len() as u32)
        .filter(|at| !calibration.iter().chain(&validation).any(|held| *held == *at as usize))
        .collect();
    println!("{} images left to train on", order.len());
    let batches = order.len() / BATCH;
    for epoch in 0..EPOCHS {
        order.shuffle(&mut rng);
        let mut sum = 0.0;
        for (at, batch) in order.chunks_exact(BATCH).enumerate() {
            // From 2e-3 down to 0 along a cosine.
            let done = (epoch * batches + at) as f64 / (EPOCHS * batches) as f64;
            optimiser.set_learning_rate(1e-3 * (1.0 + (std::f64::consts::PI * done).cos()));
            let index = Tensor::from_slice(batch, batch.len(), &Device::Cpu)?;
            let wanted: Vec<u32> = batch.iter().map(|i| labels[*i as usize]).collect();
            let wanted = Tensor::from_vec(wanted, batch.len(), &Device::Cpu)?;
            let scores = network.forward(&images.index_select(&index, 0)?)?;
            let loss = loss::cross_entropy(&scores, &wanted)?;
            optimiser.backward_step(&loss)?;
            sum += f64::from(loss.to_scalar::<f32>()?);
        }
        let right = right(&network, &tests, &answers)?;
        println!(
            "epoch {}: loss {:.4}, {right} of {} right",
            epoch + 1,
            sum / batches as f64,
            answers.len()
        );
    }
    network.save(Path::new(&out))?;
    println!("{out}: {} bytes", std::fs::metadata(&out)?.len());
    Ok(())
}
