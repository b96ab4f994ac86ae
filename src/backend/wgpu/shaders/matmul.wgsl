// activation(a · b + bias), four rows and four columns an invocation, from registers: for adapters on which
// barriers cost more than reading again.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> a: array<vec4<A>>;

// p: m, n, k/4, columns of b in fours, whether there is a bias, then distances of whole matrices of a (in
// fours), b (in fours) and out, z counting them. What b is, the file before this one says.
@compute @workgroup_size(16, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let m = p[0];
    let n = p[1];
    let wide = p[3];
    let row = id.y * 4u;
    if (row >= m || id.x >= wide) {
        return;
    }
    let steps = p[2];
    // Rows past the end repeat the last one, and are not written.
    let first = id.z * p[5];
    let r0 = first + row * steps;
    let r1 = first + min(row + 1u, m - 1u) * steps;
    let r2 = first + min(row + 2u, m - 1u) * steps;
    let r3 = first + min(row + 3u, m - 1u) * steps;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var k = 0u; k < steps; k += 1u) {
        let b0 = four_of_b(k * 4u, id.x, id.z);
        let b1 = four_of_b(k * 4u + 1u, id.x, id.z);
        let b2 = four_of_b(k * 4u + 2u, id.x, id.z);
        let b3 = four_of_b(k * 4u + 3u, id.x, id.z);
        let a0 = vec4<f32>(a[r0 + k]);
        s0 += a0.x * b0 + a0.y * b1 + a0.z * b2 + a0.w * b3;
        let a1 = vec4<f32>(a[r1 + k]);
        s1 += a1.x * b0 + a1.y * b1 + a1.z * b2 + a1.w * b3;
        let a2 = vec4<f32>(a[r2 + k]);
        s2 += a2.x * b0 + a2.y * b1 + a2.z * b2 + a2.w * b3;
        let a3 = vec4<f32>(a[r3 + k]);
        s3 += a3.x * b0 + a3.y * b1 + a3.z * b2 + a3.w * b3;
    }
    let column = id.x * 4u;
    let to = id.z * p[7] + row * n + column;
    write(to, s0, row, column, n);
    if (row + 1u < m) { write(to + n, s1, row + 1u, column, n); }
    if (row + 2u < m) { write(to + 2u * n, s2, row + 2u, column, n); }
    if (row + 3u < m) { write(to + 3u * n, s3, row + 3u, column, n); }
}
