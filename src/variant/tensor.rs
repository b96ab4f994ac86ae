//! Host tensors: what goes into a session and what comes out of it.

use half::{bf16, f16};

use super::DType;

/// Elements of a [`Tensor`], in C order.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "one variant per DType")]
pub enum TensorData {
    F32(Vec<f32>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    F64(Vec<f64>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    I16(Vec<i16>),
    U16(Vec<u16>),
    I32(Vec<i32>),
    U32(Vec<u32>),
    I64(Vec<i64>),
    U64(Vec<u64>),
    Bool(Vec<bool>),
}

/// Runs the same expression for whichever vector a [`TensorData`] holds.
macro_rules! each {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            TensorData::F32($v) => $body,
            TensorData::F16($v) => $body,
            TensorData::BF16($v) => $body,
            TensorData::F64($v) => $body,
            TensorData::I8($v) => $body,
            TensorData::U8($v) => $body,
            TensorData::I16($v) => $body,
            TensorData::U16($v) => $body,
            TensorData::I32($v) => $body,
            TensorData::U32($v) => $body,
            TensorData::I64($v) => $body,
            TensorData::U64($v) => $body,
            TensorData::Bool($v) => $body,
        }
    };
}

/// Runs the same expression for two [`TensorData`] of one element type.
macro_rules! each_pair {
    ($a:expr, $b:expr, ($x:ident, $y:ident) => $body:expr, else $other:expr) => {
        match ($a, $b) {
            (TensorData::F32($x), TensorData::F32($y)) => $body,
            (TensorData::F16($x), TensorData::F16($y)) => $body,
            (TensorData::BF16($x), TensorData::BF16($y)) => $body,
            (TensorData::F64($x), TensorData::F64($y)) => $body,
            (TensorData::I8($x), TensorData::I8($y)) => $body,
            (TensorData::U8($x), TensorData::U8($y)) => $body,
            (TensorData::I16($x), TensorData::I16($y)) => $body,
            (TensorData::U16($x), TensorData::U16($y)) => $body,
            (TensorData::I32($x), TensorData::I32($y)) => $body,
            (TensorData::U32($x), TensorData::U32($y)) => $body,
            (TensorData::I64($x), TensorData::I64($y)) => $body,
            (TensorData::U64($x), TensorData::U64($y)) => $body,
            (TensorData::Bool($x), TensorData::Bool($y)) => $body,
            _ => $other,
        }
    };
}

impl TensorData {
    /// Number of elements.
    pub fn len(&self) -> usize {
        each!(self, v => v.len())
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::F16(_) => DType::F16,
            Self::BF16(_) => DType::BF16,
            Self::F64(_) => DType::F64,
            Self::I8(_) => DType::I8,
            Self::U8(_) => DType::U8,
            Self::I16(_) => DType::I16,
            Self::U16(_) => DType::U16,
            Self::I32(_) => DType::I32,
            Self::U32(_) => DType::U32,
            Self::I64(_) => DType::I64,
            Self::U64(_) => DType::U64,
            Self::Bool(_) => DType::Bool,
        }
    }

    /// The elements at `order`, in that order; each must be there.
    #[must_use]
    fn picked(&self, order: &[usize]) -> Self {
        macro_rules! picked {
            ($($kind:ident),*) => {
                match self {
                    $(Self::$kind(v) => Self::$kind(order.iter().map(|i| v[*i]).collect())),*
                }
            };
        }
        picked!(F32, F16, BF16, F64, I8, U8, I16, U16, I32, U32, I64, U64, Bool)
    }

    /// A copy of elements `from..to`.
    #[must_use]
    pub fn slice(&self, from: usize, to: usize) -> Self {
        match self {
            Self::F32(v) => Self::F32(v[from..to].to_vec()),
            Self::F16(v) => Self::F16(v[from..to].to_vec()),
            Self::BF16(v) => Self::BF16(v[from..to].to_vec()),
            Self::F64(v) => Self::F64(v[from..to].to_vec()),
            Self::I8(v) => Self::I8(v[from..to].to_vec()),
            Self::U8(v) => Self::U8(v[from..to].to_vec()),
            Self::I16(v) => Self::I16(v[from..to].to_vec()),
            Self::U16(v) => Self::U16(v[from..to].to_vec()),
            Self::I32(v) => Self::I32(v[from..to].to_vec()),
            Self::U32(v) => Self::U32(v[from..to].to_vec()),
            Self::I64(v) => Self::I64(v[from..to].to_vec()),
            Self::U64(v) => Self::U64(v[from..to].to_vec()),
            Self::Bool(v) => Self::Bool(v[from..to].to_vec()),
        }
    }
}

