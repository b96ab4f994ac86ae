// A function over the last axis.

override KIND: u32;

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
    var total = 0.0;
    switch KIND {
        // Sum, mean, logarithm of the sum.
        case 0u, 1u, 2u: {
            for (var i = lane; i < width; i += LANES) { total += f32(x[begin + i]); }
            total = all_of(total, 0u, lane);
        }
        // Largest, smallest, product.
        case 3u: {
            total = f32(x[begin]);
            for (var i = lane; i < width; i += LANES) { total = max(total, f32(x[begin + i])); }
            total = all_of(total, 1u, lane);
        }
        case 4u: {
            total = f32(x[begin]);
            for (var i = lane; i < width; i += LANES) { total = min(total, f32(x[begin + i])); }
            total = all_of(total, 2u, lane);
        }
        case 5u: {
            total = 1.0;
            for (var i = lane; i < width; i += LANES) { total *= f32(x[begin + i]); }
            total = all_of(total, 3u, lane);
        }
        // Sizes, squares, their root.
        case 6u: {
            for (var i = lane; i < width; i += LANES) { total += abs(f32(x[begin + i])); }
            total = all_of(total, 0u, lane);
        }
        case 7u, 8u: {
            for (var i = lane; i < width; i += LANES) {
                let v = f32(x[begin + i]);
                total += v * v;
            }
            total = all_of(total, 0u, lane);
        }
        // Logarithm of the sum of powers of e, less the largest so that none overflows.
        default: {
            var largest = f32(x[begin]);
            for (var i = lane; i < width; i += LANES) { largest = max(largest, f32(x[begin + i])); }
            largest = all_of(largest, 1u, lane);
            for (var i = lane; i < width; i += LANES) { total += exp(f32(x[begin + i]) - largest); }
            total = largest + log(all_of(total, 0u, lane));
        }
    }
    switch KIND {
        case 1u: { total /= f32(width); }
        case 2u: { total = log(total); }
        case 8u: { total = sqrt(total); }
        default: {}
    }
    if (lane == 0u) { out[row] = T(total); }
}
