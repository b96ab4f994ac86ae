// A function of whole numbers over the last axis: one invocation a row.

// Sum (0), mean (1), largest (3), smallest (4), product (5), sizes (6), squares (7), as in reduce.wgsl.
override KIND: u32;

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
    let begin = row * p[1];
    var total = select(T(0), T(1), KIND == 5u);
    if (KIND == 3u || KIND == 4u) { total = x[begin]; }
    for (var i = 0u; i < p[1]; i += 1u) {
        let v = x[begin + i];
        switch KIND {
            case 3u: { total = max(total, v); }
            case 4u: { total = min(total, v); }
            case 5u: { total *= v; }
            case 6u: { total += max(v, T(0) - v); }
            case 7u: { total += v * v; }
            default: { total += v; }
        }
    }
    if (KIND == 1u) { total /= T(p[1]); }
    out[row] = total;
}
