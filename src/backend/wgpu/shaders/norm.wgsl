// Rows less their mean, by their deviation, scaled and shifted: one invocation a row.

// Whether the mean is taken off, and whether there are scale and shift.
override CENTRED: bool = true;
override SHIFTED: bool = true;

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> x: array<T>;
@group(0) @binding(3) var<storage, read_write> scale: array<f32>;
@group(0) @binding(4) var<storage, read_write> shift: array<f32>;

// p: rows, width, epsilon's bits, then how scale and shift are read: element i of row r is at
// (r % p[3]) * p[4] + (i / p[5]) % p[6].
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let row = id.x + id.y * groups.x * 64u;
    if (row >= p[0]) {
        return;
    }
    let width = p[1];
    let begin = row * width;
    var mean = 0.0;
    if (CENTRED) {
        for (var i = 0u; i < width; i += 1u) { mean += f32(x[begin + i]); }
        mean /= f32(width);
    }
    var squares = 0.0;
    for (var i = 0u; i < width; i += 1u) {
        let v = f32(x[begin + i]) - mean;
        squares += v * v;
    }
    let factor = inverseSqrt(squares / f32(width) + bitcast<f32>(p[2]));
    for (var i = 0u; i < width; i += 1u) {
        let at = (row % p[3]) * p[4] + (i / p[5]) % p[6];
        var v = (f32(x[begin + i]) - mean) * factor * scale[at];
        if (SHIFTED) { v += shift[at]; }
        out[begin + i] = T(v);
    }
}
