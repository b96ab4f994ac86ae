//! ONNX files: their outline (what goes in, what comes out, how large the weights are), and the way
//! from and to the graph.

mod attributes;
mod file;
mod load;
mod operators;
mod origin;
mod pb;
mod read;
mod save;
mod tensor;
mod write;

pub use file::Model;
pub(super) use load::inline;
pub use origin::{Branch, Origin, RawNode};

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Dim;
use crate::error::{Error, Result};
use crate::units::Bytes;
use crate::variant::DType;

/// An input or output: its name, element type and shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueSpec {
    /// The name that sessions use.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The axes; the batch, where there is one, is axis 0.
    pub dims: Vec<Dim>,
}

/// What a model file says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Version of the file format.
    pub ir_version: i64,
    /// Operator sets in use: domain (empty for ONNX's own) and version.
    pub opsets: Vec<(String, i64)>,
    /// What a session must be given.
    pub inputs: Vec<ValueSpec>,
    /// Names of what it returns.
    pub outputs: Vec<String>,
    /// Size of the last axis of each output for which the model states one.
    pub output_widths: BTreeMap<String, usize>,
    /// Nodes of the top-level graph.
    pub nodes: usize,
    /// Bytes of all weights in their stored types, external ones included.
    pub weights: Bytes,
    /// Names of the files beside the model that hold weights.
    pub external_files: BTreeSet<String>,
}

impl Outline {
    /// Reads the outline of the ONNX file at `path`.
    ///
    /// An error names the file and says whether it is missing, empty, cut short, not ONNX at all,
    /// or has an input that no backend here can be given.
    pub fn read(path: &Path) -> Result<Self> {
        Self::of(&path.display().to_string(), Model::read(path)?)
    }

    fn of(subject: &str, model: Model) -> Result<Self> {
        let model = model.proto;
        // A model without a graph is none, and was refused when it was read.
        let graph = model.graph.unwrap_or_default();
        let weights_named: HashSet<&str> =
            graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let inputs = graph
            .input
            .iter()
            .filter(|v| !weights_named.contains(v.name.as_str()))
            .map(|v| value_spec(subject, v))
            .collect::<Result<Vec<_>>>()?;
        let constants = graph
            .node
            .iter()
            .filter(|n| n.op_type == "Constant")
            .flat_map(|n| n.attribute.iter().filter_map(|a| a.t.as_ref()));
        let weights = graph
            .initializer
            .iter()
            .chain(constants)
            .map(stored_bytes)
            .fold(0, u64::saturating_add);
        Ok(Self {
            ir_version: model.ir_version,
            opsets: model.opset_import.into_iter().map(|o| (o.domain, o.version)).collect(),
            inputs,
            outputs: graph.output.iter().map(|v| v.name.clone()).collect(),
            output_widths: graph
                .output
                .iter()
                .filter_map(|v| match value_spec(subject, v).ok()?.dims.last()? {
                    Dim::Fixed(size) => Some((v.name.clone(), *size)),
                    _ => None,
                })
                .collect(),
            nodes: graph.node.len(),
            weights: Bytes(weights),
            external_files: graph
                .initializer
                .iter()
                .filter(|t| t.data_location == pb::EXTERNAL)
                .flat_map(|t| t.external_data.iter().filter(|e| e.key == "location"))
                .map(|e| e.value.clone())
                .collect(),
        })
    }
}

fn value_spec(subject: &str, value: &pb::ValueInfoProto) -> Result<ValueSpec> {
    let refuse = |what: &str| {
        Error::input(subject, format!("input `{}` is {what}", value.name))
            .remedy("only dense tensors of numbers and booleans can be fed to a session")
    };
    let tensor = value
        .r#type
        .as_ref()
        .and_then(|t| t.tensor_type.as_ref())
        .ok_or_else(|| refuse("not a tensor"))?;
    let dtype = DType::from_onnx(tensor.elem_type).filter(|t| !t.is_packed()).ok_or_else(|| {
        refuse(&format!("of element type {} (onnx TensorProto.DataType)", tensor.elem_type))
    })?;
    let dims = tensor.shape.as_ref().map_or(&[][..], |s| &s.dim).iter().map(|d| {
        match (d.dim_value, d.dim_param.as_deref()) {
            (Some(size), _) if size > 0 => usize::try_from(size).map_or(Dim::Unknown, Dim::Fixed),
            (_, Some(name)) if !name.is_empty() => Dim::Named(name.to_owned()),
            _ => Dim::Unknown,
        }
    });
    Ok(ValueSpec { name: value.name.clone(), dtype, dims: dims.collect() })
}

/// The tensor in a file of its own, as ONNX's test data are; `None` for element types that nothing
/// here can hold, and for what is no tensor.
pub fn tensor_file(subject: &str, bytes: bytes::Bytes) -> Result<Option<(String, super::Weight)>> {
    use prost::Message;
    let proto = pb::TensorProto::decode(bytes).map_err(|e| {
        Error::input(subject, format!("holds no tensor: {e}")).remedy("give a TensorProto of ONNX")
    })?;
    Ok(tensor::weight(&proto, None)?.map(|weight| (proto.name, weight)))
}

/// Element type and axes of a value that is a tensor, as far as the file states them.
fn declared(info: &pb::ValueInfoProto) -> Option<(Option<DType>, Option<Vec<Dim>>)> {
    let tensor = info.r#type.as_ref()?.tensor_type.as_ref()?;
    Some((DType::from_onnx(tensor.elem_type), load::dims(tensor)))
}

/// Bytes of a tensor in its stored type, from its shape; sub-byte types are packed.
fn stored_bytes(tensor: &pb::TensorProto) -> u64 {
    let elements = tensor
        .dims
        .iter()
        .try_fold(1_u64, |n, d| u64::try_from(*d).ok().and_then(|d| n.checked_mul(d)))
        .unwrap_or(0);
    match DType::from_onnx(tensor.data_type) {
        Some(dtype) if dtype.is_packed() => elements.div_ceil(2),
        Some(dtype) => elements.saturating_mul(dtype.size() as u64),
        // onnx.proto3: FLOAT4E2M1 = 23; FLOAT8 types 17–20 and E8M0 24.
        None => match tensor.data_type {
            23 => elements.div_ceil(2),
            17..=20 | 24 => elements,
            _ => tensor.raw_data.len() as u64,
        },
    }
}

impl fmt::Display for ValueSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.dims.iter().map(Dim::to_string).collect();
        write!(f, "`{}` {}[{}]", self.name, self.dtype, dims.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_and_random_files_are_refused_by_name() {
        let empty = Model::parse("m.onnx", bytes::Bytes::new()).unwrap_err().to_string();
        assert!(empty.starts_with("m.onnx: the model file is empty"), "{empty}");
        let noise: Vec<u8> = (0..999_u32).map(|i| (i * 167 % 251) as u8).collect();
        let random = Model::parse("m.onnx", noise.into()).unwrap_err().to_string();
        assert!(random.contains("m.onnx: not a"), "{random}");
    }

    #[test]
    fn weights_are_counted_in_their_stored_type() {
        let tensor = |data_type, dims: &[i64]| pb::TensorProto {
            dims: dims.to_vec(),
            data_type,
            ..Default::default()
        };
        assert_eq!(stored_bytes(&tensor(1, &[3, 5])), 60);
        assert_eq!(stored_bytes(&tensor(22, &[3, 5])), 8);
        assert_eq!(stored_bytes(&tensor(1, &[i64::MAX, i64::MAX])), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            drop(Model::parse("m.onnx", bytes.into()).and_then(|model| Outline::of("m.onnx", model)));
        }
    }
}