/// A dense tensor in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub(super) shape: Vec<usize>,
    pub(super) data: TensorData,
}

impl Tensor {
    /// A tensor of `shape`; `None` when the number of elements does not fit it.
    pub fn new(shape: Vec<usize>, data: TensorData) -> Option<Self> {
        let elements = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))?;
        (elements == data.len()).then_some(Self { shape, data })
    }

    /// Sizes of the axes; the batch is axis 0.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements.
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// The same elements with the axes in reverse order.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let shape: Vec<usize> = self.shape.iter().rev().copied().collect();
        // Strides of this tensor's axes, in the order of the new one's.
        let mut strides = vec![1; shape.len()];
        for axis in 1..shape.len() {
            strides[axis] = strides[axis - 1] * shape[axis - 1];
        }
        let order: Vec<usize> = (0..self.data.len())
            .map(|mut index| {
                let mut at = 0;
                for axis in (0..shape.len()).rev() {
                    at += index % shape[axis] * strides[axis];
                    index /= shape[axis];
                }
                at
            })
            .collect();
        Self { shape, data: self.data.picked(&order) }
    }

    /// Row `index` along axis 0, kept as an axis of size 1.
    ///
    /// Returns `None` for a scalar or an index past the end.
    pub fn row(&self, index: usize) -> Option<Self> {
        let rows = *self.shape.first()?;
        if index >= rows {
            return None;
        }
        let width = self.data.len() / rows;
        let mut shape = self.shape.clone();
        shape[0] = 1;
        Some(Self { shape, data: self.data.slice(index * width, (index + 1) * width) })
    }

    /// Keeps the first `length` of a row of two axes; other tensors stay as they are.
    pub fn truncate(&mut self, length: usize) {
        if let [1, width] = self.shape[..]
            && length < width
        {
            each!(&mut self.data, v => v.truncate(length));
            self.shape[1] = length;
        }
    }

    /// Empties the tensor and sets the axes after the batch from `like`, keeping the allocation.
    pub fn clear_rows(&mut self, like: &Self) {
        each!(&mut self.data, v => v.clear());
        self.shape.clear();
        self.shape.extend_from_slice(&like.shape);
        if let Some(batch) = self.shape.first_mut() {
            *batch = 0;
        }
    }

    /// Appends the rows of `other`; false when element type or inner shape differ.
    #[must_use]
    pub fn append_rows(&mut self, other: &Self) -> bool {
        if self.shape.len() != other.shape.len() || self.shape.get(1..) != other.shape.get(1..) {
            return false;
        }
        let fits = each_pair!(&mut self.data, &other.data,
            (to, from) => { to.extend_from_slice(from); true }, else false);
        if fits && let (Some(batch), Some(more)) = (self.shape.first_mut(), other.shape.first()) {
            *batch += more;
        }
        fits
    }

    /// The elements as `f64`; `None` for types that it does not hold exactly.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        macro_rules! exact {
            ($v:expr) => {
                Some($v.iter().map(|x| f64::from(*x)).collect())
            };
        }
        match &self.data {
            TensorData::F32(v) => exact!(v),
            TensorData::F64(v) => Some(v.clone()),
            TensorData::I8(v) => exact!(v),
            TensorData::U8(v) => exact!(v),
            TensorData::I16(v) => exact!(v),
            TensorData::U16(v) => exact!(v),
            TensorData::I32(v) => exact!(v),
            TensorData::U32(v) => exact!(v),
            TensorData::I64(v) => {
                v.iter().map(|x| (x.unsigned_abs() < 1 << 53).then_some(*x as f64)).collect()
            }
            _ => None,
        }
    }

    /// The elements as `f32`, whatever their type; exact for integers below 2²⁴.
    #[expect(clippy::cast_possible_truncation, reason = "that is what is asked for")]
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.data {
            TensorData::F32(v) => v.clone(),
            TensorData::F16(v) => v.iter().map(|x| x.to_f32()).collect(),
            TensorData::BF16(v) => v.iter().map(|x| x.to_f32()).collect(),
            TensorData::F64(v) => v.iter().map(|x| *x as f32).collect(),
            TensorData::I8(v) => v.iter().map(|x| f32::from(*x)).collect(),
            TensorData::U8(v) => v.iter().map(|x| f32::from(*x)).collect(),
            TensorData::I16(v) => v.iter().map(|x| f32::from(*x)).collect(),
            TensorData::U16(v) => v.iter().map(|x| f32::from(*x)).collect(),
            TensorData::I32(v) => v.iter().map(|x| *x as f32).collect(),
            TensorData::U32(v) => v.iter().map(|x| *x as f32).collect(),
            TensorData::I64(v) => v.iter().map(|x| *x as f32).collect(),
            TensorData::U64(v) => v.iter().map(|x| *x as f32).collect(),
            TensorData::Bool(v) => v.iter().map(|x| f32::from(u8::from(*x))).collect(),
        }
    }
}

