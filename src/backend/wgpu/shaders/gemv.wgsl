// activation(a · b + bias) for few rows: the rows of b are shared out among a workgroup, and what its
// invocations have is added up.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> a: array<vec4<A>>;

// Of every slice of b's rows, four rows of the product by sixteen fours of columns.
var<workgroup> parts: array<vec4<f32>, 1024>;

// p as in matmul.wgsl.
@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let m = p[0];
    let n = p[1];
    let steps = p[2];
    let row = group.y * 4u;
    let four = min(group.x * 16u + local.x, p[3] - 1u);
    let first = group.z * p[5];
    let r0 = first + min(row, m - 1u) * steps;
    let r1 = first + min(row + 1u, m - 1u) * steps;
    let r2 = first + min(row + 2u, m - 1u) * steps;
    let r3 = first + min(row + 3u, m - 1u) * steps;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var k = local.y; k < steps; k += 16u) {
        let b0 = four_of_b(k * 4u, four, group.z);
        let b1 = four_of_b(k * 4u + 1u, four, group.z);
        let b2 = four_of_b(k * 4u + 2u, four, group.z);
        let b3 = four_of_b(k * 4u + 3u, four, group.z);
        let a0 = vec4<f32>(a[r0 + k]);
        s0 += a0.x * b0 + a0.y * b1 + a0.z * b2 + a0.w * b3;
        let a1 = vec4<f32>(a[r1 + k]);
        s1 += a1.x * b0 + a1.y * b1 + a1.z * b2 + a1.w * b3;
        let a2 = vec4<f32>(a[r2 + k]);
        s2 += a2.x * b0 + a2.y * b1 + a2.z * b2 + a2.w * b3;
        let a3 = vec4<f32>(a[r3 + k]);
        s3 += a3.x * b0 + a3.y * b1 + a3.z * b2 + a3.w * b3;
    }
    let at = local.y * 64u + local.x;
    parts[at] = s0;
    parts[at + 16u] = s1;
    parts[at + 32u] = s2;
    parts[at + 48u] = s3;
    workgroupBarrier();
    // The first four lines of invocations have a row each.
    if (local.y < 4u && row + local.y < m) {
        var sum = vec4<f32>();
        for (var slice = 0u; slice < 16u; slice += 1u) {
            sum += parts[slice * 64u + local.y * 16u + local.x];
        }
        let column = (group.x * 16u + local.x) * 4u;
        let mine = row + local.y;
        write(group.z * p[7] + mine * n + column, sum, mine, column, n);
    }
}
