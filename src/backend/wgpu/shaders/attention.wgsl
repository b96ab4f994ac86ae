// softmax(scale · q·kᵀ + mask) · v with an online softmax: one invocation a query. What is written lies as
// [b, s, h, e], since heads are joined next.
//
// Milakov and Gimelshein, arXiv 1805.02867.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> q: array<T>;
@group(0) @binding(3) var<storage, read_write> k: array<T>;
@group(0) @binding(4) var<storage, read_write> v: array<T>;
@group(0) @binding(5) var<storage, read_write> mask: array<M>;

// p: queries, heads, s, t, d, e, scale's bits, whether there is a mask, then first place and four distances
// of q, k, v and the mask. WIDTH, a constant of the preamble, is e.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p[0]) {
        return;
    }
    let heads = p[1];
    let row = i % p[2];
    let head = (i / p[2]) % heads;
    let batch = i / (p[2] * heads);
    let scale = bitcast<f32>(p[6]);
    let of_q = p[8] + batch * p[9] + head * p[10] + row * p[11];
    let of_k = p[13] + batch * p[14] + head * p[15];
    let of_v = p[18] + batch * p[19] + head * p[20];
    let of_mask = p[23] + batch * p[24] + head * p[25] + row * p[26];
    var largest = -3.4028234e38;
    var total = 0.0;
    var sums: array<f32, WIDTH>;
    for (var t = 0u; t < p[3]; t += 1u) {
        var score = 0.0;
        for (var j = 0u; j < p[4]; j += 1u) {
            score += f32(q[of_q + j * p[12]]) * f32(k[of_k + t * p[16] + j * p[17]]);
        }
        score *= scale;
        if (p[7] != 0u) { score += f32(mask[of_mask + t * p[27]]); }
        let next = max(largest, score);
        let kept = exp(largest - next);
        let weight = exp(score - next);
        total = total * kept + weight;
        for (var j = 0u; j < WIDTH; j += 1u) {
            sums[j] = sums[j] * kept + weight * f32(v[of_v + t * p[21] + j * p[22]]);
        }
        largest = next;
    }
    let to = ((batch * p[2] + row) * heads + head) * WIDTH;
    for (var j = 0u; j < WIDTH; j += 1u) {
        out[to + j] = T(sums[j] / total);
    }
}
