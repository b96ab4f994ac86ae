//! Products of matrices, with what follows them.

use candle_core::{CpuStorage, DType as Held, InplaceOp1, Layout, Result, Tensor, bail};

use super::binary::together;
use super::{portable, unary};
use crate::backend::candle::cells;
use crate::backend::candle::gemm::Panels;
use crate::backend::candle::simd;
use crate::backend::candle::step::{Kernel, Lowered, Site, one};
use crate::graph::Op;
use crate::graph::op::Activation;
use crate::variant::DType;

/// What gemm multiplies: bf16 goes through f32, of which it is a part.
fn multipliable(x: &Tensor) -> Result<Tensor> {
    if x.dtype() == Held::BF16 { x.to_dtype(Held::F32) } else { Ok(x.clone()) }
}

/// A product by NumPy's rules, for any number of axes.
pub(in crate::backend::candle) fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let dtype = a.dtype();
    if a.rank() == 0 || b.rank() == 0 {
        bail!("{:?} cannot be multiplied with {:?}", a.dims(), b.dims())
    }
    let (left, right) = (multipliable(a)?, multipliable(b)?);
    let left = if a.rank() == 1 { left.unsqueeze(0)? } else { left };
    let right = if b.rank() == 1 { right.unsqueeze(1)? } else { right };
    let (m, k) = (left.dims()[left.rank() - 2], left.dims()[left.rank() - 1]);
    let (rows, n) = (right.dims()[right.rank() - 2], right.dims()[right.rank() - 1]);
    if k != rows {
        bail!("{:?} cannot be multiplied with {:?}", a.dims(), b.dims())
    }
    let batch =
        together([&left.dims()[..left.rank() - 2], &right.dims()[..right.rank() - 2]].into_iter())?;
    let out = if right.rank() == 2 {
        // All rows at once.
        let all = left.contiguous()?.reshape((batch.iter().product::<usize>() * m, k))?;
        nonempty(&all, &right)?
    } else {
        let flat = |t: &Tensor, rows: usize, columns: usize| -> Result<Tensor> {
            let shape = [batch.as_slice(), &[rows, columns]].concat();
            let count: usize = batch.iter().product();
            t.broadcast_as(shape)?.contiguous()?.reshape((count, rows, columns))
        };
        nonempty(&flat(&left, m, k)?, &flat(&right, k, n)?)?
    };
    let mut shape = batch;
    if a.rank() > 1 {
        shape.push(m);
    }
    if b.rank() > 1 {
        shape.push(n);
    }
    out.reshape(shape)?.to_dtype(dtype)
}

/// gemm does not take matrices of nothing.
fn nonempty(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (m, n) = (a.dims()[a.rank() - 2], b.dims()[b.rank() - 1]);
    if a.elem_count() == 0 || b.elem_count() == 0 {
        let batch = &a.dims()[..a.rank() - 2];
        return Tensor::zeros([batch, &[m, n]].concat(), a.dtype(), a.device());
    }
    a.matmul(b)
}

/// Adds a vector along the last axis and applies an activation, in the product's own memory.
pub(in crate::backend::candle) struct Epilogue<'a> {
    pub(in crate::backend::candle) bias: Option<&'a Tensor>,
    pub(in crate::backend::candle) scale: Option<&'a [f32]>,
    pub(in crate::backend::candle) activation: Option<Activation>,
    pub(in crate::backend::candle) width: usize,
    pub(in crate::backend::candle) threads: usize,
}

impl Epilogue<'_> {
    /// Of a product that nothing else holds.
    pub(in crate::backend::candle) fn apply(&self, product: Tensor) -> Result<Tensor> {
        if self.bias.is_none() && self.activation.is_none() && self.scale.is_none() {
            return Ok(product);
        }
        if !product.device().is_cpu() || product.dtype() == Held::F64 {
            let factors = |s: &[f32]| Tensor::from_slice(s, s.len(), product.device());
            let scale = self.scale.map(factors).transpose()?;
            return portable::followed(product, scale.as_ref(), self.bias, self.activation);
        }
        if product.dtype() != Held::F32 {
            let dtype = product.dtype();
            let wide = product.to_dtype(Held::F32)?;
            let bias = self.bias.map(|b| b.to_dtype(Held::F32)).transpose()?;
            let of_f32 = Epilogue { bias: bias.as_ref(), ..*self };
            return of_f32.apply(wide)?.to_dtype(dtype);
        }
        product.inplace_op1(self)?;
        Ok(product)
    }
}

