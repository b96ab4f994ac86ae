//! `fp16` and `bf16`: floats of 16 bits throughout, but for nodes whose values would not survive it.
//!
//! Inputs and outputs keep their types, so that a variant takes and gives what its model does.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::calibrate::{Execute, Look, observe};
use super::range::Seen;
use super::rewrite::emit_as;
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, Numbers, Op, ValueId, Weight};
use crate::variant::{DType, HalfType, Tensors};

/// Largest finite number of IEEE half precision.
const LARGEST: f32 = 65504.0;
/// A tensor whose largest magnitude is below this stays in f32: numbers 16 times smaller would be
/// subnormal in half precision (below 2⁻¹⁴) and lose their digits.
const SMALLEST: f32 = 1.0 / 1024.0;

/// What a rewrite did.
pub(super) struct Halved {
    pub(super) changed: Vec<String>,
    /// Nodes that stay in f32, and why.
    pub(super) kept: Vec<(String, String)>,
}

/// What values were on samples, by name: run once, used for every attempt.
pub(super) fn observed(
    graph: &Graph,
    samples: &[Tensors],
    execute: &mut dyn Execute,
) -> Result<BTreeMap<String, Seen>> {
    let mut wanted: Vec<ValueId> = graph.inputs.clone();
    let made = graph.nodes.iter().flat_map(|n| n.outputs.iter().flatten().copied());
    wanted.extend(made.filter(|id| graph.value(*id).dtype == Some(DType::F32)));
    let seen = observe(graph, &wanted, samples, Look::Extent, execute)?;
    Ok(seen.into_iter().map(|(id, seen)| (graph.value(id).name.clone(), seen)).collect())
}

/// Rewrites all nodes but those in `keep`, those that have no form in 16 bits, and those whose values
/// were seen to be too large or too small for them.
pub(super) fn apply(
    graph: &mut Graph,
    half: HalfType,
    seen: &BTreeMap<String, Seen>,
    keep: &BTreeSet<String>,
) -> Result<Halved> {
    let dtype = match half {
        HalfType::Fp16 => DType::F16,
        HalfType::Bf16 => DType::BF16,
    };
    let mut pinned: BTreeSet<ValueId> = graph.outputs.iter().copied().collect();
    pinned.extend(graph.nodes.iter().flat_map(|n| n.captures.iter().copied()));
    let mut work = Work {
        dtype,
        pinned,
        halves: HashMap::new(),
        wides: HashMap::new(),
        is_half: BTreeSet::new(),
    };
    let mut done = Halved { changed: Vec::new(), kept: Vec::new() };
    for node in std::mem::take(&mut graph.nodes) {
        let floats = node.inputs.iter().chain(&node.outputs).flatten();
        if floats.clone().all(|id| graph.value(*id).dtype != Some(DType::F32)) {
            graph.nodes.push(node);
            continue;
        }
        let reason = if keep.contains(&node.name) {
            Some("kept as asked".to_owned())
        } else {
            lacks(&node.op)
                .map(str::to_owned)
                .or_else(|| untyped(graph, &node))
                .or_else(|| out_of_range(graph, &node, half, seen))
        };
        if let Some(reason) = reason {
            done.kept.push((node.name.clone(), reason));
            work.keep(graph, node);
        } else {
            done.changed.push(node.name.clone());
            work.halve(graph, node)?;
        }
    }
    Ok(done)
}

/// Why an operator has no form in 16 bits.
fn lacks(op: &Op) -> Option<&'static str> {
    match op {
        Op::DynamicQuantizeLinear
        | Op::QuantizeLinear(_)
        | Op::DequantizeLinear { .. }
        | Op::QLinearMatMul
        | Op::QLinearConv(_) => Some("scales stay in f32"),
        Op::Range | Op::Resize(_) => Some("ONNX defines it with f32 only"),
        Op::If { .. } => Some("its branches are left as they are"),
        Op::Unsupported(_) => Some("it is not known here"),
        _ => None,
    }
}

/// A value whose type is not known may be f32 and stay it: what meets it must be f32, too.
fn untyped(graph: &Graph, node: &Node) -> Option<String> {
    let mut ids = node.inputs.iter().chain(&node.outputs).flatten();
    let id = ids.find(|id| graph.value(**id).dtype.is_none())?;
    Some(format!("the type of `{}` is not known", graph.value(*id).name))
}

/// Whether a value that the node reads or gives does not fit 16 bits.
fn out_of_range(
    graph: &Graph,
    node: &Node,
    half: HalfType,
    seen: &BTreeMap<String, Seen>,
) -> Option<String> {
    if half == HalfType::Bf16 {
        return None;
    }
    let ids = node.inputs.iter().chain(&node.outputs).flatten();
    for id in ids.filter(|id| graph.value(**id).dtype == Some(DType::F32)) {
        let value = graph.value(*id);
        let extent = match &value.constant {
            // A mask's −∞ is the same number in 16 bits.
            Some(weight) => weight
                .to_f32()
                .iter()
                .filter(|v| v.is_finite())
                .fold(0.0_f32, |most, v| most.max(v.abs())),
            None => seen.get(&value.name).map_or(0.0, Seen::reach),
        };
        if extent > LARGEST {
            return Some(format!("`{}` reaches {extent:.3e}", value.name));
        }
        if extent > 0.0 && extent < SMALLEST {
            return Some(format!("`{}` stays below {extent:.1e}", value.name));
        }
    }
    None
}

