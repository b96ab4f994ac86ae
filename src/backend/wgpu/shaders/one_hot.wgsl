// OneHot: the second value where an index is, the first elsewhere; an index out of range is nowhere.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> index: array<X>;
@group(0) @binding(3) var<storage, read_write> values: array<T>;

// p: elements, elements behind the new axis, its size.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p[0]) {
        return;
    }
    let which = i32(i / p[1] % p[2]);
    var at = i32(index[i / (p[1] * p[2]) * p[1] + i % p[1]]);
    at = select(at, at + i32(p[2]), at < 0);
    out[i] = values[select(0u, 1u, at == which)];
}
