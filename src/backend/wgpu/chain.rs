//! Functions of single elements, as text: a chain of them is one kernel.

use super::kernels::{Elem, Kernel};
use super::lower::{Lower, Lowered, groups, word};
use super::shader::{Part, Shader};
use super::view::View;
use crate::graph::{Node, ValueId};

/// What a chain computes, before it is a kernel.
#[derive(Debug, Clone)]
pub(super) struct Expr {
    /// Of WGSL, for one element.
    pub(super) value: String,
    /// What `value` calls by name, first things first: number of the name, text.
    pub(super) lets: Vec<(usize, String)>,
    /// Tensors that it reads, by the number of their name.
    pub(super) leaves: Vec<(usize, View)>,
    /// What it computes in.
    pub(super) elem: Elem,
    pub(super) dims: Vec<usize>,
}

/// The type that elements are computed in.
fn computed(elem: Elem) -> &'static str {
    if elem.is_float() { "f32" } else { elem.wgsl() }
}

/// A number of WGSL; `None` for those that it has no way to write.
pub(super) fn literal(value: f64, elem: Elem) -> Option<String> {
    #[expect(clippy::cast_possible_truncation, reason = "the model's number in the type it has")]
    match elem {
        Elem::F32 | Elem::F16 => {
            let value = value as f32;
            value.is_finite().then(|| format!("{value:e}f"))
        }
        Elem::I32 => (value.abs() < 2_147_483_648.0).then(|| format!("({}i)", value as i64)),
        Elem::U32 => Some(format!("{}u", u8::from(value != 0.0))),
    }
}

impl Expr {
    /// Gives the value a name, so that it is computed once however often it is read.
    pub(super) fn named(mut self, names: &mut usize) -> Self {
        let is_name = self.value.chars().all(|c| c.is_ascii_alphanumeric());
        if !is_name {
            *names += 1;
            self.lets.push((*names, std::mem::take(&mut self.value)));
            self.value = format!("v{names}");
        }
        self
    }

    /// A function of several; `value` is its text.
    pub(super) fn of(parts: &[&Self], value: String, elem: Elem, dims: Vec<usize>) -> Self {
        let mut lets: Vec<(usize, String)> = Vec::new();
        let mut leaves: Vec<(usize, View)> = Vec::new();
        for part in parts {
            for one in &part.lets {
                if !lets.iter().any(|(name, _)| *name == one.0) {
                    lets.push(one.clone());
                }
            }
            for one in &part.leaves {
                if !leaves.iter().any(|(name, _)| *name == one.0) {
                    leaves.push(one.clone());
                }
            }
        }
        Self { value, lets, leaves, elem, dims }
    }
}

