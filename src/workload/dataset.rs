//! A data set: samples that a model can be given, with labels where there are any.

use std::io::{Read, Write};
use std::path::Path;

use npyz::WriterBuilder;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::variant::{DType, Tensor, TensorData, Tensors};

/// Name of the array of labels in a stored data set.
const LABELS: &str = "infermark_labels";

/// Samples, each a set of input tensors with a batch axis of 1, and their classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    samples: Vec<Tensors>,
    labels: Option<Vec<u32>>,
}

impl Dataset {
    /// From arrays that hold all samples on axis 0, and optionally one class index a sample.
    ///
    /// An error names the array whose number of samples differs.
    pub fn new(subject: &str, arrays: &Tensors, labels: Option<Vec<u32>>) -> Result<Self> {
        let remedy = "every array needs the samples on axis 0, as many as the others";
        let count = |tensor: &Tensor| tensor.shape().first().copied().unwrap_or(0);
        let samples = arrays.0.first().map_or(0, |(_, tensor)| count(tensor));
        if samples == 0 {
            return Err(Error::input(subject, "holds no samples").remedy(remedy));
        }
        if let Some((name, tensor)) = arrays.0.iter().find(|(_, t)| count(t) != samples) {
            let message =
                format!("array `{name}` has {} samples, the first {samples}", count(tensor));
            return Err(Error::input(subject, message).remedy(remedy));
        }
        if let Some(labels) = &labels
            && labels.len() != samples
        {
            let message = format!("has {} labels for {samples} samples", labels.len());
            return Err(Error::input(subject, message).remedy(remedy));
        }
        let samples = (0..samples)
            .map(|i| {
                let rows = arrays.0.iter().filter_map(|(n, t)| Some((n.clone(), t.row(i)?)));
                Tensors(rows.collect())
            })
            .collect();
        Ok(Self { samples, labels })
    }

    /// The samples.
    pub fn samples(&self) -> &[Tensors] {
        &self.samples
    }

    /// One class index a sample, where the set is labelled.
    pub fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    /// SHA-256 of the content: names, element types, shapes and little-endian values in order,
    /// then the labels. The same samples have the same hash in whatever file they come.
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        for sample in &self.samples {
            for (name, tensor) in &sample.0 {
                hasher.update(format!("{name} {} {:?}\n", tensor.dtype(), tensor.shape()));
                hasher.update(le_bytes(tensor.data()));
            }
        }
        for label in self.labels.iter().flatten() {
            hasher.update(label.to_le_bytes());
        }
        crate::units::hex(&hasher.finalize())
    }

    /// Stores the set as an uncompressed `.npz`, one array an input.
    pub fn to_npz(&self) -> Result<Vec<u8>> {
        let fail = |e: &dyn std::fmt::Display| Error::internal("data set", e);
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let stored = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored);
        let mut all = Tensors::default();
        if !all.assemble(self.samples.iter()) {
            return Err(Error::input("data set", "samples differ in name, type or shape")
                .remedy("pad them to one shape"));
        }
        for (name, tensor) in &all.0 {
            zip.start_file(format!("{name}.npy"), stored).map_err(|e| fail(&e))?;
            zip.write_all(&npy(tensor)?).map_err(|e| fail(&e))?;
        }
        if let Some(labels) = &self.labels {
            let data = TensorData::U32(labels.clone());
            let labels = Tensor::new(vec![labels.len()], data)
                .ok_or_else(|| Error::internal("data set", "labels do not fit their own shape"))?;
            zip.start_file(format!("{LABELS}.npy"), stored).map_err(|e| fail(&e))?;
            zip.write_all(&npy(&labels)?).map_err(|e| fail(&e))?;
        }
        zip.finish().map(std::io::Cursor::into_inner).map_err(|e| fail(&e))
    }

    /// Reads a set that [`Self::to_npz`] stored.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_npz(path, Some(LABELS))
    }

    /// Reads a user's `.npz`; the array called `labels`, if it is there, holds class indices.
    pub fn read_npz(path: &Path, labels: Option<&str>) -> Result<Self> {
        let subject = path.display().to_string();
        let bad = |message: String| {
            Error::input(&subject, message)
                .remedy("give a .npz as numpy.savez writes it, with numbers or booleans in C order")
        };
        let file = std::fs::File::open(path).map_err(|e| Error::io(path, "open the data", &e))?;
        let mut zip = zip::ZipArchive::new(file).map_err(|e| bad(format!("is no .npz: {e}")))?;
        let mut arrays = Tensors::default();
        let mut classes = None;
        for index in 0..zip.len() {
            let mut entry =
                zip.by_index(index).map_err(|e| bad(format!("cannot be unpacked: {e}")))?;
            let name = entry.name().map_err(|e| bad(format!("cannot be unpacked: {e}")))?;
            let name = name.trim_end_matches(".npy").to_owned();
            let mut bytes = Vec::new();
            entry
                .read_to_end(&mut bytes)
                .map_err(|e| bad(format!("array `{name}` cannot be unpacked: {e}")))?;
            let tensor = tensor(&bytes).map_err(|e| bad(format!("array `{name}`: {e}")))?;
            if labels == Some(name.as_str()) {
                let indices = class_indices(tensor.data());
                classes = Some(indices.ok_or_else(|| {
                    bad(format!("array `{name}` must hold class indices, 0 or above"))
                })?);
            } else {
                arrays.0.push((name, tensor));
            }
        }
        Self::new(&subject, &arrays, classes)
    }
}

