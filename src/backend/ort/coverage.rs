//! Which operators of a model this ONNX Runtime lacks.
//!
//! Asked for a whole model it names the first one only, so each kind of node is tried on its own.

use std::collections::HashMap;
use std::path::Path;

use crate::backend::Coverage;
use crate::error::{Error, Result};
use crate::graph::Graph;

/// Tries the whole model with `build`, and node by node where that fails.
pub(super) fn of(model: &Path, build: impl Fn(&Path) -> Result<()>) -> Result<Coverage> {
    let graph = Graph::read(model)?;
    let Err(whole) = build(model) else { return Ok(Coverage::of(graph.nodes.len(), Vec::new())) };
    let folder = tempfile::tempdir().map_err(|e| {
        Error::environment("coverage", format!("no temporary folder: {e}"))
            .remedy("set TMPDIR to a folder that can be written")
    })?;
    let path = folder.path().join("node.onnx");
    let mut known: HashMap<String, Option<String>> = HashMap::new();
    let mut missing = Vec::new();
    for node in &graph.nodes {
        let alone = graph.alone(node);
        let kind = alone.signature();
        let reason = known.entry(kind).or_insert_with(|| {
            let tried = alone.write(&path).and_then(|()| build(&path));
            tried.err().map(|e| e.message().to_owned())
        });
        if let Some(reason) = reason.clone() {
            missing.push((node.op.domain().to_owned(), node.op.name().to_owned(), reason));
        }
    }
    // Every node by itself is fine, and the model is not: then it is no matter of operators.
    if missing.is_empty() { Err(whole) } else { Ok(Coverage::of(graph.nodes.len(), missing)) }
}
