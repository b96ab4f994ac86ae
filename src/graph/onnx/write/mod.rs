//! From a node of the graph to nodes of a file, in the newest form of each operator.

mod fields;

use self::fields::{Fields, proto};
use super::pb;
use crate::graph::Op;
use crate::graph::ir::{Graph, Node};
use crate::graph::op::{Activation, Binary, MICROSOFT, PadMode, ScatterReduction, Variadic};
use crate::graph::{Weight, op};
use crate::variant::DType;

/// Oldest opset that is written: from here on the forms that the graph holds are the newest, but
/// for what [`needs`] names.
pub(super) const OLDEST: i64 = 18;

/// The opset that first has the operator in the form that is written.
///
/// From ONNX's schemas; forms of 18 and older are not told apart.
#[expect(clippy::match_same_arms, reason = "an arm a reason")]
pub(super) fn needs(graph: &Graph, node: &Node) -> i64 {
    let packed = |id| graph.value(id).dtype.is_some_and(DType::is_packed);
    if node.reads().chain(node.outputs.iter().flatten().copied()).any(packed) {
        return 21;
    }
    let activation = |activation: &Option<Activation>| match activation {
        Some(Activation::Gelu { .. }) => 20,
        _ => OLDEST,
    };
    match &node.op {
        Op::Gelu { .. } => 20,
        Op::Gemm { activation: a, .. }
        | Op::Linear { activation: a }
        | Op::Conv { activation: a, .. } => activation(a),
        Op::RMSNormalization { .. } => 23,
        Op::GroupNormalization { .. } => 21,
        Op::QuantizeLinear(a) if a.block_size > 0 || a.output_dtype.is_some() => 21,
        Op::QuantizeLinear(_) | Op::DequantizeLinear { block_size: 0, .. } => wide(graph, node, 18),
        Op::DequantizeLinear { .. } => 21,
        Op::AveragePool { pool, .. } if !pool.window.dilations.is_empty() => 19,
        Op::Pad { mode: PadMode::Wrap } => 19,
        Op::Resize(a) if a.coordinate_transformation_mode == "half_pixel_symmetric" => 19,
        Op::Reduce { kind: op::Reduction::Max | op::Reduction::Min, .. } => {
            let first = node.input(0).and_then(|id| graph.value(id).dtype);
            if first == Some(DType::Bool) { 20 } else { OLDEST }
        }
        _ => OLDEST,
    }
}

/// Quantising from and to halves came with opset 19, to 16 bits with 21.
fn wide(graph: &Graph, node: &Node, plain: i64) -> i64 {
    let types = node.reads().chain(node.outputs.iter().flatten().copied());
    let needed = types.filter_map(|id| graph.value(id).dtype).map(|dtype| match dtype {
        DType::I16 | DType::U16 => 21,
        DType::F16 | DType::BF16 => 19,
        _ => plain,
    });
    needed.max().unwrap_or(plain)
}

/// The nodes of a file that say what `node` does, and constants that they need besides.
pub(super) struct Written {
    pub(super) nodes: Vec<pb::NodeProto>,
    pub(super) constants: Vec<(String, Weight)>,
}

/// Writes `node`; `name_of` are the names of its inputs and outputs, empty where left out.
pub(super) fn write(graph: &Graph, node: &Node) -> Written {
    let name = |id: &Option<_>| id.map(|id| graph.value(id).name.clone()).unwrap_or_default();
    let inputs: Vec<String> = node.inputs.iter().map(name).collect();
    let outputs: Vec<String> = node.outputs.iter().map(name).collect();
    let dtype = node.input(0).and_then(|id| graph.value(id).dtype).unwrap_or(DType::F32);
    let mut parts = Parts {
        // Values have names of their own; nodes of an opened branch may share theirs.
        title: node.output(0).map_or(&node.name, |id| &graph.value(id).name),
        graph,
        dtype,
        written: Written { nodes: Vec::new(), constants: Vec::new() },
    };
    match &node.op {
        Op::Linear { activation } => parts.linear(&inputs, &outputs[0], activation.as_ref()),
        Op::Attention { scale } => parts.attention(&inputs, &outputs[0], *scale),
        Op::Gemm { activation: Some(activation), .. }
        | Op::Conv { activation: Some(activation), .. } => {
            let between = parts.name("linear");
            parts.push(plain(&node.op, &node.name, inputs, vec![between.clone()]));
            parts.activation(activation, between, &outputs[0]);
        }
        other => parts.push(plain(other, &node.name, inputs, outputs)),
    }
    parts.written
}

