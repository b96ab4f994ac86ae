// ArgMax and ArgMin over the last axis: one invocation a row.

override LARGEST: bool = true;
override LAST: bool = false;

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<i32>;
@group(0) @binding(2) var<storage, read_write> x: array<T>;

// p: rows, width.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let row = id.x + id.y * groups.x * 64u;
    if (row >= p[0]) {
        return;
    }
    let begin = row * p[1];
    var best = x[begin];
    var at = 0u;
    for (var i = 1u; i < p[1]; i += 1u) {
        let v = x[begin + i];
        let better = select((v < best), (v > best), LARGEST);
        if (better || (LAST && v == best)) {
            best = v;
            at = i;
        }
    }
    out[row] = i32(at);
}
