//! Tensors of a file as weights, and back.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use super::pb;
use crate::error::{Error, Result};
use crate::graph::Weight;
use crate::graph::mapped::mapped;
use crate::units;
use crate::variant::DType;

/// The files beside a model that hold weights, each mapped once.
pub(super) struct Beside {
    folder: PathBuf,
    mapped: std::cell::RefCell<HashMap<String, Bytes>>,
}

impl Beside {
    pub(super) fn new(model: &Path) -> Self {
        let folder = model.parent().unwrap_or_else(|| Path::new("")).to_owned();
        Self { folder, mapped: std::cell::RefCell::default() }
    }

    fn file(&self, location: &str) -> Result<Bytes> {
        let inside = Path::new(location).components().all(|c| matches!(c, Component::Normal(_)));
        if location.is_empty() || !inside {
            return Err(Error::input(location, "is not a file beside the model")
                .remedy("weights must lie in the model's own folder; export it again"));
        }
        if let Some(bytes) = self.mapped.borrow().get(location) {
            return Ok(bytes.clone());
        }
        let path = self.folder.join(location);
        if !path.is_file() {
            return Err(Error::input(path.display(), "is missing; the model keeps weights in it")
                .remedy("put it beside the model, where it was exported"));
        }
        let bytes = mapped(&path)?;
        self.mapped.borrow_mut().insert(location.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

/// The weight that `tensor` holds; `None` for element types that nothing here can hold.
///
/// Errors say which tensor claims what, and what is really there; nothing is set aside before.
pub(super) fn weight(tensor: &pb::TensorProto, beside: Option<&Beside>) -> Result<Option<Weight>> {
    let Some(dtype) = DType::from_onnx(tensor.data_type) else { return Ok(None) };
    let wrong = |what: String| {
        Err(Error::input(format!("tensor `{}`", tensor.name), what)
            .remedy("the file is damaged or cut short; export or fetch it again"))
    };
    let claims = || {
        let dims: Vec<String> = tensor.dims.iter().map(ToString::to_string).collect();
        format!("claims {dtype}[{}]", dims.join(", "))
    };
    let mut shape = Vec::with_capacity(tensor.dims.len());
    for dim in &tensor.dims {
        match usize::try_from(*dim) {
            Ok(size) => shape.push(size),
            Err(_) => return wrong(claims()),
        }
    }
    let elements = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
    let Some(needed) = elements.and_then(|n| dtype.bytes_of(n)) else {
        return wrong(format!("{}, more than a computer can hold", claims()));
    };
    let Some(bytes) = stored(tensor, dtype, needed, beside)? else {
        return wrong(format!("{} and holds values of another type", claims()));
    };
    let (need, have) = (units::Bytes(needed as u64), units::Bytes(bytes.len() as u64));
    match Weight::new(dtype, shape, bytes) {
        Some(weight) => Ok(Some(weight)),
        None => wrong(format!("{}, {need}, and holds {have}", claims())),
    }
}

/// Makes a tensor that keeps its values in a file hold them itself.
pub(super) fn bring_in(tensor: &mut pb::TensorProto, beside: Option<&Beside>) -> Result<()> {
    if tensor.data_location == pb::EXTERNAL
        && let Some(weight) = weight(tensor, beside)?
    {
        tensor.raw_data = weight.bytes().clone();
        tensor.data_location = 0;
        tensor.external_data.clear();
    }
    Ok(())
}

/// The bytes, wherever the tensor keeps them; `None` where a field of another type is filled.
fn stored(
    tensor: &pb::TensorProto,
    dtype: DType,
    needed: usize,
    beside: Option<&Beside>,
) -> Result<Option<Bytes>> {
    if tensor.data_location == pb::EXTERNAL {
        return external(tensor, needed, beside).map(Some);
    }
    if !tensor.raw_data.is_empty() {
        return Ok(Some(tensor.raw_data.clone()));
    }
    macro_rules! narrowed {
        ($values:expr, $type:ty) => {{
            let narrow = |v: &_| <$type>::try_from(*v).ok().map(<$type>::to_le_bytes);
            $values.iter().map(narrow).collect::<Option<Vec<_>>>().map(|v| v.concat())
        }};
    }
    let bytes = match dtype {
        DType::F32 => Some(tensor.float_data.iter().flat_map(|v| v.to_le_bytes()).collect()),
        DType::F64 => Some(tensor.double_data.iter().flat_map(|v| v.to_le_bytes()).collect()),
        DType::I64 => Some(tensor.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect()),
        DType::U64 => Some(tensor.uint64_data.iter().flat_map(|v| v.to_le_bytes()).collect()),
        DType::U32 => narrowed!(tensor.uint64_data, u32),
        DType::I32 => Some(tensor.int32_data.iter().flat_map(|v| v.to_le_bytes()).collect()),
        DType::I16 => narrowed!(tensor.int32_data, i16),
        DType::I8 => narrowed!(tensor.int32_data, i8),
        // Halves are stored as their bits.
        DType::U16 | DType::F16 | DType::BF16 => narrowed!(tensor.int32_data, u16),
        // A byte holds two packed elements.
        DType::U8 | DType::Bool | DType::U4 => narrowed!(tensor.int32_data, u8),
        DType::I4 => {
            let byte = |v: &i32| u8::try_from(v & 0xff).ok();
            tensor.int32_data.iter().map(byte).collect()
        }
    };
    Ok(bytes.map(Bytes::from))
}

fn external(tensor: &pb::TensorProto, needed: usize, beside: Option<&Beside>) -> Result<Bytes> {
    let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| &e.value);
    let subject = format!("tensor `{}`", tensor.name);
    let Some(beside) = beside else {
        return Err(Error::input(
            subject,
            "keeps its values in a file, which is not looked for here",
        )
        .remedy("load the model from its own folder"));
    };
    let location = entry("location").map_or("", String::as_str);
    let bytes = beside.file(location)?;
    let number = |key: &str, default: usize| match entry(key) {
        None => Ok(default),
        Some(text) => text.parse::<usize>().map_err(|_| {
            Error::input(&subject, format!("has the {key} `{text}` in `{location}`"))
                .remedy("export the model again")
        }),
    };
    let offset = number("offset", 0)?;
    let length = number("length", needed)?;
    let end = offset.checked_add(length).filter(|end| *end <= bytes.len());
    let Some(end) = end else {
        return Err(Error::input(
            &subject,
            format!(
                "lies at bytes {offset} to {offset}+{length} of `{location}`, which has {}",
                bytes.len()
            ),
        )
        .remedy("the file of weights is cut short; export or fetch it again"));
    };
    Ok(bytes.slice(offset..end))
}

/// The tensor of a file that holds `weight`.
pub(super) fn proto(name: &str, weight: &Weight) -> pb::TensorProto {
    pb::TensorProto {
        // Sizes come from a file or from memory that is there: all of them fit.
        dims: weight.shape().iter().map(|d| i64::try_from(*d).unwrap_or(i64::MAX)).collect(),
        data_type: weight.dtype().to_onnx(),
        name: name.to_owned(),
        raw_data: weight.bytes().clone(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_gigabytes_in_a_few_bytes_are_refused_by_name() {
        let tensor = pb::TensorProto {
            dims: vec![30_000, 25_000],
            data_type: 1,
            name: "w".to_owned(),
            raw_data: Bytes::from_static(&[0; 8]),
            ..Default::default()
        };
        let said = weight(&tensor, None).unwrap_err().to_string();
        assert!(
            said.contains("tensor `w`: claims f32[30000, 25000], 3.00 GB, and holds 8 B"),
            "{said}"
        );
        let overflowing = pb::TensorProto { dims: vec![i64::MAX; 3], ..tensor };
        assert!(
            weight(&overflowing, None).unwrap_err().to_string().contains("more than a computer")
        );
    }

    #[test]
    fn every_field_that_can_hold_values_is_read() {
        let tensor = |data_type, dims| pb::TensorProto { dims, data_type, ..Default::default() };
        let cases = [
            (pb::TensorProto { float_data: vec![1.0, 2.0], ..tensor(1, vec![2]) }, [1.0, 2.0]),
            (pb::TensorProto { int32_data: vec![-1, 2], ..tensor(3, vec![2]) }, [-1.0, 2.0]),
            (
                pb::TensorProto { int32_data: vec![0x3c00, 0x4000], ..tensor(10, vec![2]) },
                [1.0, 2.0],
            ),
            (pb::TensorProto { int64_data: vec![-1, 2], ..tensor(7, vec![2]) }, [-1.0, 2.0]),
            (pb::TensorProto { uint64_data: vec![1, 2], ..tensor(12, vec![2]) }, [1.0, 2.0]),
            (pb::TensorProto { double_data: vec![1.0, 2.0], ..tensor(11, vec![2]) }, [1.0, 2.0]),
            (pb::TensorProto { int32_data: vec![0x2f], ..tensor(22, vec![2]) }, [-1.0, 2.0]),
        ];
        for (tensor, values) in cases {
            assert_eq!(weight(&tensor, None).unwrap().unwrap().to_f64(), values, "{tensor:?}");
        }
        let too_large = pb::TensorProto { int32_data: vec![300, 2], ..tensor(3, vec![2]) };
        assert!(weight(&too_large, None).is_err());
    }
}
