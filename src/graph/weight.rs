//! Constant tensors: bytes in their stored type, most of them slices of a mapped file.

use bytes::Bytes;
use half::{bf16, f16};

use crate::variant::{DType, Tensor, TensorData};

/// A constant tensor in C order, little-endian, two elements a byte where the type is packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    dtype: DType,
    shape: Vec<usize>,
    bytes: Bytes,
}

impl Weight {
    /// A tensor of `shape`; `None` when the bytes are not exactly as many as it needs.
    pub fn new(dtype: DType, shape: Vec<usize>, bytes: Bytes) -> Option<Self> {
        let elements = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))?;
        (dtype.bytes_of(elements)? == bytes.len()).then_some(Self { dtype, shape, bytes })
    }

    /// A list of whole numbers, `[n]` of i64.
    pub fn ints(values: &[i64]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { dtype: DType::I64, shape: vec![values.len()], bytes: bytes.into() }
    }

    /// A tensor of f32; `None` when `values` are not as many as `shape` needs.
    pub fn floats(shape: Vec<usize>, values: &[f32]) -> Option<Self> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::new(DType::F32, shape, bytes.into())
    }

    /// One number of type `dtype`, without axes; whole numbers are rounded to the nearest.
    pub fn scalar(dtype: DType, value: f64) -> Self {
        let bytes = bytes_of(dtype, &Numbers::Floats(vec![value]));
        Self { dtype, shape: Vec::new(), bytes: bytes.into() }
    }

    /// From numbers, brought into `dtype`; `None` when they are not as many as `shape` needs.
    pub fn from_numbers(dtype: DType, shape: Vec<usize>, numbers: &Numbers) -> Option<Self> {
        Self::new(dtype, shape, bytes_of(dtype, numbers).into())
    }

    /// The same elements as a session takes and gives them; packed ones each in a byte.
    pub fn to_tensor(&self) -> Option<Tensor> {
        let data = match self.dtype {
            DType::I4 | DType::U4 => {
                let wide = if self.dtype == DType::I4 { DType::I8 } else { DType::U8 };
                TensorData::from_le_bytes(wide, &bytes_of(wide, &self.numbers()))
            }
            dtype => TensorData::from_le_bytes(dtype, &self.bytes),
        };
        Tensor::new(self.shape.clone(), data?)
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements' bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The same elements with other axes; `None` when they are not as many.
    #[must_use]
    pub fn reshaped(&self, shape: Vec<usize>) -> Option<Self> {
        Self::new(self.dtype, shape, self.bytes.clone())
    }

    /// The same elements with the axes in the order `perm`; `None` for packed types, and when `perm`
    /// is no order of the axes.
    #[must_use]
    pub fn transposed(&self, perm: &[usize]) -> Option<Self> {
        let shape: Option<Vec<usize>> =
            perm.iter().map(|axis| self.shape.get(*axis).copied()).collect();
        super::eval::picked(self, &shape?, &super::eval::transposed(&self.shape, perm)?)
    }

    /// The elements as numbers of the widest type of their kind.
    pub fn numbers(&self) -> Numbers {
        macro_rules! read {
            ($type:ty, $kind:ident, $to:expr) => {
                Numbers::$kind(
                    self.bytes
                        .chunks_exact(size_of::<$type>())
                        .map(|chunk| {
                            let mut array = [0; size_of::<$type>()];
                            array.copy_from_slice(chunk);
                            $to(<$type>::from_le_bytes(array))
                        })
                        .collect(),
                )
            };
        }
        match self.dtype {
            DType::F32 => read!(f32, Floats, f64::from),
            DType::F16 => read!(f16, Floats, f64::from),
            DType::BF16 => read!(bf16, Floats, f64::from),
            DType::F64 => read!(f64, Floats, f64::from),
            DType::I8 => read!(i8, Ints, i128::from),
            DType::U8 => read!(u8, Ints, i128::from),
            DType::I16 => read!(i16, Ints, i128::from),
            DType::U16 => read!(u16, Ints, i128::from),
            DType::I32 => read!(i32, Ints, i128::from),
            DType::U32 => read!(u32, Ints, i128::from),
            DType::I64 => read!(i64, Ints, i128::from),
            DType::U64 => read!(u64, Ints, i128::from),
            DType::Bool => Numbers::Ints(self.bytes.iter().map(|b| i128::from(*b != 0)).collect()),
            DType::U4 => Numbers::Ints(self.nibbles().map(i128::from).collect()),
            DType::I4 => Numbers::Ints(
                self.nibbles().map(|n| i128::from((n << 4).cast_signed() >> 4)).collect(),
            ),
        }
    }

    fn nibbles(&self) -> impl Iterator<Item = u8> + '_ {
        self.bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]).take(self.len())
    }

    /// The elements as `f64`, exact but for the largest 64-bit numbers.
    pub fn to_f64(&self) -> Vec<f64> {
        match self.numbers() {
            Numbers::Floats(values) => values,
            Numbers::Ints(values) => values.into_iter().map(|v| v as f64).collect(),
        }
    }

    /// The elements as `f32`, rounded to nearest.
    #[expect(clippy::cast_possible_truncation, reason = "that is what is asked for")]
    pub fn to_f32(&self) -> Vec<f32> {
        match self.dtype {
            DType::F32 => self
                .bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
            _ => self.to_f64().into_iter().map(|v| v as f32).collect(),
        }
    }

    /// The elements as `i64`; `None` for floats and for what does not fit.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        match self.numbers() {
            Numbers::Floats(_) => None,
            Numbers::Ints(values) => values.into_iter().map(|v| i64::try_from(v).ok()).collect(),
        }
    }

    /// The only element; `None` when there are none or several.
    pub fn single(&self) -> Option<f64> {
        (self.len() == 1).then(|| self.to_f64().first().copied()).flatten()
    }
}

