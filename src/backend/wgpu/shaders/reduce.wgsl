// A function over the last axis: one invocation a row.

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
    let width = p[1];
    let begin = row * width;
    var total = 0.0;
    switch KIND {
        // Sum, mean, logarithm of the sum.
        case 0u, 1u, 2u: {
            for (var i = 0u; i < width; i += 1u) { total += f32(x[begin + i]); }
        }
        // Largest, smallest, product.
        case 3u: {
            total = f32(x[begin]);
            for (var i = 1u; i < width; i += 1u) { total = max(total, f32(x[begin + i])); }
        }
        case 4u: {
            total = f32(x[begin]);
            for (var i = 1u; i < width; i += 1u) { total = min(total, f32(x[begin + i])); }
        }
        case 5u: {
            total = 1.0;
            for (var i = 0u; i < width; i += 1u) { total *= f32(x[begin + i]); }
        }
        // Sizes, squares, their root.
        case 6u: {
            for (var i = 0u; i < width; i += 1u) { total += abs(f32(x[begin + i])); }
        }
        case 7u, 8u: {
            for (var i = 0u; i < width; i += 1u) { let v = f32(x[begin + i]); total += v * v; }
        }
        // Logarithm of the sum of powers of e, less the largest so that none overflows.
        default: {
            var largest = f32(x[begin]);
            for (var i = 1u; i < width; i += 1u) { largest = max(largest, f32(x[begin + i])); }
            for (var i = 0u; i < width; i += 1u) { total += exp(f32(x[begin + i]) - largest); }
            total = largest + log(total);
        }
    }
    switch KIND {
        case 1u: { total /= f32(width); }
        case 2u: { total = log(total); }
        case 8u: { total = sqrt(total); }
        default: {}
    }
    out[row] = T(total);
}
