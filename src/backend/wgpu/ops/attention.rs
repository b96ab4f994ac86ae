//! `Attention`, with whatever layout its factors have.

use crate::backend::wgpu::device::Gpu;
use crate::backend::wgpu::kernels::{Elem, Kernel};
use crate::backend::wgpu::lower::{Lower, Lowered, groups, word};
use crate::backend::wgpu::shader::Shader;
use crate::backend::wgpu::tune::{Candidate, class_of};
use crate::backend::wgpu::view::View;
use crate::graph::Node;

/// Widest head whose sums stay in registers.
const WIDEST: usize = 256;

/// Queries of a tile of `flash.wgsl`.
const QUERIES: usize = 16;
/// Keys of a tile of it.
const KEYS: usize = 32;

/// Whether `flash.wgsl` has room for heads of these sizes in shared memory, and can share them out.
fn fits_shared(gpu: &Gpu, d: usize, e: usize) -> bool {
    let line = d.max(e) / 4 + 1;
    let bytes = (QUERIES + KEYS) * line * 16 + (544 + 128) * 4;
    let most = gpu.limits.max_compute_workgroup_storage_size as usize;
    d.is_multiple_of(4) && e.is_multiple_of(32) && bytes <= most
}

pub(super) fn attention(to: &mut Lower<'_>, node: &Node, scale: f32) -> Lowered {
    let mut factor = |index: usize| -> Lowered<View> { to.view(Lower::input_id(node, index)?) };
    let (q, k, v) = (factor(0)?, factor(1)?, factor(2)?);
    let (&[b, h, s, d], &[_, _, t, _], &[_, _, _, e]) = (&q.dims[..], &k.dims[..], &v.dims[..])
    else {
        return Err("whose factors have not four axes".to_owned());
    };
    if k.dims != [b, h, t, d] || v.dims != [b, h, t, e] || k.elem != q.elem || v.elem != q.elem {
        return Err(format!("of {:?}, {:?} and {:?}", q.dims, k.dims, v.dims));
    }
    if e > WIDEST || !q.elem.is_float() {
        return Err(format!("with heads of {e} {}", q.elem.wgsl()));
    }
    let mask = match node.input(3) {
        None => None,
        Some(id) => {
            let mask = to.view(id)?;
            if !mask.elem.is_float() {
                return Err("whose mask is no number to add".to_owned());
            }
            let wide = mask.broadcast(&[b, h, s, t]);
            Some(wide.ok_or_else(|| format!("whose mask is {:?}", mask.dims))?)
        }
    };
    let out = to.alloc(q.elem, vec![b, s, h, e]);
    let queries = b * h * s;
    let mut params = vec![
        word(queries),
        word(h),
        word(s),
        word(t),
        word(d),
        word(e),
        scale.to_bits(),
        u32::from(mask.is_some()),
    ];
    for view in [&q, &k, &v, mask.as_ref().unwrap_or(&q)] {
        params.push(word(view.offset));
        params.extend(view.strides.iter().map(|s| word(*s)));
    }
    let mask_elem = mask.as_ref().map_or(Elem::F32, |m| m.elem);
    let kernel = |shader: Shader| {
        let mut kernel = Kernel::new(shader, 6).of("T", q.elem).of("M", mask_elem);
        kernel.preamble = format!("const WIDTH: u32 = {e}u;\nconst DEPTH: u32 = {d}u;\n");
        let groups = match shader {
            Shader::Flash => [word(s.div_ceil(QUERIES)), word(h), word(b)],
            _ => groups(queries, to.gpu),
        };
        Candidate { kernel, params: params.clone(), groups }
    };
    let mut candidates = vec![kernel(Shader::Attention)];
    if fits_shared(to.gpu, d, e) {
        // Barriers are dear where the CPU computes.
        let at = usize::from(to.gpu.is_software());
        candidates.insert(at, kernel(Shader::Flash));
    }
    let reads = vec![q.memory, k.memory, v.memory, mask.as_ref().map_or(q.memory, |m| m.memory)];
    to.count(&format!("attention {}", q.elem.wgsl()), false, None);
    let (rows, keys) = (class_of(queries), class_of(t));
    let class = format!("attention {} ≤{rows}×{d} ≤{keys}×{e}", q.elem.wgsl());
    let flops = 2.0 * queries as f64 * t as f64 * (d + e) as f64;
    to.push_best(&class, candidates, out.memory, reads, flops)?;
    to.set(Lower::output_id(node)?, out.transposed(&[0, 2, 1, 3]));
    Ok(())
}
