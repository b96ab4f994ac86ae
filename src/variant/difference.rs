//! How far two tensors are apart.

use serde::{Deserialize, Serialize};

use super::{Tensor, TensorData};

/// How far outputs are from those they should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// max|a − b|; infinite where one of the two is no number, or infinite, and the other is not.
    pub max_abs_error: f64,
    /// max|a − b| / max|b|, of finite values; 0 where nothing differs.
    pub max_rel_error: f64,
    /// The cosine of the two as vectors; 1 where nothing differs.
    pub cosine: f64,
}

impl Difference {
    /// Of `a` from `b`; `None` when their shapes or element types differ.
    pub fn between(a: &Tensor, b: &Tensor) -> Option<Self> {
        if a.shape() != b.shape() || a.dtype() != b.dtype() {
            return None;
        }
        let (a, b) = (wide(a.data()), wide(b.data()));
        let (mut error, mut largest) = (0.0_f64, 0.0_f64);
        let (mut dot, mut aa, mut bb) = (0.0, 0.0, 0.0);
        for (x, y) in a.iter().zip(&b) {
            // −0 and 0 are equal, and so are two that are no numbers.
            let equal =
                x.partial_cmp(y).is_some_and(std::cmp::Ordering::is_eq) || x.is_nan() && y.is_nan();
            if !equal {
                let apart = (x - y).abs();
                error = error.max(if apart.is_nan() { f64::INFINITY } else { apart });
            }
            if x.is_finite() && y.is_finite() {
                largest = largest.max(y.abs());
                dot += x * y;
                aa += x * x;
                bb += y * y;
            }
        }
        let same = error == 0.0;
        Some(Self {
            max_abs_error: error,
            max_rel_error: if same { 0.0 } else { error / largest },
            cosine: if same || aa == 0.0 && bb == 0.0 { 1.0 } else { dot / (aa * bb).sqrt() },
        })
    }
}

/// The elements as the widest float; only 64-bit numbers beyond 2⁵³ lose anything.
fn wide(data: &TensorData) -> Vec<f64> {
    macro_rules! widened {
        ($v:expr) => {
            $v.iter().map(|x| f64::from(*x)).collect()
        };
    }
    match data {
        TensorData::F32(v) => widened!(v),
        TensorData::F16(v) => widened!(v),
        TensorData::BF16(v) => widened!(v),
        TensorData::F64(v) => v.clone(),
        TensorData::I8(v) => widened!(v),
        TensorData::U8(v) => widened!(v),
        TensorData::I16(v) => widened!(v),
        TensorData::U16(v) => widened!(v),
        TensorData::I32(v) => widened!(v),
        TensorData::U32(v) => widened!(v),
        TensorData::I64(v) => v.iter().map(|x| *x as f64).collect(),
        TensorData::U64(v) => v.iter().map(|x| *x as f64).collect(),
        TensorData::Bool(v) => v.iter().map(|x| f64::from(u8::from(*x))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(vec![values.len()], TensorData::F32(values.to_vec())).unwrap()
    }

    #[test]
    fn what_is_equal_differs_by_nothing() {
        let odd = tensor(&[f32::NAN, f32::INFINITY, -0.0, 1.0]);
        let same = Difference::between(&odd, &odd).unwrap();
        assert_eq!((same.max_abs_error, same.max_rel_error, same.cosine), (0.0, 0.0, 1.0));
    }

    #[test]
    fn errors_are_relative_to_the_largest_value() {
        let apart = Difference::between(&tensor(&[1.0, 8.5]), &tensor(&[1.5, 8.0])).unwrap();
        assert_eq!((apart.max_abs_error, apart.max_rel_error), (0.5, 0.0625));
        let broken = Difference::between(&tensor(&[f32::NAN]), &tensor(&[1.0])).unwrap();
        assert!(broken.max_abs_error.is_infinite());
        assert!(Difference::between(&tensor(&[1.0]), &tensor(&[1.0, 2.0])).is_none());
    }
}
