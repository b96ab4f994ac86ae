//! Samples of different lengths as one batch.

use std::collections::BTreeMap;

use super::{Tensor, TensorData, Tensors};

/// How much of a batch is padding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Padding {
    /// Values of the batch, padding included.
    pub values: u64,
    /// Of those, padding.
    pub padded: u64,
}

impl Tensors {
    /// Makes `self` the samples one above the other, rows of two axes padded at their end to the
    /// longest of the batch with `padding`'s value by input (0 where it has none), and on to the next of
    /// `buckets`, in order, where there are any: fewer lengths mean fewer shapes.
    ///
    /// `None` when the samples' names or types differ, or other axes than the second do, or an
    /// element type cannot be padded.
    pub fn assemble_padded<'a>(
        &mut self,
        samples: &(impl Iterator<Item = &'a Tensors> + Clone),
        padding: &BTreeMap<String, i64>,
        buckets: &[usize],
    ) -> Option<Padding> {
        let first = samples.clone().next()?;
        let mut total = Padding::default();
        self.0.resize_with(first.0.len(), || (String::new(), Tensor::empty()));
        for (index, (name, like)) in first.0.iter().enumerate() {
            let rows = samples.clone().map(|s| s.0.get(index).filter(|(n, _)| n == name));
            let rows: Option<Vec<&Tensor>> = rows.map(|row| Some(&row?.1)).collect();
            let rows = rows?;
            let (slot, batch) = &mut self.0[index];
            slot.clone_from(name);
            if batch.dtype() != like.dtype() {
                batch.data = like.data.clone();
            }
            batch.clear_rows(like);
            let longest = rows.iter().filter_map(|row| row.shape().get(1)).max().copied();
            let bucket =
                |longest: usize| buckets.iter().copied().find(|b| *b >= longest).unwrap_or(longest);
            let longest = longest.map(bucket);
            let value = padding.get(name).copied().unwrap_or(0);
            for row in rows {
                if let ([1, length], Some(longest)) = (row.shape(), longest) {
                    total.padded += (longest - length) as u64;
                    total.values += longest as u64;
                    batch.append_padded(row, longest, value)?;
                } else {
                    total.values += row.data().len() as u64;
                    batch.append_rows(row).then_some(())?;
                }
            }
        }
        Some(total)
    }
}

impl Tensor {
    /// No elements, to be filled.
    fn empty() -> Self {
        Self { shape: vec![0, 0], data: TensorData::F32(Vec::new()) }
    }

    /// Appends a row of `[1, n]`, padded at its end to `width` values.
    fn append_padded(&mut self, row: &Self, width: usize, value: i64) -> Option<()> {
        if self.shape.len() != 2 {
            return None;
        }
        let end = (self.shape[0] + 1) * width;
        #[expect(clippy::cast_possible_truncation, reason = "padding is a token id or 0")]
        match (&mut self.data, &row.data) {
            (TensorData::I64(to), TensorData::I64(from)) => {
                to.extend_from_slice(from);
                to.resize(end, value);
            }
            (TensorData::I32(to), TensorData::I32(from)) => {
                to.extend_from_slice(from);
                to.resize(end, value as i32);
            }
            (TensorData::F32(to), TensorData::F32(from)) => {
                to.extend_from_slice(from);
                to.resize(end, value as f32);
            }
            _ => return None,
        }
        self.shape[0] += 1;
        self.shape[1] = width;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ids: &[i64]) -> Tensors {
        let tensor = Tensor::new(vec![1, ids.len()], TensorData::I64(ids.to_vec())).unwrap();
        Tensors(vec![("ids".to_owned(), tensor)])
    }

    #[test]
    fn rows_are_padded_to_the_longest_of_the_batch() {
        let (a, b, c) = (sample(&[5]), sample(&[6, 7, 8]), sample(&[9, 9]));
        let padding = BTreeMap::from([("ids".to_owned(), 1)]);
        let mut batch = Tensors::default();
        let padded = batch.assemble_padded(&[&a, &b].into_iter(), &padding, &[]).unwrap();
        let ids = batch.get("ids").unwrap();
        assert_eq!(ids.shape(), [2, 3]);
        assert_eq!(ids.data(), &TensorData::I64(vec![5, 1, 1, 6, 7, 8]));
        assert_eq!(padded, Padding { values: 6, padded: 2 });
        // The next batch is as long as its own longest sample, and nothing is left of the last one.
        let padded = batch.assemble_padded(&[&c, &a].into_iter(), &padding, &[]).unwrap();
        assert_eq!(batch.get("ids").unwrap().data(), &TensorData::I64(vec![9, 9, 5, 1]));
        assert_eq!(padded, Padding { values: 4, padded: 1 });
        let padded = batch.assemble_padded(&[&a].into_iter(), &padding, &[2, 4]).unwrap();
        assert_eq!(batch.get("ids").unwrap().data(), &TensorData::I64(vec![5, 1]));
        assert_eq!(padded, Padding { values: 2, padded: 1 });
        // What is longer than the last one is as long as it is.
        batch.assemble_padded(&[&b].into_iter(), &padding, &[2]).unwrap();
        assert_eq!(batch.get("ids").unwrap().shape(), [1, 3]);
    }

    #[test]
    fn what_differs_in_more_than_length_is_no_batch() {
        let other = Tensors(vec![(
            "ids".to_owned(),
            Tensor::new(vec![1, 1], TensorData::F32(vec![1.0])).unwrap(),
        )]);
        let samples = [&sample(&[1]), &other];
        assert_eq!(
            Tensors::default().assemble_padded(&samples.into_iter(), &BTreeMap::new(), &[]),
            None
        );
    }
}
