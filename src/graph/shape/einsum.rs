//! Shapes of `Einsum`.

use std::collections::BTreeMap;

use super::context::{Context, Fact, broadcast};
use crate::graph::dim::Dim;

/// The axes of a term: letters, and where the ellipsis stands.
fn axes(term: &str) -> Result<(Vec<char>, Option<usize>), String> {
    let (mut letters, mut ellipsis) = (Vec::new(), None);
    let mut rest = term;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("...") {
            if ellipsis.replace(letters.len()).is_some() {
                return Err(format!("`{term}` has two ellipses"));
            }
            rest = after;
        } else if first.is_ascii_alphabetic() {
            letters.push(first);
            rest = &rest[1..];
        } else {
            return Err(format!("`{term}` holds `{first}`"));
        }
    }
    Ok((letters, ellipsis))
}

pub(super) fn einsum(c: &Context<'_>, equation: &str) -> Result<Vec<Fact>, String> {
    let dtype = c.dtype(0)?;
    let equation: String = equation.chars().filter(|ch| !ch.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != c.node.inputs.len() {
        return Err(format!("`{equation}` is about {} inputs", terms.len()));
    }
    let mut sizes: BTreeMap<char, Dim> = BTreeMap::new();
    let mut seen: BTreeMap<char, usize> = BTreeMap::new();
    let mut hidden: Vec<Dim> = Vec::new();
    for (at, term) in terms.iter().enumerate() {
        let (letters, ellipsis) = axes(term)?;
        for letter in &letters {
            *seen.entry(*letter).or_default() += 1;
        }
        let Some(dims) = c.dims(at)? else { return Ok(vec![Fact { dtype, dims: None }]) };
        let extra = dims.len().checked_sub(letters.len());
        let extra = extra.filter(|n| *n == 0 || ellipsis.is_some());
        let extra = extra.ok_or_else(|| format!("`{term}` does not name {} axes", dims.len()))?;
        let start = ellipsis.unwrap_or(letters.len());
        hidden =
            broadcast(&[Some(&hidden), Some(&dims[start..start + extra])])?.unwrap_or_default();
        let named = dims[..start].iter().chain(&dims[start + extra..]);
        for (letter, dim) in letters.iter().zip(named) {
            let known = sizes.get(letter).cloned();
            let size = broadcast(&[
                Some(&[known.unwrap_or(Dim::Fixed(1))]),
                Some(std::slice::from_ref(dim)),
            ])?;
            sizes.insert(*letter, size.and_then(|s| s.first().cloned()).unwrap_or(Dim::Unknown));
        }
    }
    let (letters, ellipsis) = match right {
        Some(right) => axes(right)?,
        // In alphabetical order, what stands in one term only; the ellipsis first.
        None => (seen.iter().filter(|(_, n)| **n == 1).map(|(l, _)| *l).collect(), Some(0)),
    };
    let mut dims = Vec::new();
    for (at, letter) in letters.iter().enumerate() {
        if ellipsis == Some(at) {
            dims.append(&mut hidden);
        }
        dims.push(sizes.get(letter).cloned().ok_or_else(|| format!("`{letter}` is in no input"))?);
    }
    if ellipsis == Some(letters.len()) {
        dims.append(&mut hidden);
    }
    Ok(vec![Fact { dtype, dims: Some(dims) }])
}

/// Elements of the product before anything is summed: of all letters together. The ellipsis counts as
/// the largest that stands for it.
pub(in crate::graph) fn elements(equation: &str, sizes: &[Vec<usize>]) -> u64 {
    let equation: String = equation.chars().filter(|ch| !ch.is_whitespace()).collect();
    let left = equation.split("->").next().unwrap_or_default();
    let mut letters_of: BTreeMap<char, u64> = BTreeMap::new();
    let mut hidden = 1_u64;
    for (term, sizes) in left.split(',').zip(sizes) {
        let Ok((letters, ellipsis)) = axes(term) else { return 0 };
        let extra = sizes.len().saturating_sub(letters.len());
        let start = ellipsis.unwrap_or(letters.len()).min(sizes.len());
        let product =
            |sizes: &[usize]| sizes.iter().fold(1_u64, |n, d| n.saturating_mul(*d as u64));
        hidden = hidden.max(product(&sizes[start..(start + extra).min(sizes.len())]));
        let named = sizes[..start].iter().chain(sizes.iter().skip(start + extra));
        for (letter, size) in letters.iter().zip(named) {
            let largest = letters_of.entry(*letter).or_insert(1);
            *largest = (*largest).max(*size as u64);
        }
    }
    letters_of.values().fold(hidden, |n, d| n.saturating_mul(*d))
}
