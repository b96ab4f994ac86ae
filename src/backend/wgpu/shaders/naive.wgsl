// a · b for any sizes and distances, one element an invocation: what the others are held against, and what
// multiplies factors whose rows are no multiples of four.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> a: array<A>;
@group(0) @binding(3) var<storage, read_write> b: array<W>;
@group(0) @binding(4) var<storage, read_write> bias: array<f32>;

// p: m, n, k, whether there is a bias, first place and distances down and right of a, the same of b, then
// rank of the batch, its sizes, distances of a, of b.
@compute @workgroup_size(16, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let m = p[0];
    let n = p[1];
    if (id.y >= m || id.x >= n) {
        return;
    }
    let rank = p[10];
    var rest = id.z;
    var from_a = p[4] + id.y * p[5];
    var from_b = p[7] + id.x * p[9];
    for (var d = rank; d > 0u; d -= 1u) {
        let size = p[10u + d];
        let k = rest % size;
        rest /= size;
        from_a += k * p[10u + rank + d];
        from_b += k * p[10u + 2u * rank + d];
    }
    var sum = 0.0;
    for (var k = 0u; k < p[2]; k += 1u) {
        sum += f32(a[from_a + k * p[6]]) * f32(b[from_b + k * p[8]]);
    }
    if (p[3] != 0u) { sum += bias[id.x]; }
    out[(id.z * m + id.y) * n + id.x] = T(activated(sum));
}
