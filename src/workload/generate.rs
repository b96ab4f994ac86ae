//! Seeded inputs that fit a model's signature, for a model that comes without data.

use std::collections::BTreeMap;

use half::{bf16, f16};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::data_spec::GeneratedSpec;
use super::dataset::{About, Dataset};
use crate::error::{Error, Result};
use crate::graph::{Dim, Outline, ValueSpec};
use crate::variant::{DType, Tensor, TensorData, Tensors};

/// Generated inputs are held in memory, by the steering process and by each worker.
const MOST_BYTES: usize = 1 << 30;
/// Size that a free dimension gets when nobody binds it.
pub(super) const DEFAULT_SIZE: usize = 128;

/// The free dimensions of a signature other than the batch, with the size each gets.
///
/// The batch is axis 0 of every input. A dimension without a name is called `INPUT.AXIS`.
/// A size in `chosen` that no dimension takes is an error: it is likely a typo.
pub(super) fn bind(
    outline: &Outline,
    chosen: &BTreeMap<String, usize>,
) -> Result<BTreeMap<String, usize>> {
    let mut bound = BTreeMap::new();
    for input in &outline.inputs {
        for (axis, dim) in input.dims.iter().enumerate().skip(1) {
            if let Some(name) = free_name(input, axis, dim) {
                let size = chosen.get(&name).copied().unwrap_or(DEFAULT_SIZE);
                bound.insert(name, size);
            }
        }
    }
    if let Some(name) = chosen.keys().find(|name| !bound.contains_key(*name)) {
        let known: Vec<&str> = bound.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(Error::input(format!("dimension `{name}`"), "the model has no such free one")
            .remedy(format!("its free dimensions besides the batch: {known}")));
    }
    if let Some((name, _)) = bound.iter().find(|(_, size)| **size == 0) {
        return Err(Error::input(format!("dimension `{name}`"), "cannot be 0").remedy("bind 1 up"));
    }
    Ok(bound)
}

fn free_name(input: &ValueSpec, axis: usize, dim: &Dim) -> Option<String> {
    match dim {
        Dim::Fixed(_) => None,
        Dim::Named(name) => Some(name.clone()),
        Dim::Unknown => Some(format!("{}.{axis}", input.name)),
    }
}

/// Samples for `outline`: floats from −1 to 1, integers from 0 to 99, ones for an input whose name
/// speaks of a mask and zeros for one that speaks of token types, as encoders expect them.
pub(super) fn generate(outline: &Outline, spec: &GeneratedSpec) -> Result<Dataset> {
    let dims = bind(outline, &spec.dims)?;
    let samples = spec.samples as usize;
    let mut rng = ChaCha8Rng::seed_from_u64(spec.seed);
    let mut arrays = Tensors::default();
    for input in &outline.inputs {
        if input.dims.is_empty() {
            return Err(Error::input(format!("input `{}`", input.name), "has no batch axis")
                .remedy("give inputs of your own with [data.npz]"));
        }
        let mut shape = vec![samples];
        for (axis, dim) in input.dims.iter().enumerate().skip(1) {
            shape.push(match dim {
                Dim::Fixed(size) => *size,
                free => free_name(input, axis, free)
                    .and_then(|name| dims.get(&name).copied())
                    .unwrap_or(DEFAULT_SIZE),
            });
        }
        let elements = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
        let elements = elements
            .filter(|n| n.saturating_mul(input.dtype.size()) <= MOST_BYTES)
            .ok_or_else(|| {
                Error::input(format!("input `{}`", input.name), format!("{shape:?} is too large"))
                    .remedy("bind smaller dimensions with --dim, or generate fewer samples")
            })?;
        let data = values(input, elements, &mut rng);
        let tensor = Tensor::new(shape, data)
            .ok_or_else(|| Error::internal("generated input", "does not fit its own shape"))?;
        arrays.0.push((input.name.clone(), tensor));
    }
    Dataset::new("generated data", &arrays, About::default())
}

