//! From a node of a file to nodes of the graph: the only place that knows what opsets say
//! differently. A node that cannot be expressed exactly is kept as it is, with the reason.

mod elementwise;
mod layout;
mod microsoft;
mod neural;
mod products;
mod quantised;
mod reductions;

use super::attributes::{Attributes, Reason};
use super::operators::{Definition, definition};
use super::origin::{Branch, RawNode};
use super::pb;
use crate::graph::ir::{Node, ValueId};
use crate::graph::op::MICROSOFT;
use crate::graph::{Graph, Op, Weight};

/// One node on its way into the graph.
pub(super) struct Lower<'a> {
    graph: &'a mut Graph,
    proto: &'a pb::NodeProto,
    attributes: Attributes<'a>,
    opset: Option<i64>,
    /// The opset in which the operator's definition, as the file means it, appeared.
    since: i64,
    name: String,
    inputs: Vec<Option<ValueId>>,
    outputs: Vec<Option<ValueId>>,
    captures: Vec<ValueId>,
    /// Nodes that prepare the inputs.
    before: Vec<Node>,
    /// Nodes that finish the outputs.
    after: Vec<Node>,
}

impl<'a> Lower<'a> {
    pub(super) fn new(
        graph: &'a mut Graph,
        proto: &'a pb::NodeProto,
        opset: Option<i64>,
        name: String,
        inputs: Vec<Option<ValueId>>,
        outputs: Vec<Option<ValueId>>,
        captures: Vec<ValueId>,
    ) -> Self {
        let attributes = Attributes::of(proto);
        let (before, after) = (Vec::new(), Vec::new());
        Self {
            graph,
            proto,
            attributes,
            opset,
            since: 0,
            name,
            inputs,
            outputs,
            captures,
            before,
            after,
        }
    }

    /// The nodes that stand for it; none for a constant.
    pub(super) fn nodes(&mut self) -> Vec<Node> {
        let (inputs, outputs) = (self.inputs.clone(), self.outputs.clone());
        let read = self.read().and_then(|op| self.attributes.all_read().map(|()| op));
        let op = match read {
            Ok(Some(op)) => op,
            Ok(None) => return Vec::new(),
            Err(reason) => {
                (self.inputs, self.outputs) = (inputs, outputs);
                self.before.clear();
                self.after.clear();
                let mut proto = self.proto.clone();
                (proto.input, proto.output) = (Vec::new(), Vec::new());
                (proto.name, proto.doc_string) = (String::new(), String::new());
                Op::Unsupported(Box::new(RawNode { proto, reason, opset: self.opset }))
            }
        };
        while self.inputs.last() == Some(&None) {
            self.inputs.pop();
        }
        let node = Node {
            name: self.name.clone(),
            op,
            inputs: std::mem::take(&mut self.inputs),
            outputs: std::mem::take(&mut self.outputs),
            captures: std::mem::take(&mut self.captures),
        };
        let mut nodes = std::mem::take(&mut self.before);
        nodes.push(node);
        nodes.append(&mut self.after);
        nodes
    }

    /// The operator; `None` when the node was a constant and is one now.
    fn read(&mut self) -> Result<Option<Op>, Reason> {
        match self.proto.domain.as_str() {
            "" | "ai.onnx" => {}
            MICROSOFT => return microsoft::read(self).map(Some),
            other => return Err(format!("operators of the domain `{other}` are not known")),
        }
        let opset = self.opset.ok_or("the model imports no version of ONNX's operators")?;
        let name = self.proto.op_type.as_str();
        self.since = match definition(name, opset) {
            Definition::Since(since) => since,
            Definition::Withdrawn(since) => {
                return Err(format!("it was withdrawn in opset {since}"));
            }
            Definition::Unknown => return Err(format!("opset {opset} has no such operator")),
        };
        match name {
            "Constant" => return self.constant(),
            "If" => return self.branches().map(Some),
            "Loop" | "Scan" => return Err("loops are not known".to_owned()),
            _ => {}
        }
        let families = [
            elementwise::read,
            layout::read,
            reductions::read,
            products::read,
            neural::read,
            quantised::read,
        ];
        for family in families {
            if let Some(op) = family(self, name)? {
                return Ok(Some(op));
            }
        }
        Err("the graph has no such operator".to_owned())
    }

    fn constant(&mut self) -> Result<Option<Op>, Reason> {
        let a = &self.attributes;
        let weight = if let Some(weight) = a.tensor("value")? {
            weight
        } else if let Some(value) = a.float("value_float")? {
            Weight::scalar(crate::variant::DType::F32, f64::from(value))
        } else if let Some(values) = a.floats("value_floats")? {
            Weight::floats(vec![values.len()], &values).ok_or("it does not fit its own shape")?
        } else if let Some(value) = a.int("value_int")? {
            Weight::ints(&[value]).reshaped(Vec::new()).ok_or("it does not fit its own shape")?
        } else if let Some(values) = a.ints("value_ints")? {
            Weight::ints(&values)
        } else {
            return Err("its value is neither a dense tensor nor numbers".to_owned());
        };
        a.all_read()?;
        let output = self.outputs.first().copied().flatten().ok_or("it gives nothing")?;
        self.graph.make_constant(output, weight);
        Ok(None)
    }

    fn branches(&mut self) -> Result<Op, Reason> {
        let branch = |name: &str| -> Result<Box<Branch>, Reason> {
            let proto = self.attributes.graph(name)?.clone();
            Ok(Box::new(Branch { proto, opset: self.opset }))
        };
        Ok(Op::If { then_branch: branch("then_branch")?, else_branch: branch("else_branch")? })
    }

    /// Whether input `index` is there.
    fn has(&self, index: usize) -> bool {
        self.inputs.get(index).is_some_and(Option::is_some)
    }

    fn input(&self, index: usize) -> Result<ValueId, Reason> {
        self.inputs.get(index).copied().flatten().ok_or_else(|| format!("input {index} is missing"))
    }

    fn output(&self, index: usize) -> Option<ValueId> {
        self.outputs.get(index).copied().flatten()
    }

    /// Makes `weight` input `index`: what an older opset keeps in an attribute.
    fn set_input(&mut self, index: usize, suffix: &str, weight: Weight) {
        let id = self.graph.add_constant(&format!("{}/{suffix}", self.name), weight);
        if self.inputs.len() <= index {
            self.inputs.resize(index + 1, None);
        }
        self.inputs[index] = Some(id);
    }

    /// A node before this one; returns its output.
    fn first(&mut self, suffix: &str, op: Op, inputs: &[ValueId]) -> ValueId {
        let name = format!("{}/{suffix}", self.name);
        let output = self.graph.add_value(&name, None, None);
        self.before.push(Node {
            name: self.graph.value(output).name.clone(),
            op,
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: vec![Some(output)],
            captures: Vec::new(),
        });
        output
    }

    /// A node after this one that takes its output 0 and `more`, and gives what the file's node gives.
    fn then(&mut self, suffix: &str, op: Op, more: &[ValueId]) -> Result<(), Reason> {
        let name = format!("{}/{suffix}", self.name);
        let given = self.output(0).ok_or("it gives nothing")?;
        let between = self.graph.add_value(&name, None, None);
        self.outputs[0] = Some(between);
        let inputs = std::iter::once(between).chain(more.iter().copied()).map(Some).collect();
        let outputs = vec![Some(given)];
        self.after.push(Node { name, op, inputs, outputs, captures: Vec::new() });
        Ok(())
    }
}
