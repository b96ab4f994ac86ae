//! A node's attributes by name and type; one that nobody asked for is not ignored.

use std::cell::RefCell;

use super::pb;
use super::tensor;
use crate::graph::Weight;

/// Why a node cannot be expressed in the graph.
pub(super) type Reason = String;

/// A node's attributes. Everything that a reader takes is noted, and [`Attributes::all_read`] tells
/// what it left: an attribute without a meaning here must not be dropped in silence.
pub(super) struct Attributes<'a> {
    node: &'a pb::NodeProto,
    taken: RefCell<Vec<&'a str>>,
}

// AttributeProto.AttributeType of onnx.proto3; files of old versions leave it at 0.
const FLOAT: i32 = 1;
const INT: i32 = 2;
const STRING: i32 = 3;
const TENSOR: i32 = 4;
const GRAPH: i32 = 5;
const FLOATS: i32 = 6;
const INTS: i32 = 7;
const STRINGS: i32 = 8;

impl<'a> Attributes<'a> {
    pub(super) fn of(node: &'a pb::NodeProto) -> Self {
        Self { node, taken: RefCell::new(Vec::new()) }
    }

    fn take(&self, name: &str, kind: i32) -> Result<Option<&'a pb::AttributeProto>, Reason> {
        let Some(found) = self.node.attribute.iter().find(|a| a.name == name) else {
            return Ok(None);
        };
        self.taken.borrow_mut().push(&found.name);
        if !found.ref_attr_name.is_empty() {
            return Err(format!("attribute `{name}` refers to a function's attribute"));
        }
        if found.r#type != kind && found.r#type != 0 {
            return Err(format!("attribute `{name}` is of type {}, not {kind}", found.r#type));
        }
        Ok(Some(found))
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, Reason> {
        Ok(self.take(name, INT)?.map(|a| a.i))
    }

    pub(super) fn int_or(&self, name: &str, default: i64) -> Result<i64, Reason> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, Reason> {
        match self.int(name)? {
            None => Ok(default),
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            Some(other) => Err(format!("attribute `{name}` is {other}, neither 0 nor 1")),
        }
    }

    /// A size: 0 or above.
    pub(super) fn size_or(&self, name: &str, default: usize) -> Result<usize, Reason> {
        match self.int(name)? {
            None => Ok(default),
            Some(n) => usize::try_from(n).map_err(|_| format!("attribute `{name}` is {n}")),
        }
    }

    /// A size above 0 that must be there.
    pub(super) fn size(&self, name: &str) -> Result<usize, Reason> {
        match self.size_or(name, 0)? {
            0 => Err(format!("attribute `{name}` is missing or 0")),
            n => Ok(n),
        }
    }

    pub(super) fn float_or(&self, name: &str, default: f32) -> Result<f32, Reason> {
        Ok(self.take(name, FLOAT)?.map_or(default, |a| a.f))
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f32>, Reason> {
        Ok(self.take(name, FLOAT)?.map(|a| a.f))
    }

    pub(super) fn floats(&self, name: &str) -> Result<Option<Vec<f32>>, Reason> {
        Ok(self.take(name, FLOATS)?.map(|a| a.floats.clone()))
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<Vec<i64>>, Reason> {
        Ok(self.take(name, INTS)?.map(|a| a.ints.clone()))
    }

    /// Sizes, 0 or above; empty when left out.
    pub(super) fn sizes(&self, name: &str) -> Result<Vec<usize>, Reason> {
        let size = |n: i64| usize::try_from(n).map_err(|_| format!("attribute `{name}` holds {n}"));
        self.ints(name)?.unwrap_or_default().into_iter().map(size).collect()
    }

    pub(super) fn text_or(&self, name: &str, default: &str) -> Result<String, Reason> {
        match self.take(name, STRING)? {
            None => Ok(default.to_owned()),
            Some(a) => String::from_utf8(a.s.to_vec())
                .map_err(|_| format!("attribute `{name}` is not UTF-8")),
        }
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, Reason> {
        let text = |bytes: &bytes::Bytes| {
            String::from_utf8(bytes.to_vec())
                .map_err(|_| format!("attribute `{name}` is not UTF-8"))
        };
        match self.take(name, STRINGS)? {
            None => Ok(Vec::new()),
            Some(a) => a.strings.iter().map(text).collect(),
        }
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Option<Weight>, Reason> {
        let Some(found) = self.take(name, TENSOR)? else { return Ok(None) };
        let tensor =
            found.t.as_ref().ok_or_else(|| format!("attribute `{name}` holds no tensor"))?;
        match tensor::weight(tensor, None).map_err(|e| e.message().to_owned())? {
            Some(weight) => Ok(Some(weight)),
            None => Err(format!(
                "attribute `{name}` is of element type {} (onnx TensorProto.DataType)",
                tensor.data_type
            )),
        }
    }

    pub(super) fn graph(&self, name: &str) -> Result<&'a pb::GraphProto, Reason> {
        let found = self.take(name, GRAPH)?.and_then(|a| a.g.as_ref());
        found.ok_or_else(|| format!("attribute `{name}` is missing"))
    }

    /// Attributes that do not change what is computed here.
    pub(super) fn ignore(&self, names: &[&str]) {
        let here = self.node.attribute.iter().map(|a| a.name.as_str());
        self.taken.borrow_mut().extend(here.filter(|name| names.contains(name)));
    }

    /// Whether every attribute was asked for.
    pub(super) fn all_read(&self) -> Result<(), Reason> {
        let taken = self.taken.borrow();
        match self.node.attribute.iter().find(|a| !taken.contains(&a.name.as_str())) {
            None => Ok(()),
            Some(left) => Err(format!("attribute `{}` is not known", left.name)),
        }
    }
}
