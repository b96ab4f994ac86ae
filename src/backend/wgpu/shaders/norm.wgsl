// Rows less their mean, by their deviation, scaled and shifted.

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
fn main(
    //@ entries
) {
    //@ begin
    if (row >= p[0]) {
        return;
    }
    let width = p[1];
    let begin = row * width;
    var mean = 0.0;
    if (CENTRED) {
        for (var i = lane; i < width; i += LANES) { mean += f32(x[begin + i]); }
        mean = all_of(mean, 0u, lane) / f32(width);
    }
    var squares = 0.0;
    for (var i = lane; i < width; i += LANES) {
        let v = f32(x[begin + i]) - mean;
        squares += v * v;
    }
    squares = all_of(squares, 0u, lane);
    let factor = inverseSqrt(squares / f32(width) + bitcast<f32>(p[2]));
    for (var i = lane; i < width; i += LANES) {
        let at = (row % p[3]) * p[4] + (i / p[5]) % p[6];
        var v = (f32(x[begin + i]) - mean) * factor * scale[at];
        if (SHIFTED) { v += shift[at]; }
        out[begin + i] = T(v);
    }
}
