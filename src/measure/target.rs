//! A session with its data set, as the load driver sees it.

use crate::backend::{Session, Ticket, Trace};
use crate::error::{Error, Result};
use crate::load::{Dispatch, Outcome, Target};
use crate::variant::{Padding, Tensor, TensorData, Tensors};
use crate::workload::{About, Dataset};

/// Timed outputs that are kept for the check: batches 0, 4, 16, 64, …
const KEPT_BASE: u32 = 4;
/// Largest allowed difference of a timed and an untimed run of the same batch, max|a−b|/max|b|.
const SAME_OUTPUT: f64 = 1e-5;

/// A session with its data set.
pub struct SessionTarget<'a> {
    session: &'a mut dyn Session,
    data: &'a Dataset,
    batch: Tensors,
    kept: Vec<(Vec<u32>, Tensors)>,
    next_kept: u32,
    /// Batches for whose shape a plan had to be made; `None` where the engine does not say.
    pub shape_misses: Option<u32>,
    /// Lengths that batches are padded to, in order; none for the longest sample's.
    buckets: &'a [usize],
    /// How much of the batches was padding.
    pub padding: Padding,
    /// Batches by the share of their values that was padding, in tenths.
    pub padding_tenths: [u32; 10],
    /// The first error of the session.
    pub first_error: Option<Error>,
}

impl<'a> SessionTarget<'a> {
    /// A target that runs `data`'s samples in `session`.
    pub fn new(session: &'a mut dyn Session, data: &'a Dataset) -> Self {
        Self {
            session,
            data,
            batch: Tensors::default(),
            kept: Vec::new(),
            next_kept: 0,
            shape_misses: None,
            buckets: &[],
            padding: Padding::default(),
            padding_tenths: [0; 10],
            first_error: None,
        }
    }

    /// Pads batches on to the next of these lengths.
    #[must_use]
    pub fn padded_to(mut self, buckets: &'a [usize]) -> Self {
        self.buckets = buckets;
        self
    }

    /// Runs one batch of samples and returns its outputs.
    #[inline]
    pub fn run(&mut self, samples: impl ExactSizeIterator<Item = u32> + Clone) -> Result<Tensors> {
        let all = self.data.samples();
        let mut trace = Trace::default();
        let outputs = if samples.len() == 1 && self.buckets.is_empty() {
            // One sample is what the session takes as it is: nothing is copied.
            let only = samples.clone().next().unwrap_or(0);
            let inputs = all.get(only as usize).ok_or_else(|| out_of_range(only))?;
            if self.data.is_ragged() {
                self.padding.values += values_of(inputs);
                self.padding_tenths[0] += 1;
            }
            self.session.run(inputs, &mut trace)
        } else {
            let rows = samples.map(|s| &all[s as usize % all.len()]);
            let fits = if self.data.is_ragged() || !self.buckets.is_empty() {
                let about = self.data.about();
                let padded = self.batch.assemble_padded(&rows, &about.padding, self.buckets);
                if let Some(padded) = padded {
                    self.padding.values += padded.values;
                    self.padding.padded += padded.padded;
                    let tenth = (10 * padded.padded / padded.values.max(1)).min(9);
                    self.padding_tenths[usize::try_from(tenth).unwrap_or(9)] += 1;
                }
                padded.is_some()
            } else {
                self.batch.assemble(rows)
            };
            if !fits {
                return Err(Error::input("data", "samples of a batch differ in shape")
                    .remedy("pad them to one shape, or use batches of 1"));
            }
            self.session.run(&self.batch, &mut trace)
        };
        if let Some(miss) = trace.shape_miss {
            *self.shape_misses.get_or_insert(0) += u32::from(miss);
        }
        outputs
    }

    /// Runs the kept batches again, untimed: how many were compared, and how many differed.
    pub fn check_outputs(&mut self) -> Result<(u32, u32)> {
        let kept = std::mem::take(&mut self.kept);
        let mut differing = 0;
        let checked = u32::try_from(kept.len()).unwrap_or(u32::MAX);
        for (samples, timed) in kept {
            let untimed = self.run(samples.into_iter())?;
            differing += u32::from(!same(&timed, &untimed));
        }
        Ok((checked, differing))
    }
}

