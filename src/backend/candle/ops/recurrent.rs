//! `LSTM` and `GRU`: the inputs' part of all gates as one product, then step by step.

use candle_core::{DType as Held, Device, Result, Tensor, bail};

use super::product::product;
use crate::backend::candle::cells;
use crate::backend::candle::step::{Inputs, Lowered, Site};
use crate::graph::op::{Direction, Recurrent};
use crate::variant::DType;

type Function = fn(f32) -> f32;

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// The functions of the gates, `each` a direction; those with parameters of their own are not known.
fn functions(r: &Recurrent, defaults: &[&str]) -> std::result::Result<Vec<Function>, String> {
    if !r.activation_alpha.is_empty() || !r.activation_beta.is_empty() {
        return Err("activations with parameters of their own".to_owned());
    }
    let names: Vec<&str> = if r.activations.is_empty() {
        defaults.repeat(r.direction.count())
    } else {
        r.activations.iter().map(String::as_str).collect()
    };
    let known = |name: &str| -> std::result::Result<Function, String> {
        Ok(match name {
            "Sigmoid" => sigmoid,
            "Tanh" => f32::tanh,
            "Relu" => |x| x.max(0.0),
            "Softsign" => |x| x / (1.0 + x.abs()),
            "Softplus" => |x| x.max(0.0) + (-x.abs()).exp().ln_1p(),
            "HardSigmoid" => |x| (0.2 * x + 0.5).clamp(0.0, 1.0),
            other => return Err(format!("activation {other}")),
        })
    };
    names.into_iter().map(known).collect()
}

/// What all directions share: sizes and the inputs in order of time.
struct Sequence {
    steps: usize,
    batch: usize,
    hidden: usize,
    directions: usize,
    /// `[steps, batch, width]`
    x: Tensor,
    /// Steps of every entry.
    lengths: Vec<usize>,
    batch_first: bool,
}

impl Sequence {
    fn new(inputs: &Inputs<'_>, r: &Recurrent, gates: usize) -> Result<Self> {
        let x = inputs.at(0)?.to_device(&Device::Cpu)?.to_dtype(Held::F32)?;
        let x = if r.batch_first { x.transpose(0, 1)? } else { x }.contiguous()?;
        let (steps, batch, _) = x.dims3()?;
        let lengths = match inputs.maybe_ints(4)? {
            Some(l) => l.into_iter().map(|n| usize::try_from(n).unwrap_or(0).min(steps)).collect(),
            None => vec![steps; batch],
        };
        let (hidden, directions) = (r.hidden_size, r.direction.count());
        let (_, _, width) = x.dims3()?;
        let rows = gates * hidden;
        let wanted = [
            (1, vec![directions, rows, width]),
            (2, vec![directions, rows, hidden]),
            (3, vec![directions, 2 * rows]),
            (4, vec![batch]),
            (7, vec![directions, 3 * hidden]),
        ];
        for (at, shape) in wanted {
            if inputs.maybe(at).is_some_and(|t| t.dims() != shape) || hidden == 0 {
                bail!("input {at} is not of shape {shape:?}")
            }
        }
        let state =
            if r.batch_first { [batch, directions, hidden] } else { [directions, batch, hidden] };
        for at in [5, 6] {
            if inputs.maybe(at).is_some_and(|t| t.dims() != state) {
                bail!("input {at} is not of shape {state:?}")
            }
        }
        Ok(Self { steps, batch, hidden, directions, x, lengths, batch_first: r.batch_first })
    }

    /// The state before the first step, `[directions][batch · hidden]`.
    fn initial(&self, state: Option<&Tensor>) -> Result<Vec<Vec<f32>>> {
        let size = self.batch * self.hidden;
        let Some(state) = state else { return Ok(vec![vec![0.0; size]; self.directions]) };
        let state = if self.batch_first { state.transpose(0, 1)? } else { state.clone() };
        Ok(cells::singles(&state)?.chunks(size.max(1)).map(<[f32]>::to_vec).collect())
    }

    /// What input `index` holds for a direction, in f32; zeros where it is left out.
    fn of(inputs: &Inputs<'_>, index: usize, direction: usize, width: usize) -> Result<Vec<f32>> {
        match inputs.maybe(index) {
            Some(x) => cells::singles(&x.get(direction)?),
            None => Ok(vec![0.0; width]),
        }
    }

