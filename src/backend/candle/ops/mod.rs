//! Operators on candle, one function each; where candle has none, on its tensors' elements.

pub(super) mod attention;
pub(super) mod binary;
pub(super) mod conv;
mod image;
pub(super) mod indexing;
pub(super) mod layout;
pub(super) mod norm;
pub(super) mod pool;
pub(super) mod portable;
pub(super) mod product;
pub(super) mod quantise;
pub(super) mod recurrent;
pub(super) mod reduce;
pub(super) mod resize;
pub(super) mod unary;
mod window;