impl InplaceOp1 for Epilogue<'_> {
    fn name(&self) -> &'static str {
        "epilogue"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let CpuStorage::F32(all) = storage else { bail!("an epilogue is of f32") };
        let Some((from, to)) = layout.contiguous_offsets() else { bail!("a product is dense") };
        let (out, width) = (&mut all[from..to], self.width);
        let bias = match self.bias {
            Some(bias) => Some(bias.to_dtype(Held::F32)?.flatten_all()?.to_vec1::<f32>()?),
            None => None,
        };
        simd::in_parts(self.threads, out, width, |_, part| {
            for row in part.chunks_exact_mut(width) {
                simd::widest(|| {
                    if let Some(scale) = self.scale {
                        row.iter_mut().zip(scale).for_each(|(v, s)| *v *= s);
                    }
                    if let Some(bias) = &bias {
                        row.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
                    }
                });
                if let Some(activation) = self.activation {
                    simd::activate(row, activation);
                }
            }
        });
        Ok(())
    }
}

/// `MatMul`. Whole numbers are multiplied in double precision, exact below 2⁵³.
pub(in crate::backend::candle) fn matmul(site: &Site<'_>) -> Lowered {
    let dtype = site.dtype(0)?;
    if dtype.is_float() {
        return one(|inputs| product(inputs.at(0)?, inputs.at(1)?));
    }
    one(move |inputs| {
        let wide = |i| inputs.at(i)?.to_dtype(Held::F64);
        let out = product(&wide(0)?, &wide(1)?)?;
        cells::Cells::of(&out)?.tensor(dtype, out.dims(), out.device())
    })
}

/// The kernel of a product with a constant right factor and bias, in f32 or halves: it reads input 0 only.
pub(in crate::backend::candle) fn constant_factor(site: &Site<'_>) -> Option<Kernel> {
    let (turned, activation) = match &site.node.op {
        Op::MatMul => (false, None),
        Op::Linear { activation } => (false, *activation),
        #[expect(clippy::float_cmp, reason = "1 is stored as 1")]
        Op::Gemm { alpha, beta, trans_a: false, trans_b, activation }
            if *alpha == 1.0 && (*beta == 1.0 || site.node.input(2).is_none()) =>
        {
            (*trans_b, *activation)
        }
        _ => return None,
    };
    let panels = panels(site, turned, activation)?;
    one(move |inputs| panels.apply(inputs.at(0)?)).ok()
}

/// A right factor `[k, n]` that is made once: in panels where gemm multiplies it.
pub(in crate::backend::candle) enum Factor {
    Panels(Panels),
    Plain(Tensor),
}

impl Factor {
    pub(in crate::backend::candle) fn new(weights: Tensor, threads: usize) -> Result<Self> {
        if weights.device().is_cpu() {
            Panels::new(&weights, None, None, threads).map(Self::Panels)
        } else {
            Ok(Self::Plain(weights))
        }
    }

    /// `x · w` for an x of floats with any number of axes.
    pub(in crate::backend::candle) fn multiply(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Panels(panels) if x.dtype() != Held::F64 => panels.apply(x),
            Self::Panels(_) => bail!("weights of f32 and a factor of f64"),
            Self::Plain(weights) => product(x, &weights.to_dtype(x.dtype())?),
        }
    }
}

