//! A lowered graph: steps over slots, each slot emptied when nothing reads it any more.

use std::collections::{HashMap, HashSet};

use candle_core::{Device, Tensor};

use super::cells;
use super::lower;
use super::step::{Inputs, Kernel};
use crate::backend::NumericFact;
use crate::error::{Error, Result};
use crate::graph::Dim;
use crate::units::{Clock, Nanos, RealClock};
use crate::variant::{DType, Tensor as HostTensor, Tensors};

/// Where a step finds an input.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Constant(usize),
    Slot(usize),
}

/// An operator of the lowered graph.
pub(super) struct Step {
    /// The node's name and operator, for messages.
    pub(super) name: String,
    pub(super) op: String,
    pub(super) kernel: Kernel,
    pub(super) inputs: Vec<Option<Place>>,
    pub(super) outputs: Vec<Option<usize>>,
    /// Slots that nothing reads after this step.
    pub(super) frees: Vec<usize>,
    /// What multiplies, where that is the question.
    pub(super) with: String,
    pub(super) runs: lower::Runs,
}

/// What a session must be given.
pub(super) struct Input {
    pub(super) name: String,
    pub(super) slot: usize,
    pub(super) dtype: DType,
    /// Its axes, as far as the model states them.
    pub(super) dims: Option<Vec<Dim>>,
}

/// A graph, ready to run.
pub(super) struct Plan {
    pub(super) subject: String,
    pub(super) steps: Vec<Step>,
    /// Those that steps read; others are emptied when all are known.
    pub(super) constants: Vec<Option<Tensor>>,
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<(String, Place, DType)>,
    pub(super) slots: usize,
    /// What products are computed with.
    pub(super) numerics: Vec<NumericFact>,
    pub(super) device: Device,
}

/// One step's time in a run.
pub(super) struct Timed<'a> {
    pub(super) op: &'a str,
    pub(super) with: &'a str,
    pub(super) runs: lower::Runs,
    pub(super) took: Nanos,
}

impl Plan {
    /// Finds the last reader of every slot, and lets go of constants that nothing reads.
    pub(super) fn free(&mut self) {
        let mut last: HashMap<usize, usize> = HashMap::new();
        for (at, step) in self.steps.iter().enumerate() {
            let written = step.outputs.iter().flatten().copied();
            let read = step.inputs.iter().flatten().filter_map(|place| match place {
                Place::Slot(slot) => Some(*slot),
                Place::Constant(_) => None,
            });
            last.extend(written.chain(read).map(|slot| (slot, at)));
        }
        for (_, place, _) in &self.outputs {
            if let Place::Slot(slot) = place {
                last.remove(slot);
            }
        }
        for (slot, at) in last {
            self.steps[at].frees.push(slot);
        }
        let steps = self.steps.iter().flat_map(|step| step.inputs.iter().flatten().copied());
        let read: HashSet<usize> = steps
            .chain(self.outputs.iter().map(|(_, place, _)| *place))
            .filter_map(|place| match place {
                Place::Constant(at) => Some(at),
                Place::Slot(_) => None,
            })
            .collect();
        for (at, constant) in self.constants.iter_mut().enumerate() {
            if !read.contains(&at) {
                *constant = None;
            }
        }
    }

    /// Operators that the model was lowered to.
    pub(super) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Runs one batch; with `times`, each step's.
    pub(super) fn run<'a>(
        &'a self,
        inputs: &Tensors,
        mut times: Option<&mut Vec<Timed<'a>>>,
    ) -> Result<Tensors> {
        let clock = RealClock::start();
        let mut slots: Vec<Option<Tensor>> = vec![None; self.slots];
        for input in &self.inputs {
            let given = self.checked(input, inputs)?;
            let tensor = cells::from_host(given, &self.device);
            slots[input.slot] = Some(tensor.map_err(|e| self.refuse(one_line(&e)))?);
        }
        for step in &self.steps {
            let before = times.is_some().then(|| clock.now());
            let given: Vec<Option<&Tensor>> = step
                .inputs
                .iter()
                .map(|place| match place {
                    None => None,
                    Some(Place::Constant(at)) => self.constants[*at].as_ref(),
                    Some(Place::Slot(slot)) => slots[*slot].as_ref(),
                })
                .collect();
            let outputs = (step.kernel)(&Inputs(&given)).map_err(|e| {
                self.refuse(format!("node `{}` ({}): {}", step.name, step.op, one_line(&e)))
            })?;
            for (slot, output) in step.outputs.iter().zip(outputs) {
                if let Some(slot) = slot {
                    slots[*slot] = Some(output);
                }
            }
            for slot in &step.frees {
                slots[*slot] = None;
            }
            if let (Some(times), Some(before)) = (&mut times, before) {
                let (op, with, runs) = (&step.op, &step.with, step.runs);
                times.push(Timed { op, with, runs, took: clock.now() - before });
            }
        }
        let mut outputs = Tensors::default();
        for (name, place, dtype) in &self.outputs {
            let tensor = match place {
                Place::Constant(at) => self.constants[*at].as_ref(),
                Place::Slot(slot) => slots[*slot].as_ref(),
            };
            let tensor = tensor
                .ok_or_else(|| Error::internal("candle", format!("gave no output `{name}`")))?;
            let host = cells::to_host(tensor, *dtype).map_err(|e| self.refuse(one_line(&e)))?;
            outputs.0.push((name.clone(), host));
        }
        Ok(outputs)
    }

    /// What is given for an input, where it is what the model takes.
    fn checked<'t>(&self, input: &Input, inputs: &'t Tensors) -> Result<&'t HostTensor> {
        let Input { name, dtype, dims, .. } = input;
        let given =
            inputs.get(name).ok_or_else(|| self.refuse(format!("input `{name}` is missing")))?;
        let fits = dims.as_ref().is_none_or(|dims| {
            dims.len() == given.shape().len()
                && dims.iter().zip(given.shape()).all(|(d, n)| d.fixed().is_none_or(|d| d == *n))
        });
        if given.dtype() == *dtype && fits {
            return Ok(given);
        }
        let shape = dims.as_ref().map_or("[…]".to_owned(), |dims| {
            let dims: Vec<String> = dims.iter().map(Dim::to_string).collect();
            format!("[{}]", dims.join(", "))
        });
        let got = (given.dtype(), given.shape());
        Err(self.refuse(format!("input `{name}` is {}{:?}, not {dtype}{shape}", got.0, got.1)))
    }

    fn refuse(&self, message: impl std::fmt::Display) -> Error {
        Error::input(&self.subject, format!("candle: {message}"))
            .remedy("check the inputs against the model's signature (`infermark model inspect`)")
    }
}

/// candle's messages can carry a backtrace; what went wrong stands on the first line.
pub(super) fn one_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().trim().to_owned()
}