/// One batch of values for a model, as those of `[data.generated]`: a free first axis is `batch`, other
/// free axes are what `sizes` says by name, or `length`. Inputs without axes are one value.
pub fn one_batch(
    outline: &Outline,
    batch: usize,
    length: usize,
    sizes: &BTreeMap<String, usize>,
    seed: u64,
) -> Result<Tensors> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut tensors = Tensors::default();
    for input in &outline.inputs {
        let size = |(axis, dim): (usize, &Dim)| match dim {
            Dim::Fixed(size) => *size,
            free => {
                let named = free_name(input, axis, free).and_then(|name| sizes.get(&name).copied());
                named.unwrap_or(if axis == 0 { batch } else { length })
            }
        };
        let shape: Vec<usize> = input.dims.iter().enumerate().map(size).collect();
        let elements = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
        let elements = elements.filter(|n| n.saturating_mul(input.dtype.size()) <= MOST_BYTES);
        let elements = elements.ok_or_else(|| {
            Error::input(format!("input `{}`", input.name), format!("{shape:?} is too large"))
                .remedy("bind smaller dimensions with --dim")
        })?;
        let tensor = Tensor::new(shape, values(input, elements, &mut rng))
            .ok_or_else(|| Error::internal("generated input", "does not fit its own shape"))?;
        tensors.0.push((input.name.clone(), tensor));
    }
    Ok(tensors)
}

fn values(input: &ValueSpec, n: usize, rng: &mut ChaCha8Rng) -> TensorData {
    let name = input.name.to_ascii_lowercase();
    let mut whole = || {
        if name.contains("mask") {
            1_u8
        } else if name.contains("type") {
            0
        } else {
            rng.random_range(0..100)
        }
    };
    macro_rules! whole {
        ($type:ty) => {
            (0..n).map(|_| <$type>::from(whole())).collect()
        };
    }
    match input.dtype {
        // No session takes the packed types; a signature with one was refused.
        DType::U8 | DType::U4 => TensorData::U8(whole!(u8)),
        DType::I16 => TensorData::I16(whole!(i16)),
        DType::U16 => TensorData::U16(whole!(u16)),
        DType::I32 => TensorData::I32(whole!(i32)),
        DType::U32 => TensorData::U32(whole!(u32)),
        DType::I64 => TensorData::I64(whole!(i64)),
        DType::U64 => TensorData::U64(whole!(u64)),
        // 0 to 99 fits an i8.
        DType::I8 | DType::I4 => TensorData::I8((0..n).map(|_| whole().cast_signed()).collect()),
        DType::Bool => TensorData::Bool((0..n).map(|_| whole() % 2 == 1).collect()),
        DType::F32 => TensorData::F32((0..n).map(|_| rng.random_range(-1.0..1.0)).collect()),
        DType::F64 => TensorData::F64((0..n).map(|_| rng.random_range(-1.0..1.0)).collect()),
        DType::F16 => {
            TensorData::F16((0..n).map(|_| f16::from_f32(rng.random_range(-1.0..1.0))).collect())
        }
        DType::BF16 => {
            TensorData::BF16((0..n).map(|_| bf16::from_f32(rng.random_range(-1.0..1.0))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;
    use std::collections::BTreeSet;

    fn encoder() -> Outline {
        let input = |name: &str| ValueSpec {
            name: name.to_owned(),
            dtype: DType::I64,
            dims: vec![Dim::Named("batch".into()), Dim::Named("seq".into())],
        };
        Outline {
            ir_version: 8,
            opsets: vec![],
            inputs: vec![input("input_ids"), input("attention_mask"), input("token_type_ids")],
            outputs: vec!["out".into()],
            output_widths: BTreeMap::new(),
            nodes: 1,
            weights: Bytes(0),
            external_files: BTreeSet::new(),
        }
    }

    fn spec(dims: &[(&str, usize)]) -> GeneratedSpec {
        let dims = dims.iter().map(|(n, s)| ((*n).to_owned(), *s)).collect();
        GeneratedSpec { samples: 4, seed: 1, dims }
    }

    #[test]
    fn an_encoder_gets_ids_a_mask_of_ones_and_types_of_zero() {
        let data = generate(&encoder(), &spec(&[("seq", 16)])).unwrap();
        let sample = &data.samples()[0];
        assert_eq!(sample.get("input_ids").unwrap().shape(), [1, 16]);
        assert_eq!(sample.get("attention_mask").unwrap().data(), &TensorData::I64(vec![1; 16]));
        assert_eq!(sample.get("token_type_ids").unwrap().data(), &TensorData::I64(vec![0; 16]));
        assert_eq!(data, generate(&encoder(), &spec(&[("seq", 16)])).unwrap(), "seeded");
    }

    #[test]
    fn a_dimension_that_is_not_there_is_a_typo() {
        let error = generate(&encoder(), &spec(&[("sequence", 16)])).unwrap_err().to_string();
        assert!(error.contains("`sequence`") && error.contains("seq"), "{error}");
    }
}
