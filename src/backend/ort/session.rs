//! Running batches: tensors in without a copy, outputs copied to the host.

use ort::session::{Session as Native, SessionInputValue};
use ort::value::{DynValue, TensorElementType, TensorRef};

use super::one_line;
use crate::backend::finished::Finished;
use crate::backend::{Session, Ticket, Trace};
use crate::error::{Error, Result};
use crate::variant::{Tensor, TensorData, Tensors};

/// A native session. ONNX Runtime's CPU call is synchronous: a submitted batch is finished when
/// `submit` returns, and its outputs wait here.
pub(super) struct OrtSession {
    native: Native,
    outputs: Vec<String>,
    finished: Finished,
}

impl OrtSession {
    pub(super) fn new(native: Native) -> Self {
        let outputs = native.outputs().iter().map(|o| o.name().to_owned()).collect();
        Self { native, outputs, finished: Finished::default() }
    }

    /// Ends a profile that was asked for when the session was built; returns its file.
    pub(super) fn end_profiling(&mut self) -> Result<String> {
        self.native.end_profiling().map_err(|e| failed("end the profile", &e))
    }
}

impl Session for OrtSession {
    fn submit(&mut self, inputs: &Tensors) -> Result<Ticket> {
        let outputs = self.run(inputs, &mut Trace::default())?;
        Ok(self.finished.keep(outputs))
    }

    fn wait(&mut self, ticket: Ticket, trace: &mut Trace) -> Result<Tensors> {
        *trace = Trace::default();
        self.finished.take(ticket, "ONNX Runtime")
    }

    fn run(&mut self, inputs: &Tensors, trace: &mut Trace) -> Result<Tensors> {
        *trace = Trace::default();
        let values = inputs
            .0
            .iter()
            .map(|(name, tensor)| Ok((name.as_str(), input(tensor)?)))
            .collect::<Result<Vec<_>>>()?;
        let results = self.native.run(values).map_err(|e| failed("run the model", &e))?;
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for name in &self.outputs {
            let value = results.get(name.as_str()).ok_or_else(|| {
                Error::internal("ONNX Runtime", format!("returned no output `{name}`"))
            })?;
            outputs.push((name.clone(), output(name, value)?));
        }
        Ok(Tensors(outputs))
    }
}

fn failed(doing: &str, error: &ort::Error) -> Error {
    Error::input("ONNX Runtime", format!("cannot {doing}: {}", one_line(error.message()))).remedy(
        "check the inputs against the model's signature; token ids must come from the model's \
                 own tokenizer",
    )
}

/// A view of a host tensor; nothing is copied.
fn input(tensor: &Tensor) -> Result<SessionInputValue<'_>> {
    macro_rules! view {
        ($values:expr) => {
            TensorRef::from_array_view((tensor.shape(), $values.as_slice()))
                .map(SessionInputValue::from)
                .map_err(|e| failed("take an input", &e))
        };
    }
    match tensor.data() {
        TensorData::F32(v) => view!(v),
        TensorData::F16(v) => view!(v),
        TensorData::BF16(v) => view!(v),
        TensorData::F64(v) => view!(v),
        TensorData::I8(v) => view!(v),
        TensorData::U8(v) => view!(v),
        TensorData::I16(v) => view!(v),
        TensorData::U16(v) => view!(v),
        TensorData::I32(v) => view!(v),
        TensorData::U32(v) => view!(v),
        TensorData::I64(v) => view!(v),
        TensorData::U64(v) => view!(v),
        TensorData::Bool(v) => view!(v),
    }
}

/// A copy of an output on the host.
fn output(name: &str, value: &DynValue) -> Result<Tensor> {
    let not_taken = |what: String| {
        Error::input(format!("output `{name}`"), format!("is {what}, which is not supported"))
            .remedy("export the model with dense numeric outputs")
    };
    if !value.is_tensor() {
        return Err(not_taken("not a tensor".to_owned()));
    }
    macro_rules! copy {
        ($type:ty, $kind:ident) => {{
            let (shape, values) =
                value.try_extract_tensor::<$type>().map_err(|e| failed("read an output", &e))?;
            let shape = shape.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
            Tensor::new(shape, TensorData::$kind(values.to_vec()))
        }};
    }
    let dtype = value.dtype().tensor_type();
    let tensor = match dtype {
        Some(TensorElementType::Float32) => copy!(f32, F32),
        Some(TensorElementType::Float16) => copy!(half::f16, F16),
        Some(TensorElementType::Bfloat16) => copy!(half::bf16, BF16),
        Some(TensorElementType::Float64) => copy!(f64, F64),
        Some(TensorElementType::Int8) => copy!(i8, I8),
        Some(TensorElementType::Uint8) => copy!(u8, U8),
        Some(TensorElementType::Int16) => copy!(i16, I16),
        Some(TensorElementType::Uint16) => copy!(u16, U16),
        Some(TensorElementType::Int32) => copy!(i32, I32),
        Some(TensorElementType::Uint32) => copy!(u32, U32),
        Some(TensorElementType::Int64) => copy!(i64, I64),
        Some(TensorElementType::Uint64) => copy!(u64, U64),
        Some(TensorElementType::Bool) => copy!(bool, Bool),
        other => return Err(not_taken(format!("of element type {other:?}"))),
    };
    tensor.ok_or_else(|| {
        Error::internal(format!("output `{name}`"), "has a shape that does not fit its elements")
    })
}
