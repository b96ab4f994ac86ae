//! `Attention`, with whatever layout its factors have.

use crate::backend::wgpu::kernels::{Elem, Kernel, Shader};
use crate::backend::wgpu::lower::{Lower, Lowered, groups, word};
use crate::backend::wgpu::view::View;
use crate::graph::Node;

/// Widest head whose sums stay in registers.
const WIDEST: usize = 256;

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
    let mut kernel = Kernel::new(Shader::Attention, 6).of("T", q.elem).of("M", mask_elem);
    kernel.preamble = format!("const WIDTH: u32 = {e}u;\n");
    let reads = vec![q.memory, k.memory, v.memory, mask.as_ref().map_or(q.memory, |m| m.memory)];
    to.count(&format!("attention {}", q.elem.wgsl()), false, None);
    to.push(kernel, params, out.memory, reads, groups(queries, to.gpu));
    to.set(Lower::output_id(node)?, out.transposed(&[0, 2, 1, 3]));
    Ok(())
}