/// Several nodes for one of ours.
struct Parts<'a> {
    title: &'a str,
    graph: &'a Graph,
    /// Element type of the data.
    dtype: DType,
    written: Written,
}

impl Parts<'_> {
    fn push(&mut self, node: pb::NodeProto) {
        self.written.nodes.push(node);
    }

    fn name(&self, suffix: &str) -> String {
        self.graph.free_name(&format!("{}/{suffix}", self.title))
    }

    fn scalar(&mut self, suffix: &str, value: f32) -> String {
        let name = self.name(suffix);
        self.written.constants.push((name.clone(), Weight::scalar(self.dtype, f64::from(value))));
        name
    }

    fn step(&mut self, op: &Op, suffix: &str, inputs: Vec<String>, output: Option<&str>) -> String {
        let name = self.name(suffix);
        let output = output.map_or_else(|| name.clone(), str::to_owned);
        self.push(plain(op, &name, inputs, vec![output.clone()]));
        output
    }

    fn linear(&mut self, inputs: &[String], output: &str, activation: Option<&Activation>) {
        let bias = inputs.get(2).filter(|b| !b.is_empty()).cloned();
        let ends_at_product = bias.is_none() && activation.is_none();
        let mut last = self.step(
            &Op::MatMul,
            "product",
            inputs[..2].to_vec(),
            ends_at_product.then_some(output),
        );
        if let Some(bias) = bias {
            let end = activation.is_none().then_some(output);
            last = self.step(&Op::Binary(Binary::Add), "sum", vec![last, bias], end);
        }
        if let Some(activation) = activation {
            self.activation(activation, last, output);
        }
    }

    fn activation(&mut self, activation: &Activation, input: String, output: &str) {
        use op::Unary;
        let mut inputs = vec![input];
        let op = match activation {
            Activation::Relu => Op::Unary(Unary::Relu),
            Activation::Sigmoid => Op::Unary(Unary::Sigmoid),
            Activation::Tanh => Op::Unary(Unary::Tanh),
            Activation::HardSwish => Op::Unary(Unary::HardSwish),
            Activation::Gelu { tanh } => Op::Gelu { tanh: *tanh },
            Activation::LeakyRelu { alpha } => Op::LeakyRelu { alpha: *alpha },
            Activation::Clip { min, max } => {
                inputs.push(self.scalar("min", *min));
                inputs.push(self.scalar("max", *max));
                Op::Clip
            }
        };
        self.step(&op, "activation", inputs, Some(output));
    }

    fn attention(&mut self, inputs: &[String], output: &str, scale: f32) {
        let keys = Op::Transpose { perm: vec![0, 1, 3, 2] };
        let keys = self.step(&keys, "keys", vec![inputs[1].clone()], None);
        let scores = self.step(&Op::MatMul, "scores", vec![inputs[0].clone(), keys], None);
        let scale = self.scalar("scale", scale);
        let mut scores = self.step(&Op::Binary(Binary::Mul), "scaled", vec![scores, scale], None);
        if let Some(mask) = inputs.get(3).filter(|m| !m.is_empty()) {
            scores =
                self.step(&Op::Binary(Binary::Add), "masked", vec![scores, mask.clone()], None);
        }
        let shares = self.step(&Op::Softmax { axis: -1 }, "shares", vec![scores], None);
        self.step(&Op::MatMul, "attended", vec![shares, inputs[2].clone()], Some(output));
    }
}

