//! What a file says that the graph has no use for, kept so that saving loses nothing.

use std::collections::BTreeMap;

use prost::Message;

use super::pb;

/// What the file said besides its graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Origin {
    pub(super) ir_version: i64,
    pub(super) producer: (String, String),
    pub(super) domain: String,
    pub(super) model_version: i64,
    pub(super) doc: String,
    pub(super) metadata: Vec<pb::StringStringEntryProto>,
    pub(super) functions: Vec<pb::FunctionProto>,
    pub(super) graph_name: String,
    pub(super) graph_doc: String,
    pub(super) quantization: Vec<pb::TensorAnnotation>,
    /// Version of ONNX's own operators; `None` where the model uses none of them.
    pub(super) opset: Option<i64>,
    /// Versions of other domains.
    pub(super) domains: BTreeMap<String, i64>,
    /// Whether files are written without the types of inner values, which any reader infers.
    pub(super) leaves_out_inner: bool,
    /// Types of inputs and outputs that are no tensors of a type known here.
    pub(super) types: BTreeMap<String, pb::TypeProto>,
}

impl Origin {
    /// Version of ONNX's own operators in the file.
    pub fn opset(&self) -> Option<i64> {
        self.opset
    }

    /// Whether the value is of a type that is not known here.
    pub fn has_type(&self, name: &str) -> bool {
        self.types.contains_key(name)
    }

    /// Tool that wrote the file.
    pub fn producer(&self) -> String {
        format!("{} {}", self.producer.0, self.producer.1).trim().to_owned()
    }
}

/// A node that is kept as it is, because the graph does not know its operator or a part of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RawNode {
    /// Type, domain and attributes; inputs and outputs are those of the graph's node.
    pub(super) proto: pb::NodeProto,
    /// Why it is kept as it is.
    pub(super) reason: String,
    /// Version of ONNX's operators it is written for.
    pub(super) opset: Option<i64>,
}

impl RawNode {
    /// The operator's name.
    pub fn op_type(&self) -> &str {
        &self.proto.op_type
    }

    /// The operator's domain; empty for ONNX's own.
    pub fn domain(&self) -> &str {
        if self.proto.domain == "ai.onnx" { "" } else { &self.proto.domain }
    }

    /// Why the graph does not know it.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// A graph inside a node, not yet read.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    pub(super) proto: pb::GraphProto,
    /// Version of ONNX's operators it is written for.
    pub(super) opset: Option<i64>,
}

impl Branch {
    /// Nodes of the graph, those of inner graphs not counted.
    pub fn nodes(&self) -> usize {
        self.proto.node.len()
    }

    /// Bytes it takes in a file.
    pub fn size(&self) -> usize {
        self.proto.encoded_len()
    }
}

/// Names that `graph` reads and does not define: those of the graphs around it.
pub(super) fn captures(graph: &pb::GraphProto) -> Vec<String> {
    let mut defined: std::collections::HashSet<&str> = std::collections::HashSet::new();
    defined.extend(graph.input.iter().map(|v| v.name.as_str()));
    defined.extend(graph.initializer.iter().map(|t| t.name.as_str()));
    defined.extend(
        graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref()).map(|t| t.name.as_str()),
    );
    defined.extend(graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str)));
    let mut free: Vec<String> = Vec::new();
    let mut see = |name: &str| {
        if !name.is_empty() && !defined.contains(name) && !free.iter().any(|f| f == name) {
            free.push(name.to_owned());
        }
    };
    for node in &graph.node {
        for name in &node.input {
            see(name);
        }
        for inner in inner_graphs(node) {
            for name in captures(inner) {
                see(&name);
            }
        }
    }
    for output in &graph.output {
        see(&output.name);
    }
    free
}

/// Graphs in a node's attributes.
pub(super) fn inner_graphs(node: &pb::NodeProto) -> impl Iterator<Item = &pb::GraphProto> {
    node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs))
}
