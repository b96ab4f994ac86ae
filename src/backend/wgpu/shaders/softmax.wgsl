// Softmax and its logarithm over the last axis.

override LOG: bool = false;

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> x: array<T>;

// p: rows, width.
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
    var largest = f32(x[begin]);
    for (var i = lane; i < width; i += LANES) { largest = max(largest, f32(x[begin + i])); }
    largest = all_of(largest, 1u, lane);
    var total = 0.0;
    for (var i = lane; i < width; i += LANES) { total += exp(f32(x[begin + i]) - largest); }
    total = all_of(total, 0u, lane);
    let shift = log(total);
    for (var i = lane; i < width; i += LANES) {
        let v = f32(x[begin + i]);
        if (LOG) {
            out[begin + i] = T((v - largest) - shift);
        } else {
            out[begin + i] = T(exp(v - largest) / total);
        }
    }
}
