// Softmax and its logarithm over the last axis: one invocation a row.

override LOG: bool = false;

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> x: array<T>;

// p: rows, width.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let row = id.x + id.y * groups.x * 64u;
    if (row >= p[0]) {
        return;
    }
    let width = p[1];
    let begin = row * width;
    var largest = f32(x[begin]);
    for (var i = 1u; i < width; i += 1u) { largest = max(largest, f32(x[begin + i])); }
    var total = 0.0;
    for (var i = 0u; i < width; i += 1u) { total += exp(f32(x[begin + i]) - largest); }
    let shift = log(total);
    for (var i = 0u; i < width; i += 1u) {
        let v = f32(x[begin + i]);
        if (LOG) {
            out[begin + i] = T((v - largest) - shift);
        } else {
            out[begin + i] = T(exp(v - largest) / total);
        }
    }
}
