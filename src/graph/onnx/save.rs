//! From the graph to a file.

use std::collections::BTreeSet;
use std::path::Path;

use super::file::Model;
use super::operators::{Definition, definition};
use super::origin::{self, Branch, RawNode};
use super::{load, pb, tensor, write};
use crate::error::{Error, Result};
use crate::graph::ir::{Graph, Node, ValueId};
use crate::graph::op::MICROSOFT;
use crate::graph::{Dim, Op};
use crate::units::Bytes;

/// Weights beyond this go into a file of their own: one message of protobuf ends at 2 GiB.
const EXTERNAL_ABOVE: u64 = 1_500_000_000;

impl Graph {
    /// Saves the graph as an ONNX file at `path`; weights of more than 1.5 GB in all go into
    /// `<file name>.data` beside it.
    ///
    /// The opset is the model's own, raised where the graph needs a newer one. A node that is not
    /// known here, and whose definition changed between the two, is an error: its meaning would.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.write_split(path, Bytes(EXTERNAL_ABOVE))
    }

    /// As [`Graph::write`], with another limit for weights in the file itself.
    pub fn write_split(&self, path: &Path, above: Bytes) -> Result<()> {
        self.to_model()?.write_split(path, above.0)
    }

    /// From now on, files leave out the types and shapes of inner values: they are smaller by them, and
    /// readers that cannot infer have less to go by.
    pub fn leave_out_inner_types(&mut self) {
        self.origin.leaves_out_inner = true;
    }

    /// The graph as a file's content; weights are shared and not copied.
    pub fn to_model(&self) -> Result<Model> {
        let own = self.origin.opset();
        let needed = needs(self, &self.nodes)?;
        let uses_onnx = own.is_some() || self.nodes.iter().any(|n| n.op.domain().is_empty());
        let opset = own.unwrap_or(0).max(needed).max(write::OLDEST);
        let mut domains = self.origin.domains.clone();
        if self.nodes.iter().any(|n| n.op.domain() == MICROSOFT) {
            domains.entry(MICROSOFT.to_owned()).or_insert(1);
        }
        let mut opset_import: Vec<pb::OperatorSetIdProto> = Vec::new();
        if uses_onnx {
            opset_import.push(pb::OperatorSetIdProto { domain: String::new(), version: opset });
        }
        let other = |(domain, version)| pb::OperatorSetIdProto { domain, version };
        opset_import.extend(domains.into_iter().map(other));
        let own_name = |text: &str, default: &str| {
            if text.is_empty() { default.to_owned() } else { text.to_owned() }
        };
        let origin = &self.origin;
        Ok(Model {
            proto: pb::ModelProto {
                ir_version: origin.ir_version.max(ir_version(opset)),
                producer_name: own_name(&origin.producer.0, "infermark"),
                producer_version: own_name(&origin.producer.1, env!("CARGO_PKG_VERSION")),
                domain: origin.domain.clone(),
                model_version: origin.model_version,
                doc_string: origin.doc.clone(),
                metadata_props: origin.metadata.clone(),
                functions: origin.functions.clone(),
                opset_import,
                graph: Some(self.proto(opset)?),
                ..Default::default()
            },
        })
    }

    fn proto(&self, opset: i64) -> Result<pb::GraphProto> {
        let mut proto = pb::GraphProto {
            name: if self.origin.graph_name.is_empty() {
                "graph".to_owned()
            } else {
                self.origin.graph_name.clone()
            },
            doc_string: self.origin.graph_doc.clone(),
            quantization_annotation: self.origin.quantization.clone(),
            input: self.inputs.iter().map(|id| self.info(*id)).collect(),
            output: self.outputs.iter().map(|id| self.info(*id)).collect(),
            ..Default::default()
        };
        let used: BTreeSet<ValueId> =
            self.nodes.iter().flat_map(Node::reads).chain(self.outputs.iter().copied()).collect();
        for id in used {
            let value = self.value(id);
            if let Some(weight) = &value.constant {
                proto.initializer.push(tensor::proto(&value.name, weight));
            }
        }
        let (nodes, constants) = self.written(&self.nodes, opset)?;
        proto.node = nodes;
        proto.initializer.extend(constants);
        let edges: BTreeSet<ValueId> = self.inputs.iter().chain(&self.outputs).copied().collect();
        let described = if self.origin.leaves_out_inner { &[] } else { self.nodes.as_slice() };
        for node in described {
            // What was inferred helps readers that cannot infer; a half-known value helps nobody.
            let inner = node.outputs.iter().flatten().filter(|id| !edges.contains(id));
            let known = inner.filter(|id| {
                let value = self.value(**id);
                value.dtype.is_some() && value.dims.is_some()
            });
            proto.value_info.extend(known.map(|id| self.info(*id)));
        }
        Ok(proto)
    }

    /// Nodes in the form of `opset`, those of branches too, and the constants that are made for them.
    fn written(
        &self,
        nodes: &[Node],
        opset: i64,
    ) -> Result<(Vec<pb::NodeProto>, Vec<pb::TensorProto>)> {
        let (mut protos, mut constants) = (Vec::new(), Vec::new());
        for node in nodes {
            self.keeps_meaning(node, opset)?;
            let mut written = write::write(self, node);
            if let Op::If { then_branch, else_branch } = &node.op {
                for (name, branch) in [("then_branch", then_branch), ("else_branch", else_branch)] {
                    let inner = self.branch(node, branch, opset)?;
                    let fields = written.nodes.iter_mut().flat_map(|n| &mut n.attribute);
                    fields.filter(|a| a.name == name).for_each(|a| a.g = Some(inner.clone()));
                }
            }
            protos.extend(written.nodes);
            constants.extend(written.constants.iter().map(|(n, w)| tensor::proto(n, w)));
        }
        Ok((protos, constants))
    }

    /// A branch as it is, or brought into the newest form where `opset` is not the one it was
    /// written for.
    fn branch(&self, node: &Node, branch: &Branch, opset: i64) -> Result<pb::GraphProto> {
        if branch.opset == Some(opset) {
            return Ok(branch.proto.clone());
        }
        let mut scratch = self.clone();
        let Some((nodes, outputs)) = load::inline(&mut scratch, branch)? else {
            return Err(self.refuse_node(
                node,
                "holds graphs in graphs, which cannot be saved in another opset",
            ));
        };
        let mut proto = pb::GraphProto { name: branch.proto.name.clone(), ..Default::default() };
        let outer = self.values.len();
        let (protos, constants) = scratch.written(&nodes, opset)?;
        proto.node = protos;
        proto.initializer = constants;
        for value in &scratch.values[outer..] {
            proto.initializer.extend(value.constant.iter().map(|w| tensor::proto(&value.name, w)));
        }
        proto.output = outputs
            .into_iter()
            .zip(&branch.proto.output)
            .map(|(id, stated)| {
                let mut info = stated.clone();
                info.name.clone_from(&scratch.value(id).name);
                info
            })
            .collect();
        Ok(proto)
    }

    fn info(&self, id: ValueId) -> pb::ValueInfoProto {
        let value = self.value(id);
        let r#type = match (self.origin.types.get(&value.name), value.dtype) {
            (Some(kept), _) => Some(kept.clone()),
            (None, None) => None,
            (None, Some(dtype)) => Some(pb::TypeProto {
                tensor_type: Some(pb::TensorTypeProto {
                    elem_type: dtype.to_onnx(),
                    shape: value.dims.as_ref().map(|dims| pb::TensorShapeProto {
                        dim: dims.iter().map(dimension).collect(),
                    }),
                }),
                ..Default::default()
            }),
        };
        pb::ValueInfoProto { name: value.name.clone(), r#type, ..Default::default() }
    }

    /// Whether what is kept as it is means the same in `opset`.
    fn keeps_meaning(&self, node: &Node, opset: i64) -> Result<()> {
        let changed = match &node.op {
            Op::Unsupported(raw) => changed(raw, opset),
            _ => None,
        };
        match changed {
            None => Ok(()),
            Some((name, from)) => Err(Error::input(
                &self.subject,
                format!(
                    "node `{}` cannot be saved: {name} changed between opset {from}, for which it \
                     was written, and opset {opset}, and is not known here",
                    node.name
                ),
            )
            .remedy(format!("export the model for opset {opset}"))),
        }
    }
}