/// Elements in the widest type of their kind, to be computed with.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Of floating-point types.
    Floats(Vec<f64>),
    /// Of whole numbers and booleans (0 and 1).
    Ints(Vec<i128>),
}

impl Numbers {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Floats(v) => v.len(),
            Self::Ints(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Numbers in the bytes of `dtype`: floats rounded to nearest, whole numbers wrapped, as casts in C
/// do; floats that become whole are cut towards zero and held within the type's range.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts are asked for")]
fn bytes_of(dtype: DType, numbers: &Numbers) -> Vec<u8> {
    macro_rules! write {
        ($float:expr, $int:expr) => {
            match numbers {
                Numbers::Floats(v) => v.iter().flat_map(|x| $float(*x).to_le_bytes()).collect(),
                Numbers::Ints(v) => v.iter().flat_map(|x| $int(*x).to_le_bytes()).collect(),
            }
        };
    }
    let packed = || {
        let values: Vec<u8> = match numbers {
            Numbers::Floats(v) => v.iter().map(|x| *x as i64 as u8 & 15).collect(),
            Numbers::Ints(v) => v.iter().map(|x| *x as u8 & 15).collect(),
        };
        values.chunks(2).map(|pair| pair[0] | pair.get(1).map_or(0, |high| high << 4)).collect()
    };
    match dtype {
        DType::F32 => write!(|x: f64| x as f32, |x: i128| x as f32),
        DType::F16 => write!(f16::from_f64, |x: i128| f16::from_f64(x as f64)),
        DType::BF16 => write!(bf16::from_f64, |x: i128| bf16::from_f64(x as f64)),
        DType::F64 => write!(|x: f64| x, |x: i128| x as f64),
        DType::I8 => write!(|x: f64| x as i8, |x: i128| x as i8),
        DType::U8 => write!(|x: f64| x as u8, |x: i128| x as u8),
        DType::I16 => write!(|x: f64| x as i16, |x: i128| x as i16),
        DType::U16 => write!(|x: f64| x as u16, |x: i128| x as u16),
        DType::I32 => write!(|x: f64| x as i32, |x: i128| x as i32),
        DType::U32 => write!(|x: f64| x as u32, |x: i128| x as u32),
        DType::I64 => write!(|x: f64| x as i64, |x: i128| x as i64),
        DType::U64 => write!(|x: f64| x as u64, |x: i128| x as u64),
        DType::Bool => write!(|x: f64| u8::from(x != 0.0), |x: i128| u8::from(x != 0)),
        DType::I4 | DType::U4 => packed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_must_be_exactly_as_many_as_the_shape_needs() {
        let bytes = Bytes::from_static(&[0; 8]);
        assert!(Weight::new(DType::F32, vec![2], bytes.clone()).is_some());
        assert!(Weight::new(DType::F32, vec![1000, 1000], bytes.clone()).is_none());
        assert!(Weight::new(DType::F32, vec![usize::MAX, usize::MAX], bytes).is_none());
    }

    #[test]
    fn every_type_gives_back_what_was_put_in() {
        let values = Numbers::Ints(vec![1, 0, 1, 5, 7]);
        for dtype in [
            DType::F32,
            DType::F16,
            DType::BF16,
            DType::F64,
            DType::I4,
            DType::U4,
            DType::I8,
            DType::U8,
            DType::I16,
            DType::U16,
            DType::I32,
            DType::U32,
            DType::I64,
            DType::U64,
        ] {
            let weight = Weight::from_numbers(dtype, vec![5], &values).unwrap();
            assert_eq!(weight.to_f64(), [1.0, 0.0, 1.0, 5.0, 7.0], "{dtype}");
        }
        let negative = Weight::from_numbers(DType::I4, vec![3], &Numbers::Ints(vec![-8, -1, 7]));
        assert_eq!(negative.unwrap().to_i64().unwrap(), [-8, -1, 7]);
    }
}
