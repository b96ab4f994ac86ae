//! Products with constant weights: what every quantising recipe works on.

use crate::graph::op::ConvAttributes;
use crate::graph::{Graph, Node, Op, ValueId};
use crate::variant::DType;

/// A node that multiplies activations with a constant weight.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    pub(super) product: Product,
    /// What comes in.
    pub(super) activation: ValueId,
    /// The constant.
    pub(super) weight: ValueId,
    /// What is added.
    pub(super) bias: Option<ValueId>,
}

/// What kind of product.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Product {
    /// With a weight `[K, N]`.
    MatMul,
    /// With a weight `[K, N]`, or `[N, K]` when it is transposed.
    Gemm { alpha: f32, beta: f32, trans_b: bool },
    /// With a weight `[M, C / group, …]`.
    Conv(ConvAttributes),
}

impl Target {
    /// What `node` multiplies; `None` for other nodes, and where the weight is no float constant.
    pub(super) fn of(graph: &Graph, node: &Node) -> Option<Self> {
        let product = match &node.op {
            Op::MatMul => Product::MatMul,
            Op::Gemm { alpha, beta, trans_a: false, trans_b, activation: None } => {
                Product::Gemm { alpha: *alpha, beta: *beta, trans_b: *trans_b }
            }
            Op::Conv { conv, activation: None } => Product::Conv(conv.clone()),
            _ => return None,
        };
        let weight = node.input(1)?;
        let constant = graph.constant(Some(weight))?;
        let has_axes = match product {
            Product::Conv(_) => constant.shape().len() >= 3,
            _ => constant.shape().len() == 2,
        };
        // No kernel for few bits takes or gives f64.
        let is_float = constant.dtype().is_float() && constant.dtype() != DType::F64;
        if !is_float || !has_axes || constant.is_empty() {
            return None;
        }
        // Of a Gemm the bias becomes an addition of its own, which beta must not scale.
        let bias = node.input(2);
        if let Product::Gemm { beta, .. } = &product
            && bias.is_some()
            && (*beta - 1.0).abs() > 0.0
        {
            return None;
        }
        Some(Self { product, activation: node.input(0)?, weight, bias })
    }

    /// The axis of the weight that becomes the output's channels.
    pub(super) fn channel_axis(&self) -> usize {
        match self.product {
            Product::MatMul | Product::Gemm { trans_b: false, .. } => 1,
            Product::Gemm { trans_b: true, .. } | Product::Conv(_) => 0,
        }
    }

    /// Whether it is a convolution.
    pub(super) fn is_conv(&self) -> bool {
        matches!(self.product, Product::Conv(_))
    }

    /// The weight as `[K, N]` in C order, alpha in it; `None` for a convolution.
    pub(super) fn matrix(&self, graph: &Graph) -> Option<Matrix> {
        let weight = graph.constant(Some(self.weight))?;
        let (rows, columns) = (*weight.shape().first()?, *weight.shape().get(1)?);
        let values = weight.to_f32();
        match self.product {
            Product::Conv(_) => None,
            Product::MatMul => Some(Matrix { k: rows, n: columns, values }),
            Product::Gemm { alpha, trans_b, .. } => {
                let mut matrix = if trans_b {
                    let mut turned = vec![0.0; values.len()];
                    for (at, value) in values.iter().enumerate() {
                        turned[at % columns * rows + at / columns] = *value;
                    }
                    Matrix { k: columns, n: rows, values: turned }
                } else {
                    Matrix { k: rows, n: columns, values }
                };
                matrix.values.iter_mut().for_each(|v| *v *= alpha);
                Some(matrix)
            }
        }
    }
}

/// A weight `[k, n]` in C order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matrix {
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) values: Vec<f32>,
}
