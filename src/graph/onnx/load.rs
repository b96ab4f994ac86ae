//! From a file to the graph: names become edges, nodes an order, old opsets the newest form.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;

use super::file::Model;
use super::operators::OPSETS;
use super::origin::{self, Branch, Origin, RawNode};
use super::read::Lower;
use super::tensor::{self, Beside};
use super::{declared, pb};
use crate::error::{Error, Result};
use crate::graph::ir::{Node, ValueId};
use crate::graph::{Dim, Graph, Op, check, shape};

impl Graph {
    /// Reads the ONNX file at `path`; weights stay slices of the mapped file and of those beside it.
    ///
    /// Operators that the graph does not know are [`Op::Unsupported`]; what makes the file no graph
    /// at all (a cycle, an edge from nowhere, a tensor of the wrong size, an opset of the future) is
    /// an error that names the node or tensor.
    pub fn read(path: &Path) -> Result<Self> {
        let model = Model::read(path)?;
        Self::of(&path.display().to_string(), model, Some(&Beside::new(path)))
    }

    /// From a file's bytes; `subject` names it in errors. Weights in other files are an error.
    pub fn parse(subject: &str, bytes: bytes::Bytes) -> Result<Self> {
        Self::of(subject, Model::parse(subject, bytes)?, None)
    }

    fn of(subject: &str, model: Model, beside: Option<&Beside>) -> Result<Self> {
        let mut graph = Self::new(subject);
        let proto = model.proto;
        let opset = opset(&graph, &proto)?;
        // A model without a graph is none, and was refused when it was read.
        let mut inner = proto.graph.unwrap_or_default();
        bring_in(&mut inner, beside).map_err(|e| in_model(subject, &e))?;
        graph.origin = Origin {
            ir_version: proto.ir_version,
            producer: (proto.producer_name, proto.producer_version),
            domain: proto.domain,
            model_version: proto.model_version,
            doc: proto.doc_string,
            metadata: proto.metadata_props,
            functions: proto.functions,
            graph_name: inner.name.clone(),
            graph_doc: inner.doc_string.clone(),
            quantization: inner.quantization_annotation.clone(),
            opset,
            domains: proto
                .opset_import
                .into_iter()
                .filter(|o| !is_onnx(&o.domain))
                .map(|o| (o.domain, o.version))
                .collect(),
            leaves_out_inner: false,
            types: std::collections::BTreeMap::new(),
        };
        let mut loader = Loader {
            graph: &mut graph,
            opset,
            scope: HashMap::new(),
            beside,
            reserved: HashSet::new(),
        };
        loader.reserve(&inner);
        loader.inputs(&inner)?;
        let nodes = loader.nodes(&inner)?;
        let outputs = loader.outputs(&inner)?;
        graph.nodes = nodes;
        graph.outputs = outputs;
        check::check(&graph)?;
        shape::infer(&mut graph)?;
        declare(&mut graph, &inner);
        Ok(graph)
    }
}

/// An error about a tensor, as one about the model that holds it.
fn in_model(subject: &str, error: &Error) -> Error {
    let first = error.to_string();
    let message = first.lines().next().unwrap_or_default().to_owned();
    Error::input(subject, message).remedy(error.remedy_text().unwrap_or_default())
}

/// Values of attributes and inner graphs that lie in files beside the model, as slices of those: such
/// nodes may be saved elsewhere.
fn bring_in(graph: &mut pb::GraphProto, beside: Option<&Beside>) -> Result<()> {
    for attribute in graph.node.iter_mut().flat_map(|n| &mut n.attribute) {
        for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
            tensor::bring_in(tensor, beside)?;
        }
        for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            for tensor in &mut inner.initializer {
                tensor::bring_in(tensor, beside)?;
            }
            bring_in(inner, beside)?;
        }
    }
    Ok(())
}

