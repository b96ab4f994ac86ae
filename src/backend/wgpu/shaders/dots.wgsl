// activation(a · w + bias) of two factors of 8 bits, four rows and four columns an invocation.

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
