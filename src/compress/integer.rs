//! Floats as small whole numbers with a scale, and where it helps a zero point.

use crate::graph::Weight;
use crate::variant::DType;

/// The whole numbers that a weight may become, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Levels {
    pub(super) low: i32,
    pub(super) high: i32,
}

impl Levels {
    /// From −(2^(bits−1) − 1) to its opposite: 0 is in the middle, and no product saturates twice.
    pub(super) fn symmetric(bits: u8) -> Self {
        let high = (1 << (bits - 1)) - 1;
        Self { low: -high, high }
    }

    /// From 0 to 2^bits − 1.
    pub(super) fn unsigned(bits: u8) -> Self {
        Self { low: 0, high: (1 << bits) - 1 }
    }

    fn has_middle(self) -> bool {
        self.low == -self.high
    }
}

/// A scale and the whole number that stands for 0: value ≈ scale · (whole − zero).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine {
    pub(super) scale: f32,
    pub(super) zero: i32,
}

impl Affine {
    /// The finest that covers `low..=high` and 0; symmetric levels take zero in their middle.
    ///
    /// A range without extent gets scale 1: everything in it is 0.
    pub(super) fn covering(low: f32, high: f32, levels: Levels) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        if levels.has_middle() {
            let scale = high.max(-low) / levels.high as f32;
            return Self { scale: positive(scale), zero: 0 };
        }
        let scale = positive((high - low) / (levels.high - levels.low) as f32);
        #[expect(clippy::cast_possible_truncation, reason = "clamped to the levels")]
        let zero = (levels.low as f32 - low / scale).round_ties_even() as i32;
        Self { scale, zero: zero.clamp(levels.low, levels.high) }
    }

    /// The whole number for `value`.
    pub(super) fn whole(self, value: f32, levels: Levels) -> i32 {
        #[expect(clippy::cast_possible_truncation, reason = "clamped to the levels")]
        let whole = (value / self.scale).round_ties_even() as i32;
        whole.saturating_add(self.zero).clamp(levels.low, levels.high)
    }

    /// What `whole` stands for.
    pub(super) fn value(self, whole: i32) -> f32 {
        self.scale * (whole - self.zero) as f32
    }
}

fn positive(scale: f32) -> f32 {
    // A scale below the smallest normal number would be flushed to 0 by some engines.
    if scale.is_normal() && scale > 0.0 { scale } else { 1.0 }
}

/// A weight in whole numbers: as many scales as the axis has indices, or one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quantised {
    /// In the order of the weight's elements.
    pub(super) wholes: Vec<i32>,
    pub(super) affines: Vec<Affine>,
}

/// Quantises `values` of `shape` with one scale for each index of `axis`, or one for all.
pub(super) fn quantise(
    values: &[f32],
    shape: &[usize],
    axis: Option<usize>,
    levels: Levels,
) -> Quantised {
    let (channels, inner) = match axis {
        Some(axis) => (shape[axis], shape[axis + 1..].iter().product::<usize>()),
        None => (1, values.len()),
    };
    let channel = |at: usize| at / inner.max(1) % channels.max(1);
    let mut ranges = vec![(0.0_f32, 0.0_f32); channels];
    for (at, value) in values.iter().enumerate() {
        let (low, high) = &mut ranges[channel(at)];
        (*low, *high) = (low.min(*value), high.max(*value));
    }
    let affines: Vec<Affine> =
        ranges.iter().map(|(low, high)| Affine::covering(*low, *high, levels)).collect();
    let wholes = values
        .iter()
        .enumerate()
        .map(|(at, value)| affines[channel(at)].whole(*value, levels))
        .collect();
    Quantised { wholes, affines }
}

impl Quantised {
    /// The whole numbers as a constant of `dtype`; `None` when they are not as many as `shape` needs.
    pub(super) fn weight(&self, dtype: DType, shape: &[usize]) -> Option<Weight> {
        wholes(dtype, shape.to_vec(), &self.wholes)
    }

    /// The scales: a vector, or one number where there is one for all.
    pub(super) fn scales(&self, per_channel: bool) -> Option<Weight> {
        let scales: Vec<f32> = self.affines.iter().map(|a| a.scale).collect();
        let shape = if per_channel { vec![scales.len()] } else { Vec::new() };
        Weight::floats(shape, &scales)
    }

    /// The zero points, shaped like the scales.
    pub(super) fn zeros(&self, dtype: DType, per_channel: bool) -> Option<Weight> {
        let zeros: Vec<i32> = self.affines.iter().map(|a| a.zero).collect();
        let shape = if per_channel { vec![zeros.len()] } else { Vec::new() };
        wholes(dtype, shape, &zeros)
    }
}

/// Whole numbers as a constant of `dtype`, which must hold them.
pub(super) fn wholes(dtype: DType, shape: Vec<usize>, values: &[i32]) -> Option<Weight> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the type")]
    let bytes: Vec<u8> = match dtype {
        DType::I8 | DType::U8 => values.iter().map(|v| *v as u8).collect(),
        DType::I32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::I4 | DType::U4 => values
            .chunks(2)
            .map(|pair| {
                let nibble = |v: &i32| *v as u8 & 15;
                nibble(&pair[0]) | pair.get(1).map_or(0, |high| nibble(high) << 4)
            })
            .collect(),
        _ => return None,
    };
    Weight::new(dtype, shape, bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_value_moves_by_more_than_half_a_step(
            values in proptest::collection::vec(-100.0_f32..100.0, 1..64),
            bits in 2_u8..=8,
            symmetric in proptest::bool::ANY,
        ) {
            let levels =
                if symmetric { Levels::symmetric(bits) } else { Levels::unsigned(bits) };
            let quantised = quantise(&values, &[values.len()], None, levels);
            let affine = quantised.affines[0];
            for (value, whole) in values.iter().zip(&quantised.wholes) {
                let back = affine.value(*whole);
                // A zero point is rounded too, which moves the ends by half a step more.
                let most = if symmetric { 0.501 } else { 1.001 } * affine.scale;
                prop_assert!((back - value).abs() <= most, "{value} became {back}");
            }
        }
    }

    #[test]
    fn each_channel_has_its_own_scale_along_any_axis() {
        let values = [1.0, 100.0, -1.27, 50.0, 0.5, -127.0];
        let columns = quantise(&values, &[3, 2], Some(1), Levels::symmetric(8));
        assert_eq!(columns.affines.iter().map(|a| a.scale).collect::<Vec<_>>(), [0.01, 1.0]);
        assert_eq!(columns.wholes, [100, 100, -127, 50, 50, -127]);
        let rows = quantise(&values, &[3, 2], Some(0), Levels::symmetric(8));
        assert_eq!(rows.affines.len(), 3);
        assert_eq!(rows.wholes[4..], [0, -127], "0.5 of a step is rounded to the even 0");
    }

    #[test]
    fn zero_is_exact_and_nothing_at_all_is_zero() {
        for levels in [Levels::symmetric(8), Levels::unsigned(8), Levels::unsigned(4)] {
            let affine = Affine::covering(0.3, 9.0, levels);
            assert!(affine.value(affine.whole(0.0, levels)).abs() < f32::EPSILON);
            assert_eq!(Affine::covering(0.0, 0.0, levels).scale.to_bits(), 1.0_f32.to_bits());
        }
    }

    #[test]
    fn small_numbers_share_bytes() {
        let weight = wholes(DType::I4, vec![3], &[-8, 7, -1]).unwrap();
        assert_eq!(weight.to_i64().unwrap(), [-8, 7, -1]);
        assert_eq!(weight.bytes().len(), 2);
    }
}