/// The oldest opset that has everything in `nodes`, branches included.
fn needs(graph: &Graph, nodes: &[Node]) -> Result<i64> {
    let mut opset = write::OLDEST;
    for node in nodes {
        opset = opset.max(write::needs(graph, node));
        let Op::If { then_branch, else_branch } = &node.op else { continue };
        for branch in [then_branch, else_branch] {
            let mut scratch = graph.clone();
            if let Some((inner, _)) = load::inline(&mut scratch, branch)? {
                opset = opset.max(needs(&scratch, &inner)?);
            }
        }
    }
    Ok(opset)
}

fn changed(raw: &RawNode, opset: i64) -> Option<(String, i64)> {
    changed_node(&raw.proto, raw.opset, opset)
}

fn changed_node(node: &pb::NodeProto, from: Option<i64>, opset: i64) -> Option<(String, i64)> {
    let from = from?;
    if from == opset {
        return None;
    }
    let is_onnx = node.domain.is_empty() || node.domain == "ai.onnx";
    let differs = is_onnx
        && match (definition(&node.op_type, from), definition(&node.op_type, opset)) {
            (Definition::Since(a), Definition::Since(b)) => a != b,
            _ => true,
        };
    if differs {
        return Some((node.op_type.clone(), from));
    }
    origin::inner_graphs(node).find_map(|graph| changed_inside(graph, Some(from), opset))
}

fn changed_inside(graph: &pb::GraphProto, from: Option<i64>, opset: i64) -> Option<(String, i64)> {
    graph.node.iter().find_map(|node| changed_node(node, from, opset))
}

fn dimension(dim: &Dim) -> pb::DimensionProto {
    let (dim_value, dim_param) = match dim {
        Dim::Fixed(size) => (Some(i64::try_from(*size).unwrap_or(i64::MAX)), None),
        Dim::Named(name) => (None, Some(name.clone())),
        Dim::Unknown => (None, None),
    };
    pb::DimensionProto { dim_value, dim_param, denotation: String::new() }
}

/// The version of the file format that came with an opset (ONNX, docs/Versioning.md).
fn ir_version(opset: i64) -> i64 {
    match opset {
        ..=18 => 8,
        19 | 20 => 9,
        21 | 22 => 10,
        _ => 11,
    }
}