    /// The inputs' part of the gates, `[steps · batch, gates · hidden]`, and the states' weights turned.
    fn weights(&self, inputs: &Inputs<'_>, direction: usize) -> Result<(Vec<f32>, Tensor)> {
        let of = |i: usize| {
            let all = inputs.at(i)?.to_device(&Device::Cpu)?.to_dtype(Held::F32)?;
            all.get(direction)?.t()?.contiguous()
        };
        let (_, _, width) = self.x.dims3()?;
        let flat = self.x.reshape((self.steps * self.batch, width))?;
        Ok((cells::singles(&product(&flat, &of(1)?)?)?, of(2)?))
    }

    /// States times their weights.
    fn times(state: &[f32], weights: &Tensor) -> Result<Vec<f32>> {
        let columns = weights.dims()[0];
        let state =
            Tensor::from_slice(state, (state.len() / columns.max(1), columns), &Device::Cpu)?;
        cells::singles(&product(&state, weights)?)
    }

    /// Which step of an entry comes `nth`; `None` after its last one.
    fn time(&self, nth: usize, entry: usize, reversed: bool) -> Option<usize> {
        let length = self.lengths[entry];
        (nth < length).then(|| if reversed { length - 1 - nth } else { nth })
    }

    /// `Y` and the last states, in the layout that was asked for.
    fn outputs(
        &self,
        y: Vec<f32>,
        states: Vec<Vec<Vec<f32>>>,
        like: &Tensor,
    ) -> Result<Vec<Tensor>> {
        let (s, d, b, h) = (self.steps, self.directions, self.batch, self.hidden);
        let y = Tensor::from_vec(y, (s, d, b, h), &Device::Cpu)?;
        let y = if self.batch_first { y.permute((2, 0, 1, 3))?.contiguous()? } else { y };
        let mut outputs = vec![y.to_dtype(like.dtype())?.to_device(like.device())?];
        for state in states {
            let last = Tensor::from_vec(state.concat(), (d, b, h), &Device::Cpu)?;
            let last = if self.batch_first { last.transpose(0, 1)?.contiguous()? } else { last };
            outputs.push(last.to_dtype(like.dtype())?.to_device(like.device())?);
        }
        Ok(outputs)
    }

    /// Puts an entry's state at its place of `Y`.
    fn put(&self, y: &mut [f32], (time, direction, entry): (usize, usize, usize), state: &[f32]) {
        let at = ((time * self.directions + direction) * self.batch + entry) * self.hidden;
        y[at..at + self.hidden].copy_from_slice(state);
    }
}

fn reversed(r: &Recurrent, direction: usize) -> bool {
    r.direction == Direction::Reverse || direction == 1
}

fn checked(site: &Site<'_>) -> std::result::Result<(), String> {
    let dtype = site.dtype(0)?;
    if dtype == DType::F64 || !dtype.is_float() { Err(format!("of {dtype}")) } else { Ok(()) }
}

/// `LSTM`; gates in the order i, o, f, c, with peepholes where they are given.
pub(in crate::backend::candle) fn lstm(site: &Site<'_>, r: &Recurrent) -> Lowered {
    checked(site)?;
    let (r, functions) = (r.clone(), functions(r, &["Sigmoid", "Tanh", "Tanh"])?);
    Ok(Box::new(move |inputs| {
        let sequence = Sequence::new(inputs, &r, 4)?;
        let h = sequence.hidden;
        let (mut hidden, mut cell) =
            (sequence.initial(inputs.maybe(5))?, sequence.initial(inputs.maybe(6))?);
        let mut y = vec![0.0; sequence.steps * sequence.directions * sequence.batch * h];
        for direction in 0..sequence.directions {
            let Some(&[f, g, last]) =
                functions.chunks_exact(3).nth(direction).and_then(|c| c.first_chunk())
            else {
                bail!("has too few activations")
            };
            let (given, weights) = sequence.weights(inputs, direction)?;
            let bias = Sequence::of(inputs, 3, direction, 8 * h)?;
            let peep = Sequence::of(inputs, 7, direction, 3 * h)?;
            let clip = |x: f32| r.clip.map_or(x, |c| x.max(-c.abs()).min(c.abs()));
            for nth in 0..sequence.steps {
                let own = Sequence::times(&hidden[direction], &weights)?;
                for entry in 0..sequence.batch {
                    let Some(time) = sequence.time(nth, entry, reversed(&r, direction)) else {
                        continue;
                    };
                    let row = &given[(time * sequence.batch + entry) * 4 * h..];
                    let own = &own[entry * 4 * h..];
                    let state = entry * h..(entry + 1) * h;
                    let (old, new) =
                        (&mut cell[direction][state.clone()], &mut hidden[direction][state]);
                    for j in 0..h {
                        let gate = |n: usize| {
                            let at = n * h + j;
                            row[at] + own[at] + bias[at] + bias[4 * h + at]
                        };
                        let i = f(clip(gate(0) + peep[j] * old[j]));
                        let forget = f(clip(gate(2) + peep[2 * h + j] * old[j]));
                        let next = forget * old[j] + i * g(clip(gate(3)));
                        let o = f(clip(gate(1) + peep[h + j] * next));
                        old[j] = next;
                        new[j] = o * last(next);
                    }
                    sequence.put(&mut y, (time, direction, entry), new);
                }
            }
        }
        sequence.outputs(y, vec![hidden, cell], inputs.at(0)?)
    }))
}

