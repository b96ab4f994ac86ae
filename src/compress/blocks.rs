//! `int4-b32` and its like: weights of few bits, a scale for each block of weights that are summed
//! with each other; activations stay as they are. The operator is ONNX Runtime's `MatMulNBits`.

use std::collections::{BTreeSet, HashMap};

use super::integer::{Affine, Levels};
use super::rewrite::{constant_of, emit, emit_as, float_type};
use super::target::{Matrix, Target};
use crate::error::{Error, Result};
use crate::graph::op::{Binary, NBits};
use crate::graph::{Graph, Numbers, Op, ValueId, Weight};
use crate::variant::{Blocks, DType};

/// Scales that are tried for a block, as shares of the one that covers all of it: cutting the ends
/// costs less than it gains when they are rare.
const SHARES: [f32; 12] = [1.0, 0.98, 0.96, 0.94, 0.92, 0.9, 0.88, 0.86, 0.84, 0.82, 0.8, 0.75];

/// Rewrites all matrix products but those in `keep`; the names of the nodes that were.
pub(super) fn apply(
    graph: &mut Graph,
    recipe: Blocks,
    keep: &BTreeSet<String>,
) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    let mut stored: HashMap<ValueId, Vec<ValueId>> = HashMap::new();
    for node in std::mem::take(&mut graph.nodes) {
        let target = Target::of(graph, &node).filter(|t| !t.is_conv());
        let (Some(target), Some(output)) = (target, node.output(0)) else {
            graph.nodes.push(node);
            continue;
        };
        let matrix = target.matrix(graph);
        let (Some(matrix), false) = (matrix, keep.contains(&node.name)) else {
            graph.nodes.push(node);
            continue;
        };
        let is_plain = matches!(node.op, Op::MatMul);
        let dtype = float_type(graph, target.activation);
        let parts = if let Some(parts) = stored.get(&target.weight).filter(|_| is_plain) {
            parts.clone()
        } else {
            let packed = Packed::of(&matrix, recipe);
            let parts = packed
                .constants(graph, &target, &matrix, recipe, dtype)
                .ok_or_else(|| Error::internal(&node.name, "its weight does not fit its shape"))?;
            if is_plain {
                stored.insert(target.weight, parts.clone());
            }
            parts
        };
        let op = Op::MatMulNBits(NBits {
            k: matrix.k,
            n: matrix.n,
            bits: recipe.bits.into(),
            block_size: recipe.block,
            accuracy_level: recipe.accuracy_level.into(),
        });
        let inputs: Vec<ValueId> = std::iter::once(target.activation).chain(parts).collect();
        match target.bias {
            None => emit_as(graph, op, &inputs, &[output]),
            Some(bias) => {
                let title = format!("{}_product", graph.value(output).name);
                let product = emit(graph, &title, op, &inputs);
                emit_as(graph, Op::Binary(Binary::Add), &[product, bias], &[output]);
            }
        }
        changed.push(node.name.clone());
    }
    Ok(changed)
}

/// A weight as `MatMulNBits` takes it: `[N, blocks of K]`, the last block filled up with zeros.
struct Packed {
    bytes: Vec<u8>,
    scales: Vec<f32>,
    zeros: Vec<u8>,
    blocks: usize,
}

impl Packed {
    fn of(matrix: &Matrix, recipe: Blocks) -> Self {
        let blocks = matrix.k.div_ceil(recipe.block);
        let count = blocks * matrix.n;
        let mut packed = Self {
            bytes: Vec::with_capacity(count * recipe.block * usize::from(recipe.bits) / 8),
            scales: Vec::with_capacity(count),
            zeros: Vec::with_capacity(count),
            blocks,
        };
        let levels = Levels::unsigned(recipe.bits);
        let mut block = vec![0.0; recipe.block];
        for column in 0..matrix.n {
            for at in 0..blocks {
                for (offset, value) in block.iter_mut().enumerate() {
                    let row = at * recipe.block + offset;
                    *value =
                        if row < matrix.k { matrix.values[row * matrix.n + column] } else { 0.0 };
                }
                let affine = best(&block, recipe);
                packed.scales.push(affine.scale);
                #[expect(
                    clippy::cast_sign_loss,
                    clippy::cast_possible_truncation,
                    reason = "levels"
                )]
                let zero = affine.zero as u8;
                packed.zeros.push(zero);
                #[expect(
                    clippy::cast_sign_loss,
                    clippy::cast_possible_truncation,
                    reason = "levels"
                )]
                let wholes = block.iter().map(|v| affine.whole(*v, levels) as u8);
                push_packed(&mut packed.bytes, wholes, recipe.bits);
            }
        }
        packed
    }

    /// Adds weight, scales and, where there are any, zero points to the graph.
    fn constants(
        self,
        graph: &mut Graph,
        target: &Target,
        matrix: &Matrix,
        recipe: Blocks,
        dtype: DType,
    ) -> Option<Vec<ValueId>> {
        let bits = usize::from(recipe.bits);
        let shape = vec![matrix.n, self.blocks, recipe.block * bits / 8];
        let bytes = Weight::new(DType::U8, shape, self.bytes.into())?;
        let scales = Numbers::Floats(self.scales.into_iter().map(f64::from).collect());
        let scales = Weight::from_numbers(dtype, vec![matrix.n * self.blocks], &scales)?;
        let mut parts = vec![
            constant_of(graph, target.weight, &format!("q{bits}"), bytes),
            constant_of(graph, target.weight, "scales", scales),
        ];
        if recipe.asymmetric {
            let mut zeros = Vec::new();
            for column in self.zeros.chunks(self.blocks) {
                push_packed(&mut zeros, column.iter().copied(), recipe.bits);
            }
            let zeros = Weight::new(DType::U8, vec![zeros.len()], zeros.into())?;
            parts.push(constant_of(graph, target.weight, "zero_points", zeros));
        }
        Some(parts)
    }
}

