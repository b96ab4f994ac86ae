// activation(a · b + bias) by tiles of 128 × 128 that a workgroup shares, sixty-four elements an invocation:
// a quarter of tiled.wgsl's reads of shared memory for each product.

const TILE: u32 = 128u;
const DEEP: u32 = 16u;

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> a: array<vec4<A>>;

// a's tile lies turned: rows next to each other.
var<workgroup> of_a: array<vec4<f32>, 512>;
var<workgroup> of_b: array<vec4<f32>, 512>;

// p as in matmul.wgsl. Threads are 16 × 16; one has rows 4y to 4y + 3 and 64 more, columns alike.
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
    // Of a: 128 rows of 4 fours, rows r and r + 64; of b: 16 rows of 32 fours, rows r and r + 8.
    let a_row = index / 4u;
    let a_four = index % 4u;
    let b_row = index / 32u;
    let b_four = min(left + index % 32u, p[3] - 1u);
    let first = group.z * p[5];
    let a_one = first + min(top + a_row, m - 1u) * steps;
    let a_two = first + min(top + a_row + 64u, m - 1u) * steps;
    // Element (row, kk) of a goes to vec4 kk * 32 + row / 4, component row % 4.
    let at = a_four * 4u * 32u + a_row / 4u;
    let part = a_row % 4u;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    var s4 = vec4<f32>();
    var s5 = vec4<f32>();
    var s6 = vec4<f32>();
    var s7 = vec4<f32>();
    var t0 = vec4<f32>();
    var t1 = vec4<f32>();
    var t2 = vec4<f32>();
    var t3 = vec4<f32>();
    var t4 = vec4<f32>();
    var t5 = vec4<f32>();
    var t6 = vec4<f32>();
    var t7 = vec4<f32>();
    for (var k = 0u; k < steps; k += 4u) {
        var one = vec4<f32>();
        var two = vec4<f32>();
        if (k + a_four < steps) {
            one = vec4<f32>(a[a_one + k + a_four]);
            two = vec4<f32>(a[a_two + k + a_four]);
        }
        var upper = vec4<f32>();
        var lower = vec4<f32>();
        let row = k * 4u + b_row;
        if (row < steps * 4u) { upper = four_of_b(row, b_four, group.z); }
        if (row + 8u < steps * 4u) { lower = four_of_b(row + 8u, b_four, group.z); }
        of_a[at][part] = one.x;
        of_a[at + 32u][part] = one.y;
        of_a[at + 64u][part] = one.z;
        of_a[at + 96u][part] = one.w;
        of_a[at + 16u][part] = two.x;
        of_a[at + 48u][part] = two.y;
        of_a[at + 80u][part] = two.z;
        of_a[at + 112u][part] = two.w;
        of_b[index] = upper;
        of_b[index + 256u] = lower;
        workgroupBarrier();
        for (var kk = 0u; kk < DEEP; kk += 1u) {
            let above = of_a[kk * 32u + local.y];
            let below = of_a[kk * 32u + 16u + local.y];
            let near = of_b[kk * 32u + local.x];
            let far = of_b[kk * 32u + 16u + local.x];
            s0 += above.x * near;
            t0 += above.x * far;
            s1 += above.y * near;
            t1 += above.y * far;
            s2 += above.z * near;
            t2 += above.z * far;
            s3 += above.w * near;
            t3 += above.w * far;
            s4 += below.x * near;
            t4 += below.x * far;
            s5 += below.y * near;
            t5 += below.y * far;
            s6 += below.z * near;
            t6 += below.z * far;
            s7 += below.w * near;
            t7 += below.w * far;
        }
        workgroupBarrier();
    }
    let row = top + local.y * 4u;
    let column = (left + local.x) * 4u;
    let z = group.z * p[7];
    both(z, row, column, s0, t0);
    both(z, row + 1u, column, s1, t1);
    both(z, row + 2u, column, s2, t2);
    both(z, row + 3u, column, s3, t3);
    both(z, row + 64u, column, s4, t4);
    both(z, row + 65u, column, s5, t5);
    both(z, row + 66u, column, s6, t6);
    both(z, row + 67u, column, s7, t7);
}

fn both(first: u32, row: u32, column: u32, near: vec4<f32>, far: vec4<f32>) {
    if (row < p[0]) {
        let to = first + row * p[1] + column;
        write(to, near, row, column, p[1]);
        write(to + 64u, far, row, column + 64u, p[1]);
    }
}
