// activation(a · b + bias) by tiles of 64 × 64 that a workgroup shares, sixteen elements an invocation.

const TILE: u32 = 64u;
const DEEP: u32 = 16u;

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> a: array<vec4<A>>;

// a's tile lies turned: rows next to each other.
var<workgroup> of_a: array<vec4<f32>, 256>;
var<workgroup> of_b: array<vec4<f32>, 256>;

// p as in matmul.wgsl. Threads are 16 × 16; each loads four elements of either tile.
@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let m = p[0];
    let n = p[1];
    let steps = p[2];
    let top = group.y * TILE;
    let left = group.x * (TILE / 4u);
    // Of a: 64 rows of 4 fours; of b: 16 rows of 16 fours.
    let a_row = index / 4u;
    let a_four = index % 4u;
    let b_row = index / 16u;
    let b_four = min(left + index % 16u, p[3] - 1u);
    let a_at = group.z * p[5] + min(top + a_row, m - 1u) * steps;
    // Element (row, kk) of a goes to vec4 kk * 16 + row / 4, component row % 4.
    let at = a_four * 4u * 16u + a_row / 4u;
    let part = a_row % 4u;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var k = 0u; k < steps; k += 4u) {
        var four = vec4<f32>();
        if (k + a_four < steps) { four = vec4<f32>(a[a_at + k + a_four]); }
        of_a[at][part] = four.x;
        of_a[at + 16u][part] = four.y;
        of_a[at + 32u][part] = four.z;
        of_a[at + 48u][part] = four.w;
        var other = vec4<f32>();
        if (k * 4u + b_row < steps * 4u) { other = four_of_b(k * 4u + b_row, b_four, group.z); }
        of_b[index] = other;
        workgroupBarrier();
        for (var kk = 0u; kk < DEEP; kk += 1u) {
            let rows = of_a[kk * 16u + local.y];
            let columns = of_b[kk * 16u + local.x];
            s0 += rows.x * columns;
            s1 += rows.y * columns;
            s2 += rows.z * columns;
            s3 += rows.w * columns;
        }
        workgroupBarrier();
    }
    let row = top + local.y * 4u;
    let column = (left + local.x) * 4u;
    let to = group.z * p[7] + row * n + column;
    if (row < m) { write(to, s0, row, column, n); }
    if (row + 1u < m) { write(to + n, s1, row + 1u, column, n); }
    if (row + 2u < m) { write(to + 2u * n, s2, row + 2u, column, n); }
    if (row + 3u < m) { write(to + 3u * n, s3, row + 3u, column, n); }
}
