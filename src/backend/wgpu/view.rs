//! Tensors as kernels see them: elements somewhere, with sizes and distances.

use super::kernels::Elem;

/// Where elements lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Memory {
    /// A piece of the plan's arena, by number.
    Piece(usize),
    /// A buffer of its own: a weight or an input.
    Own(usize),
}

/// A tensor whose elements need not lie in order: transposing, slicing and repeating move nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) memory: Memory,
    pub(super) elem: Elem,
    pub(super) dims: Vec<usize>,
    /// Elements between neighbours along each axis.
    pub(super) strides: Vec<usize>,
    /// The first element.
    pub(super) offset: usize,
}

/// Distances between neighbours along every axis of a dense tensor.
pub(super) fn dense_strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(dims[axis]);
    }
    strides
}

impl View {
    /// All of `memory`, in order.
    pub(super) fn dense(memory: Memory, elem: Elem, dims: Vec<usize>) -> Self {
        let strides = dense_strides(&dims);
        Self { memory, elem, dims, strides, offset: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether the elements lie in order from the beginning of their memory.
    pub(super) fn is_dense(&self) -> bool {
        let right = dense_strides(&self.dims);
        let axes = self.dims.iter().zip(&self.strides).zip(&right);
        self.offset == 0 && axes.clone().all(|((size, have), want)| *size <= 1 || have == want)
    }

    /// With the axes in the order `perm`.
    pub(super) fn transposed(&self, perm: &[usize]) -> Self {
        let pick = |of: &[usize]| perm.iter().map(|axis| of[*axis]).collect();
        Self { dims: pick(&self.dims), strides: pick(&self.strides), ..self.clone() }
    }

    /// Repeated to `dims` by the rules of broadcasting; `None` where it does not fit.
    pub(super) fn broadcast(&self, dims: &[usize]) -> Option<Self> {
        let missing = dims.len().checked_sub(self.dims.len())?;
        let mut strides = vec![0; dims.len()];
        for (axis, (size, stride)) in self.dims.iter().zip(&self.strides).enumerate() {
            match (*size, dims[missing + axis]) {
                (have, want) if have == want => strides[missing + axis] = *stride,
                (1, _) => {}
                _ => return None,
            }
        }
        Some(Self { dims: dims.to_vec(), strides, ..self.clone() })
    }

    /// The same elements under other sizes, where no element has to move for it.
    pub(super) fn reshaped(&self, dims: &[usize]) -> Option<Self> {
        if self.len() != dims.iter().product::<usize>() {
            return None;
        }
        if self.is_dense() || self.len() == 0 {
            return Some(Self {
                dims: dims.to_vec(),
                strides: dense_strides(dims),
                ..self.clone()
            });
        }
        // Axes of one element stand nowhere; the others are matched group by group of equal products.
        let old: Vec<(usize, usize)> = self
            .dims
            .iter()
            .copied()
            .zip(self.strides.iter().copied())
            .filter(|(size, _)| *size != 1)
            .collect();
        let mut strides = vec![0; dims.len()];
        let (mut from, mut to) = (0, 0);
        while from < old.len() {
            let (mut end, mut have) = (from + 1, old[from].0);
            let (mut until, mut want) = (to, 1);
            while want != have || until == to {
                if want < have || until == to {
                    want *= *dims.get(until)?;
                    until += 1;
                } else {
                    have *= old.get(end)?.0;
                    end += 1;
                }
                if want > have && end == old.len() {
                    return None;
                }
            }
            // Within a group of old axes a step along one must be a whole run of the next.
            let runs = old[from..end].windows(2).all(|pair| pair[0].1 == pair[1].1 * pair[1].0);
            if !runs {
                return None;
            }
            let mut stride = old[end - 1].1;
            for axis in (to..until).rev() {
                strides[axis] = stride;
                stride *= dims[axis];
            }
            (from, to) = (end, until);
        }
        Some(Self { dims: dims.to_vec(), strides, ..self.clone() })
    }

    /// From `start`, `count` elements along `axis`, `step` apart.
    pub(super) fn sliced(&self, axis: usize, start: usize, count: usize, step: usize) -> Self {
        let mut view = self.clone();
        view.offset += start * self.strides[axis];
        view.dims[axis] = count;
        view.strides[axis] *= step;
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(dims: &[usize]) -> View {
        View::dense(Memory::Own(0), Elem::F32, dims.to_vec())
    }

    /// Places of all elements in C order.
    fn places(view: &View) -> Vec<usize> {
        let mut places = vec![view.offset];
        for (size, stride) in view.dims.iter().zip(&view.strides) {
            places =
                places.iter().flat_map(|at| (0..*size).map(move |i| at + i * stride)).collect();
        }
        places
    }

    #[test]
    fn reshaping_moves_nothing_or_is_refused() {
        let x = view(&[2, 3, 4, 5]);
        let heads = x.transposed(&[0, 2, 1, 3]);
        for (from, to) in [
            (&x, vec![6, 20]),
            (&x, vec![120]),
            (&x, vec![1, 2, 3, 1, 20]),
            (&heads, vec![2, 4, 1, 3, 5]),
            (&heads, vec![2, 2, 2, 3, 5]),
            (&heads, vec![8, 3, 5]),
        ] {
            if let Some(other) = from.reshaped(&to) {
                assert_eq!(places(&other), places(from), "{:?} to {to:?}", from.dims);
            } else {
                assert_eq!(to, [8, 3, 5]);
            }
        }
        assert!(heads.reshaped(&[2, 4, 15]).is_none() && heads.reshaped(&[7]).is_none());
        let wide = view(&[4, 1]).broadcast(&[4, 3]).unwrap();
        assert_eq!(places(&wide), [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
        assert!(wide.reshaped(&[12]).is_none() && !wide.is_dense());
        assert_eq!(places(&view(&[6]).sliced(0, 1, 3, 2)), [1, 3, 5]);
    }
}
