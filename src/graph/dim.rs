//! Sizes of axes: known, named or unknown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A size along one axis, as the model states it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dim {
    /// A fixed size.
    Fixed(usize),
    /// A free size with a name.
    Named(String),
    /// A free size without a name.
    Unknown,
}

impl Dim {
    /// The size, where it is fixed.
    pub fn fixed(&self) -> Option<usize> {
        match self {
            Self::Fixed(size) => Some(*size),
            Self::Named(_) | Self::Unknown => None,
        }
    }

    /// Whether two sizes are known to differ.
    pub fn contradicts(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Fixed(a), Self::Fixed(b)) if a != b)
    }

    /// What is known about a size of which both are known; fixed before named before unknown.
    #[must_use]
    pub fn or_better(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Fixed(_), _) | (Self::Named(_), Self::Named(_) | Self::Unknown) => self.clone(),
            _ => other.clone(),
        }
    }
}

/// All sizes, where every one is fixed.
pub(super) fn fixed(dims: &[Dim]) -> Option<Vec<usize>> {
    dims.iter().map(Dim::fixed).collect()
}

/// Elements of a tensor of these sizes; `None` when a computer has no such number.
pub(super) fn count(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))
}

/// `[batch, 128, ?]`
pub(super) fn show(dims: &[Dim]) -> String {
    let dims: Vec<String> = dims.iter().map(Dim::to_string).collect();
    format!("[{}]", dims.join(", "))
}

impl From<usize> for Dim {
    fn from(size: usize) -> Self {
        Self::Fixed(size)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Named(name) => f.write_str(name),
            Self::Unknown => f.write_str("?"),
        }
    }
}
