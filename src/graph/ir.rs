//! The graph: values, nodes in the order of execution, and the few ways to change it.

use std::collections::HashSet;

use super::dim::{self, Dim};
use super::onnx::Origin;
use super::shape::Element;
use super::{Op, Weight};
use crate::error::{Error, Result};
use crate::variant::DType;

/// A value of a [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(super) usize);

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

    /// Sizes bound to free dimensions of the inputs by name.
    ///
    /// A name that no input has is an error that lists those there are.
    pub fn bind(&mut self, sizes: &std::collections::BTreeMap<String, usize>) -> Result<()> {
        let mut free: Vec<String> = Vec::new();
        let mut bound: HashSet<&str> = HashSet::new();
        for id in self.inputs.clone() {
            let name = self.values[id.0].name.clone();
            let dims = self.values[id.0].dims.iter_mut().flatten();
            for (axis, dim) in dims.enumerate() {
                let key = match dim {
                    Dim::Fixed(_) => continue,
                    Dim::Named(key) => key.clone(),
                    Dim::Unknown => format!("{name}.{axis}"),
                };
                if let Some((key, size)) = sizes.get_key_value(&key) {
                    bound.insert(key);
                    *dim = Dim::Fixed(*size);
                } else if !free.contains(&key) {
                    free.push(key);
                }
            }
        }
        if let Some(unknown) = sizes.keys().find(|key| !bound.contains(key.as_str())) {
            let known = if free.is_empty() { "none is left".to_owned() } else { free.join(", ") };
            return Err(Error::input(
                format!("dimension `{unknown}`"),
                "the model has no such free one",
            )
            .remedy(format!("its free dimensions: {known}")));
        }
        // What was inferred before may say less than what follows now.
        let constants_and_inputs: HashSet<ValueId> = self.inputs.iter().copied().collect();
        for id in self.value_ids() {
            if !constants_and_inputs.contains(&id) && self.values[id.0].constant.is_none() {
                self.values[id.0].dims = None;
                self.values[id.0].elements = None;
            }
        }
        Ok(())
    }

    /// Binds every free size of the inputs to that in `shapes`, given by name.
    ///
    /// An error when one dimension would have two sizes.
    pub fn bind_shapes<'a>(
        &mut self,
        shapes: impl Iterator<Item = (&'a str, &'a [usize])>,
    ) -> Result<()> {
        let mut sizes = std::collections::BTreeMap::new();
        for (name, shape) in shapes {
            let Some(id) = self.inputs.iter().find(|id| self.value(**id).name == name) else {
                continue;
            };
            let value = self.value(*id);
            for (axis, (dim, size)) in value.dims.iter().flatten().zip(shape).enumerate() {
                let name = match dim {
                    Dim::Fixed(_) => continue,
                    Dim::Named(name) => name.clone(),
                    Dim::Unknown => format!("{}.{axis}", value.name),
                };
                if let Some(other) = sizes.insert(name.clone(), *size).filter(|other| other != size)
                {
                    return Err(self.refuse(format!(
                        "dimension `{name}` is {other} and {size} in the inputs"
                    )));
                }
            }
        }
        self.bind(&sizes)
    }

    /// Version of ONNX's own operators in the file it was read from.
    pub fn opset(&self) -> Option<i64> {
        self.origin.opset()
    }

    /// The tool that wrote the file it was read from.
    pub fn producer(&self) -> String {
        self.origin.producer()
    }

    /// Makes an input a constant: what is always given need not be an input, and shapes that depend
    /// on it become known.
    ///
    /// An error when there is no such input, or `weight` is not of its type and shape.
    pub fn fix_input(&mut self, name: &str, weight: Weight) -> Result<()> {
        let Some(at) = self.inputs.iter().position(|id| self.value(*id).name == name) else {
            return Err(self.refuse(format!("there is no input `{name}`")));
        };
        let id = self.inputs[at];
        let value = self.value(id);
        let fits = value.dtype.is_none_or(|t| t == weight.dtype())
            && value.dims.as_ref().is_none_or(|dims| {
                let sizes = weight.shape().iter().copied().map(Dim::Fixed);
                dims.len() == weight.shape().len()
                    && !dims.iter().zip(sizes).any(|(a, b)| a.contradicts(&b))
            });
        if !fits {
            let given = format!("{}{:?}", weight.dtype(), weight.shape());
            return Err(self.refuse(format!("input {} cannot be {given}", self.show(id))));
        }
        self.inputs.remove(at);
        self.make_constant(id, weight);
        Ok(())
    }

    /// A graph of one of the nodes: what it reads is an input, or the constant that it is.
    pub fn alone(&self, node: &Node) -> Self {
        let mut graph = Self::new(&self.subject);
        graph.origin = self.origin.clone();
        let mut copied = std::collections::HashMap::new();
        let mut copy = |graph: &mut Self, id: ValueId| {
            *copied.entry(id).or_insert_with(|| {
                let value = self.value(id).clone();
                let new = graph.add_value(&value.name, value.dtype, value.dims.clone());
                *graph.value_mut(new) = value;
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
        self.nodes.iter().map(|node| format!("{:?} {:?}", node.op, types(node))).collect()
    }

    /// Operators of the graph that are not known, node by node: the node's name, and why.
    pub fn unsupported(&self) -> impl Iterator<Item = (&Node, &super::onnx::RawNode)> {
        self.nodes.iter().filter_map(|node| match &node.op {
            Op::Unsupported(raw) => Some((node, raw.as_ref())),
            _ => None,
        })
    }

    /// Names of the inputs' free dimensions, as [`Graph::bind`] takes them.
    pub fn free_dims(&self) -> Vec<String> {
        let mut free = Vec::new();
        for id in &self.inputs {
            let value = self.value(*id);
            for (axis, dim) in value.dims.iter().flatten().enumerate() {
                let key = match dim {
                    Dim::Fixed(_) => continue,
                    Dim::Named(key) => key.clone(),
                    Dim::Unknown => format!("{}.{axis}", value.name),
                };
                if !free.contains(&key) {
                    free.push(key);
                }
            }
        }
        free
    }
}

/// Who makes and who reads each value.
pub(super) struct Uses {
    producer: Vec<Option<usize>>,
    readers: Vec<Vec<usize>>,
    is_output: Vec<bool>,
    is_captured: Vec<bool>,
}

impl Uses {
    pub(super) fn of(graph: &Graph) -> Self {
        let n = graph.values.len();
        let mut uses = Self {
            producer: vec![None; n],
            readers: vec![Vec::new(); n],
            is_output: vec![false; n],
            is_captured: vec![false; n],
        };
        for (at, node) in graph.nodes.iter().enumerate() {
            for output in node.outputs.iter().flatten() {
                uses.producer[output.0] = Some(at);
            }
            for input in node.reads() {
                uses.readers[input.0].push(at);
            }
            for captured in &node.captures {
                uses.is_captured[captured.0] = true;
            }
        }
        for output in &graph.outputs {
            uses.is_output[output.0] = true;
        }
        uses
    }

    /// The index of the node that makes `id`.
    pub(super) fn producer(&self, id: ValueId) -> Option<usize> {
        self.producer[id.0]
    }

    /// Indices of the nodes that read `id`, one an input.
    pub(super) fn readers(&self, id: ValueId) -> &[usize] {
        &self.readers[id.0]
    }

    /// Whether `id` is read exactly once, by a node, and nowhere else.
    pub(super) fn is_read_once(&self, id: ValueId) -> bool {
        self.readers[id.0].len() == 1 && !self.is_output[id.0] && !self.is_captured[id.0]
    }

    /// Whether the value's name is known outside: an output of the model, or used by inner graphs.
    pub(super) fn is_pinned(&self, id: ValueId) -> bool {
        self.is_output[id.0] || self.is_captured[id.0]
    }

    /// Whether anything reads `id` at all.
    pub(super) fn is_used(&self, id: ValueId) -> bool {
        self.is_output[id.0] || !self.readers[id.0].is_empty()
    }
}