/// The scale and zero point with the smallest squared error, of a few.
fn best(block: &[f32], recipe: Blocks) -> Affine {
    let levels = Levels::unsigned(recipe.bits);
    let (mut low, mut high) = (0.0_f32, 0.0_f32);
    for value in block {
        (low, high) = (low.min(*value), high.max(*value));
    }
    let middle = 1 << (recipe.bits - 1);
    let candidate = |share: f32| {
        if recipe.asymmetric {
            return [Affine::covering(low * share, high * share, levels); 2];
        }
        // The middle stands for 0, and there is one more number below it than above: the larger
        // end takes that side, so the scale may be negative.
        let end = if -low > high { low } else { high };
        let full = -end * share / middle as f32;
        let cut = -end * share / (middle as f32 - 0.5);
        [full, cut].map(|scale| Affine {
            scale: if scale.is_normal() { scale } else { 1.0 },
            zero: middle,
        })
    };
    let error = |affine: &Affine| -> f64 {
        let apart = |v: &f32| f64::from(affine.value(affine.whole(*v, levels)) - v);
        block.iter().map(|v| apart(v) * apart(v)).sum()
    };
    let mut found = candidate(1.0)[0];
    let mut least = error(&found);
    for affine in SHARES.into_iter().flat_map(candidate) {
        let error = error(&affine);
        if error < least {
            (found, least) = (affine, error);
        }
    }
    found
}

/// Packs numbers of `bits` bits, the first one lowest; every call begins on a byte.
fn push_packed(bytes: &mut Vec<u8>, wholes: impl Iterator<Item = u8>, bits: u8) {
    if bits == 8 {
        bytes.extend(wholes);
        return;
    }
    let mut pending = None;
    for whole in wholes {
        match pending.take() {
            None => pending = Some(whole),
            Some(low) => bytes.push(low | whole << 4),
        }
    }
    bytes.extend(pending);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nibbles_are_packed_low_first_and_a_block_is_filled_up() {
        let matrix = Matrix { k: 3, n: 1, values: vec![-8.0, 0.0, 7.0] };
        let packed = Packed::of(&matrix, Blocks::new(4, 16));
        assert_eq!((packed.blocks, packed.bytes.len()), (1, 8));
        assert_eq!(packed.scales, [1.0]);
        assert_eq!(packed.bytes[..2], [0x80, 0x8f], "0 8 15 and then the middle");
    }

    #[test]
    fn a_cut_block_is_never_worse_than_a_whole_one() {
        let block: Vec<f32> = (0..32_u8).map(|i| f32::from(i % 7) - 3.0).chain([11.0]).collect();
        let levels = Levels::unsigned(4);
        let error = |a: Affine| -> f32 {
            block.iter().map(|v| (a.value(a.whole(*v, levels)) - v).powi(2)).sum()
        };
        let recipe = |asymmetric| Blocks { asymmetric, ..Blocks::new(4, 32) };
        let whole = Affine::covering(-3.0, 11.0, levels);
        assert!(error(best(&block, recipe(true))) <= error(whole));
        // The larger end takes the side with one level more.
        let whole = Affine { scale: -11.0 / 8.0, zero: 8 };
        assert!(error(best(&block, recipe(false))) < error(whole));
    }
}
