// activation(a · w + bias) of two factors of 8 bits by tiles of 64 × 64 that a workgroup shares.

const TILE: u32 = 64u;
// Words, four of k each.
const DEEP: u32 = 16u;

// a's tile lies turned: rows next to each other.
var<workgroup> tile_of_a: array<vec4<u32>, 256>;
var<workgroup> tile_of_w: array<vec4<u32>, 256>;

// p as in dots.wgsl. Threads are 16 × 16; each loads four words of a and four columns of w.
@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let m = p[0];
    let n = p[1];
    let steps = p[2];
    let wide = p[3];
    let top = group.y * TILE;
    let left = group.x * (TILE / 4u);
    let w_row = index / 16u;
    let w_four = min(left + index % 16u, wide - 1u);
    // Word `index % 16` of rows index / 16 and 16, 32 and 48 more.
    let a_word = index % 16u;
    let a_row = index / 16u;
    let r0 = min(top + a_row, m - 1u) * steps;
    let r1 = min(top + a_row + 16u, m - 1u) * steps;
    let r2 = min(top + a_row + 32u, m - 1u) * steps;
    let r3 = min(top + a_row + 48u, m - 1u) * steps;
    // Element (row, kk) of a goes to vec4 kk * 16 + row / 4, component row % 4.
    let at = a_word * 16u + a_row / 4u;
    let part = a_row % 4u;
    var s0 = vec4<i32>();
    var s1 = vec4<i32>();
    var s2 = vec4<i32>();
    var s3 = vec4<i32>();
    for (var k = 0u; k < steps; k += DEEP) {
        var rows = vec4<u32>();
        let word = k + a_word;
        if (word < steps) { rows = vec4<u32>(a[r0 + word], a[r1 + word], a[r2 + word], a[r3 + word]); }
        tile_of_a[at][part] = rows.x;
        tile_of_a[at + 4u][part] = rows.y;
        tile_of_a[at + 8u][part] = rows.z;
        tile_of_a[at + 12u][part] = rows.w;
        var columns = vec4<u32>();
        if (k + w_row < steps) { columns = w[(k + w_row) * wide + w_four]; }
        tile_of_w[index] = columns;
        workgroupBarrier();
        for (var kk = 0u; kk < DEEP; kk += 1u) {
            let above = tile_of_a[kk * 16u + local.y];
            let four_columns = tile_of_w[kk * 16u + local.x];
            s0 += fours(above.x, four_columns);
            s1 += fours(above.y, four_columns);
            s2 += fours(above.z, four_columns);
            s3 += fours(above.w, four_columns);
        }
        workgroupBarrier();
    }
    let row = top + local.y * 4u;
    let column = (left + local.x) * 4u;
    let to = row * n + column;
    if (row < m) { write(to, s0, column, n); }
    if (row + 1u < m) { write(to + n, s1, column, n); }
    if (row + 2u < m) { write(to + 2u * n, s2, column, n); }
    if (row + 3u < m) { write(to + 3u * n, s3, column, n); }
}
