// activation(a · w + bias) for weights of 4 or 8 bits that become numbers in registers: four rows and four
// columns an invocation, scaled once for four rows of w.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> a: array<vec4<A>>;

// p as in matmul.wgsl.
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
    // Rows past the end repeat the last one, and are not written.
    let r0 = row * steps;
    let r1 = min(row + 1u, m - 1u) * steps;
    let r2 = min(row + 2u, m - 1u) * steps;
    let r3 = min(row + 3u, m - 1u) * steps;
    var offset = vec4<f32>();
    if (OFFSETS) { offset = offsets[id.x]; }
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var k = 0u; k < steps; k += 1u) {
        let rows = four_rows(k, id.x, wide);
        let scale = scales[k * 4u / p[8] * wide + id.x];
        let a0 = vec4<f32>(a[r0 + k]);
        let a1 = vec4<f32>(a[r1 + k]);
        let a2 = vec4<f32>(a[r2 + k]);
        let a3 = vec4<f32>(a[r3 + k]);
        var t0 = rows * a0;
        var t1 = rows * a1;
        var t2 = rows * a2;
        var t3 = rows * a3;
        if (OFFSETS) {
            let ones = vec4<f32>(1.0);
            t0 += offset * dot(a0, ones);
            t1 += offset * dot(a1, ones);
            t2 += offset * dot(a2, ones);
            t3 += offset * dot(a3, ones);
        }
        s0 += scale * t0;
        s1 += scale * t1;
        s2 += scale * t2;
        s3 += scale * t3;
    }
    let column = id.x * 4u;
    let to = row * n + column;
    write(to, s0, row, column, n);
    if (row + 1u < m) { write(to + n, s1, row + 1u, column, n); }
    if (row + 2u < m) { write(to + 2u * n, s2, row + 2u, column, n); }
    if (row + 3u < m) { write(to + 3u * n, s3, row + 3u, column, n); }
}

// Four columns of four rows, a column of the matrix being a row of w.
fn four_rows(k: u32, column: u32, wide: u32) -> mat4x4<f32> {
    if (BITS == 8u) {
        let at = k * 4u * wide + column;
        return mat4x4<f32>(
            vec4<f32>(unpack4xI8(w[at])),
            vec4<f32>(unpack4xI8(w[at + wide])),
            vec4<f32>(unpack4xI8(w[at + 2u * wide])),
            vec4<f32>(unpack4xI8(w[at + 3u * wide])),
        );
    }
    let at = k * 2u * wide + column;
    let one = w[at];
    let two = w[at + wide];
    return mat4x4<f32>(nibbles(one), nibbles(one >> 16u), nibbles(two), nibbles(two >> 16u));
}
