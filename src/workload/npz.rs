//! `.npz` and `.npy` as bytes.

use std::io::Read;
use std::path::Path;

use npyz::WriterBuilder;

use super::dataset::ABOUT;
use crate::error::{Error, Result};
use crate::variant::{DType, Tensor, TensorData, Tensors};

/// The arrays of a `.npz`, and our own entry where it has one.
pub(super) fn arrays(path: &Path) -> Result<(Tensors, Option<Vec<u8>>)> {
    let subject = path.display().to_string();
    let bad = |message: String| {
        Error::input(&subject, message)
            .remedy("give a .npz as numpy.savez writes it, with numbers or booleans")
    };
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, "open the data", &e))?;
    let mut zip = zip::ZipArchive::new(file).map_err(|e| bad(format!("is no .npz: {e}")))?;
    let mut arrays = Tensors::default();
    let mut about = None;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(|e| bad(format!("cannot be unpacked: {e}")))?;
        let name = entry.name().map_err(|e| bad(format!("cannot be unpacked: {e}")))?.into_owned();
        let mut bytes = Vec::new();
        entry
            .read_to_end(&mut bytes)
            .map_err(|e| bad(format!("array `{name}` cannot be unpacked: {e}")))?;
        if name == ABOUT {
            about = Some(bytes);
            continue;
        }
        let name = name.trim_end_matches(".npy").to_owned();
        let tensor = tensor(&bytes).map_err(|e| bad(format!("array `{name}`: {e}")))?;
        arrays.0.push((name, tensor));
    }
    Ok((arrays, about))
}

/// The arrays of a `.npz`, by name.
pub fn read_arrays(path: &Path) -> Result<Tensors> {
    Ok(arrays(path)?.0)
}

/// Rows of a two-dimensional array of integers.
pub(super) fn token_rows(tensor: &Tensor) -> Option<Vec<Vec<i64>>> {
    let width = *tensor.shape().get(1).filter(|w| **w > 0)?;
    let all: Vec<i64> = match tensor.data() {
        TensorData::I64(v) => v.clone(),
        TensorData::I32(v) => v.iter().map(|x| i64::from(*x)).collect(),
        TensorData::I16(v) => v.iter().map(|x| i64::from(*x)).collect(),
        _ => return None,
    };
    Some(all.chunks_exact(width).map(<[i64]>::to_vec).collect())
}

pub(super) fn class_indices(data: &TensorData) -> Option<Vec<u32>> {
    macro_rules! indices {
        ($v:expr) => {
            $v.iter().map(|x| u32::try_from(*x).ok()).collect()
        };
    }
    match data {
        TensorData::U8(v) => Some(v.iter().map(|x| u32::from(*x)).collect()),
        TensorData::U16(v) => Some(v.iter().map(|x| u32::from(*x)).collect()),
        TensorData::Bool(v) => Some(v.iter().map(|x| u32::from(*x)).collect()),
        TensorData::U32(v) => Some(v.clone()),
        TensorData::I8(v) => indices!(v),
        TensorData::I16(v) => indices!(v),
        TensorData::I32(v) => indices!(v),
        TensorData::I64(v) => indices!(v),
        TensorData::U64(v) => indices!(v),
        _ => None,
    }
}

/// A tensor as NumPy saves it (`.npy`).
pub fn npy(tensor: &Tensor) -> Result<Vec<u8>> {
    let shape: Vec<u64> = tensor.shape().iter().map(|d| *d as u64).collect();
    let fail = |e: std::io::Error| Error::internal("data set", e);
    let mut bytes = Vec::new();
    macro_rules! write {
        ($v:expr) => {{
            let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
            let mut writer = options.writer(&mut bytes).begin_nd().map_err(fail)?;
            writer.extend($v.iter()).map_err(fail)?;
            writer.finish().map_err(fail)?;
        }};
    }
    match tensor.data() {
        TensorData::F32(v) => write!(v),
        TensorData::F16(v) => write!(v),
        TensorData::F64(v) => write!(v),
        TensorData::I8(v) => write!(v),
        TensorData::U8(v) => write!(v),
        TensorData::I16(v) => write!(v),
        TensorData::U16(v) => write!(v),
        TensorData::I32(v) => write!(v),
        TensorData::U32(v) => write!(v),
        TensorData::I64(v) => write!(v),
        TensorData::U64(v) => write!(v),
        TensorData::Bool(v) => write!(v),
        TensorData::BF16(_) => {
            return Err(Error::input("data set", format!("NumPy has no {}", DType::BF16))
                .remedy("give the model f32 inputs"));
        }
    }
    Ok(bytes)
}

/// Reads one `.npy`.
fn tensor(bytes: &[u8]) -> Result<Tensor, String> {
    use npyz::TypeChar as C;
    let file = npyz::NpyFile::new(bytes).map_err(|e| e.to_string())?;
    let is_c = file.order() == npyz::Order::C;
    let shape: Vec<usize> =
        file.shape().iter().map(|d| usize::try_from(*d).unwrap_or(usize::MAX)).collect();
    // The length stated in the header must be there before memory is set aside for it.
    let elements = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
    if elements.is_none_or(|n| n > bytes.len()) {
        return Err(format!("claims shape {shape:?} in {} bytes", bytes.len()));
    }
    let npyz::DType::Plain(kind) = file.dtype() else {
        return Err("has fields; give one array an input".to_owned());
    };
    macro_rules! read {
        ($kind:ident) => {
            TensorData::$kind(file.into_vec().map_err(|e| e.to_string())?)
        };
    }
    let data = match (kind.type_char(), kind.size_field()) {
        (C::Float, 4) => read!(F32),
        (C::Float, 2) => read!(F16),
        (C::Float, 8) => read!(F64),
        (C::Int, 1) => read!(I8),
        (C::Int, 2) => read!(I16),
        (C::Int, 4) => read!(I32),
        (C::Int, 8) => read!(I64),
        (C::Uint, 1) => read!(U8),
        (C::Uint, 2) => read!(U16),
        (C::Uint, 4) => read!(U32),
        (C::Uint, 8) => read!(U64),
        (C::Bool, _) => read!(Bool),
        _ => return Err(format!("has element type {kind}")),
    };
    let stored = if is_c { shape.clone() } else { shape.iter().rev().copied().collect() };
    let tensor = Tensor::new(stored, data);
    let tensor = tensor.map(|tensor| if is_c { tensor } else { tensor.transposed() });
    tensor.ok_or_else(|| "has fewer elements than its shape says".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fortran_order_is_put_right() {
        // [[1, 2, 3], [4, 5, 6]] column by column.
        let mut bytes = Vec::new();
        let options = npyz::WriteOptions::new().default_dtype().shape(&[2, 3]);
        let options = options.order(npyz::Order::Fortran);
        let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
        writer.extend([1_i32, 4, 2, 5, 3, 6].iter()).unwrap();
        writer.finish().unwrap();
        let read = tensor(&bytes).unwrap();
        assert_eq!(read.shape(), [2, 3]);
        assert_eq!(read.data(), &TensorData::I32(vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn half_an_array_is_none() {
        assert!(tensor(b"\x93NUMPY\x01\x00").is_err());
    }
}