/// A constant right factor in panels, where everything is f32 or a half; `turned` where it is `[n, k]`.
fn panels(site: &Site<'_>, turned: bool, activation: Option<Activation>) -> Option<Panels> {
    let dtype = site.dtype(0).ok()?;
    if !site.device.is_cpu() || !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
        return None;
    }
    let tensor = |index: usize| -> Option<Tensor> {
        let weight = site.constant(index).filter(|w| w.dtype() == dtype)?;
        cells::from_host(&weight.to_tensor()?, site.device).ok()
    };
    let weight = tensor(1).filter(|w| w.rank() == 2)?;
    let weight = if turned { weight.t().ok()? } else { weight };
    let bias = match site.node.input(2) {
        Some(_) => Some(tensor(2)?),
        None => None,
    };
    let is_vector = bias.as_ref().is_none_or(|b| {
        b.elem_count() == weight.dims()[1] && b.dims().last() == Some(&weight.dims()[1])
    });
    is_vector.then(|| Panels::new(&weight, bias.as_ref(), activation, site.threads).ok())?
}

/// `Linear`: `activation(x · w + bias)`.
pub(in crate::backend::candle) fn linear(
    site: &Site<'_>,
    activation: Option<Activation>,
) -> Lowered {
    let threads = site.threads;
    one(move |inputs| {
        let out = product(inputs.at(0)?, inputs.at(1)?)?;
        let width = out.dims().last().copied().unwrap_or(1).max(1);
        let bias = inputs.maybe(2);
        Epilogue { bias, scale: None, activation, width, threads }.apply(out)
    })
}

/// `Gemm`.
pub(in crate::backend::candle) fn gemm(
    site: &Site<'_>,
    (alpha, beta): (f32, f32),
    (trans_a, trans_b): (bool, bool),
    activation: Option<Activation>,
) -> Lowered {
    let (threads, dtype) = (site.threads, site.dtype(0)?);
    if !dtype.is_float() {
        return Err(format!("of {dtype}"));
    }
    one(move |inputs| {
        let turned = |x: &Tensor, t: bool| if t { x.t()?.contiguous() } else { Ok(x.clone()) };
        let (a, b) = (turned(inputs.at(0)?, trans_a)?, turned(inputs.at(1)?, trans_b)?);
        let mut out = product(&a, &b)?;
        if out.rank() != 2 {
            bail!("{:?} and {:?} are no matrices", a.dims(), b.dims())
        }
        #[expect(clippy::float_cmp, reason = "1 is stored as 1")]
        let (plain, kept) = (alpha == 1.0, beta == 1.0);
        if !plain {
            out = out.affine(f64::from(alpha), 0.0)?;
        }
        let width = out.dims()[1].max(1);
        let c = match inputs.maybe(2) {
            Some(c) if !kept => Some(c.affine(f64::from(beta), 0.0)?),
            other => other.cloned(),
        };
        let is_row = |c: &Tensor| c.elem_count() == width && c.dims().last() == Some(&width);
        let bias = c.as_ref().filter(|c| is_row(c));
        if let Some(c) = c.as_ref().filter(|c| !is_row(c)) {
            out = out.broadcast_add(c)?;
        }
        Epilogue { bias, scale: None, activation, width, threads }.apply(out)
    })
}

/// `Einsum` of one or more terms, by products of two at a time.
pub(in crate::backend::candle) fn einsum(site: &Site<'_>, equation: &str) -> Lowered {
    let dtype = site.dtype(0)?;
    if !dtype.is_float() {
        return Err(format!("of {dtype}"));
    }
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left.to_owned(), Some(right.to_owned())),
        None => (equation, None),
    };
    one(move |inputs| {
        let mut terms = Vec::new();
        for (text, x) in left.split(',').zip(inputs.all()) {
            terms.push(Term::new(text, x)?);
        }
        let wanted = match &right {
            Some(right) => labels(right, widest_ellipsis(&terms)),
            None => implicit(&left, widest_ellipsis(&terms)),
        };
        let mut terms = terms.into_iter();
        let Some(mut total) = terms.next() else { bail!("is given nothing") };
        let mut later: Vec<Term> = terms.collect();
        while !later.is_empty() {
            let next = later.remove(0);
            let needed =
                |l: &char| wanted.contains(l) || later.iter().any(|t| t.labels.contains(l));
            total = total.times(&next, &needed)?;
        }
        total.arranged(&wanted)
    })
}

