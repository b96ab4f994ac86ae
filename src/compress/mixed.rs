//! `mixed-…`: which nodes a recipe should leave alone, found by measuring each.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::calibrate::Execute;
use super::judge::{Judge, holds, value_of};
use super::target::Target;
use super::work::Work;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::variant::Mixed;

/// What compressing one node alone does to the answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// The node.
    pub node: String,
    /// The budget's figure with only this node compressed; 1 is no change. `None` where an answer was
    /// no finite number.
    pub value: Option<f64>,
}

/// What a search found.
pub(super) struct Found {
    pub(super) graph: Graph,
    pub(super) changed: Vec<String>,
    pub(super) keep: Vec<String>,
    pub(super) sensitivities: Vec<Sensitivity>,
}

/// Compresses each node alone to see what it costs, then keeps as few of the worst ones in float as
/// the budget needs.
///
/// The number kept is found by halving: it is the least one only where more kept nodes never make
/// answers worse. What is returned was measured to hold.
pub(super) fn search(
    graph: &Graph,
    recipe: &Mixed,
    work: &mut Work<'_>,
    judge: &Judge<'_>,
    execute: &mut dyn Execute,
) -> Result<Found> {
    let nodes = Work::nodes(graph, &recipe.base)?;
    let metric = recipe.budget.metric;
    let mut sensitivities = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        work.say(&format!("{}: node {} of {}", recipe.base, at + 1, nodes.len()));
        let keep: BTreeSet<String> = nodes.iter().filter(|other| *other != node).cloned().collect();
        let (alone, _) = work.apply(graph, &recipe.base, &keep, execute)?;
        let figures = judge.figures(&alone, execute)?;
        let value = figures.and_then(|figures| value_of(&figures, metric));
        sensitivities.push(Sensitivity { node: node.clone(), value });
    }
    // The worst first; of equals the larger one is compressed first, because it gains more.
    let size = |name: &str| {
        let node = graph.nodes.iter().find(|n| n.name == *name);
        let target = node.and_then(|n| Target::of(graph, n));
        target.and_then(|t| graph.constant(Some(t.weight))).map_or(0, crate::graph::Weight::len)
    };
    let order = |a: &Sensitivity, b: &Sensitivity| {
        let value = |s: &Sensitivity| s.value.unwrap_or(f64::NEG_INFINITY);
        value(a).total_cmp(&value(b)).then_with(|| size(&a.node).cmp(&size(&b.node)))
    };
    sensitivities.sort_by(order);
    let mut attempt = |kept: usize, work: &mut Work<'_>| -> Result<Option<Found>> {
        work.say(&format!("{}: {kept} of {} nodes kept", recipe.base, nodes.len()));
        let keep: Vec<String> = sensitivities[..kept].iter().map(|s| s.node.clone()).collect();
        let set = keep.iter().cloned().collect();
        let (made, changed) = work.apply(graph, &recipe.base, &set, execute)?;
        let Some(figures) = judge.figures(&made, execute)? else { return Ok(None) };
        let sensitivities = sensitivities.clone();
        Ok(holds(&figures, &recipe.budget)?.then_some(Found {
            graph: made,
            changed,
            keep,
            sensitivities,
        }))
    };
    if let Some(found) = attempt(0, work)? {
        return Ok(found);
    }
    let mut found = None;
    // `fails` is known to break the budget; `holds_at` is known, or assumed, to keep it.
    let (mut fails, mut holds_at) = (0, nodes.len());
    while holds_at - fails > 1 {
        let middle = usize::midpoint(fails, holds_at);
        match attempt(middle, work)? {
            Some(better) => {
                holds_at = middle;
                found = Some(better);
            }
            None => fails = middle,
        }
    }
    found.ok_or_else(|| {
        Error::input(
            format!("recipe `mixed-{}-{}`", recipe.base, recipe.budget),
            format!("cannot compress any of {} nodes within its budget", nodes.len()),
        )
        .remedy("lower the budget, or use another recipe")
    })
}
