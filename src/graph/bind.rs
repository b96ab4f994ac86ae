//! Fixing what a model leaves free: sizes of its inputs, or inputs altogether.

use std::collections::BTreeMap;

use super::ir::{Graph, Value};
use super::{Dim, Element, Weight};
use crate::error::{Error, Result};

/// What users call axis `axis` of an input, where its size is free.
fn free_name(value: &Value, axis: usize, dim: &Dim) -> Option<String> {
    match dim {
        Dim::Fixed(_) => None,
        Dim::Named(name) => Some(name.clone()),
        Dim::Unknown => Some(format!("{}.{axis}", value.name)),
    }
}

impl Graph {
    /// Binds sizes to free dimensions of the inputs by name, wherever the name stands.
    ///
    /// A name that no input has is an error that lists those there are. Shapes that follow are known
    /// after [`super::infer`].
    pub fn bind(&mut self, sizes: &BTreeMap<String, usize>) -> Result<()> {
        let free = self.free_dims();
        if let Some(unknown) = sizes.keys().find(|name| !free.contains(name)) {
            let known = if free.is_empty() { "none".to_owned() } else { free.join(", ") };
            return Err(Error::input(
                format!("dimension `{unknown}`"),
                "the model has no such free one",
            )
            .remedy(format!("its free dimensions: {known}")));
        }
        for id in self.inputs.clone() {
            let value = self.value(id);
            let Some(mut dims) = value.dims.clone() else { continue };
            for (axis, dim) in dims.iter_mut().enumerate() {
                let size = free_name(value, axis, dim).and_then(|name| sizes.get(&name));
                if let Some(size) = size {
                    *dim = Dim::Fixed(*size);
                }
            }
            self.value_mut(id).dims = Some(dims);
        }
        let size_of = |name: &String| sizes.get(name).copied();
        for id in self.value_ids() {
            let value = self.value_mut(id);
            for dim in value.dims.iter_mut().flatten() {
                if let Dim::Named(name) = dim
                    && let Some(size) = size_of(name)
                {
                    *dim = Dim::Fixed(size);
                }
            }
            for element in value.elements.iter_mut().flatten() {
                if let Element::Size(name) = element
                    && let Some(size) = size_of(name)
                {
                    *element = Element::from(&Dim::Fixed(size));
                }
            }
        }
        Ok(())
    }

    /// Binds every free size of the inputs to that in `shapes`, given by name.
    ///
    /// An error when one dimension would have two sizes.
    pub fn bind_shapes<'a>(
        &mut self,
        shapes: impl Iterator<Item = (&'a str, &'a [usize])>,
    ) -> Result<()> {
        let mut sizes = BTreeMap::new();
        for (name, shape) in shapes {
            let Some(id) = self.inputs.iter().find(|id| self.value(**id).name == name) else {
                continue;
            };
            let value = self.value(*id);
            for (axis, (dim, size)) in value.dims.iter().flatten().zip(shape).enumerate() {
                let Some(name) = free_name(value, axis, dim) else { continue };
                if let Some(other) = sizes.insert(name.clone(), *size).filter(|other| other != size)
                {
                    return Err(self.refuse(format!(
                        "dimension `{name}` is {other} and {size} in the inputs"
                    )));
                }
            }
        }
        self.bind(&sizes)
    }

    /// Makes an input a constant: what is always given need not be an input, and shapes that depend
    /// on it become known.
    ///
    /// An error when there is no such input, or `weight` is not of its type and shape.
    pub fn fix_input(&mut self, name: &str, weight: Weight) -> Result<()> {
        let Some(at) = self.inputs.iter().position(|id| self.value(*id).name == name) else {
            return Err(self.refuse(format!("there is no input `{name}`")));
        };
        let id = self.inputs[at];
        let value = self.value(id);
        let fits = value.dtype.is_none_or(|t| t == weight.dtype())
            && value.dims.as_ref().is_none_or(|dims| {
                let sizes = weight.shape().iter().copied().map(Dim::Fixed);
                dims.len() == weight.shape().len()
                    && !dims.iter().zip(sizes).any(|(a, b)| a.contradicts(&b))
            });
        if !fits {
            let given = format!("{}{:?}", weight.dtype(), weight.shape());
            return Err(self.refuse(format!("input {} cannot be {given}", self.show(id))));
        }
        self.inputs.remove(at);
        self.make_constant(id, weight);
        Ok(())
    }

    /// Names of the inputs' free dimensions, as [`Graph::bind`] takes them.
    pub fn free_dims(&self) -> Vec<String> {
        let mut free = Vec::new();
        for id in &self.inputs {
            let value = self.value(*id);
            for (axis, dim) in value.dims.iter().flatten().enumerate() {
                if let Some(name) = free_name(value, axis, dim).filter(|name| !free.contains(name))
                {
                    free.push(name);
                }
            }
        }
        free
    }
}
