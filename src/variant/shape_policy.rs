//! Which input shapes a prepared variant takes.

use serde::{Deserialize, Serialize};

/// Which input shapes a prepared variant takes: the batcher pads to them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapePolicy {
    /// Any; the engine plans for each shape as it comes, at no cost that is worth avoiding.
    #[default]
    Dynamic,
    /// One of these batch sizes with one of these lengths, each ascending; a plan is made for each.
    Buckets {
        /// Samples in a batch.
        batch: Vec<usize>,
        /// Sizes of the samples' own free axis; empty where they have none.
        length: Vec<usize>,
    },
}

impl ShapePolicy {
    /// The batch size and length that a batch of `samples`, the longest of `length`, is padded to.
    ///
    /// `None` when it is larger than the largest bucket.
    pub fn bucket(&self, samples: usize, length: usize) -> Option<(usize, usize)> {
        match self {
            Self::Dynamic => Some((samples, length)),
            Self::Buckets { batch, length: lengths } => {
                let fit = |sizes: &[usize], size: usize| sizes.iter().copied().find(|s| *s >= size);
                let batch = fit(batch, samples)?;
                let length = if lengths.is_empty() { length } else { fit(lengths, length)? };
                Some((batch, length))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_goes_into_the_smallest_bucket_that_holds_it() {
        let policy = ShapePolicy::Buckets { batch: vec![1, 8], length: vec![16, 64, 128] };
        assert_eq!(policy.bucket(3, 17), Some((8, 64)));
        assert_eq!(policy.bucket(1, 16), Some((1, 16)));
        assert_eq!(policy.bucket(9, 16), None);
        assert_eq!(policy.bucket(8, 129), None);
        assert_eq!(ShapePolicy::Dynamic.bucket(3, 17), Some((3, 17)));
        let fixed = ShapePolicy::Buckets { batch: vec![4], length: vec![] };
        assert_eq!(fixed.bucket(2, 2048), Some((4, 2048)));
    }
}
