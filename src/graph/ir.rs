//! The graph: values, nodes in the order of execution, and the few ways to change it.

use std::collections::HashSet;

use super::dim::{self, Dim};
use super::onnx::Origin;
use super::shape::Element;
use super::{Op, Weight};
use crate::error::Error;
use crate::variant::DType;

/// A value of a [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(super) usize);

#[cfg(feature = "wgpu")]
impl ValueId {
    /// A name for the `n`th of things that are no values of a graph: for placing them as buffers.
    pub(crate) fn numbered(n: usize) -> Self {
        Self(n)
    }

    /// Which one it is.
    pub(crate) fn number(self) -> usize {
        self.0
    }
}

/// What flows along an edge: an input, a constant, or an output of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Its name, unlike any other's.
    pub name: String,
    /// The element type, as far as it is known.
    pub dtype: Option<DType>,
    /// The axes, as far as they are known.
    pub dims: Option<Vec<Dim>>,
    /// The elements of a constant.
    pub constant: Option<Weight>,
    /// The elements of a small tensor of whole numbers, as far as they are known.
    pub(super) elements: Option<Vec<Element>>,
}

/// An operator with what it takes and gives; left-out optional ones are `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name, for messages; unlike any other's.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// What it takes.
    pub inputs: Vec<Option<ValueId>>,
    /// What it gives.
    pub outputs: Vec<Option<ValueId>>,
    /// What its inner graphs use of this one, by name; such values keep their names.
    pub captures: Vec<ValueId>,
}

impl Node {
    /// Input `index`, where it is there.
    pub fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// Output `index`, where it is asked for.
    pub fn output(&self, index: usize) -> Option<ValueId> {
        self.outputs.get(index).copied().flatten()
    }

    /// All values it reads, those of inner graphs included.
    pub fn reads(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.inputs.iter().flatten().chain(&self.captures).copied()
    }
}

/// A model as Infermark understands it.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Names the model in errors: usually its file.
    pub subject: String,
    pub(super) values: Vec<Value>,
    /// In an order in which they can run.
    pub nodes: Vec<Node>,
    /// What a session must be given.
    pub inputs: Vec<ValueId>,
    /// What it returns.
    pub outputs: Vec<ValueId>,
    /// What the file said besides, kept for saving.
    pub(super) origin: Origin,
    names: HashSet<String>,
}