/// A node of the file that is one of ours.
#[expect(clippy::too_many_lines, reason = "one line an operator, and every operator")]
fn plain(op: &Op, name: &str, inputs: Vec<String>, outputs: Vec<String>) -> pb::NodeProto {
    let f = match op {
        Op::Unary(_)
        | Op::Binary(_)
        | Op::Variadic(Variadic::Max | Variadic::Mean | Variadic::Min | Variadic::Sum)
        | Op::Clip
        | Op::Where
        | Op::CastLike
        | Op::Identity
        | Op::Size
        | Op::Squeeze
        | Op::Unsqueeze
        | Op::Expand
        | Op::Tile
        | Op::Slice
        | Op::Range
        | Op::NonZero
        | Op::MatMul
        | Op::GlobalAveragePool
        | Op::GlobalMaxPool
        | Op::DynamicQuantizeLinear
        | Op::MatMulInteger
        | Op::QLinearMatMul
        // Written in their parts, and never as one node.
        | Op::Linear { .. }
        | Op::Attention { .. } => Fields::default(),
        Op::Elu { alpha }
        | Op::Celu { alpha }
        | Op::LeakyRelu { alpha }
        | Op::ThresholdedRelu { alpha } => Fields::default().float("alpha", *alpha),
        Op::Selu { alpha, gamma } => Fields::default().float("alpha", *alpha).float("gamma", *gamma),
        Op::HardSigmoid { alpha, beta } => {
            Fields::default().float("alpha", *alpha).float("beta", *beta)
        }
        Op::Gelu { tanh } => {
            Fields::default().text("approximate", if *tanh { "tanh" } else { "none" })
        }
        Op::Mod { fmod } => Fields::default().flag("fmod", *fmod),
        Op::Cast { to } => Fields::default().int("to", i64::from(to.to_onnx())),
        Op::Shape { start, end } => {
            let f = Fields::default();
            let f = if *start == 0 { f } else { f.int("start", *start) };
            end.map_or(f.clone(), |end| f.int("end", end))
        }
        Op::Reshape { allowzero } => Fields::default().set_flag("allowzero", *allowzero),
        Op::Flatten { axis }
        | Op::Concat { axis }
        | Op::Gather { axis }
        | Op::GatherElements { axis }
        | Op::OneHot { axis }
        | Op::Softmax { axis }
        | Op::LogSoftmax { axis } => Fields::default().int("axis", *axis),
        Op::Transpose { perm } if perm.is_empty() => Fields::default(),
        Op::Transpose { perm } => Fields::default().sizes("perm", perm),
        Op::Split { axis, num_outputs } => {
            let f = Fields::default().int("axis", *axis);
            num_outputs.map_or(f.clone(), |n| f.size("num_outputs", n))
        }
        Op::Pad { mode } => Fields::default().text("mode", match mode {
            PadMode::Constant => "constant",
            PadMode::Reflect => "reflect",
            PadMode::Edge => "edge",
            PadMode::Wrap => "wrap",
        }),
        Op::GatherND { batch_dims } => Fields::default().size("batch_dims", *batch_dims),
        Op::ScatterElements { axis, reduction } => {
            Fields::default().int("axis", *axis).text("reduction", scattered(*reduction))
        }
        Op::ScatterND { reduction } => Fields::default().text("reduction", scattered(*reduction)),
        Op::ConstantOfShape { value } => Fields::default().tensor("value", value),
        Op::Trilu { upper } => Fields::default().flag("upper", *upper),
        Op::CumSum { exclusive, reverse } => {
            Fields::default().flag("exclusive", *exclusive).flag("reverse", *reverse)
        }
        Op::TopK { axis, largest, sorted } => {
            Fields::default().int("axis", *axis).flag("largest", *largest).flag("sorted", *sorted)
        }
        Op::DepthToSpace { blocksize, column_row_depth } => Fields::default()
            .size("blocksize", *blocksize)
            .text("mode", if *column_row_depth { "CRD" } else { "DCR" }),
        Op::SpaceToDepth { blocksize } => Fields::default().size("blocksize", *blocksize),
        Op::Resize(a) => fields::resize(a),
        Op::Reduce { keepdims, noop_with_empty_axes, .. } => Fields::default()
            .flag("keepdims", *keepdims)
            .set_flag("noop_with_empty_axes", *noop_with_empty_axes),
        Op::ArgMax { axis, keepdims, select_last_index }
        | Op::ArgMin { axis, keepdims, select_last_index } => Fields::default()
            .int("axis", *axis)
            .flag("keepdims", *keepdims)
            .set_flag("select_last_index", *select_last_index),
        Op::Gemm { alpha, beta, trans_a, trans_b, activation: _ } => Fields::default()
            .float("alpha", *alpha)
            .float("beta", *beta)
            .flag("transA", *trans_a)
            .flag("transB", *trans_b),
        Op::Einsum { equation } => Fields::default().text("equation", equation),
        Op::Conv { conv, activation: _ } | Op::ConvInteger(conv) | Op::QLinearConv(conv) => {
            fields::conv(conv)
        }
        Op::ConvTranspose(a) => fields::conv(&a.conv)
            .sizes("output_padding", &a.output_padding)
            .sizes("output_shape", &a.output_shape),
        Op::MaxPool { pool, storage_order } => {
            let f = fields::pool(pool);
            if *storage_order == 0 { f } else { f.int("storage_order", *storage_order) }
        }
        Op::AveragePool { pool, count_include_pad } => {
            fields::pool(pool).set_flag("count_include_pad", *count_include_pad)
        }
        Op::BatchNormalization { epsilon } | Op::InstanceNormalization { epsilon } => {
            Fields::default().float("epsilon", *epsilon)
        }
        Op::LayerNormalization { axis, epsilon } | Op::RMSNormalization { axis, epsilon } => {
            Fields::default().int("axis", *axis).float("epsilon", *epsilon)
        }
        Op::GroupNormalization { num_groups, epsilon } => {
            Fields::default().size("num_groups", *num_groups).float("epsilon", *epsilon)
        }
        Op::LRN(a) => Fields::default()
            .float("alpha", a.alpha)
            .float("beta", a.beta)
            .float("bias", a.bias)
            .size("size", a.size),
        Op::LpNormalization { axis, p } => Fields::default().int("axis", *axis).int("p", *p),
        Op::LSTM(a) => fields::recurrent(a),
        Op::GRU { recurrent, linear_before_reset } => {
            fields::recurrent(recurrent).flag("linear_before_reset", *linear_before_reset)
        }
        Op::QuantizeLinear(a) => {
            let f = Fields::default().int("axis", a.axis);
            let f = if a.block_size == 0 { f } else { f.size("block_size", a.block_size) };
            a.output_dtype.map_or(f.clone(), |t| f.int("output_dtype", i64::from(t.to_onnx())))
        }
        Op::DequantizeLinear { axis, block_size } => {
            let f = Fields::default().int("axis", *axis);
            if *block_size == 0 { f } else { f.size("block_size", *block_size) }
        }
        Op::MatMulNBits(a) => Fields::default()
            .size("K", a.k)
            .size("N", a.n)
            .size("bits", a.bits)
            .size("block_size", a.block_size)
            .int("accuracy_level", a.accuracy_level),
        Op::If { then_branch, else_branch } => Fields::default()
            .graph("then_branch", &then_branch.proto)
            .graph("else_branch", &else_branch.proto),
        Op::Unsupported(raw) => {
            let mut node = raw.proto.clone();
            (node.name, node.input, node.output) = (name.to_owned(), inputs, outputs);
            return node;
        }
    };
    let domain = if matches!(op, Op::MatMulNBits(_)) { MICROSOFT } else { "" };
    proto(op.name(), domain, name, inputs, outputs, f)
}

fn scattered(reduction: ScatterReduction) -> &'static str {
    match reduction {
        ScatterReduction::None => "none",
        ScatterReduction::Add => "add",
        ScatterReduction::Mul => "mul",
        ScatterReduction::Max => "max",
        ScatterReduction::Min => "min",
    }
}