/// A tensor with a letter for every axis; axes of an ellipsis have letters of their own.
struct Term {
    labels: Vec<char>,
    tensor: Tensor,
}

/// Letters for the axes of an ellipsis, counted from its end.
fn ellipsis(axes: usize) -> impl Iterator<Item = char> {
    (0..axes).rev().filter_map(|i| char::from_u32(0xE000 + u32::try_from(i).unwrap_or(0)))
}

fn labels(text: &str, axes: usize) -> Vec<char> {
    match text.split_once("...") {
        Some((a, b)) => a.chars().chain(ellipsis(axes)).chain(b.chars()).collect(),
        None => text.chars().collect(),
    }
}

fn widest_ellipsis(terms: &[Term]) -> usize {
    let of = |t: &Term| t.labels.iter().filter(|l| **l >= '\u{E000}').count();
    terms.iter().map(of).max().unwrap_or(0)
}

/// Without an arrow: the ellipsis, then letters that stand once, in the alphabet's order.
fn implicit(left: &str, axes: usize) -> Vec<char> {
    let mut letters: Vec<char> = left.chars().filter(char::is_ascii_alphabetic).collect();
    let all = letters.clone();
    letters.retain(|l| all.iter().filter(|o| *o == l).count() == 1);
    letters.sort_unstable();
    ellipsis(axes).chain(letters).collect()
}

impl Term {
    fn new(text: &str, tensor: &Tensor) -> Result<Self> {
        let written = text.chars().filter(char::is_ascii_alphabetic).count();
        let Some(axes) = tensor.rank().checked_sub(written) else {
            bail!("`{text}` has more axes than {:?}", tensor.dims())
        };
        let mut term = Self { labels: labels(text, axes), tensor: tensor.clone() };
        // Of a letter that stands twice, the diagonal.
        while let Some((a, b)) = term.twice() {
            let n = term.tensor.dims()[a];
            let rest: Vec<usize> = (0..term.labels.len()).filter(|i| *i != a && *i != b).collect();
            let order: Vec<usize> = [a, b].into_iter().chain(rest.iter().copied()).collect();
            let turned = term.tensor.permute(order)?.contiguous()?;
            let kept = turned.dims()[2..].to_vec();
            let flat = turned.reshape([&[n * n][..], &kept].concat())?;
            let places: Vec<u32> =
                (0..n).map(|i| u32::try_from(i * (n + 1)).unwrap_or(u32::MAX)).collect();
            term.tensor = flat.index_select(&Tensor::from_vec(places, n, flat.device())?, 0)?;
            let first = term.labels[a];
            term.labels =
                std::iter::once(first).chain(rest.iter().map(|i| term.labels[*i])).collect();
        }
        Ok(term)
    }

    fn twice(&self) -> Option<(usize, usize)> {
        (0..self.labels.len()).find_map(|a| {
            let b = (a + 1..self.labels.len()).find(|b| self.labels[*b] == self.labels[a])?;
            Some((a, b))
        })
    }

    fn size(&self, label: char) -> Option<usize> {
        Some(self.tensor.dims()[self.labels.iter().position(|l| *l == label)?])
    }

    /// Sums over the letters that nobody needs.
    fn summed(mut self, needed: impl Fn(&char) -> bool) -> Result<Self> {
        for axis in (0..self.labels.len()).rev() {
            if !needed(&self.labels[axis]) {
                self.tensor = self.tensor.contiguous()?.sum(axis)?;
                self.labels.remove(axis);
            }
        }
        Ok(self)
    }

