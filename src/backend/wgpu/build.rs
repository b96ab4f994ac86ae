//! A graph bound to the shapes of one batch, as tasks.

use std::sync::Arc;

use super::buffers::Weights;
use super::device::Gpu;
use super::lower::{Input, Lower, Output, Task};
use super::ops;
use crate::backend::integers::{find, live};
use crate::backend::{Coverage, NumericFact};
use crate::error::{Error, Result};
use crate::graph::Graph;

/// All that a plan is made of.
pub(super) struct Built {
    pub(super) tasks: Vec<Task>,
    pub(super) pieces: Vec<usize>,
    pub(super) own: Vec<Arc<wgpu::Buffer>>,
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
    pub(super) numerics: Vec<NumericFact>,
}

/// A node that cannot run: domain, operator, why; and the name of the first.
pub(super) struct Gaps {
    pub(super) missing: Vec<(String, String, String)>,
    first: String,
}

impl Gaps {
    fn add(&mut self, name: &str, what: (&str, &str), why: String) {
        if self.missing.is_empty() {
            name.clone_into(&mut self.first);
        }
        self.missing.push((what.0.to_owned(), what.1.to_owned(), why));
    }

    /// As an error that names the first node and every operator.
    pub(super) fn refused(self, graph: &Graph) -> Error {
        let missing = Coverage::of(graph.nodes.len(), self.missing).missing;
        let all = missing.iter().map(|m| format!("{} of {} ({})", m.count, m.op, m.reason));
        let all = all.collect::<Vec<_>>().join(", ");
        let first = self.first;
        Error::input(&graph.subject, format!("wgpu cannot run node `{first}`; it lacks {all}"))
            .remedy("`infermark model coverage` lists the gaps of any backend; try ort:cpu")
    }
}

/// Lowers a graph whose sizes are fixed; `how`: whether kernels are measured, and whether functions of single
/// elements are fused.
pub(super) fn build(
    graph: &Graph,
    gpu: &Gpu,
    weights: &Weights,
    how: (bool, bool),
) -> std::result::Result<Built, Gaps> {
    let mut gaps = Gaps { missing: Vec::new(), first: String::new() };
    let mut to = Lower::new(graph, gpu, weights, how);
    let mut inputs = Vec::new();
    for id in &graph.inputs {
        let value = graph.value(*id);
        match (to.add_input(*id), value.dtype) {
            (Ok(view), Some(dtype)) => {
                inputs.push(Input { name: value.name.clone(), dtype, view });
            }
            (Err(why), _) => gaps.add(&value.name, ("", "(input)"), why),
            (_, None) => {
                gaps.add(&value.name, ("", "(input)"), "is of a type that is not known".to_owned());
            }
        }
    }
    let (mut products, refused) = find(graph);
    let live = live(graph, &products);
    for (at, node) in graph.nodes.iter().enumerate().filter(|(at, _)| live[*at]) {
        node.op.name().clone_into(&mut to.op);
        let done = match products.remove(&at) {
            Some(product) => ops::integer_product(&mut to, node, &product),
            None => ops::lower(&mut to, node),
        };
        if let Err(why) = done {
            let why = refused.get(&at).cloned().unwrap_or(why);
            gaps.add(&node.name, (node.op.domain(), node.op.name()), why);
            // What reads its outputs is no gap for that.
            for id in node.outputs.iter().flatten() {
                if let (Ok(elem), Ok(dims)) = (to.elem(*id), to.dims(*id)) {
                    let view = to.alloc(elem, dims);
                    to.set(*id, view);
                }
            }
        }
    }
    let mut outputs = Vec::new();
    for id in &graph.outputs {
        let value = graph.value(*id);
        match (to.dense(*id), value.dtype) {
            (Ok(view), Some(dtype)) => {
                outputs.push(Output { name: value.name.clone(), dtype, view });
            }
            (Err(why), _) if gaps.missing.is_empty() => {
                gaps.add(&value.name, ("", "(output)"), why);
            }
            _ => {}
        }
    }
    if !gaps.missing.is_empty() {
        return Err(gaps);
    }
    let Lower { tasks, pieces, own, numerics, .. } = to;
    Ok(Built { tasks, pieces, own, inputs, outputs, numerics })
}

/// The graph for inputs of these shapes.
pub(super) fn bound<'a>(
    graph: &Graph,
    shapes: impl Iterator<Item = (&'a str, &'a [usize])>,
    passes: &[crate::graph::passes::Pass],
) -> Result<Graph> {
    let mut graph = graph.clone();
    graph.bind_shapes(shapes)?;
    crate::graph::infer(&mut graph)?;
    // What depends on sizes only is a constant now.
    let always = [crate::graph::passes::Pass::Fold, crate::graph::passes::Pass::Dead];
    let passes = if passes.is_empty() { &always[..] } else { passes };
    crate::graph::passes::run(&mut graph, passes, usize::MAX)?;
    Ok(graph)
}
