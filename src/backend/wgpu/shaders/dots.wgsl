// activation(a · w + bias) of two factors of 8 bits, four products of four at a time: exact, as ONNX has it.

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

// p: m, n, k/4, columns in fours, whether there is a bias.
@compute @workgroup_size(16, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let m = p[0];
    let n = p[1];
    let steps = p[2];
    let wide = p[3];
    let row = id.y * 4u;
    if (row >= m || id.x >= wide) {
        return;
    }
    let r0 = row * steps;
    let r1 = min(row + 1u, m - 1u) * steps;
    let r2 = min(row + 2u, m - 1u) * steps;
    let r3 = min(row + 3u, m - 1u) * steps;
    var s0 = vec4<i32>();
    var s1 = vec4<i32>();
    var s2 = vec4<i32>();
    var s3 = vec4<i32>();
    for (var k = 0u; k < steps; k += 1u) {
        let columns = w[k * wide + id.x];
        s0 += fours(a[r0 + k], columns);
        s1 += fours(a[r1 + k], columns);
        s2 += fours(a[r2 + k], columns);
        s3 += fours(a[r3 + k], columns);
    }
    let column = id.x * 4u;
    let to = row * n + column;
    write(to, s0, column, n);
    if (row + 1u < m) { write(to + n, s1, column, n); }
    if (row + 2u < m) { write(to + 2u * n, s2, column, n); }
    if (row + 3u < m) { write(to + 3u * n, s3, column, n); }
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
