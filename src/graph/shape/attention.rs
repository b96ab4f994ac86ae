//! Shapes of attention and recurrent networks.

use super::context::{Context, Fact, broadcast, same};
use crate::graph::dim::Dim;
use crate::graph::op::Recurrent;

/// q `[b, h, s, d]`, k `[b, h, t, d]`, v `[b, h, t, e]` → `[b, h, s, e]`.
#[expect(clippy::many_single_char_names, reason = "the names are those of the formula above")]
pub(super) fn attention(c: &Context<'_>) -> Result<Vec<Fact>, String> {
    let dtype = c.dtype(0)?;
    let (Some(q), Some(k), Some(v)) = (c.dims(0)?, c.dims(1)?, c.dims(2)?) else {
        return Ok(vec![Fact { dtype, dims: None }]);
    };
    let ([b, h, s, d], [_, _, t, d2], [_, _, t2, e]) = (q, k, v) else {
        return Err("queries, keys and values need four axes".to_owned());
    };
    same(d, d2, "the width of queries and keys")?;
    same(t, t2, "the number of keys and values")?;
    if c.has(3) {
        let scores = [b.clone(), h.clone(), s.clone(), t.clone()];
        broadcast(&[Some(&scores), c.dims(3)?])?;
    }
    Ok(vec![Fact { dtype, dims: Some(vec![b.clone(), h.clone(), s.clone(), e.clone()]) }])
}

/// `LSTM` and `GRU`: the sequence of outputs, then `states` last ones.
pub(super) fn recurrent(
    c: &Context<'_>,
    attributes: &Recurrent,
    states: usize,
) -> Result<Vec<Fact>, String> {
    let dtype = c.dtype(0)?;
    let Some(x) = c.dims(0)? else { return Ok(vec![Fact { dtype, dims: None }]) };
    let [first, second, _] = x else { return Err("its input needs three axes".to_owned()) };
    let (steps, batch) = if attributes.batch_first { (second, first) } else { (first, second) };
    let directions = Dim::Fixed(attributes.direction.count());
    let width = Dim::Fixed(attributes.hidden_size);
    let (all, last) = if attributes.batch_first {
        (vec![batch, steps, &directions, &width], vec![batch, &directions, &width])
    } else {
        (vec![steps, &directions, batch, &width], vec![&directions, batch, &width])
    };
    let fact =
        |dims: &[&Dim]| Fact { dtype, dims: Some(dims.iter().map(|d| (*d).clone()).collect()) };
    Ok(std::iter::once(fact(&all)).chain((1..states).map(|_| fact(&last))).collect())
}
