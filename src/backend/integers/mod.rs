//! Integer weights as recipes and other tools write them, understood once for all engines of ours.

mod find;

pub(in crate::backend) use self::find::{Activations, Product, find, live};

use crate::graph::op::NBits;
use crate::graph::{Graph, Node};

/// Integer weights as a model has them, a row a column of the product.
pub(in crate::backend) struct Integers {
    pub(in crate::backend) n: usize,
    pub(in crate::backend) k: usize,
    /// `[n, k]`
    pub(in crate::backend) values: Vec<i8>,
    /// `[n, k / block]`
    pub(in crate::backend) scales: Vec<f32>,
    /// Neighbours along k that share a scale; `k` for one scale a row.
    pub(in crate::backend) block: usize,
    /// What is to be added to a row's values, `[n]`; empty where nothing is. Weights of unsigned 8 bits
    /// less their zero points take 9 bits.
    pub(in crate::backend) offsets: Vec<i16>,
}

/// Weights of `MatMulNBits`, less their zero points, which can take a bit more than the weights have.
pub(in crate::backend) struct Unpacked {
    pub(in crate::backend) n: usize,
    pub(in crate::backend) k: usize,
    values: Vec<i16>,
    scales: Vec<f32>,
    block: usize,
}

impl Unpacked {
    /// The same in 8 bits, where they fit.
    pub(in crate::backend) fn narrow(&self) -> std::result::Result<Integers, String> {
        let Self { n, k, block, .. } = *self;
        let narrow =
            |v: &i16| i8::try_from(*v).map_err(|_| format!("whose weights do not fit 8 bits: {v}"));
        let values = self.values.iter().map(narrow).collect::<std::result::Result<_, _>>()?;
        Ok(Integers { n, k, values, scales: self.scales.clone(), block, offsets: Vec::new() })
    }
}

/// Unpacks the weights of `MatMulNBits`; an error where they are no constants, or not as many as they
/// must be.
pub(in crate::backend) fn unpacked(
    graph: &Graph,
    node: &Node,
    bits: &NBits,
) -> std::result::Result<Unpacked, String> {
    let constant = |index: usize, what: &str| {
        graph.constant(node.input(index)).ok_or_else(|| format!("whose {what} are no constants"))
    };
    if bits.bits > 8 || 8 % bits.bits != 0 {
        return Err(format!("of {} bits", bits.bits));
    }
    if node.input(4).is_some() {
        return Err("with a group index".to_owned());
    }
    let (packed, scales) = (constant(1, "weights")?, constant(2, "scales")?);
    let (n, k, block) = (bits.n, bits.k, bits.block_size);
    if n == 0 || k == 0 || block == 0 {
        return Err("of no weights".to_owned());
    }
    let blocks = k.div_ceil(block);
    let (each, mask) = (8 / bits.bits, u8::MAX >> (8 - bits.bits));
    let number = |bytes: &[u8], at: usize| {
        bytes.get(at / each).map_or(0, |b| (b >> (at % each * bits.bits)) & mask)
    };
    let middle = 1_i16 << (bits.bits - 1);
    let zeros = match node.input(3) {
        Some(_) => Some(constant(3, "zero points")?),
        None => None,
    };
    if zeros.is_some_and(|zeros| zeros.dtype().is_float()) {
        return Err("with zero points that are no whole numbers".to_owned());
    }
    let zeros = zeros.map(|zeros| zeros.bytes().as_ref());
    // Zero points are packed row by row.
    let zero_row = blocks.div_ceil(each);
    let blob = block * bits.bits / 8;
    let all = [
        (packed.bytes().len(), Some(n * blocks * blob), "bytes of weights"),
        (scales.len(), Some(n * blocks), "scales"),
        (zeros.map_or(0, <[u8]>::len), zeros.map(|_| n * zero_row), "bytes of zero points"),
    ];
    for (count, wanted, what) in all {
        if wanted.is_some_and(|wanted| wanted != count) {
            return Err(format!("with {count} {what}, not {}", wanted.unwrap_or_default()));
        }
    }
    let mut values = Vec::with_capacity(n * k);
    for row in 0..n {
        for at in 0..k {
            let in_block = &packed.bytes()[(row * blocks + at / block) * blob..];
            let zero = zeros.map_or(middle, |z| {
                i16::from(number(z.get(row * zero_row..).unwrap_or_default(), at / block))
            });
            values.push(i16::from(number(in_block, at % block)) - zero);
        }
    }
    let block = if blocks == 1 { k } else { block };
    Ok(Unpacked { n, k, values, scales: scales.to_f32(), block })
}

/// Whole numbers with their scales as the numbers they stand for, `[k, n]`.
fn real(
    values: impl Iterator<Item = f32>,
    scales: &[f32],
    (n, k, block): (usize, usize, usize),
) -> Vec<f32> {
    let per_row = k.div_ceil(block);
    let mut all = vec![0.0_f32; n * k];
    for (place, value) in values.enumerate() {
        let (row, at) = (place / k, place % k);
        all[at * n + row] = value * scales[row * per_row + at / block];
    }
    all
}

impl Integers {
    /// As numbers, `[k, n]`: for where an engine has no kernel for them.
    pub(in crate::backend) fn real(&self) -> Vec<f32> {
        let offset = |at: usize| self.offsets.get(at / self.k).copied().unwrap_or(0);
        let each = self.values.iter().enumerate();
        let values = each.map(|(at, v)| f32::from(i16::from(*v) + offset(at)));
        real(values, &self.scales, (self.n, self.k, self.block))
    }
}

impl Unpacked {
    /// As numbers, `[k, n]`.
    pub(in crate::backend) fn real(&self) -> Vec<f32> {
        let values = self.values.iter().map(|v| f32::from(*v));
        real(values, &self.scales, (self.n, self.k, self.block))
    }
}
