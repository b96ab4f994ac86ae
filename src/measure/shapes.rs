//! Which shapes a case's batches can have: each is warmed up before anything is timed.

use std::collections::BTreeMap;

use crate::load::Batching;
use crate::workload::Dataset;

/// Above this many sizes of a batch, only powers of two and the largest are warmed up.
const MANY: u32 = 32;

/// A sample and how many of it make a batch: one for each size that a dynamic batch can have and each
/// length that it can be padded to. None where all batches have the shape of the first one.
pub(super) fn shapes(data: &Dataset, batching: Batching, buckets: &[usize]) -> Vec<(u32, u32)> {
    let (least, most) = (batching.least(), batching.size());
    if least == most && buckets.is_empty() {
        return Vec::new();
    }
    let sizes = (least..=most).filter(|n| most <= MANY || n.is_power_of_two() || *n == most);
    let mut examples: BTreeMap<usize, (u32, usize)> = BTreeMap::new();
    for (at, sample) in (0_u32..).zip(data.samples()) {
        let length = sample.0.iter().filter_map(|(_, tensor)| tensor.shape().get(1)).max();
        let length = length.copied().unwrap_or(0);
        let bucket = buckets.iter().copied().find(|b| *b >= length);
        // Without buckets lengths are free, and the longest stands for all.
        let key = if buckets.is_empty() { 0 } else { bucket.unwrap_or(length) };
        let (known, longest) = examples.entry(key).or_insert((at, length));
        if length > *longest {
            (*known, *longest) = (at, length);
        }
    }
    sizes
        .flat_map(|size| examples.values().map(move |(at, _)| (*at, size)).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variant::{Tensor, TensorData, Tensors};
    use crate::workload::About;

    #[test]
    fn every_size_and_every_bucket_is_there_once() {
        let values = TensorData::F32(vec![0.0; 12]);
        let tensor = Tensor::new(vec![4, 3], values).unwrap();
        let data = Dataset::new("t", &Tensors(vec![("x".to_owned(), tensor)]), About::default());
        let data = data.unwrap();
        let dynamic = Batching::Dynamic { max_batch: 3, max_delay_ms: 1.0 };
        assert_eq!(shapes(&data, dynamic, &[]), [(0, 1), (0, 2), (0, 3)]);
        assert_eq!(shapes(&data, Batching::Fixed(4), &[]), []);
        assert_eq!(shapes(&data, Batching::Fixed(4), &[2, 8]), [(0, 4)]);
        let large = Batching::Dynamic { max_batch: 48, max_delay_ms: 1.0 };
        assert_eq!(shapes(&data, large, &[]).len(), 7, "1 2 4 8 16 32 and 48");
    }
}