fn class_indices(data: &TensorData) -> Option<Vec<u32>> {
    match data {
        TensorData::U8(v) => Some(v.iter().map(|x| u32::from(*x)).collect()),
        TensorData::U32(v) => Some(v.clone()),
        TensorData::I32(v) => v.iter().map(|x| u32::try_from(*x).ok()).collect(),
        TensorData::I64(v) => v.iter().map(|x| u32::try_from(*x).ok()).collect(),
        TensorData::U64(v) => v.iter().map(|x| u32::try_from(*x).ok()).collect(),
        _ => None,
    }
}

fn le_bytes(data: &TensorData) -> Vec<u8> {
    macro_rules! bytes {
        ($v:expr) => {
            $v.iter().flat_map(|x| x.to_le_bytes()).collect()
        };
    }
    match data {
        TensorData::F32(v) => bytes!(v),
        TensorData::F16(v) => bytes!(v),
        TensorData::BF16(v) => bytes!(v),
        TensorData::F64(v) => bytes!(v),
        TensorData::I8(v) => bytes!(v),
        TensorData::U8(v) => bytes!(v),
        TensorData::I16(v) => bytes!(v),
        TensorData::U16(v) => bytes!(v),
        TensorData::I32(v) => bytes!(v),
        TensorData::U32(v) => bytes!(v),
        TensorData::I64(v) => bytes!(v),
        TensorData::U64(v) => bytes!(v),
        TensorData::Bool(v) => v.iter().map(|x| u8::from(*x)).collect(),
    }
}

fn npy(tensor: &Tensor) -> Result<Vec<u8>> {
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
    if file.order() != npyz::Order::C {
        return Err("is in Fortran order".to_owned());
    }
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
    Tensor::new(shape, data).ok_or_else(|| "has fewer elements than its shape says".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Dataset {
        let x = Tensor::new(vec![3, 2], TensorData::F32(vec![1., 2., 3., 4., 5., 6.])).unwrap();
        let m = Tensor::new(vec![3, 1], TensorData::I64(vec![7, 8, 9])).unwrap();
        let arrays = Tensors(vec![("x".into(), x), ("m".into(), m)]);
        Dataset::new("small", &arrays, Some(vec![0, 1, 0])).unwrap()
    }

    #[test]
    fn a_stored_set_comes_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.npz");
        std::fs::write(&path, small().to_npz().unwrap()).unwrap();
        let back = Dataset::read(&path).unwrap();
        assert_eq!(back, small());
        assert_eq!(back.sha256(), small().sha256());
        assert_eq!(back.samples()[2].get("m").unwrap().shape(), [1, 1]);
    }

    #[test]
    fn arrays_of_different_length_are_named() {
        let x = Tensor::new(vec![2, 1], TensorData::F32(vec![1., 2.])).unwrap();
        let y = Tensor::new(vec![1, 1], TensorData::F32(vec![1.])).unwrap();
        let arrays = Tensors(vec![("x".into(), x), ("y".into(), y)]);
        let error = Dataset::new("d", &arrays, None).unwrap_err().to_string();
        assert!(error.contains("`y` has 1 samples"), "{error}");
    }

    #[test]
    fn junk_is_no_data_set() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.npz");
        std::fs::write(&path, b"not a zip").unwrap();
        assert!(Dataset::read(&path).unwrap_err().to_string().contains("is no .npz"));
        assert!(tensor(b"\x93NUMPY\x01\x00").is_err());
    }
}
