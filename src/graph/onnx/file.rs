//! An ONNX file as a whole: read without copying its weights, saved whole or not at all.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use prost::Message;

use super::pb;
use crate::error::{Error, Result};
use crate::graph::mapped::mapped;

/// A model file with everything that it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub(super) proto: pb::ModelProto,
}

impl Model {
    /// Reads the file at `path`. Weights stay slices of the mapped file.
    ///
    /// An error names the file and says whether it is missing, empty, cut short or not ONNX.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&path.display().to_string(), mapped(path)?)
    }

    /// From a file's bytes; `subject` names it in errors.
    pub fn parse(subject: &str, bytes: bytes::Bytes) -> Result<Self> {
        let bad = |message: String| {
            Error::input(subject, message).remedy(
                "give an ONNX file; if this one was fetched, `infermark cache clean` removes it \
                 and it is fetched anew",
            )
        };
        if bytes.is_empty() {
            return Err(bad("the model file is empty".to_owned()));
        }
        let size = bytes.len();
        let proto = pb::ModelProto::decode(bytes).map_err(|e| {
            bad(format!("not a complete ONNX model: its {size} bytes do not decode ({e})"))
        })?;
        let is_model = proto.graph.as_ref().is_some_and(|g| !g.output.is_empty())
            && !proto.opset_import.is_empty();
        if !is_model {
            return Err(bad("not an ONNX model: it has no graph with outputs".to_owned()));
        }
        Ok(Self { proto })
    }

    /// Bytes of the model as one file, weights that lie in it included.
    pub fn encoded_len(&self) -> u64 {
        self.proto.encoded_len() as u64
    }

    /// Saves the model at `path`: written beside its place, then moved there.
    ///
    /// Weights that lie in files beside the model stay there: the copy needs them in its folder.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_file(path, |file| file.write_all(&self.proto.encode_to_vec()))
    }

    /// As [`Model::write`]; when weights take more than `above` bytes in all, those of a kilobyte and
    /// more go into `<file name>.data` beside the model, one after the other.
    pub(super) fn write_split(&self, path: &Path, above: u64) -> Result<()> {
        let graph = self.proto.graph.as_ref();
        let total: u64 =
            graph.iter().flat_map(|g| &g.initializer).map(|t| t.raw_data.len() as u64).sum();
        let name = path.file_name().and_then(|n| n.to_str()).map(|n| format!("{n}.data"));
        let (true, Some(name)) = (total > above, name) else { return self.write(path) };
        let mut split = self.clone();
        let tensors = split.proto.graph.iter_mut().flat_map(|g| &mut g.initializer);
        let mut offset = 0_u64;
        write_file(&path.with_file_name(&name), |file| {
            for tensor in tensors.filter(|t| t.raw_data.len() >= 1024) {
                // Pages of the usual size, so that a mapped weight begins on one.
                let padding = offset.next_multiple_of(4096) - offset;
                file.write_all(&vec![0; usize::try_from(padding).unwrap_or(0)])?;
                file.write_all(&tensor.raw_data)?;
                let length = tensor.raw_data.len() as u64;
                let entry = |key: &str, value: String| pb::StringStringEntryProto {
                    key: key.to_owned(),
                    value,
                };
                tensor.external_data = vec![
                    entry("location", name.clone()),
                    entry("offset", (offset + padding).to_string()),
                    entry("length", length.to_string()),
                ];
                tensor.data_location = pb::EXTERNAL;
                tensor.raw_data.clear();
                offset += padding + length;
            }
            Ok(())
        })?;
        split.write(path)
    }
}

/// Writes a file beside its place, then moves it there: it is there whole, or not at all.
fn write_file(path: &Path, fill: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let fail = |e: &std::io::Error| Error::io(path, "write the model", e);
    let mut builder = tempfile::Builder::new();
    let mut file = builder
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(|e| fail(&e))?;
    fill(file.as_file_mut()).map_err(|e| fail(&e))?;
    file.persist(path).map_err(|e| fail(&e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn small() -> pb::ModelProto {
        let weights = pb::TensorProto {
            dims: vec![2],
            data_type: 1,
            name: "w".to_owned(),
            raw_data: bytes::Bytes::from_static(&[0, 0, 128, 63, 0, 0, 0, 64]),
            ..Default::default()
        };
        let axis =
            pb::AttributeProto { name: "axis".to_owned(), i: -1, r#type: 2, ..Default::default() };
        let node = pb::NodeProto {
            input: vec!["x".to_owned(), "w".to_owned()],
            output: vec!["y".to_owned()],
            op_type: "Add".to_owned(),
            attribute: vec![axis],
            ..Default::default()
        };
        let output = pb::ValueInfoProto { name: "y".to_owned(), ..Default::default() };
        let graph = pb::GraphProto {
            node: vec![node],
            initializer: vec![weights],
            output: vec![output],
            ..Default::default()
        };
        let opset = pb::OperatorSetIdProto { domain: String::new(), version: 17 };
        pb::ModelProto { graph: Some(graph), opset_import: vec![opset], ..Default::default() }
    }

    #[test]
    fn a_saved_model_comes_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        let model = Model { proto: small() };
        model.write(&path).unwrap();
        assert_eq!(Model::read(&path).unwrap(), model);
        std::fs::write(&path, b"").unwrap();
        assert!(Model::read(&path).unwrap_err().to_string().contains("is empty"));
    }

    proptest! {
        #[test]
        fn no_mutation_of_a_file_makes_reading_panic(at: u16, byte: u8, cut: u16) {
            let mut bytes = small().encode_to_vec();
            let length = bytes.len();
            bytes[usize::from(at) % length] = byte;
            bytes.truncate(usize::from(cut) % (length + 1));
            let _ = Model::parse("m", bytes.into());
        }
    }
}