    /// With exactly these letters' axes in this order; 1 where it has none.
    fn in_order(&self, order: &[char]) -> Result<Tensor> {
        let at = |l: &char| self.labels.iter().position(|o| o == l);
        let own: Vec<usize> = order.iter().filter_map(at).collect();
        let shape: Vec<usize> = order.iter().map(|l| self.size(*l).unwrap_or(1)).collect();
        self.tensor.permute(own)?.contiguous()?.reshape(shape)
    }

    /// The product with another, summed over what is not needed any more.
    fn times(self, other: &Self, needed: &impl Fn(&char) -> bool) -> Result<Self> {
        let own = self.labels.clone();
        let a = self.summed(|l| needed(l) || other.labels.contains(l))?;
        let b = Self { labels: other.labels.clone(), tensor: other.tensor.clone() };
        let b = b.summed(|l| needed(l) || own.contains(l))?;
        let both = |l: &&char| b.labels.contains(l);
        let batch: Vec<char> =
            a.labels.iter().filter(both).filter(|l| needed(l)).copied().collect();
        let inner: Vec<char> =
            a.labels.iter().filter(both).filter(|l| !needed(l)).copied().collect();
        let left: Vec<char> = a.labels.iter().filter(|l| !b.labels.contains(l)).copied().collect();
        let right: Vec<char> = b.labels.iter().filter(|l| !a.labels.contains(l)).copied().collect();
        let count = |t: &Self, ls: &[char]| ls.iter().map(|l| t.size(*l).unwrap_or(1)).product();
        let (m, n): (usize, usize) = (count(&a, &left), count(&b, &right));
        let size = |l: &char| a.size(*l).unwrap_or(1).max(b.size(*l).unwrap_or(1));
        let sizes: Vec<usize> = batch.iter().map(size).collect();
        let k: usize = inner.iter().map(size).product();
        let flat = |t: &Self, order: Vec<char>, last: [usize; 2]| -> Result<Tensor> {
            let mut wide: Vec<usize> = order.iter().map(|l| t.size(*l).unwrap_or(1)).collect();
            for (slot, label) in wide.iter_mut().zip(&order) {
                if batch.contains(label) || inner.contains(label) {
                    *slot = size(label);
                }
            }
            let shape = [&[sizes.iter().product()][..], &last].concat();
            t.in_order(&order)?.broadcast_as(wide)?.contiguous()?.reshape(shape)
        };
        let x = flat(&a, [&batch[..], &left, &inner].concat(), [m, k])?;
        let y = flat(&b, [&batch[..], &inner, &right].concat(), [k, n])?;
        let all = [&batch[..], &left, &right].concat();
        let of = |l: &char| a.size(*l).unwrap_or(1).max(b.size(*l).unwrap_or(1));
        let shape: Vec<usize> = all.iter().map(of).collect();
        Ok(Self { labels: all, tensor: product(&x, &y)?.reshape(shape)? })
    }

    fn arranged(self, wanted: &[char]) -> Result<Tensor> {
        let term = self.summed(|l| wanted.contains(l))?;
        term.in_order(wanted)
    }
}

/// For products of other types: whether it is one that candle multiplies.
pub(in crate::backend::candle) fn computed_in(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::F32 => Some("gemm f32"),
        DType::F16 => Some("gemm f16"),
        DType::BF16 => Some("gemm f32 of bf16"),
        DType::F64 => Some("gemm f64"),
        _ => None,
    }
}

/// Applies what follows a convolution or any other product in place.
pub(in crate::backend::candle) fn activated(
    out: Tensor,
    activation: Option<Activation>,
    threads: usize,
) -> Result<Tensor> {
    match activation {
        None => Ok(out),
        Some(activation) if out.dtype() == Held::F32 => {
            let width = out.dims().last().copied().unwrap_or(1).max(1);
            Epilogue { bias: None, scale: None, activation: Some(activation), width, threads }
                .apply(out)
        }
        Some(activation) if out.dtype() == Held::F64 => {
            portable::followed(out, None, None, Some(activation))
        }
        Some(activation) => unary::map(&out, threads, |part| simd::activate(part, activation)),
    }
}
