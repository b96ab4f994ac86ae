//! Where a batch's time goes, by operator and kernel.

use std::collections::BTreeMap;

use super::plan::Timed;
use crate::backend::{Ceilings, OpRow};

/// Sums of the steps of one operator and kernel.
#[derive(Default)]
struct Sums {
    count: usize,
    ns: f64,
    flops: f64,
    bytes: f64,
    /// Nanoseconds that the ceilings ask for at least.
    least: f64,
}

/// The rate that products of a kernel are bounded by, in operations a second.
///
/// Sums are of f32 whatever the factors are, but for bytes.
fn rate(kernel: &str, ceilings: &Ceilings) -> f64 {
    match ceilings.int8_ops_per_s {
        Some(bytes) if kernel.starts_with("dots") => bytes,
        _ => ceilings.f32_flops_per_s,
    }
}

/// Nanoseconds that a step takes at least: whichever of arithmetic and memory takes longer.
///
/// Williams, Waterman and Patterson, "Roofline", CACM 52 (4), 2009.
fn least(step: &Timed, ceilings: &Ceilings) -> f64 {
    let computing = step.flops / rate(&step.kernel, ceilings);
    let moving = step.bytes / ceilings.bytes_per_s;
    computing.max(moving) * 1e9
}

/// The op table, what takes longest first.
pub(super) fn table(steps: &[Timed], device: &str, ceilings: Option<&Ceilings>) -> Vec<OpRow> {
    let total: f64 = steps.iter().map(|t| t.ns).sum();
    let mut all: BTreeMap<(&str, &str), Sums> = BTreeMap::new();
    for step in steps {
        let sums = all.entry((&step.op, &step.kernel)).or_default();
        sums.count += 1;
        sums.ns += step.ns;
        sums.flops += step.flops;
        sums.bytes += step.bytes;
        sums.least += ceilings.map_or(0.0, |c| least(step, c));
    }
    let mut rows: Vec<OpRow> = all
        .into_iter()
        .map(|((op, kernel), sums)| OpRow {
            kind: format!("{op} ({kernel})"),
            provider: device.to_owned(),
            count: sums.count,
            time_share: if total > 0.0 { sums.ns / total } else { 0.0 },
            time_ns: Some(sums.ns),
            flops: (sums.flops > 0.0).then_some(sums.flops),
            bytes: Some(sums.bytes),
            ceiling_share: (ceilings.is_some() && sums.ns > 0.0).then(|| sums.least / sums.ns),
        })
        .collect();
    rows.sort_by(|a, b| b.time_share.total_cmp(&a.time_share));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_bounded_by_what_takes_longer() {
        let ceilings = Ceilings {
            f32_flops_per_s: 1e9,
            f16_flops_per_s: None,
            int8_ops_per_s: Some(4e9),
            bytes_per_s: 1e9,
        };
        let step = |op: &str, kernel: &str, ns, flops, bytes| Timed {
            op: op.to_owned(),
            kernel: kernel.to_owned(),
            ns,
            flops,
            bytes,
        };
        let steps = [
            step("MatMul", "tiled", 200.0, 100.0, 10.0),
            step("MatMul", "tiled", 200.0, 10.0, 100.0),
            step("MatMul", "dots", 50.0, 100.0, 5.0),
            step("Add", "chain", 50.0, 0.0, 10.0),
        ];
        let rows = table(&steps, "gpu", Some(&ceilings));
        let seen: Vec<_> =
            rows.iter().map(|r| (r.kind.as_str(), r.count, r.ceiling_share)).collect();
        assert_eq!(seen[0], ("MatMul (tiled)", 2, Some(0.5)));
        assert!(seen.contains(&("MatMul (dots)", 1, Some(0.5))));
        assert!(seen.contains(&("Add (chain)", 1, Some(0.2))));
        assert_eq!((rows[0].flops, rows[0].time_share), (Some(110.0), 0.8));
        let without = table(&steps, "gpu", None);
        assert!(without.iter().all(|r| r.ceiling_share.is_none()));
    }
}
