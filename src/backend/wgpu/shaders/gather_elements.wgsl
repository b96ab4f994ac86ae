// GatherElements: each element's own index along one axis; indices below zero count from the end, those out of
// range give the edge.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> x: array<T>;
@group(0) @binding(3) var<storage, read_write> index: array<i32>;

// p: elements, rank, axis, its size in x, then sizes of the indices, distances in x.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p[0]) {
        return;
    }
    let size = i32(p[3]);
    var at = index[i];
    at = clamp(select(at, at + size, at < 0), 0, size - 1);
    var rest = i;
    var place = 0u;
    for (var d = p[1]; d > 0u; d -= 1u) {
        let length = p[3u + d];
        var c = rest % length;
        rest /= length;
        if (d - 1u == p[2]) { c = u32(at); }
        place += c * p[3u + p[1] + d];
    }
    out[i] = x[place];
}
