//! Elements of tensors on the host: of any type as the widest of its kind, and candle's tensors back.
//!
//! candle has no 8-bit signed, no 16-bit unsigned and no boolean type. They are held in the next wider one
//! that it has, and wrapped to their own width by whatever computes with them.

use candle_core::{CpuStorage, DType as Held, Device, Result, Storage, Tensor, bail};
use half::{bf16, f16, slice::HalfFloatSliceExt, vec::HalfFloatVecExt};

use crate::variant::{DType, Tensor as HostTensor, TensorData};

/// What candle holds a type in; `None` for 64-bit unsigned numbers, which it has nothing for.
pub(super) fn held_in(dtype: DType) -> Option<Held> {
    Some(match dtype {
        DType::F32 => Held::F32,
        DType::F16 => Held::F16,
        DType::BF16 => Held::BF16,
        DType::F64 => Held::F64,
        DType::I8 | DType::I4 | DType::I16 => Held::I16,
        DType::U8 | DType::Bool | DType::U4 => Held::U8,
        DType::U16 | DType::U32 => Held::U32,
        DType::I32 => Held::I32,
        DType::I64 => Held::I64,
        DType::U64 => return None,
    })
}

/// Elements in the widest type of their kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cells {
    Floats(Vec<f64>),
    Ints(Vec<i64>),
}

impl Cells {
    /// Those of a tensor in C order, whatever its strides.
    pub(super) fn of(tensor: &Tensor) -> Result<Self> {
        if tensor.dtype().is_float() {
            Ok(Self::Floats(floats(tensor)?))
        } else {
            Ok(Self::Ints(ints(tensor)?))
        }
    }

    pub(super) fn into_floats(self) -> Vec<f64> {
        match self {
            Self::Floats(v) => v,
            Self::Ints(v) => v.into_iter().map(|x| x as f64).collect(),
        }
    }

    /// Floats are cut towards zero, as casts of ONNX are.
    #[expect(clippy::cast_possible_truncation, reason = "casts of floats saturate")]
    pub(super) fn into_ints(self) -> Vec<i64> {
        match self {
            Self::Floats(v) => v.into_iter().map(|x| x as i64).collect(),
            Self::Ints(v) => v,
        }
    }

    /// A tensor of `shape` of them in `dtype`; whole numbers wrap to its width.
    pub(super) fn tensor(self, dtype: DType, shape: &[usize], device: &Device) -> Result<Tensor> {
        #![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as ONNX")]
        macro_rules! from {
            ($v:expr, $f:expr) => {
                Tensor::from_vec($v.into_iter().map($f).collect::<Vec<_>>(), shape, device)
            };
        }
        match dtype {
            DType::F32 => from!(self.into_floats(), |x| x as f32),
            DType::F16 => from!(self.into_floats(), f16::from_f64),
            DType::BF16 => from!(self.into_floats(), bf16::from_f64),
            DType::F64 => Tensor::from_vec(self.into_floats(), shape, device),
            DType::Bool => match self {
                Self::Floats(v) => from!(v, |x| u8::from(x != 0.0)),
                Self::Ints(v) => from!(v, |x| u8::from(x != 0)),
            },
            DType::I8 | DType::I4 => from!(self.into_ints(), |x| i16::from(x as i8)),
            DType::U8 | DType::U4 => from!(self.into_ints(), |x| x as u8),
            DType::I16 => from!(self.into_ints(), |x| x as i16),
            DType::U16 => from!(self.into_ints(), |x| u32::from(x as u16)),
            DType::U32 => from!(self.into_ints(), |x| x as u32),
            DType::I32 => from!(self.into_ints(), |x| x as i32),
            DType::I64 => Tensor::from_vec(self.into_ints(), shape, device),
            DType::U64 => bail!("candle has no 64-bit unsigned numbers"),
        }
    }
}

/// The elements as f64, in C order.
pub(super) fn floats(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.to_dtype(Held::F64)?.flatten_all()?.to_vec1()
}

/// The elements as i64, in C order; floats are cut towards zero.
pub(super) fn ints(tensor: &Tensor) -> Result<Vec<i64>> {
    if tensor.dtype().is_float() {
        return Ok(Cells::Floats(floats(tensor)?).into_ints());
    }
    tensor.to_dtype(Held::I64)?.flatten_all()?.to_vec1()
}

/// The elements as f32, in C order.
pub(super) fn singles(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.to_dtype(Held::F32)?.flatten_all()?.to_vec1()
}

