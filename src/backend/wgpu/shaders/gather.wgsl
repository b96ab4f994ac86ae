// Gather: rows of a table by index; indices below zero count from the end.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> table: array<T>;
@group(0) @binding(3) var<storage, read_write> index: array<i32>;

// p: elements, elements behind the axis, indices, size of the axis. What is out of range gives the edge,
// as reads of WebGPU do.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p[0]) {
        return;
    }
    let inner = p[1];
    let behind = i % inner;
    let which = (i / inner) % p[2];
    let before = i / (inner * p[2]);
    let size = i32(p[3]);
    var at = index[which];
    at = clamp(select(at, at + size, at < 0), 0, size - 1);
    out[i] = table[(before * p[3] + u32(at)) * inner + behind];
}
