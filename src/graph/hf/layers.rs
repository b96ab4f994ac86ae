//! Embeddings and layers of an encoder, in ONNX's plain operators: passes fuse them where an engine
//! takes fused ones.

use super::weights::Weights;
use super::{Config, Family, refuse};
use crate::error::Result;
use crate::graph::ir::{Graph, ValueId};
use crate::graph::op::{Binary, Reduction, Unary};
use crate::graph::{Dim, Op, Weight};
use crate::variant::DType;

/// A graph under construction.
pub(super) struct Builder<'a> {
    pub(super) graph: Graph,
    pub(super) config: &'a Config,
    pub(super) weights: &'a Weights,
    prefix: String,
    ids: ValueId,
    pub(super) mask: ValueId,
    types: Option<ValueId>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(subject: &str, config: &'a Config, weights: &'a Weights) -> Self {
        let mut graph = Graph::new(subject);
        let tokens = || vec![Dim::Named("batch".to_owned()), Dim::Named("sequence".to_owned())];
        let ids = graph.add_input("input_ids", DType::I64, tokens());
        let mask = graph.add_input("attention_mask", DType::I64, tokens());
        let types = (config.family == Family::Bert)
            .then(|| graph.add_input("token_type_ids", DType::I64, tokens()));
        // A classifier's file holds the encoder under its family's name.
        let family = match config.family {
            Family::Bert => "bert.",
            Family::Roberta => "roberta.",
            Family::DistilBert => "distilbert.",
        };
        let inside = weights.has(&format!("{family}embeddings.word_embeddings.weight"));
        let prefix = if inside { family.to_owned() } else { String::new() };
        Self { graph, config, weights, prefix, ids, mask, types }
    }

    pub(super) fn finish(mut self, output: ValueId) -> Graph {
        self.graph.outputs.push(output);
        self.graph
    }

    /// A tensor of the encoder by its name within it.
    pub(super) fn title(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) fn number(&mut self, name: &str, value: f32) -> ValueId {
        self.graph.add_constant(name, Weight::scalar(DType::F32, f64::from(value)))
    }

    pub(super) fn binary(&mut self, name: &str, kind: Binary, a: ValueId, b: ValueId) -> ValueId {
        self.graph.push(name, Op::Binary(kind), &[a, b])
    }

    pub(super) fn reduce(
        &mut self,
        name: &str,
        kind: Reduction,
        x: ValueId,
        axis: i64,
        keepdims: bool,
    ) -> ValueId {
        let axes = self.graph.add_constant(&format!("{name}/axes"), Weight::ints(&[axis]));
        let op = Op::Reduce { kind, keepdims, noop_with_empty_axes: false };
        self.graph.push(name, op, &[x, axes])
    }

    /// x·wᵀ + b of the layer `name`: files keep weights as `[out, in]`, ONNX multiplies by `[in, out]`.
    pub(super) fn linear(
        &mut self,
        name: &str,
        x: ValueId,
        from: usize,
        to: usize,
    ) -> Result<ValueId> {
        let weight = self.weights.get(&format!("{name}.weight"), &[to, from])?;
        let bias = self.weights.get(&format!("{name}.bias"), &[to])?;
        let weight = weight.transposed(&[1, 0]).ok_or_else(|| {
            refuse(&self.graph.subject, format!("tensor `{name}.weight` is no matrix"))
        })?;
        let weight = self.graph.add_constant(&format!("{name}.weight"), weight);
        let bias = self.graph.add_constant(&format!("{name}.bias"), bias);
        let product = self.graph.push(&format!("{name}/product"), Op::MatMul, &[x, weight]);
        Ok(self.binary(&format!("{name}/sum"), Binary::Add, product, bias))
    }

    fn normalised(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let size = [self.config.hidden];
        let (gamma, beta) = (
            self.weights.get(&format!("{name}.weight"), &size)?,
            self.weights.get(&format!("{name}.bias"), &size)?,
        );
        let gamma = self.graph.add_constant(&format!("{name}.weight"), gamma);
        let beta = self.graph.add_constant(&format!("{name}.bias"), beta);
        let op = Op::LayerNormalization { axis: -1, epsilon: self.config.epsilon };
        Ok(self.graph.push(name, op, &[x, gamma, beta]))
    }

    fn looked_up(&mut self, name: &str, indices: ValueId) -> Result<ValueId> {
        let title = self.title(&format!("{name}.weight"));
        let table = self.weights.find(&title)?;
        if table.shape().len() != 2 || table.shape()[1] != self.config.hidden {
            let message = format!(
                "tensor `{title}` is {:?}, of no vectors of {}",
                table.shape(),
                self.config.hidden
            );
            return Err(refuse(&self.graph.subject, message));
        }
        let table = self.graph.add_constant(&title, table);
        Ok(self.graph.push(name, Op::Gather { axis: 0 }, &[table, indices]))
    }

    /// Embeddings and all layers: `[batch, sequence, hidden]`.
    pub(super) fn encoder(&mut self) -> Result<ValueId> {
        let words = self.looked_up("embeddings.word_embeddings", self.ids)?;
        let positions = self.positions();
        let positions = self.looked_up("embeddings.position_embeddings", positions)?;
        let mut sum = words;
        if let Some(types) = self.types {
            let types = self.looked_up("embeddings.token_type_embeddings", types)?;
            sum = self.binary("embeddings/typed", Binary::Add, sum, types);
        } else if self.config.family == Family::Roberta && self.config.token_types > 0 {
            // All tokens are of the first type.
            let first = self.graph.add_constant("embeddings/type", Weight::scalar(DType::I64, 0.0));
            let types = self.looked_up("embeddings.token_type_embeddings", first)?;
            sum = self.binary("embeddings/typed", Binary::Add, sum, types);
        }
        let sum = self.binary("embeddings/placed", Binary::Add, sum, positions);
        let norm = self.title("embeddings.LayerNorm");
        let mut hidden = self.normalised(&norm, sum)?;
        let further = self.title(&format!(
            "{}.{}.",
            Names::of(self.config.family).layers,
            self.config.layers
        ));
        if self.weights.has_prefix(&further) {
            let message =
                format!("config.json has {} layers, and the weights have more", self.config.layers);
            return Err(refuse(&self.graph.subject, message));
        }
        let mask = self.additive_mask();
        for layer in 0..self.config.layers {
            hidden = self.layer(layer, hidden, mask)?;
        }
        Ok(hidden)
    }

    /// Places of tokens: 0, 1, 2, … for all texts; RoBERTa counts from the padding token's id on, and
    /// padding does not count.
    fn positions(&mut self) -> ValueId {
        let g = &mut self.graph;
        if self.config.family == Family::Roberta {
            let pad = g.add_constant(
                "positions/pad",
                Weight::scalar(DType::I64, self.config.pad_token as f64),
            );
            let is_pad = g.push("positions/is_pad", Op::Binary(Binary::Equal), &[self.ids, pad]);
            let is_token = g.push("positions/is_token", Op::Unary(Unary::Not), &[is_pad]);
            let one_each = g.push("positions/one_each", Op::Cast { to: DType::I64 }, &[is_token]);
            let axis = g.add_constant("positions/axis", Weight::scalar(DType::I64, 1.0));
            let op = Op::CumSum { exclusive: false, reverse: false };
            let counted = g.push("positions/counted", op, &[one_each, axis]);
            let tokens = g.push("positions/tokens", Op::Binary(Binary::Mul), &[counted, one_each]);
            return g.push("positions", Op::Binary(Binary::Add), &[tokens, pad]);
        }
        let length = g.push("positions/length", Op::Shape { start: 1, end: Some(2) }, &[self.ids]);
        let none = g.add_constant("positions/axes", Weight::ints(&[0]));
        let length = g.push("positions/limit", Op::Squeeze, &[length, none]);
        let start = g.add_constant("positions/start", Weight::scalar(DType::I64, 0.0));
        let step = g.add_constant("positions/step", Weight::scalar(DType::I64, 1.0));
        g.push("positions", Op::Range, &[start, length, step])
    }

    /// 0 where there is a token and the lowest f32 where there is none, `[batch, 1, 1, sequence]`.
    fn additive_mask(&mut self) -> ValueId {
        let mask = self.graph.push("mask/float", Op::Cast { to: DType::F32 }, &[self.mask]);
        let axes = self.graph.add_constant("mask/axes", Weight::ints(&[1, 2]));
        let mask = self.graph.push("mask/spread", Op::Unsqueeze, &[mask, axes]);
        let one = self.number("mask/one", 1.0);
        let missing = self.binary("mask/missing", Binary::Sub, one, mask);
        let lowest = self.number("mask/lowest", f32::MIN);
        self.binary("mask", Binary::Mul, missing, lowest)
    }

    fn layer(&mut self, index: usize, x: ValueId, mask: ValueId) -> Result<ValueId> {
        let names = Names::of(self.config.family);
        let title = self.title(&format!("{}.{index}", names.layers));
        let attended = self.attention(&title, &names, x, mask)?;
        let sum = self.binary(&format!("{title}/attended"), Binary::Add, attended, x);
        let x = self.normalised(&format!("{title}.{}", names.first_norm), sum)?;
        let (up, down) = (format!("{title}.{}", names.up), format!("{title}.{}", names.down));
        let hidden = self.config.hidden;
        let inner = self.weights.find(&format!("{up}.bias"))?.len();
        let wide = self.linear(&up, x, hidden, inner)?;
        let active = self.activation(&format!("{title}/activation"), wide)?;
        let narrow = self.linear(&down, active, inner, hidden)?;
        let sum = self.binary(&format!("{title}/fed"), Binary::Add, narrow, x);
        self.normalised(&format!("{title}.{}", names.second_norm), sum)
    }

    fn attention(
        &mut self,
        title: &str,
        names: &Names,
        x: ValueId,
        mask: ValueId,
    ) -> Result<ValueId> {
        let (hidden, heads) = (self.config.hidden, self.config.heads);
        let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let split = Weight::ints(&[0, 0, whole(heads), whole(hidden / heads)]);
        let mut projected = |name: &str, perm: [usize; 4]| -> Result<ValueId> {
            let name = format!("{title}.{name}");
            let flat = self.linear(&name, x, hidden, hidden)?;
            let shape = self.graph.add_constant(&format!("{name}/heads"), split.clone());
            let reshape = Op::Reshape { allowzero: false };
            let split = self.graph.push(&format!("{name}/split"), reshape, &[flat, shape]);
            Ok(self.graph.push(
                &format!("{name}/ordered"),
                Op::Transpose { perm: perm.to_vec() },
                &[split],
            ))
        };
        let query = projected(names.query, [0, 2, 1, 3])?;
        let key = projected(names.key, [0, 2, 3, 1])?;
        let value = projected(names.value, [0, 2, 1, 3])?;
        let at = |part: &str| format!("{title}/attention/{part}");
        let scores = self.graph.push(&at("scores"), Op::MatMul, &[query, key]);
        let root = self.number(&at("root"), ((hidden / heads) as f32).sqrt());
        let scores = self.binary(&at("scaled"), Binary::Div, scores, root);
        let scores = self.binary(&at("masked"), Binary::Add, scores, mask);
        let shares = self.graph.push(&at("shares"), Op::Softmax { axis: -1 }, &[scores]);
        let mixed = self.graph.push(&at("mixed"), Op::MatMul, &[shares, value]);
        let order = Op::Transpose { perm: vec![0, 2, 1, 3] };
        let mixed = self.graph.push(&at("ordered"), order, &[mixed]);
        let shape = self.graph.add_constant(&at("width"), Weight::ints(&[0, 0, whole(hidden)]));
        let joined =
            self.graph.push(&at("joined"), Op::Reshape { allowzero: false }, &[mixed, shape]);
        self.linear(&format!("{title}.{}", names.output), joined, hidden, hidden)
    }

    /// `config.json` calls functions as transformers does.
    fn activation(&mut self, title: &str, x: ValueId) -> Result<ValueId> {
        match self.config.activation.as_str() {
            "relu" => Ok(self.graph.push(title, Op::Unary(Unary::Relu), &[x])),
            // Written out, so that every ONNX Runtime knows it: x·½·(1 + erf(x/√2)).
            "gelu" => {
                let root = self.number(&format!("{title}/root"), std::f32::consts::SQRT_2);
                let inner = self.binary(&format!("{title}/inner"), Binary::Div, x, root);
                let erf = self.graph.push(&format!("{title}/erf"), Op::Unary(Unary::Erf), &[inner]);
                let one = self.number(&format!("{title}/one"), 1.0);
                let gate = self.binary(&format!("{title}/gate"), Binary::Add, erf, one);
                let gated = self.binary(&format!("{title}/gated"), Binary::Mul, x, gate);
                let half = self.number(&format!("{title}/half"), 0.5);
                Ok(self.binary(title, Binary::Mul, gated, half))
            }
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => {
                Ok(self.graph.push(title, Op::Gelu { tanh: true }, &[x]))
            }
            other => {
                Err(refuse(&self.graph.subject, format!("the activation `{other}` is not known")))
            }
        }
    }
}

/// Names of a layer's tensors.
struct Names {
    layers: &'static str,
    query: &'static str,
    key: &'static str,
    value: &'static str,
    output: &'static str,
    first_norm: &'static str,
    up: &'static str,
    down: &'static str,
    second_norm: &'static str,
}

impl Names {
    fn of(family: Family) -> Self {
        match family {
            Family::Bert | Family::Roberta => Self {
                layers: "encoder.layer",
                query: "attention.self.query",
                key: "attention.self.key",
                value: "attention.self.value",
                output: "attention.output.dense",
                first_norm: "attention.output.LayerNorm",
                up: "intermediate.dense",
                down: "output.dense",
                second_norm: "output.LayerNorm",
            },
            Family::DistilBert => Self {
                layers: "transformer.layer",
                query: "attention.q_lin",
                key: "attention.k_lin",
                value: "attention.v_lin",
                output: "attention.out_lin",
                first_norm: "sa_layer_norm",
                up: "ffn.lin1",
                down: "ffn.lin2",
                second_norm: "output_layer_norm",
            },
        }
    }
}