/// The same in f32, dense: halves many at a time where the CPU can.
pub(super) fn wide(tensor: &Tensor) -> Result<Tensor> {
    let dense = tensor.contiguous()?;
    if !matches!(dense.dtype(), Held::F16 | Held::BF16) || !dense.device().is_cpu() {
        return dense.to_dtype(Held::F32);
    }
    let mut out = vec![0.0; dense.elem_count()];
    {
        let (storage, layout) = dense.storage_and_layout();
        let from = layout.start_offset();
        let range = from..from + out.len();
        match &*storage {
            Storage::Cpu(CpuStorage::F16(all)) => all[range].convert_to_f32_slice(&mut out),
            Storage::Cpu(CpuStorage::BF16(all)) => all[range].convert_to_f32_slice(&mut out),
            _ => bail!("halves are not where they were"),
        }
    }
    Tensor::from_vec(out, dense.dims(), dense.device())
}

/// A tensor of f32, rounded to `held` where that is a half.
pub(super) fn rounded(
    values: Vec<f32>,
    shape: &[usize],
    held: Held,
    device: &Device,
) -> Result<Tensor> {
    match held {
        Held::F16 => Tensor::from_vec(<Vec<f16>>::from_f32_slice(&values), shape, device),
        Held::BF16 => Tensor::from_vec(<Vec<bf16>>::from_f32_slice(&values), shape, device),
        _ => Tensor::from_vec(values, shape, device)?.to_dtype(held),
    }
}

/// Looks at the elements of a dense f32 tensor without copying them.
///
/// Those of another device are copied to the host first.
pub(super) fn with_f32<R>(tensor: &Tensor, look: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let tensor = tensor.to_device(&Device::Cpu)?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(all)) = &*storage else {
        bail!("a kernel for f32 on the CPU was given {:?}", tensor.dtype())
    };
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(look(&all[from..to])),
        None => bail!("a kernel for dense tensors was given strides {:?}", layout.stride()),
    }
}

/// A session's input, or a weight.
pub(super) fn from_host(tensor: &HostTensor, device: &Device) -> Result<Tensor> {
    let shape = tensor.shape();
    macro_rules! wider {
        ($v:expr, $to:ty) => {
            Tensor::from_vec($v.iter().map(|x| <$to>::from(*x)).collect::<Vec<_>>(), shape, device)
        };
    }
    match tensor.data() {
        TensorData::F32(v) => Tensor::from_slice(v, shape, device),
        TensorData::F16(v) => Tensor::from_slice(v, shape, device),
        TensorData::BF16(v) => Tensor::from_slice(v, shape, device),
        TensorData::F64(v) => Tensor::from_slice(v, shape, device),
        TensorData::I8(v) => wider!(v, i16),
        TensorData::U8(v) => Tensor::from_slice(v, shape, device),
        TensorData::I16(v) => Tensor::from_slice(v, shape, device),
        TensorData::U16(v) => wider!(v, u32),
        TensorData::I32(v) => Tensor::from_slice(v, shape, device),
        TensorData::U32(v) => Tensor::from_slice(v, shape, device),
        TensorData::I64(v) => Tensor::from_slice(v, shape, device),
        TensorData::U64(_) => bail!("candle has no 64-bit unsigned numbers"),
        TensorData::Bool(v) => wider!(v, u8),
    }
}

/// A session's output.
#[expect(clippy::cast_possible_truncation, reason = "held wider, never more")]
pub(super) fn to_host(tensor: &Tensor, dtype: DType) -> Result<HostTensor> {
    let shape = tensor.dims().to_vec();
    let flat = tensor.flatten_all()?;
    let data = match dtype {
        DType::F32 => TensorData::F32(flat.to_vec1()?),
        DType::F16 => TensorData::F16(flat.to_vec1()?),
        DType::BF16 => TensorData::BF16(flat.to_vec1()?),
        DType::F64 => TensorData::F64(flat.to_vec1()?),
        DType::I8 | DType::I4 => {
            TensorData::I8(flat.to_vec1::<i16>()?.into_iter().map(|x| x as i8).collect())
        }
        DType::U8 | DType::U4 => TensorData::U8(flat.to_vec1()?),
        DType::I16 => TensorData::I16(flat.to_vec1()?),
        DType::U16 => {
            TensorData::U16(flat.to_vec1::<u32>()?.into_iter().map(|x| x as u16).collect())
        }
        DType::I32 => TensorData::I32(flat.to_vec1()?),
        DType::U32 => TensorData::U32(flat.to_vec1()?),
        DType::I64 => TensorData::I64(flat.to_vec1()?),
        DType::Bool => {
            TensorData::Bool(flat.to_vec1::<u8>()?.into_iter().map(|x| x != 0).collect())
        }
        DType::U64 => bail!("candle has no 64-bit unsigned numbers"),
    };
    match HostTensor::new(shape, data) {
        Some(tensor) => Ok(tensor),
        None => bail!("an output's shape does not fit its elements"),
    }
}