fn is_onnx(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// Version of ONNX's own operators; `None` where the model imports none.
fn opset(graph: &Graph, model: &pb::ModelProto) -> Result<Option<i64>> {
    let Some(own) = model.opset_import.iter().find(|o| is_onnx(&o.domain)) else { return Ok(None) };
    if OPSETS.contains(&own.version) {
        return Ok(Some(own.version));
    }
    let (first, last) = (OPSETS.start(), OPSETS.end());
    Err(Error::input(&graph.subject, format!("uses opset {} of ONNX's operators", own.version))
        .remedy(format!("opsets {first} to {last} can be read; convert the model to one of them")))
}

/// Types and ranks that the file states where nothing is inferred: outputs of unknown operators.
///
/// Fixed sizes are not taken over: files keep those of the example that they were exported with.
fn declare(graph: &mut Graph, inner: &pb::GraphProto) {
    for info in inner.value_info.iter().chain(&inner.output) {
        let (Some(id), Some((dtype, dims))) = (graph.find(&info.name), declared(info)) else {
            continue;
        };
        let value = graph.value_mut(id);
        value.dtype = value.dtype.or(dtype);
        let named = |dim: &Dim| if dim.fixed().is_some() { Dim::Unknown } else { dim.clone() };
        value.dims = value.dims.take().or_else(|| Some(dims?.iter().map(named).collect()));
    }
}

/// Brings the branch of an `If` into `graph`; the nodes, and what stands for its outputs.
///
/// `None` when names inside inner graphs would have to change.
pub(in crate::graph) fn inline(
    graph: &mut Graph,
    branch: &Branch,
) -> Result<Option<(Vec<Node>, Vec<ValueId>)>> {
    let scope = graph.value_ids().map(|id| (graph.value(id).name.clone(), id)).collect();
    let has_inner = branch.proto.node.iter().any(|n| origin::inner_graphs(n).next().is_some());
    let defines = branch.proto.node.iter().flat_map(|n| &n.output);
    if has_inner && defines.into_iter().any(|name| graph.find(name).is_some()) {
        return Ok(None);
    }
    let mut loader =
        Loader { graph, opset: branch.opset, scope, beside: None, reserved: HashSet::new() };
    loader.reserve(&branch.proto);
    let nodes = loader.nodes(&branch.proto)?;
    let outputs = loader.outputs(&branch.proto)?;
    Ok(Some((nodes, outputs)))
}

struct Loader<'a> {
    graph: &'a mut Graph,
    opset: Option<i64>,
    /// Names that can be seen, and what they stand for.
    scope: HashMap<String, ValueId>,
    beside: Option<&'a Beside>,
    /// Names that are kept for values yet to come.
    reserved: HashSet<String>,
}

