//! From a graph of fixed sizes to tasks: what each kernel is given, and which operators have none.

use std::collections::HashMap;
use std::sync::Arc;

use super::buffers::{self, Weights};
use super::chain::Expr;
use super::device::Gpu;
use super::kernels::{Elem, Kernel};
use super::shader::Shader;
use super::tune::Candidate;
use super::view::{Memory, View};
use crate::backend::NumericFact;
use crate::graph::{Graph, Node, ValueId, Weight};
use crate::variant::DType;

/// Why an operator cannot run as the model has it.
pub(super) type Lowered<T = ()> = std::result::Result<T, String>;

/// One call of a kernel.
pub(super) struct Task {
    pub(super) kernel: Kernel,
    /// Binding 0.
    pub(super) params: Vec<u32>,
    /// What it writes: binding 1.
    pub(super) out: Memory,
    /// What it reads: bindings 2 and on.
    pub(super) reads: Vec<Memory>,
    /// Workgroups.
    pub(super) groups: [u32; 3],
    /// The operator it belongs to.
    pub(super) op: String,
    /// Additions and multiplications, of products only.
    pub(super) flops: f64,
    /// Bytes read and written, where it does not read all that it is given.
    pub(super) bytes: Option<f64>,
}

/// An input of the model.
pub(super) struct Input {
    pub(super) name: String,
    pub(super) dtype: DType,
    pub(super) view: View,
}

/// An output of the model.
pub(super) struct Output {
    pub(super) name: String,
    pub(super) dtype: DType,
    pub(super) view: View,
}

/// A graph being lowered.
pub(super) struct Lower<'a> {
    pub(super) graph: &'a Graph,
    pub(super) gpu: &'a Gpu,
    weights: &'a Weights,
    /// Whether kernels are chosen by measuring them.
    pub(super) tunes: bool,
    /// Whether functions of single elements that follow each other are one kernel.
    pub(super) fuses: bool,
    pub(super) tasks: Vec<Task>,
    /// Bytes of the arena's pieces.
    pub(super) pieces: Vec<usize>,
    pub(super) own: Vec<Arc<wgpu::Buffer>>,
    values: HashMap<ValueId, View>,
    /// Single elements' functions that wait for the one that reads them.
    pub(super) pending: HashMap<ValueId, Expr>,
    pub(super) readers: HashMap<ValueId, Vec<usize>>,
    pub(super) numerics: Vec<NumericFact>,
    /// Scale and zero point of tensors that are quantised by their range.
    pub(super) ranges: HashMap<ValueId, Memory>,
    /// The same of tensors that are quantised by numbers of the model: their bits.
    pub(super) statics: HashMap<[u32; 2], Memory>,
    /// Quantised tensors, by what they are made of and the scale.
    pub(super) quantised: HashMap<(Memory, Memory), Memory>,
    /// The operator that is lowered now.
    pub(super) op: String,
    pub(super) names: usize,
}

/// How a type is held on the device; an error where it cannot be.
pub(super) fn held(dtype: DType, gpu: &Gpu) -> Lowered<Elem> {
    Ok(match dtype {
        DType::F16 if gpu.has_f16() => Elem::F16,
        DType::F32 | DType::F16 | DType::BF16 => Elem::F32,
        DType::I64 | DType::I32 | DType::I16 | DType::I8 | DType::U8 | DType::U16 => Elem::I32,
        DType::Bool => Elem::U32,
        _ => return Err(format!("of {dtype}, which WGSL does not have")),
    })
}

/// The bytes of elements that are held as `elem`.
pub(super) fn bytes_of(weight: &Weight, elem: Elem) -> Lowered<Vec<u8>> {
    Ok(match elem {
        Elem::F32 => weight.to_f32().iter().flat_map(|v| v.to_le_bytes()).collect(),
        Elem::F16 if weight.dtype() == DType::F16 => weight.bytes().to_vec(),
        Elem::F16 => {
            let halves = weight.to_f32().into_iter().map(half::f16::from_f32);
            halves.flat_map(half::f16::to_le_bytes).collect()
        }
        Elem::I32 | Elem::U32 => {
            let all = weight.to_i64().ok_or("whose whole numbers are not known")?;
            let mut bytes = Vec::with_capacity(all.len() * 4);
            for value in all {
                let narrow = i32::try_from(value).map_err(|_| {
                    format!("with the number {value}, which takes more than 32 bits")
                })?;
                bytes.extend(narrow.to_le_bytes());
            }
            bytes
        }
    })
}