impl Graph {
    /// A graph without anything in it.
    pub fn new(subject: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            values: Vec::new(),
            nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            origin: Origin::default(),
            names: HashSet::new(),
        }
    }

    /// An error about this model.
    pub(super) fn refuse(&self, message: impl std::fmt::Display) -> Error {
        Error::input(&self.subject, message).remedy("export the model again, or give another file")
    }

    /// A value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    pub(super) fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.0]
    }

    /// Every value, used or not.
    pub fn value_ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..self.values.len()).map(ValueId)
    }

    /// The value called `name`.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.values.iter().position(|v| v.name == name).map(ValueId)
    }

    /// The elements of a constant value.
    pub fn constant(&self, id: Option<ValueId>) -> Option<&Weight> {
        self.value(id?).constant.as_ref()
    }

    /// The whole numbers of a constant value.
    pub fn ints(&self, id: Option<ValueId>) -> Option<Vec<i64>> {
        self.constant(id)?.to_i64()
    }

    /// The only number of a constant value that has one.
    pub fn number(&self, id: Option<ValueId>) -> Option<f64> {
        self.constant(id)?.single()
    }

    /// The axes of a value, as far as they are known.
    pub fn dims(&self, id: Option<ValueId>) -> Option<&[Dim]> {
        self.value(id?).dims.as_deref()
    }

    /// A name like `wish` that nothing has yet.
    pub(super) fn free_name(&self, wish: &str) -> String {
        let mut name = wish.to_owned();
        let mut n = 1;
        while self.names.contains(&name) {
            name = format!("{wish}_{n}");
            n += 1;
        }
        name
    }

    /// Keeps a name for [`Graph::add_reserved`]; false when something has it.
    pub(super) fn reserve(&mut self, name: &str) -> bool {
        self.names.insert(name.to_owned())
    }

    /// A new value under a name that was kept for it.
    pub(super) fn add_reserved(&mut self, name: &str) -> ValueId {
        let name = name.to_owned();
        self.values.push(Value { name, dtype: None, dims: None, constant: None, elements: None });
        ValueId(self.values.len() - 1)
    }

    /// A new value called `wish`, or like it where that is taken.
    pub fn add_value(
        &mut self,
        wish: &str,
        dtype: Option<DType>,
        dims: Option<Vec<Dim>>,
    ) -> ValueId {
        let name = self.free_name(wish);
        self.names.insert(name.clone());
        self.values.push(Value { name, dtype, dims, constant: None, elements: None });
        ValueId(self.values.len() - 1)
    }

    /// A new constant called `wish`, or like it where that is taken.
    pub fn add_constant(&mut self, wish: &str, weight: Weight) -> ValueId {
        let dims = weight.shape().iter().copied().map(Dim::Fixed).collect();
        let id = self.add_value(wish, Some(weight.dtype()), Some(dims));
        self.values[id.0].constant = Some(weight);
        id
    }

    /// A new input.
    pub fn add_input(&mut self, name: &str, dtype: DType, dims: Vec<Dim>) -> ValueId {
        let id = self.add_value(name, Some(dtype), Some(dims));
        self.inputs.push(id);
        id
    }

    /// A new node at the end with one output called `name`; types and shapes are inferred later.
    pub fn push(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> ValueId {
        let output = self.add_value(name, None, None);
        self.nodes.push(Node {
            name: name.to_owned(),
            op,
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: vec![Some(output)],
            captures: Vec::new(),
        });
        output
    }

    /// States the element type of a value: for whoever makes nodes whose type nothing tells.
    pub fn set_dtype(&mut self, id: ValueId, dtype: DType) {
        self.values[id.0].dtype = Some(dtype);
    }

    /// Makes a value a constant: whoever produced it must be removed.
    pub(super) fn make_constant(&mut self, id: ValueId, weight: Weight) {
        let value = &mut self.values[id.0];
        value.dtype = Some(weight.dtype());
        value.dims = Some(weight.shape().iter().copied().map(Dim::Fixed).collect());
        value.constant = Some(weight);
    }

    /// Drops the elements of constants that nothing uses.
    pub(super) fn forget_unused_constants(&mut self) -> usize {
        let mut used = vec![false; self.values.len()];
        for id in self.nodes.iter().flat_map(Node::reads).chain(self.outputs.iter().copied()) {
            used[id.0] = true;
        }
        let unused = |(at, value): &(usize, &mut Value)| !used[*at] && value.constant.is_some();
        self.values
            .iter_mut()
            .enumerate()
            .filter(unused)
            .map(|(_, value)| value.constant = None)
            .count()
    }

    /// Bytes of all constants that are used, and their elements.
    pub fn weights(&self) -> (u64, u64) {
        let used: HashSet<ValueId> =
            self.nodes.iter().flat_map(Node::reads).chain(self.outputs.iter().copied()).collect();
        used.into_iter().filter_map(|id| self.constant(Some(id))).fold((0, 0), |(b, n), weight| {
            (b + weight.bytes().len() as u64, n + weight.len() as u64)
        })
    }

    /// `` `name` f32[batch, 384] ``
    pub fn show(&self, id: ValueId) -> String {
        let value = self.value(id);
        let dtype = value.dtype.map_or("?".to_owned(), |t| t.to_string());
        let dims = value.dims.as_deref().map_or("[…]".to_owned(), dim::show);
        format!("`{}` {dtype}{dims}", value.name)
    }

    /// An error about one node.
    pub(super) fn refuse_node(&self, node: &Node, message: impl std::fmt::Display) -> Error {
        self.refuse(format!("node `{}` ({}): {message}", node.name, node.op.name()))
    }

    /// Version of ONNX's own operators in the file it was read from.
    pub fn opset(&self) -> Option<i64> {
        self.origin.opset()
    }

    /// The tool that wrote the file it was read from.
    pub fn producer(&self) -> String {
        self.origin.producer()
    }

    /// A graph of one of the nodes: what it reads is an input, or the constant that it is. Types that
    /// are not known, behind unknown operators, are taken for f32.
    #[must_use]
    pub fn alone(&self, node: &Node) -> Self {
        let mut graph = Self::new(&self.subject);
        graph.origin = self.origin.clone();
        let mut copied = std::collections::HashMap::new();
        let mut copy = |graph: &mut Self, id: ValueId| {
            *copied.entry(id).or_insert_with(|| {
                let value = self.value(id).clone();
                let new = graph.add_value(&value.name, value.dtype, value.dims.clone());
                *graph.value_mut(new) = value;
                let value = graph.value_mut(new);
                if !self.origin.has_type(&value.name) {
                    value.dtype = value.dtype.or(Some(DType::F32));
                }
                new
            })
        };
        for id in node.reads() {
            let new = copy(&mut graph, id);
            if self.constant(Some(id)).is_none() && !graph.inputs.contains(&new) {
                graph.inputs.push(new);
            }
        }
        let mut moved = |graph: &mut Self, ids: &[Option<ValueId>]| -> Vec<Option<ValueId>> {
            ids.iter().map(|id| id.map(|id| copy(graph, id))).collect()
        };
        let (inputs, outputs) = (moved(&mut graph, &node.inputs), moved(&mut graph, &node.outputs));
        let captures: Vec<Option<ValueId>> = node.captures.iter().copied().map(Some).collect();
        let captures = moved(&mut graph, &captures).into_iter().flatten().collect();
        graph.outputs = outputs.iter().flatten().copied().collect();
        let (name, op) = (node.name.clone(), node.op.clone());
        graph.nodes.push(Node { name, op, inputs, outputs, captures });
        graph
    }

    /// The operators with their attributes and the types of what they read: alike for nodes of which
    /// an engine can run both or none.
    pub fn signature(&self) -> String {
        let types = |node: &Node| -> Vec<String> {
            node.inputs
                .iter()
                .map(|id| {
                    id.map_or("–".to_owned(), |id| {
                        let value = self.value(id);
                        let rank = value.dims.as_ref().map_or(0, Vec::len);
                        format!("{:?}/{rank}/{}", value.dtype, value.constant.is_some())
                    })
                })
                .collect()
        };
        let kinds = self.nodes.iter().map(|node| format!("{:?} {:?}", node.op, types(node)));
        kinds.collect::<Vec<_>>().join("; ")
    }

    /// Operators of the graph that are not known, node by node: the node's name, and why.
    pub fn unsupported(&self) -> impl Iterator<Item = (&Node, &super::onnx::RawNode)> {
        self.nodes.iter().filter_map(|node| match &node.op {
            Op::Unsupported(raw) => Some((node, raw.as_ref())),
            _ => None,
        })
    }
}
