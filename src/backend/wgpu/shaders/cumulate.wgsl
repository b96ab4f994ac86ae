// CumSum over the last axis: one invocation a row.

override EXCLUSIVE: bool = false;
override REVERSE: bool = false;

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
    var total = B();
    for (var i = 0u; i < p[1]; i += 1u) {
        let at = row * p[1] + select(i, p[1] - 1u - i, REVERSE);
        let next = total + B(x[at]);
        out[at] = T(select(next, total, EXCLUSIVE));
        total = next;
    }
}
