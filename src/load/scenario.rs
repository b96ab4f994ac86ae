//! What is issued and when, as data.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Scenario {
    /// One batch in flight: its requests are issued together, the next ones when it is done.
    Single,
    /// A fixed number of clients, each issuing its next request when its last one is done.
    Closed {
        /// Requests outstanding at any time.
        concurrency: u32,
    },
}

/// How requests become batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Batching {
    /// A request waits until this many samples run as one.
    Fixed(u32),
}

impl Batching {
    /// Samples run together.
    pub fn size(self) -> u32 {
        match self {
            Self::Fixed(size) => size,
        }
    }
}

impl Scenario {
    /// Requests outstanding at any time, given how they are batched.
    pub fn outstanding(self, batching: Batching) -> u32 {
        match self {
            Self::Single => batching.size(),
            Self::Closed { concurrency } => concurrency,
        }
    }

    /// Why this scenario can never run with this batching, if it can't.
    pub fn impossible_with(self, batching: Batching) -> Option<String> {
        match (self, batching) {
            (_, Batching::Fixed(0)) => Some("a batch needs at least 1 sample".to_owned()),
            (Self::Closed { concurrency: 0 }, _) => {
                Some("a closed load needs at least 1 client".to_owned())
            }
            (Self::Closed { concurrency }, Batching::Fixed(size)) if concurrency < size => {
                Some(format!("{concurrency} clients never fill a batch of {size}"))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single => f.write_str("single"),
            Self::Closed { concurrency } => write!(f, "closed {concurrency}"),
        }
    }
}

impl fmt::Display for Batching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "fixed {size}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_never_fills_is_named() {
        let closed = Scenario::Closed { concurrency: 4 };
        assert!(closed.impossible_with(Batching::Fixed(8)).unwrap().contains("never fill"));
        assert_eq!(closed.impossible_with(Batching::Fixed(4)), None);
        assert_eq!(Scenario::Single.impossible_with(Batching::Fixed(8)), None);
    }
}
