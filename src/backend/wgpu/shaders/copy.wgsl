// Elements of one layout into another: transposition, slices, repetition, joining.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> x: array<T>;

// p: elements, rank, first place of `out`, first place of `x`, then sizes, distances in `out`, in `x`.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p[0]) {
        return;
    }
    let rank = p[1];
    var rest = i;
    var to = p[2];
    var begin = p[3];
    for (var d = rank; d > 0u; d -= 1u) {
        let size = p[3u + d];
        let k = rest % size;
        rest /= size;
        to += k * p[3u + rank + d];
        begin += k * p[3u + 2u * rank + d];
    }
    out[to] = x[begin];
}