/// Values of a sample, counted as those of a batch are.
fn values_of(sample: &Tensors) -> u64 {
    sample.0.iter().map(|(_, tensor)| tensor.data().len() as u64).sum()
}

fn out_of_range(sample: u32) -> Error {
    Error::input(format!("sample {sample}"), "is not in the data set")
        .remedy("the command that was sent names a sample the set does not hold")
}

impl Target for SessionTarget<'_> {
    #[inline]
    fn serve(&mut self, dispatch: &Dispatch) -> Outcome {
        match self.run(dispatch.requests.iter().map(|r| r.sample)) {
            Ok(outputs) => {
                if dispatch.batch >= self.next_kept {
                    let samples = dispatch.requests.iter().map(|r| r.sample).collect();
                    self.kept.push((samples, outputs));
                    self.next_kept = (dispatch.batch.max(1)).saturating_mul(KEPT_BASE);
                }
                Outcome::Ok
            }
            Err(error) => {
                self.first_error.get_or_insert(error);
                Outcome::Error
            }
        }
    }
}

/// Whether two runs of one batch gave the same outputs; NaN equals NaN.
fn same(a: &Tensors, b: &Tensors) -> bool {
    a.0.len() == b.0.len()
        && a.0.iter().zip(&b.0).all(|((name, x), (other, y))| {
            name == other && x.shape() == y.shape() && same_values(x.data(), y.data())
        })
}

fn same_values(a: &TensorData, b: &TensorData) -> bool {
    match (a, b) {
        (TensorData::F32(a), TensorData::F32(b)) => {
            close(a.iter().map(|x| f64::from(*x)), b.iter().map(|x| f64::from(*x)))
        }
        (TensorData::F64(a), TensorData::F64(b)) => close(a.iter().copied(), b.iter().copied()),
        (TensorData::F16(a), TensorData::F16(b)) => {
            close(a.iter().map(|x| x.to_f64()), b.iter().map(|x| x.to_f64()))
        }
        (TensorData::BF16(a), TensorData::BF16(b)) => {
            close(a.iter().map(|x| x.to_f64()), b.iter().map(|x| x.to_f64()))
        }
        (a, b) => a == b,
    }
}

fn close(a: impl Iterator<Item = f64>, b: impl Iterator<Item = f64>) -> bool {
    let mut largest: f64 = 0.0;
    let mut apart: f64 = 0.0;
    for (x, y) in a.zip(b) {
        if x.is_nan() != y.is_nan() {
            return false;
        }
        if !x.is_nan() && x.to_bits() != y.to_bits() {
            apart = apart.max((x - y).abs());
        }
        largest = largest.max(y.abs());
    }
    // A NaN difference (∞ − ∞ of unlike signs) is not within the bound.
    apart <= SAME_OUTPUT * largest
}

/// A session that does nothing, for measuring the harness's own cost.
#[derive(Debug, Default)]
pub struct NullSession {
    next: u64,
}

impl Session for NullSession {
    fn submit(&mut self, _: &Tensors) -> Result<Ticket> {
        self.next += 1;
        Ok(Ticket(self.next))
    }

    fn wait(&mut self, _: Ticket, _: &mut Trace) -> Result<Tensors> {
        Ok(Tensors::default())
    }
}

impl NullSession {
    /// A data set of `n` samples of one f32 each, for it to run.
    pub fn data(n: usize) -> Result<Dataset> {
        let tensor = Tensor::new(vec![n, 1], TensorData::F32(vec![0.0; n]))
            .ok_or_else(|| Error::internal("null data", "does not fit its own shape"))?;
        Dataset::new("null data", &Tensors(vec![("x".to_owned(), tensor)]), About::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_compared_with_a_tolerance_and_nan_is_nan() {
        let f = |v: &[f32]| TensorData::F32(v.to_vec());
        assert!(same_values(&f(&[1.0, f32::NAN]), &f(&[1.0 + 1e-6, f32::NAN])));
        assert!(!same_values(&f(&[1.0, 2.0]), &f(&[1.0, 2.001])));
        assert!(!same_values(&f(&[1.0]), &f(&[f32::NAN])));
        assert!(same_values(&f(&[f32::INFINITY]), &f(&[f32::INFINITY])));
        assert!(!same_values(&TensorData::I64(vec![1]), &TensorData::I64(vec![2])));
    }
}
