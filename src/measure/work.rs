//! What an inference of a case has to do, counted from the variant's graph.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Result;
use crate::graph::passes::{self, Pass};
use crate::graph::{Graph, cost, infer};
use crate::store::{WorkRecord, WorkRow};

/// Counts for inputs of these shapes. What cannot be counted is recorded as such: it takes nothing
/// from what was measured.
pub(super) fn counted(model: &Path, shapes: Vec<(String, Vec<usize>)>) -> WorkRecord {
    let mut passes = BTreeMap::new();
    let (rows, unknown) = match rows(model, &shapes, &mut passes) {
        Ok(rows) => (rows, None),
        Err(error) => (Vec::new(), Some(error.message().to_owned())),
    };
    let total = cost::total(&rows);
    let known = |n: u64| unknown.is_none().then_some(n);
    WorkRecord {
        input_shapes: shapes.into_iter().collect(),
        flops: known(total.flops),
        bytes_read: known(total.bytes_read),
        bytes_written: known(total.bytes_written),
        params: known(total.params),
        ops: rows.into_iter().map(stored).collect(),
        unknown,
        passes,
    }
}

fn rows(
    model: &Path,
    shapes: &[(String, Vec<usize>)],
    changes: &mut BTreeMap<String, usize>,
) -> Result<Vec<cost::Row>> {
    let mut graph = Graph::read(model)?;
    graph.bind_shapes(shapes.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())))?;
    infer(&mut graph)?;
    if let Some((node, raw)) = graph.unsupported().next() {
        let message =
            format!("node `{}` ({}) is not known: {}", node.name, raw.op_type(), raw.reason());
        return Err(crate::error::Error::input(model.display(), message));
    }
    // Shapes are computed by nodes that no engine runs again and again.
    for step in passes::run(&mut graph, &[Pass::Fold, Pass::Canonicalise, Pass::Dead], usize::MAX)?
    {
        *changes.entry(step.pass.to_string()).or_default() += step.changes;
    }
    cost::of(&graph)
}

fn stored(row: cost::Row) -> WorkRow {
    let cost::Row { op, kind, dtype, count, work } = row;
    WorkRow {
        op,
        kind: super::case::text_of(&kind),
        dtype: dtype.map(|t| t.to_string()),
        count,
        flops: work.flops,
        bytes_read: work.bytes_read,
        bytes_written: work.bytes_written,
        params: work.params,
    }
}