/// Finite numbers beyond a type's largest become that: a mask's lowest f32 rounds to −∞ in bf16, and where a mask
/// is 0 times its lowest number, that would be NaN.
fn within(numbers: Numbers, dtype: DType) -> Numbers {
    let largest = match dtype {
        DType::BF16 => f64::from(half::bf16::MAX.to_f32()),
        _ => f64::from(LARGEST),
    };
    match numbers {
        Numbers::Floats(values) => {
            let cut = |v: f64| if v.is_finite() { v.clamp(-largest, largest) } else { v };
            Numbers::Floats(values.into_iter().map(cut).collect())
        }
        ints @ Numbers::Ints(_) => ints,
    }
}

/// What exists of each value so far, in 16 bits and in f32.
struct Work {
    dtype: DType,
    /// Outputs, and what inner graphs read: they keep name and type.
    pinned: BTreeSet<ValueId>,
    halves: HashMap<ValueId, ValueId>,
    wides: HashMap<ValueId, ValueId>,
    /// Values that their node now gives in 16 bits.
    is_half: BTreeSet<ValueId>,
}

impl Work {
    fn convert(graph: &mut Graph, id: ValueId, to: DType, suffix: &str) -> ValueId {
        let wish = format!("{}{suffix}", graph.value(id).name);
        let dims = graph.value(id).dims.clone();
        let made = graph.add_value(&wish, Some(to), dims);
        emit_as(graph, Op::Cast { to }, &[id], &[made]);
        made
    }

    /// The value in 16 bits.
    fn half(&mut self, graph: &mut Graph, id: ValueId) -> Result<ValueId> {
        if self.is_half.contains(&id) {
            return Ok(id);
        }
        if let Some(known) = self.halves.get(&id) {
            return Ok(*known);
        }
        let made = match &graph.value(id).constant {
            None => Self::convert(graph, id, self.dtype, "_half"),
            Some(weight) => {
                let numbers = within(weight.numbers(), self.dtype);
                let halved = Weight::from_numbers(self.dtype, weight.shape().to_vec(), &numbers);
                let name = graph.value(id).name.clone();
                let halved =
                    halved.ok_or_else(|| Error::internal(&name, "does not fit its shape"))?;
                graph.add_constant(&format!("{name}_half"), halved)
            }
        };
        self.halves.insert(id, made);
        Ok(made)
    }

    /// The value in f32.
    fn wide(&mut self, graph: &mut Graph, id: ValueId) -> ValueId {
        if !self.is_half.contains(&id) {
            return id;
        }
        if let Some(known) = self.wides.get(&id) {
            return *known;
        }
        let made = Self::convert(graph, id, DType::F32, "_wide");
        self.wides.insert(id, made);
        made
    }

    fn keep(&mut self, graph: &mut Graph, mut node: Node) {
        for input in node.inputs.iter_mut().flatten() {
            *input = self.wide(graph, *input);
        }
        graph.nodes.push(node);
    }

    fn halve(&mut self, graph: &mut Graph, mut node: Node) -> Result<()> {
        for input in node.inputs.iter_mut().flatten() {
            if graph.value(*input).dtype == Some(DType::F32) {
                *input = self.half(graph, *input)?;
            }
        }
        match &mut node.op {
            Op::Cast { to } if *to == DType::F32 => *to = self.dtype,
            Op::ConstantOfShape { value } if value.dtype() == DType::F32 => {
                let number = value.single().unwrap_or(0.0);
                *value = Weight::from_numbers(self.dtype, vec![1], &Numbers::Floats(vec![number]))
                    .ok_or_else(|| Error::internal(&node.name, "its value does not fit"))?;
            }
            _ => {}
        }
        let mut back = Vec::new();
        for output in node.outputs.iter_mut().flatten() {
            if graph.value(*output).dtype != Some(DType::F32) {
                continue;
            }
            if self.pinned.contains(output) {
                let name = format!("{}_half", graph.value(*output).name);
                let dims = graph.value(*output).dims.clone();
                let made = graph.add_value(&name, Some(self.dtype), dims);
                self.halves.insert(*output, made);
                back.push((made, *output));
                *output = made;
            } else {
                graph.set_dtype(*output, self.dtype);
                self.is_half.insert(*output);
            }
        }
        graph.nodes.push(node);
        for (made, pinned) in back {
            emit_as(graph, Op::Cast { to: DType::F32 }, &[made], &[pinned]);
        }
        Ok(())
    }
}
