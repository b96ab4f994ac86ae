// GatherND: slices of x by tuples of indices; indices below zero count from the end, those out of range give
// the edge.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> x: array<T>;
@group(0) @binding(3) var<storage, read_write> index: array<i32>;

// p: elements, elements of a slice, indices of a tuple, tuples of a batch, elements of x in a batch, then sizes
// of the axes that are indexed, their distances.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p[0]) {
        return;
    }
    let which = i / p[1];
    var place = which / p[3] * p[4] + i % p[1];
    for (var j = 0u; j < p[2]; j += 1u) {
        let size = i32(p[5u + j]);
        var at = index[which * p[2] + j];
        at = clamp(select(at, at + size, at < 0), 0, size - 1);
        place += u32(at) * p[5u + p[2] + j];
    }
    out[i] = x[place];
}
