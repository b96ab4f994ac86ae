//! Attributes of a node of a file, built one by one.

use bytes::Bytes;

use crate::graph::Weight;
use crate::graph::onnx::{pb, tensor};
use crate::graph::op::{
    ConvAttributes, Direction, Pads, PoolAttributes, Recurrent, ResizeAttributes, Window,
};

/// Attributes under construction. Empty lists are left out: that is their default.
#[derive(Clone, Default)]
pub(super) struct Fields(Vec<pb::AttributeProto>);

/// What a size is in a file; sizes come from files or memory that is there, and fit.
fn whole(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Fields {
    fn with(mut self, name: &str, kind: i32, fill: impl FnOnce(&mut pb::AttributeProto)) -> Self {
        let mut attribute =
            pb::AttributeProto { name: name.to_owned(), r#type: kind, ..Default::default() };
        fill(&mut attribute);
        self.0.push(attribute);
        self
    }

    // The kinds are those of AttributeProto.AttributeType in onnx.proto3.

    pub(super) fn float(self, name: &str, value: f32) -> Self {
        self.with(name, 1, |a| a.f = value)
    }

    pub(super) fn int(self, name: &str, value: i64) -> Self {
        self.with(name, 2, |a| a.i = value)
    }

    pub(super) fn size(self, name: &str, value: usize) -> Self {
        self.int(name, whole(value))
    }

    pub(super) fn flag(self, name: &str, value: bool) -> Self {
        self.int(name, i64::from(value))
    }

    /// A flag that is left out when it is not set.
    pub(super) fn set_flag(self, name: &str, value: bool) -> Self {
        if value { self.int(name, 1) } else { self }
    }

    pub(super) fn text(self, name: &str, value: &str) -> Self {
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.with(name, 3, |a| a.s = value)
    }

    pub(super) fn tensor(self, name: &str, value: &Weight) -> Self {
        self.with(name, 4, |a| a.t = Some(tensor::proto("", value)))
    }

    pub(super) fn graph(self, name: &str, value: &pb::GraphProto) -> Self {
        self.with(name, 5, |a| a.g = Some(value.clone()))
    }

    pub(super) fn floats(self, name: &str, values: &[f32]) -> Self {
        if values.is_empty() { self } else { self.with(name, 6, |a| a.floats = values.to_vec()) }
    }

    pub(super) fn ints(self, name: &str, values: &[i64]) -> Self {
        if values.is_empty() { self } else { self.with(name, 7, |a| a.ints = values.to_vec()) }
    }

    pub(super) fn sizes(self, name: &str, values: &[usize]) -> Self {
        let values: Vec<i64> = values.iter().copied().map(whole).collect();
        self.ints(name, &values)
    }

    pub(super) fn texts(self, name: &str, values: &[String]) -> Self {
        if values.is_empty() {
            return self;
        }
        let bytes = values.iter().map(|v| Bytes::copy_from_slice(v.as_bytes())).collect();
        self.with(name, 8, |a| a.strings = bytes)
    }
}

/// A node of a file.
pub(super) fn proto(
    op_type: &str,
    domain: &str,
    name: &str,
    input: Vec<String>,
    output: Vec<String>,
    fields: Fields,
) -> pb::NodeProto {
    pb::NodeProto {
        op_type: op_type.to_owned(),
        domain: domain.to_owned(),
        name: name.to_owned(),
        input,
        output,
        attribute: fields.0,
        ..Default::default()
    }
}

fn window(window: &Window) -> Fields {
    let f = Fields::default()
        .sizes("kernel_shape", &window.kernel_shape)
        .sizes("strides", &window.strides)
        .sizes("dilations", &window.dilations);
    match &window.pads {
        Pads::Explicit(pads) => f.sizes("pads", pads),
        Pads::SameUpper => f.text("auto_pad", "SAME_UPPER"),
        Pads::SameLower => f.text("auto_pad", "SAME_LOWER"),
        Pads::Valid => f.text("auto_pad", "VALID"),
    }
}

pub(super) fn conv(conv: &ConvAttributes) -> Fields {
    window(&conv.window).size("group", conv.group)
}

pub(super) fn pool(pool: &PoolAttributes) -> Fields {
    window(&pool.window).set_flag("ceil_mode", pool.ceil_mode)
}

pub(super) fn recurrent(recurrent: &Recurrent) -> Fields {
    let f = Fields::default()
        .size("hidden_size", recurrent.hidden_size)
        .text(
            "direction",
            match recurrent.direction {
                Direction::Forward => "forward",
                Direction::Reverse => "reverse",
                Direction::Bidirectional => "bidirectional",
            },
        )
        .texts("activations", &recurrent.activations)
        .floats("activation_alpha", &recurrent.activation_alpha)
        .floats("activation_beta", &recurrent.activation_beta)
        .set_flag("layout", recurrent.batch_first);
    recurrent.clip.map_or(f.clone(), |clip| f.float("clip", clip))
}

pub(super) fn resize(a: &ResizeAttributes) -> Fields {
    let f = Fields::default()
        .text("mode", &a.mode)
        .text("coordinate_transformation_mode", &a.coordinate_transformation_mode)
        .text("nearest_mode", &a.nearest_mode)
        .float("cubic_coeff_a", a.cubic_coeff_a)
        .set_flag("exclude_outside", a.exclude_outside)
        .float("extrapolation_value", a.extrapolation_value)
        .set_flag("antialias", a.antialias)
        .ints("axes", &a.axes);
    match a.keep_aspect_ratio_policy.as_str() {
        "stretch" => f,
        other => f.text("keep_aspect_ratio_policy", other),
    }
}
