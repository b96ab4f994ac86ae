//! Tensors of the host as they are held on the device, and back.

use super::kernels::Elem;
use super::lower::{Input, Output};
use crate::error::{Error, Result};
use crate::variant::{DType, Tensor, TensorData, Tensors};

impl Input {
    /// The bytes of this input in a batch.
    pub(super) fn bytes(&self, tensors: &Tensors, subject: &str) -> Result<Vec<u8>> {
        let refuse = |message: String| {
            Error::input(subject, format!("input `{}` {message}", self.name))
                .remedy("give inputs of the type and sizes that `infermark model inspect` lists")
        };
        let Some(tensor) = tensors.get(&self.name) else {
            return Err(refuse("is missing".to_owned()));
        };
        if tensor.dtype() != self.dtype || tensor.shape() != self.view.dims {
            return Err(refuse(format!(
                "is {}{:?}, not {}{:?}",
                tensor.dtype(),
                tensor.shape(),
                self.dtype,
                self.view.dims
            )));
        }
        let mut bytes = Vec::with_capacity(self.view.len() * self.view.elem.size() + 4);
        match (self.view.elem, tensor.data()) {
            (Elem::F32, TensorData::F32(v)) => {
                bytes.extend(v.iter().flat_map(|x| x.to_le_bytes()));
            }
            (Elem::F16, TensorData::F16(v)) => {
                bytes.extend(v.iter().flat_map(|x| x.to_le_bytes()));
            }
            (Elem::F32, _) => {
                bytes.extend(tensor.to_f32().iter().flat_map(|x| x.to_le_bytes()));
            }
            (_, TensorData::I64(v)) => {
                for x in v {
                    let narrow = i32::try_from(*x)
                        .map_err(|_| refuse(format!("has {x}, which takes more than 32 bits")))?;
                    bytes.extend(narrow.to_le_bytes());
                }
            }
            (_, TensorData::Bool(v)) => {
                bytes.extend(v.iter().flat_map(|x| u32::from(*x).to_le_bytes()));
            }
            _ => {
                let whole = tensor.to_f64().unwrap_or_default();
                #[expect(clippy::cast_possible_truncation, reason = "at most 32 bits wide")]
                bytes.extend(whole.iter().flat_map(|x| (*x as i32).to_le_bytes()));
            }
        }
        // Writes are of whole words.
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        Ok(bytes)
    }
}

impl Output {
    /// The tensor of these bytes.
    pub(super) fn tensor(&self, bytes: &[u8]) -> Result<Tensor> {
        let word = |b: &[u8]| b.iter().rev().fold(0_u32, |n, byte| n << 8 | u32::from(*byte));
        let words = bytes.chunks_exact(4).map(word);
        #[expect(clippy::cast_possible_truncation, reason = "held wider, never more")]
        let data = match (self.view.elem, self.dtype) {
            (Elem::F32, DType::F32) => TensorData::F32(words.map(f32::from_bits).collect()),
            (Elem::F32, DType::BF16) => {
                let floats = words.map(f32::from_bits);
                TensorData::BF16(floats.map(half::bf16::from_f32).collect())
            }
            (Elem::F32, _) => {
                let floats = words.map(f32::from_bits);
                TensorData::F16(floats.map(half::f16::from_f32).collect())
            }
            (Elem::F16, _) => {
                let halves = bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
                TensorData::F16(halves.map(half::f16::from_bits).collect())
            }
            (Elem::U32, _) => TensorData::Bool(words.map(|x| x != 0).collect()),
            (Elem::I32, dtype) => {
                let ints = words.map(u32::cast_signed);
                match dtype {
                    DType::I64 => TensorData::I64(ints.map(i64::from).collect()),
                    DType::I16 => TensorData::I16(ints.map(|x| x as i16).collect()),
                    DType::I8 => TensorData::I8(ints.map(|x| x as i8).collect()),
                    DType::U16 => TensorData::U16(ints.map(|x| x.cast_unsigned() as u16).collect()),
                    DType::U8 => TensorData::U8(ints.map(|x| x.cast_unsigned() as u8).collect()),
                    _ => TensorData::I32(ints.collect()),
                }
            }
        };
        Tensor::new(self.view.dims.clone(), data)
            .ok_or_else(|| Error::internal("wgpu", "an output's shape does not fit its elements"))
    }
}