/// Named tensors: the inputs or the outputs of one inference.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tensors(pub Vec<(String, Tensor)>);

impl Tensors {
    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, t)| t)
    }

    /// Makes `self` the concatenation along axis 0 of `samples`, reusing its allocations.
    ///
    /// Returns false when the samples' names, types or inner shapes differ.
    #[must_use]
    pub fn assemble<'a>(&mut self, mut samples: impl Iterator<Item = &'a Tensors>) -> bool {
        let Some(first) = samples.next() else { return false };
        if self.0.len() == first.0.len() {
            for ((name, tensor), (first_name, first_tensor)) in self.0.iter_mut().zip(&first.0) {
                if name != first_name {
                    return false;
                }
                tensor.clear_rows(first_tensor);
                if !tensor.append_rows(first_tensor) {
                    return false;
                }
            }
        } else {
            self.0.clone_from(&first.0);
        }
        samples.all(|sample| {
            sample.0.len() == self.0.len()
                && self.0.iter_mut().zip(&sample.0).all(|((name, tensor), (other, rows))| {
                    name == other && tensor.append_rows(rows)
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f32]) -> Tensors {
        let tensor = Tensor::new(vec![1, values.len()], TensorData::F32(values.to_vec())).unwrap();
        Tensors(vec![("x".to_owned(), tensor)])
    }

    #[test]
    fn a_shape_that_does_not_fit_is_refused() {
        assert!(Tensor::new(vec![2, 2], TensorData::I64(vec![1, 2, 3])).is_none());
        assert!(Tensor::new(vec![usize::MAX, 2], TensorData::I64(vec![])).is_none());
    }

    #[test]
    fn a_batch_is_its_samples_in_order_and_buffers_are_reused() {
        let mut batch = Tensors::default();
        assert!(batch.assemble([&row(&[1.0, 2.0]), &row(&[3.0, 4.0])].into_iter()));
        assert!(batch.assemble([&row(&[5.0, 6.0]), &row(&[7.0, 8.0])].into_iter()));
        let x = batch.get("x").unwrap();
        assert_eq!(x.shape(), [2, 2]);
        assert_eq!(x.data(), &TensorData::F32(vec![5.0, 6.0, 7.0, 8.0]));
        assert_eq!(x.row(1).unwrap().data(), &TensorData::F32(vec![7.0, 8.0]));
    }

    #[test]
    fn samples_of_different_width_do_not_form_a_batch() {
        let mut batch = Tensors::default();
        assert!(!batch.assemble([&row(&[1.0]), &row(&[3.0, 4.0])].into_iter()));
    }

    #[test]
    fn any_type_is_a_float() {
        let tensor = |data| Tensor::new(vec![2], data).unwrap().to_f32();
        assert_eq!(tensor(TensorData::I64(vec![-3, 7])), [-3.0, 7.0]);
        assert_eq!(tensor(TensorData::F16(vec![f16::from_f32(0.5), f16::ONE])), [0.5, 1.0]);
        assert_eq!(tensor(TensorData::Bool(vec![true, false])), [1.0, 0.0]);
    }
}
