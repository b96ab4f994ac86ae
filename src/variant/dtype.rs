//! Element types, with ONNX's names and numbers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it all")]
pub enum DType {
    F32,
    F16,
    BF16,
    F64,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    Bool,
    /// Two values a byte, the first one in the low half; weights only.
    I4,
    /// Two values a byte, the first one in the low half; weights only.
    U4,
}

impl DType {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::F64,
        Self::I8,
        Self::U8,
        Self::I16,
        Self::U16,
        Self::I32,
        Self::U32,
        Self::I64,
        Self::U64,
        Self::Bool,
        Self::I4,
        Self::U4,
    ];

    /// From ONNX's `TensorProto.DataType` (onnx.proto3); `None` for strings, complex numbers and
    /// floats of a byte or less, which nothing here can hold.
    pub fn from_onnx(code: i32) -> Option<Self> {
        Some(match code {
            1 => Self::F32,
            2 => Self::U8,
            3 => Self::I8,
            4 => Self::U16,
            5 => Self::I16,
            6 => Self::I32,
            7 => Self::I64,
            9 => Self::Bool,
            10 => Self::F16,
            11 => Self::F64,
            12 => Self::U32,
            13 => Self::U64,
            16 => Self::BF16,
            21 => Self::U4,
            22 => Self::I4,
            _ => return None,
        })
    }

    /// ONNX's `TensorProto.DataType` (onnx.proto3).
    pub fn to_onnx(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I8 => 3,
            Self::U16 => 4,
            Self::I16 => 5,
            Self::I32 => 6,
            Self::I64 => 7,
            Self::Bool => 9,
            Self::F16 => 10,
            Self::F64 => 11,
            Self::U32 => 12,
            Self::U64 => 13,
            Self::BF16 => 16,
            Self::U4 => 21,
            Self::I4 => 22,
        }
    }

    /// Whether it holds whole numbers.
    pub fn is_integer(self) -> bool {
        !self.is_float() && self != Self::Bool
    }

    /// Whether it holds floating-point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16 | Self::F64)
    }

    /// Whether two elements share a byte; only weights are of such a type, no session takes it.
    pub fn is_packed(self) -> bool {
        matches!(self, Self::I4 | Self::U4)
    }

    /// Bytes of `elements` elements; `None` where a computer has no such number.
    pub fn bytes_of(self, elements: usize) -> Option<usize> {
        if self.is_packed() {
            Some(elements.div_ceil(2))
        } else {
            elements.checked_mul(self.size())
        }
    }

    /// Bytes per element, 1 for those that share one.
    pub fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool | Self::I4 | Self::U4 => 1,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F64 => "f64",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I16 => "i16",
            Self::U16 => "u16",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I64 => "i64",
            Self::U64 => "u64",
            Self::Bool => "bool",
            Self::I4 => "i4",
            Self::U4 => "u4",
        })
    }
}
