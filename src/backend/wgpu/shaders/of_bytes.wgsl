// Two factors of 8 bits, and the end of their product: exact sums, then scales, bias and activation.

// Whether four bytes are multiplied by WGSL's own function, or one by one.
override PACKED: bool = true;

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> a: array<u32>;
@group(0) @binding(3) var<storage, read_write> w: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> scales: array<f32>;
@group(0) @binding(5) var<storage, read_write> sums_of_w: array<i32>;
// a's scale and zero point.
@group(0) @binding(6) var<storage, read_write> of_a: array<f32>;
@group(0) @binding(7) var<storage, read_write> bias: array<f32>;

fn four(x: u32, y: u32) -> i32 {
    if (PACKED) {
        return dot4I8Packed(x, y);
    }
    let products = unpack4xI8(x) * unpack4xI8(y);
    return products.x + products.y + products.z + products.w;
}

fn fours(x: u32, y: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(four(x, y.x), four(x, y.y), four(x, y.z), four(x, y.w));
}

fn write(to: u32, sums: vec4<i32>, column: u32, n: u32) {
    let zero = i32(of_a[1]);
    for (var j = 0u; j < 4u; j += 1u) {
        let c = column + j;
        if (c < n) {
            var v = f32(sums[j] - zero * sums_of_w[c]) * (of_a[0] * scales[c]);
            if (p[4] != 0u) { v += bias[c]; }
            out[to + j] = T(activated(v));
        }
    }
}
