// A chain of functions of single elements, fused: what is read, how it is indexed and what is computed is
// written in at the marks.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<O>;
//@ bindings

// The place of element `i` of a shape `p[1]`, `p[2…]` in a tensor whose distances stand at `base`.
fn at(i: u32, base: u32) -> u32 {
    var rest = i;
    var place = 0u;
    for (var d = p[1]; d > 0u; d -= 1u) {
        let size = p[1u + d];
        place += (rest % size) * p[base + d - 1u];
        rest /= size;
    }
    return place;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p[0]) {
        return;
    }
    //@ body
}
