//! Tensors as files, in the format safetensors: how processes hand them to each other.

use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use super::{DType, Tensor, TensorData, Tensors};
use crate::error::{Error, Result};

/// The type's name in safetensors; `None` for packed types, which no tensor has.
fn stored(dtype: DType) -> Option<Dtype> {
    Some(match dtype {
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F64 => Dtype::F64,
        DType::I8 => Dtype::I8,
        DType::U8 => Dtype::U8,
        DType::I16 => Dtype::I16,
        DType::U16 => Dtype::U16,
        DType::I32 => Dtype::I32,
        DType::U32 => Dtype::U32,
        DType::I64 => Dtype::I64,
        DType::U64 => Dtype::U64,
        DType::Bool => Dtype::BOOL,
        DType::I4 | DType::U4 => return None,
    })
}

/// The type that safetensors calls so; `None` for types that nothing here can hold.
pub fn from_safetensors(dtype: Dtype) -> Option<DType> {
    DType::ALL.into_iter().find(|ours| stored(*ours) == Some(dtype))
}

impl TensorData {
    /// The elements' bytes, little-endian.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        macro_rules! bytes {
            ($v:expr) => {
                $v.iter().flat_map(|x| x.to_le_bytes()).collect()
            };
        }
        match self {
            Self::F32(v) => bytes!(v),
            Self::F16(v) => bytes!(v),
            Self::BF16(v) => bytes!(v),
            Self::F64(v) => bytes!(v),
            Self::I8(v) => bytes!(v),
            Self::U8(v) => bytes!(v),
            Self::I16(v) => bytes!(v),
            Self::U16(v) => bytes!(v),
            Self::I32(v) => bytes!(v),
            Self::U32(v) => bytes!(v),
            Self::I64(v) => bytes!(v),
            Self::U64(v) => bytes!(v),
            Self::Bool(v) => v.iter().map(|x| u8::from(*x)).collect(),
        }
    }

    /// From little-endian bytes, a part of an element at their end left out; `None` for packed types.
    pub fn from_le_bytes(dtype: DType, bytes: &[u8]) -> Option<Self> {
        macro_rules! read {
            ($type:ty, $kind:ident) => {
                Self::$kind(
                    bytes
                        .chunks_exact(size_of::<$type>())
                        .map(|chunk| {
                            let mut array = [0; size_of::<$type>()];
                            array.copy_from_slice(chunk);
                            <$type>::from_le_bytes(array)
                        })
                        .collect(),
                )
            };
        }
        Some(match dtype {
            DType::F32 => read!(f32, F32),
            DType::F16 => read!(f16, F16),
            DType::BF16 => read!(bf16, BF16),
            DType::F64 => read!(f64, F64),
            DType::I8 => read!(i8, I8),
            DType::U8 => read!(u8, U8),
            DType::I16 => read!(i16, I16),
            DType::U16 => read!(u16, U16),
            DType::I32 => read!(i32, I32),
            DType::U32 => read!(u32, U32),
            DType::I64 => read!(i64, I64),
            DType::U64 => read!(u64, U64),
            DType::Bool => Self::Bool(bytes.iter().map(|b| *b != 0).collect()),
            DType::I4 | DType::U4 => return None,
        })
    }
}

impl Tensors {
    /// Feeds names, element types, shapes and little-endian values to a hash, in order.
    pub fn feed(&self, hasher: &mut Sha256) {
        for (name, tensor) in &self.0 {
            hasher.update(format!("{name} {} {:?}\n", tensor.dtype(), tensor.shape()));
            hasher.update(tensor.data().to_le_bytes());
        }
    }

    /// Adds the tensors of sample `at`, by names that say so.
    pub fn stack(&mut self, at: usize, sample: Tensors) {
        self.0.extend(sample.0.into_iter().map(|(name, t)| (format!("{at}/{name}"), t)));
    }

    /// The tensors of each of `samples` samples that were stacked.
    pub fn unstacked(self, samples: usize) -> Vec<Tensors> {
        let mut all = vec![Self::default(); samples];
        for (name, tensor) in self.0 {
            let of = name.split_once('/').and_then(|(at, name)| Some((at.parse().ok()?, name)));
            let of: Option<(usize, &str)> = of;
            if let Some((at, name)) = of
                && let Some(sample) = all.get_mut(at)
            {
                sample.0.push((name.to_owned(), tensor));
            }
        }
        all
    }

    /// Writes all of them to a file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let bytes: Vec<Vec<u8>> = self.0.iter().map(|(_, t)| t.data().to_le_bytes()).collect();
        let fail = |e: &dyn std::fmt::Display| Error::internal(path.display(), e);
        let views = self.0.iter().zip(&bytes).map(|((name, tensor), bytes)| {
            let dtype = stored(tensor.dtype()).ok_or_else(|| fail(&"has packed elements"))?;
            let view = TensorView::new(dtype, tensor.shape().to_vec(), bytes);
            Ok((name.as_str(), view.map_err(|e| fail(&e))?))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        let file = safetensors::serialize(views, None).map_err(|e| fail(&e))?;
        std::fs::write(path, file).map_err(|e| Error::io(path, "write", &e))
    }

    /// Reads a file that [`Tensors::write`] wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, "read", &e))?;
        let bad = |what: &dyn std::fmt::Display| {
            Error::input(path.display(), format!("holds no tensors: {what}"))
                .remedy("give a file in the format safetensors")
        };
        let file = SafeTensors::deserialize(&bytes).map_err(|e| bad(&e))?;
        let mut all = Self::default();
        for (name, view) in file.tensors() {
            let data = from_safetensors(view.dtype())
                .and_then(|dtype| TensorData::from_le_bytes(dtype, view.data()))
                .and_then(|data| Tensor::new(view.shape().to_vec(), data));
            let tensor =
                data.ok_or_else(|| bad(&format!("`{name}` is of type {:?}", view.dtype())))?;
            all.0.push((name, tensor));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        let mut all = Tensors::default();
        for dtype in DType::ALL.into_iter().filter(|t| !t.is_packed()) {
            let bytes: Vec<u8> = (0..dtype.size() * 3).map(|b| u8::from(b % 2 == 0)).collect();
            let data = TensorData::from_le_bytes(dtype, &bytes).unwrap();
            assert_eq!(data.to_le_bytes(), bytes, "{dtype}");
            all.0.push((dtype.to_string(), Tensor::new(vec![3, 1], data).unwrap()));
        }
        all.write(&path).unwrap();
        let read = Tensors::read(&path).unwrap();
        assert_eq!(read.0.len(), all.0.len());
        assert!(all.0.iter().all(|(name, tensor)| read.get(name) == Some(tensor)));
    }
}