impl Lower<'_> {
    /// Tensors that a kernel can read besides the parameters and what it writes.
    pub(super) fn most_leaves(&self) -> usize {
        (self.gpu.limits.max_storage_buffers_per_shader_stage as usize).saturating_sub(2).max(1)
    }

    /// A value as part of a chain that gives `dims`.
    pub(super) fn operand(&mut self, id: ValueId, dims: &[usize]) -> Lowered<Expr> {
        if let Some(number) = self.graph.number(Some(id)) {
            let elem = self.elem(id)?;
            if let Some(value) = literal(number, elem) {
                let (lets, leaves) = (Vec::new(), Vec::new());
                return Ok(Expr { value, lets, leaves, elem, dims: dims.to_vec() });
            }
        }
        if let Some(expr) = self.pending.get(&id).filter(|e| e.dims == dims).cloned() {
            self.pending.remove(&id);
            return Ok(expr.named(&mut self.names));
        }
        let view = self.view(id)?;
        self.leaf(&view, dims)
    }

    /// A tensor as part of a chain that gives `dims`.
    pub(super) fn leaf(&mut self, view: &View, dims: &[usize]) -> Lowered<Expr> {
        let fits = || format!("of {:?}, which does not fit {dims:?}", view.dims);
        let view = view.broadcast(dims).ok_or_else(fits)?;
        self.names += 1;
        let (value, elem) = (format!("x{}", self.names), view.elem);
        let leaves = vec![(self.names, view)];
        Ok(Expr { value, lets: Vec::new(), leaves, elem, dims: dims.to_vec() })
    }

    /// Several at once; where they would read too many tensors together each is made one of its own.
    pub(super) fn operands(&mut self, ids: &[ValueId], dims: &[usize]) -> Lowered<Vec<Expr>> {
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            all.push(self.operand(*id, dims)?);
        }
        let reads: usize = all.iter().map(|e| e.leaves.len()).sum();
        if reads > self.most_leaves() {
            for expr in &mut all {
                if expr.leaves.len() > 1 {
                    let view = self.emit(expr)?;
                    *expr = self.leaf(&view, dims)?;
                }
            }
        }
        Ok(all)
    }

    /// Gives a node's output: at once, or where its only reader goes on element by element, later.
    pub(super) fn finish(&mut self, node: &Node, expr: Expr) -> Lowered {
        let id = Self::output_id(node)?;
        let waits = self.fuses
            && !self.graph.outputs.contains(&id)
            && match self.readers.get(&id).map(Vec::as_slice) {
                Some([only]) => {
                    let reader = &self.graph.nodes[*only];
                    let same = reader.output(0).and_then(|out| self.dims(out).ok());
                    super::elementwise::is_elementwise(&reader.op)
                        && same == Some(expr.dims.clone())
                }
                _ => false,
            };
        if waits {
            self.pending.insert(id, expr);
            return Ok(());
        }
        let view = self.emit(&expr)?;
        self.set(id, view);
        Ok(())
    }

    /// Makes a chain a task.
    pub(super) fn emit(&mut self, expr: &Expr) -> Lowered<View> {
        if expr.leaves.len() > self.most_leaves() {
            return Err(format!("with {} inputs, more than the adapter binds", expr.leaves.len()));
        }
        let out = self.alloc(expr.elem, expr.dims.clone());
        let n = out.len();
        let mut kernel =
            Kernel::new(Shader::Chain, 2 + expr.leaves.len()).after(Part::Math).of("O", expr.elem);
        let (mut bindings, mut body) = (String::new(), String::new());
        let mut params = vec![word(n), word(expr.dims.len())];
        params.extend(expr.dims.iter().map(|d| word(*d)));
        let mut reads = Vec::new();
        for (at, (name, view)) in expr.leaves.iter().enumerate() {
            bindings.push_str(&format!(
                "@group(0) @binding({}) var<storage, read_write> in{at}: array<{}>;\n",
                at + 2,
                view.elem.wgsl()
            ));
            if view.elem == Elem::F16 && !kernel.types.iter().any(|(_, e)| *e == Elem::F16) {
                kernel = kernel.of("H", Elem::F16);
            }
            let place = if view.is_dense() {
                "i".to_owned()
            } else if view.dims.iter().zip(&view.strides).all(|(size, s)| *size <= 1 || *s == 0) {
                params.push(word(view.offset));
                format!("p[{}]", params.len() - 1)
            } else if let Some(period) = repeats(view) {
                params.push(word(period));
                format!("i % p[{}]", params.len() - 1)
            } else {
                params.push(word(view.offset));
                let base = params.len();
                params.extend(view.strides.iter().map(|s| word(*s)));
                format!("p[{}] + at(i, {base}u)", base - 1)
            };
            body.push_str(&format!(
                "    let x{name} = {}(in{at}[{place}]);\n",
                computed(view.elem)
            ));
            reads.push(view.memory);
        }
        for (name, text) in &expr.lets {
            body.push_str(&format!("    let v{name} = {text};\n"));
        }
        body.push_str(&format!("    out[i] = O({});", expr.value));
        kernel.marks = vec![("bindings", bindings), ("body", body)];
        self.push(kernel, params, out.memory, reads, groups(n, self.gpu));
        Ok(out)
    }
}

/// After how many elements a tensor that lies in order begins again, where it repeats along leading axes.
fn repeats(view: &View) -> Option<usize> {
    let first = view.strides.iter().zip(&view.dims).position(|(s, size)| *s != 0 && *size > 1)?;
    let own = View {
        dims: view.dims[first..].to_vec(),
        strides: view.strides[first..].to_vec(),
        ..view.clone()
    };
    own.is_dense().then(|| own.len())
}
