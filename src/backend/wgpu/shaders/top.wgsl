// TopK over the last axis: one invocation an element, which counts those before it in order. Of equal ones the
// first comes first.

override LARGEST: bool = true;

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> x: array<T>;
@group(0) @binding(3) var<storage, read_write> places: array<i32>;

// p: elements, width, k.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p[0]) {
        return;
    }
    let row = i / p[1];
    let own = i % p[1];
    let v = x[i];
    var before = 0u;
    for (var j = 0u; j < p[1]; j += 1u) {
        let other = x[row * p[1] + j];
        let better = select((other < v), (other > v), LARGEST);
        if (better || (other == v && j < own)) { before += 1u; }
    }
    if (before < p[2]) {
        out[row * p[2] + before] = v;
        places[row * p[2] + before] = i32(own);
    }
}