impl Loader<'_> {
    /// Keeps the names of a graph from constants and values that are made on the way.
    fn reserve(&mut self, proto: &pb::GraphProto) {
        let inputs = proto.input.iter().map(|v| &v.name);
        let tensors = proto.initializer.iter().map(|t| &t.name);
        for name in inputs.chain(tensors).chain(proto.node.iter().flat_map(|n| &n.output)) {
            if !name.is_empty() && self.graph.reserve(name) {
                self.reserved.insert(name.clone());
            }
        }
    }

    /// A value that is defined here, under its own name where that is free.
    fn define(&mut self, name: &str) -> ValueId {
        let id = if self.reserved.remove(name) {
            self.graph.add_reserved(name)
        } else {
            self.graph.add_value(name, None, None)
        };
        self.scope.insert(name.to_owned(), id);
        id
    }

    fn initializers(&mut self, proto: &pb::GraphProto) -> Result<Vec<pb::TensorProto>> {
        let mut opaque = Vec::new();
        let mut seen = HashSet::new();
        for tensor in &proto.initializer {
            if !seen.insert(&tensor.name) {
                return Err(self.graph.refuse(format!("two tensors are called `{}`", tensor.name)));
            }
            let weight = tensor::weight(tensor, self.beside);
            match weight.map_err(|e| in_model(&self.graph.subject, &e))? {
                Some(weight) => {
                    let id = self.define(&tensor.name);
                    self.graph.make_constant(id, weight);
                }
                None => opaque.push(tensor.clone()),
            }
        }
        Ok(opaque)
    }

    fn inputs(&mut self, proto: &pb::GraphProto) -> Result<()> {
        let constants: HashSet<&str> = proto.initializer.iter().map(|t| t.name.as_str()).collect();
        // Old files list every weight as an input too.
        for info in proto.input.iter().filter(|i| !constants.contains(i.name.as_str())) {
            if self.scope.contains_key(&info.name) {
                return Err(self.graph.refuse(format!("two inputs are called `{}`", info.name)));
            }
            let id = self.define(&info.name);
            if let Some((dtype, dims)) = declared(info) {
                let value = self.graph.value_mut(id);
                (value.dtype, value.dims) = (dtype, dims);
            }
            self.keep_type(info);
            self.graph.inputs.push(id);
        }
        Ok(())
    }

    /// Keeps a type that is no tensor of a type known here.
    fn keep_type(&mut self, info: &pb::ValueInfoProto) {
        let known = declared(info).is_some_and(|(dtype, _)| dtype.is_some());
        if let (false, Some(r#type)) = (known, &info.r#type) {
            self.graph.origin.types.insert(info.name.clone(), r#type.clone());
        }
    }

    fn outputs(&mut self, proto: &pb::GraphProto) -> Result<Vec<ValueId>> {
        let mut outputs = Vec::with_capacity(proto.output.len());
        for info in &proto.output {
            let Some(id) = self.scope.get(&info.name) else {
                return Err(self
                    .graph
                    .refuse(format!("output `{}` is given by no node", info.name)));
            };
            outputs.push(*id);
            self.keep_type(info);
        }
        Ok(outputs)
    }

    /// Nodes in an order in which they can run.
    fn nodes(&mut self, proto: &pb::GraphProto) -> Result<Vec<Node>> {
        let opaque = self.initializers(proto)?;
        let mut nodes = Vec::with_capacity(proto.node.len());
        for tensor in opaque {
            nodes.push(self.opaque(tensor.name.clone(), "value", |a| a.t = Some(tensor), 4));
        }
        for sparse in &proto.sparse_initializer {
            let name = sparse.values.as_ref().map_or("", |v| v.name.as_str()).to_owned();
            let sparse = sparse.clone();
            nodes.push(self.opaque(name, "sparse_value", |a| a.sparse_tensor = Some(sparse), 11));
        }
        let order = self.order(proto)?;
        let mut names = HashSet::new();
        for at in order {
            let node = &proto.node[at];
            let name = title(node, at, &mut names);
            self.node(node, name, &mut nodes)?;
        }
        Ok(nodes)
    }

    /// A constant that the graph cannot hold, as a node that gives it.
    fn opaque(
        &mut self,
        name: String,
        attribute: &str,
        fill: impl FnOnce(&mut pb::AttributeProto),
        kind: i32,
    ) -> Node {
        let mut value =
            pb::AttributeProto { name: attribute.to_owned(), r#type: kind, ..Default::default() };
        fill(&mut value);
        let proto = pb::NodeProto {
            op_type: "Constant".to_owned(),
            attribute: vec![value],
            ..Default::default()
        };
        let reason = "its element type or layout is not known".to_owned();
        let raw = RawNode { proto, reason, opset: self.opset };
        let output = self.define(&name);
        Node {
            name,
            op: Op::Unsupported(Box::new(raw)),
            inputs: Vec::new(),
            outputs: vec![Some(output)],
            captures: Vec::new(),
        }
    }

    /// Kahn's order, the file's own where that is one already.
    fn order(&self, proto: &pb::GraphProto) -> Result<Vec<usize>> {
        let mut maker: HashMap<&str, usize> = HashMap::new();
        let fail = |at: usize, message: String| {
            let node = &proto.node[at];
            let name =
                if node.name.is_empty() { format!("#{at}") } else { format!("`{}`", node.name) };
            Err(self.graph.refuse(format!("node {name} ({}): {message}", node.op_type)))
        };
        for (at, node) in proto.node.iter().enumerate() {
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                let again = maker.insert(output, at).is_some();
                if again || proto.initializer.iter().any(|t| t.name == *output) {
                    return fail(at, format!("gives `{output}`, which is there already"));
                }
            }
        }
        let mut waits = vec![0_usize; proto.node.len()];
        let mut next: Vec<Vec<usize>> = vec![Vec::new(); proto.node.len()];
        for (at, node) in proto.node.iter().enumerate() {
            let outer = origin::inner_graphs(node).flat_map(origin::captures);
            for name in node.input.iter().filter(|i| !i.is_empty()).cloned().chain(outer) {
                if let Some(from) = maker.get(name.as_str()) {
                    waits[at] += 1;
                    next[*from].push(at);
                } else if !self.scope.contains_key(&name) {
                    return fail(at, format!("reads `{name}`, which nothing gives"));
                }
            }
        }
        let mut ready: VecDeque<usize> = (0..waits.len()).filter(|at| waits[*at] == 0).collect();
        let mut order = Vec::with_capacity(waits.len());
        while let Some(at) = ready.pop_front() {
            order.push(at);
            for after in &next[at] {
                waits[*after] -= 1;
                if waits[*after] == 0 {
                    ready.push_back(*after);
                }
            }
        }
        if order.len() < waits.len() {
            let stuck = on_cycle(&waits, &next);
            return fail(stuck, "waits for its own output: the graph has a cycle".to_owned());
        }
        let place: Vec<usize> = {
            let mut place = vec![0; order.len()];
            order.iter().enumerate().for_each(|(rank, at)| place[*at] = rank);
            place
        };
        // A file in order stays as it is; Kahn's order is another one of many.
        let sorted = (0..next.len()).all(|at| next[at].iter().all(|after| *after > at));
        Ok(if sorted { (0..place.len()).collect() } else { order })
    }

    fn node(&mut self, proto: &pb::NodeProto, name: String, into: &mut Vec<Node>) -> Result<()> {
        let known = |this: &Self, input: &String| {
            if input.is_empty() { None } else { this.scope.get(input).copied() }
        };
        let inputs: Vec<_> = proto.input.iter().map(|i| known(self, i)).collect();
        let captures: Vec<ValueId> = origin::inner_graphs(proto)
            .flat_map(origin::captures)
            .filter_map(|name| self.scope.get(&name).copied())
            .collect();
        let outputs: Vec<Option<ValueId>> = proto
            .output
            .iter()
            .map(|o| if o.is_empty() { None } else { Some(self.define(o)) })
            .collect();
        let mut lower = Lower::new(self.graph, proto, self.opset, name, inputs, outputs, captures);
        for node in lower.nodes() {
            shape::infer_node(self.graph, &node)?;
            into.push(node);
        }
        Ok(())
    }
}

/// A node that really lies on a cycle, and not only behind one.
fn on_cycle(waits: &[usize], next: &[Vec<usize>]) -> usize {
    let mut previous: Vec<Option<usize>> = vec![None; waits.len()];
    for (from, after) in next.iter().enumerate().filter(|(at, _)| waits[*at] > 0) {
        for to in after {
            previous[*to] = Some(from);
        }
    }
    // Going back from any stuck node ends on the cycle it waits for.
    let mut at = waits.iter().position(|w| *w > 0).unwrap_or(0);
    for _ in 0..waits.len() {
        at = previous[at].unwrap_or(at);
    }
    at
}

/// A name for messages: its own, or that of its first output.
fn title(node: &pb::NodeProto, at: usize, taken: &mut HashSet<String>) -> String {
    let wish = match (node.name.as_str(), node.output.iter().find(|o| !o.is_empty())) {
        ("", Some(output)) => output.clone(),
        ("", None) => format!("{}_{at}", node.op_type),
        (name, _) => name.to_owned(),
    };
    let mut name = wish.clone();
    let mut n = 1;
    while !taken.insert(name.clone()) {
        name = format!("{wish}_{n}");
        n += 1;
    }
    name
}

/// Axes of a tensor type, as the file states them.
pub(super) fn dims(tensor: &pb::TensorTypeProto) -> Option<Vec<Dim>> {
    let dim = |d: &pb::DimensionProto| match (d.dim_value, d.dim_param.as_deref()) {
        (Some(size), _) => usize::try_from(size).map_or(Dim::Unknown, Dim::Fixed),
        (None, Some(name)) if !name.is_empty() => Dim::Named(name.to_owned()),
        _ => Dim::Unknown,
    };
    tensor.shape.as_ref().map(|shape| shape.dim.iter().map(dim).collect())
}