/// `GRU`; gates in the order z, r, h.
#[expect(clippy::needless_range_loop, reason = "a direction is also the index of its weights")]
pub(in crate::backend::candle) fn gru(site: &Site<'_>, r: &Recurrent, linear: bool) -> Lowered {
    checked(site)?;
    let (r, functions) = (r.clone(), functions(r, &["Sigmoid", "Tanh"])?);
    Ok(Box::new(move |inputs| {
        let sequence = Sequence::new(inputs, &r, 3)?;
        let h = sequence.hidden;
        let mut hidden = sequence.initial(inputs.maybe(5))?;
        let mut y = vec![0.0; sequence.steps * sequence.directions * sequence.batch * h];
        for direction in 0..sequence.directions {
            let Some(&[f, g]) =
                functions.chunks_exact(2).nth(direction).and_then(|c| c.first_chunk())
            else {
                bail!("has too few activations")
            };
            let (given, weights) = sequence.weights(inputs, direction)?;
            let bias = Sequence::of(inputs, 3, direction, 6 * h)?;
            let last = weights.narrow(1, 2 * h, h)?.contiguous()?;
            let clip = |x: f32| r.clip.map_or(x, |c| x.max(-c.abs()).min(c.abs()));
            for nth in 0..sequence.steps {
                let own = Sequence::times(&hidden[direction], &weights)?;
                let gate = |row: &[f32], own: &[f32], n: usize, j: usize| {
                    let at = n * h + j;
                    f(clip(row[at] + own[at] + bias[at] + bias[3 * h + at]))
                };
                let places: Vec<Option<usize>> = (0..sequence.batch)
                    .map(|entry| sequence.time(nth, entry, reversed(&r, direction)))
                    .collect();
                let row =
                    |time: usize, entry: usize| &given[(time * sequence.batch + entry) * 3 * h..];
                // What is left of the state by the reset gate, multiplied after it.
                let mut kept = hidden[direction].clone();
                for (entry, time) in places.iter().enumerate() {
                    let Some(time) = time else { continue };
                    for j in 0..h {
                        kept[entry * h + j] *= gate(row(*time, entry), &own[entry * 3 * h..], 1, j);
                    }
                }
                let reset = if linear { Vec::new() } else { Sequence::times(&kept, &last)? };
                for (entry, time) in places.iter().enumerate() {
                    let Some(time) = time else { continue };
                    let (row, own) = (row(*time, entry), &own[entry * 3 * h..]);
                    let state = &mut hidden[direction][entry * h..(entry + 1) * h];
                    for (j, state) in state.iter_mut().enumerate() {
                        let at = 2 * h + j;
                        let (wb, rb) = (bias[at], bias[3 * h + at]);
                        let inner = if linear {
                            row[at] + wb + gate(row, own, 1, j) * (own[at] + rb)
                        } else {
                            row[at] + wb + reset[entry * h + j] + rb
                        };
                        let z = gate(row, own, 0, j);
                        *state = (1.0 - z) * g(clip(inner)) + z * *state;
                    }
                    let state = state.to_vec();
                    sequence.put(&mut y, (*time, direction, entry), &state);
                }
            }
        }
        sequence.outputs(y, vec![hidden], inputs.at(0)?)
    }))
}