/// A size as kernels take it.
pub(super) fn word(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Workgroups of 64 for so many invocations, in two dimensions where one is not enough.
pub(super) fn groups(invocations: usize, gpu: &Gpu) -> [u32; 3] {
    let most = gpu.limits.max_compute_workgroups_per_dimension as usize;
    let all = invocations.div_ceil(64).max(1);
    let x = all.min(most);
    [word(x), word(all.div_ceil(x)), 1]
}

impl<'a> Lower<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        gpu: &'a Gpu,
        weights: &'a Weights,
        (tunes, fuses): (bool, bool),
    ) -> Self {
        let mut readers: HashMap<ValueId, Vec<usize>> = HashMap::new();
        for (at, node) in graph.nodes.iter().enumerate() {
            for id in node.reads() {
                readers.entry(id).or_default().push(at);
            }
        }
        Self {
            graph,
            gpu,
            weights,
            tunes,
            fuses,
            tasks: Vec::new(),
            pieces: Vec::new(),
            own: Vec::new(),
            values: HashMap::new(),
            pending: HashMap::new(),
            readers,
            numerics: Vec::new(),
            ranges: HashMap::new(),
            statics: HashMap::new(),
            quantised: HashMap::new(),
            op: String::new(),
            names: 0,
        }
    }

    /// The sizes of a value; an error where they only show when the model runs.
    pub(super) fn dims(&self, id: ValueId) -> Lowered<Vec<usize>> {
        let dims = self.graph.dims(Some(id)).ok_or("of a shape that is not known")?;
        let fixed: Option<Vec<usize>> = dims.iter().map(crate::graph::Dim::fixed).collect();
        fixed.ok_or_else(|| "of a shape that depends on the input's elements".to_owned())
    }

    /// How a value is held.
    pub(super) fn elem(&self, id: ValueId) -> Lowered<Elem> {
        held(self.graph.value(id).dtype.ok_or("of a type that is not known")?, self.gpu)
    }

    pub(super) fn input_id(node: &Node, index: usize) -> Lowered<ValueId> {
        node.input(index).ok_or_else(|| format!("without input {index}"))
    }

    pub(super) fn output_id(node: &Node) -> Lowered<ValueId> {
        node.output(0).ok_or_else(|| "without an output".to_owned())
    }

    /// A new piece of the arena.
    pub(super) fn alloc(&mut self, elem: Elem, dims: Vec<usize>) -> View {
        self.pieces.push((dims.iter().product::<usize>() * elem.size()).max(16));
        View::dense(Memory::Piece(self.pieces.len() - 1), elem, dims)
    }

    /// A buffer of its own with these bytes.
    pub(super) fn keep(&mut self, buffer: Arc<wgpu::Buffer>) -> Memory {
        self.own.push(buffer);
        Memory::Own(self.own.len() - 1)
    }

    /// A buffer of its own for an input.
    pub(super) fn add_input(&mut self, id: ValueId) -> Lowered<View> {
        let (elem, dims) = (self.elem(id)?, self.dims(id)?);
        let size = dims.iter().product::<usize>() * elem.size();
        let buffer = Arc::new(buffers::empty(self.gpu, size)?);
        let view = View::dense(self.keep(buffer), elem, dims);
        self.values.insert(id, view.clone());
        Ok(view)
    }

    /// A constant in a form of its own, shared by all plans of the variant.
    pub(super) fn weight(
        &mut self,
        weight: &Weight,
        form: &str,
        fill: impl FnOnce() -> Lowered<Vec<u8>>,
    ) -> Lowered<Memory> {
        // Another shape of the same bytes is another matrix.
        let form = format!("{form} {:?}", weight.shape());
        let buffer = self.weights.get(self.gpu, weight.bytes(), &form, fill)?;
        Ok(self.keep(buffer))
    }

    /// f32 numbers as a buffer of their own.
    pub(super) fn numbers(&mut self, weight: &Weight) -> Lowered<Memory> {
        self.weight(weight, "f32", || bytes_of(weight, Elem::F32))
    }

    /// Where a value is, lying anyhow.
    pub(super) fn view(&mut self, id: ValueId) -> Lowered<View> {
        if let Some(expr) = self.pending.remove(&id) {
            let view = self.emit(&expr)?;
            self.values.insert(id, view);
        }
        if let Some(view) = self.values.get(&id) {
            return Ok(view.clone());
        }
        let graph = self.graph;
        let weight = graph.constant(Some(id)).ok_or("which reads what nothing gives")?;
        let elem = self.elem(id)?;
        let memory = self.weight(weight, elem.wgsl(), || bytes_of(weight, elem))?;
        let view = View::dense(memory, elem, weight.shape().to_vec());
        self.values.insert(id, view.clone());
        Ok(view)
    }

    /// Where the elements of a value lie in order.
    pub(super) fn dense(&mut self, id: ValueId) -> Lowered<View> {
        let view = self.view(id)?;
        Ok(self.in_order(view))
    }

    /// The same elements in order, copied where they are not.
    pub(super) fn in_order(&mut self, view: View) -> View {
        if view.is_dense() {
            return view;
        }
        let out = self.alloc(view.elem, view.dims.clone());
        self.copy(&view, &out);
        out
    }

    /// Copies elements from one layout to another of the same sizes.
    pub(super) fn copy(&mut self, from: &View, to: &View) {
        // Neighbouring axes that are one run in both are one axis.
        let (mut dims, mut ins, mut outs): (Vec<usize>, Vec<usize>, Vec<usize>) =
            (Vec::new(), Vec::new(), Vec::new());
        for axis in 0..from.dims.len() {
            let (size, a, b) = (from.dims[axis], from.strides[axis], to.strides[axis]);
            if size == 1 {
                continue;
            }
            match (ins.last_mut(), outs.last_mut(), dims.last_mut()) {
                (Some(i), Some(o), Some(d)) if *i == a * size && *o == b * size => {
                    (*i, *o, *d) = (a, b, *d * size);
                }
                _ => {
                    dims.push(size);
                    ins.push(a);
                    outs.push(b);
                }
            }
        }
        let n = from.len();
        let head = [word(n), word(dims.len()), word(to.offset), word(from.offset)];
        let rest = dims.iter().chain(&outs).chain(&ins).map(|v| word(*v));
        let params = head.into_iter().chain(rest).collect();
        let kernel = Kernel::new(Shader::Copy, 3).of("T", from.elem);
        self.push(kernel, params, to.memory, vec![from.memory], groups(n, self.gpu));
    }

    /// Adds a task.
    pub(super) fn push(
        &mut self,
        kernel: Kernel,
        params: Vec<u32>,
        out: Memory,
        reads: Vec<Memory>,
        groups: [u32; 3],
    ) {
        // Nothing is computed for no elements.
        if params.first() == Some(&0) {
            return;
        }
        let op = self.op.clone();
        self.tasks.push(Task { kernel, params, out, reads, groups, op, flops: 0.0, bytes: None });
    }

    /// Adds the fastest of some ways to compute something that takes `flops`.
    pub(super) fn push_best(
        &mut self,
        class: &str,
        candidates: Vec<Candidate>,
        out: Memory,
        reads: Vec<Memory>,
        flops: f64,
    ) -> Lowered {
        // Nothing is computed for no elements.
        if candidates.first().is_none_or(|c| c.params.first() == Some(&0)) {
            return Ok(());
        }
        let Candidate { kernel, params, groups } = self.pick(class, candidates, out, &reads)?;
        self.push(kernel, params, out, reads, groups);
        if let Some(task) = self.tasks.last_mut() {
            task.flops = flops;
        }
        Ok(())
    }

    /// The same elements in order, with zeros behind them up to `dims`.
    pub(super) fn padded(&mut self, view: &View, dims: &[usize]) -> View {
        if view.dims == dims {
            return self.in_order(view.clone());
        }
        let out = self.alloc(view.elem, dims.to_vec());
        self.fill(&out, 0.0);
        let place = View { dims: view.dims.clone(), ..out.clone() };
        self.copy(view, &place);
        out
    }

    /// Fills a whole piece with one number.
    pub(super) fn fill(&mut self, out: &View, value: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the model's number in the type it has"
        )]
        let (bits, base) = match out.elem {
            Elem::F32 | Elem::F16 => ((value as f32).to_bits(), Elem::F32),
            Elem::I32 => ((value as i32).cast_unsigned(), Elem::I32),
            Elem::U32 => (u32::from(value != 0.0), Elem::U32),
        };
        let kernel = Kernel::new(Shader::Fill, 2).of("T", out.elem).of("B", base);
        let n = out.len();
        self.push(kernel, vec![word(n), bits], out.memory, Vec::new(), groups(n, self.gpu));
    }

    /// States where a value is.
    pub(super) fn set(&mut self, id: ValueId, view: View) {
        self.values.insert(id, view);
    }

    /// A value of a piece of its own.
    pub(super) fn give(&mut self, node: &Node) -> Lowered<View> {
        let id = Self::output_id(node)?;
        let (elem, dims) = (self.elem(id)?, self.dims(id)?);
        let view = self.alloc(elem, dims);
        self.set(id, view.clone());
        Ok(view)
    }

    /// Counts a product with those that are computed alike.
    pub(super) fn count(&mut self, kernel: &str, emulated: bool, reason: Option<String>) {
        let kernel = kernel.to_owned();
        self.add(NumericFact { kernel, products: 0, activation_quant: None, emulated, reason });
    }

    /// The same of a product whose other factor is quantised too.
    pub(super) fn count_quantised(&mut self, kernel: &str, quant: String) {
        let (kernel, reason) = (kernel.to_owned(), None);
        let activation_quant = Some(quant);
        self.add(NumericFact { kernel, products: 0, activation_quant, emulated: false, reason });
    }

    fn add(&mut self, fact: NumericFact) {
        let alike = |known: &NumericFact| NumericFact { products: 0, ..known.clone() } == fact;
        match self.numerics.iter_mut().find(|known| alike(known)) {
            Some(known) => known.products += 1,
            None => self.numerics.push(NumericFact { products: 1, ..fact }),
        }
    }
}
