// softmax(scale · q·kᵀ + mask) · v by tiles that a workgroup shares: sixteen queries of a head, thirty-two keys
// at a time, eight invocations a query. What is written lies as [b, s, h, e], since heads are joined next.
//
// Dao et al., arXiv 2205.14135.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> q: array<T>;
@group(0) @binding(3) var<storage, read_write> k: array<T>;
@group(0) @binding(4) var<storage, read_write> v: array<T>;
@group(0) @binding(5) var<storage, read_write> mask: array<M>;

const QUERIES: u32 = 16u;
const KEYS: u32 = 32u;
// Fours of a head's own elements and of its answer's; the preamble gives DEPTH and WIDTH. Rows are a four
// longer than they need, so that neighbours lie in different banks.
const D4: u32 = DEPTH / 4u;
const E4: u32 = WIDTH / 4u;
const MORE: u32 = E4 / 8u;
const LINE: u32 = max(D4, E4) + 1u;

var<workgroup> queries: array<vec4<f32>, QUERIES * LINE>;
// Keys first, then their values.
var<workgroup> keys: array<vec4<f32>, KEYS * LINE>;
var<workgroup> scores: array<f32, 544>;
var<workgroup> parts: array<f32, 128>;

// p as in attention.wgsl; groups count tiles of queries, heads, batches.
@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let heads = p[1];
    let rows = p[2];
    let all = p[3];
    let scale = bitcast<f32>(p[6]);
    let top = group.x * QUERIES;
    let of_q = p[8] + group.z * p[9] + group.y * p[10];
    let of_k = p[13] + group.z * p[14] + group.y * p[15];
    let of_v = p[18] + group.z * p[19] + group.y * p[20];
    for (var i = index; i < QUERIES * D4; i += 128u) {
        let at = of_q + min(top + i / D4, rows - 1u) * p[11] + (i % D4) * 4u * p[12];
        queries[i / D4 * LINE + i % D4] = vec4<f32>(
            f32(q[at]), f32(q[at + p[12]]), f32(q[at + 2u * p[12]]), f32(q[at + 3u * p[12]]),
        );
    }
    // This invocation's query, and which eighth of it.
    let mine = index / 8u;
    let eighth = index % 8u;
    let of_mask = p[23] + group.z * p[24] + group.y * p[25] + min(top + mine, rows - 1u) * p[26];
    var largest = -3.4028234e38;
    var total = 0.0;
    var sums: array<vec4<f32>, MORE>;
    for (var first = 0u; first < all; first += KEYS) {
        workgroupBarrier();
        for (var i = index; i < KEYS * D4; i += 128u) {
            let at = of_k + min(first + i / D4, all - 1u) * p[16] + (i % D4) * 4u * p[17];
            keys[i / D4 * LINE + i % D4] = vec4<f32>(
                f32(k[at]), f32(k[at + p[17]]), f32(k[at + 2u * p[17]]), f32(k[at + 3u * p[17]]),
            );
        }
        workgroupBarrier();
        // Four scores an invocation: keys eighth, eighth + 8, …
        var own = vec4<f32>();
        for (var j = 0u; j < D4; j += 1u) {
            let a = queries[mine * LINE + j];
            own += vec4<f32>(
                dot(a, keys[eighth * LINE + j]),
                dot(a, keys[(eighth + 8u) * LINE + j]),
                dot(a, keys[(eighth + 16u) * LINE + j]),
                dot(a, keys[(eighth + 24u) * LINE + j]),
            );
        }
        own *= scale;
        let t = vec4<u32>(first + eighth) + vec4<u32>(0u, 8u, 16u, 24u);
        if (p[7] != 0u) {
            let at = of_mask + min(t, vec4<u32>(all - 1u)) * p[27];
            own += vec4<f32>(f32(mask[at.x]), f32(mask[at.y]), f32(mask[at.z]), f32(mask[at.w]));
        }
        own = select(vec4<f32>(-3.4028234e38), own, t < vec4<u32>(all));
        parts[index] = max(max(own.x, own.y), max(own.z, own.w));
        workgroupBarrier();
        var next = largest;
        for (var i = 0u; i < 8u; i += 1u) { next = max(next, parts[mine * 8u + i]); }
        let kept = exp(largest - next);
        largest = next;
        let weights = select(vec4<f32>(), exp(own - next), t < vec4<u32>(all));
        for (var i = 0u; i < 4u; i += 1u) { scores[mine * 33u + eighth + i * 8u] = weights[i]; }
        // Keys are read no more; their values lie where they lay.
        for (var i = index; i < KEYS * E4; i += 128u) {
            let at = of_v + min(first + i / E4, all - 1u) * p[21] + (i % E4) * 4u * p[22];
            keys[i / E4 * LINE + i % E4] = vec4<f32>(
                f32(v[at]), f32(v[at + p[22]]), f32(v[at + 2u * p[22]]), f32(v[at + 3u * p[22]]),
            );
        }
        workgroupBarrier();
        total *= kept;
        for (var i = 0u; i < MORE; i += 1u) { sums[i] *= kept; }
        for (var key = 0u; key < KEYS; key += 1u) {
            let weight = scores[mine * 33u + key];
            total += weight;
            for (var i = 0u; i < MORE; i += 1u) { sums[i] += weight * keys[key * LINE + eighth + i * 8u]; }
        }
    }
    if (top + mine < rows) {
        let to = ((group.z * rows + top + mine) * heads + group.y) * WIDTH;
        for (var i = 0u; i < MORE; i += 1u) {
            let four = sums[i] / total;
            let at = to + (eighth + i * 8u) * 4u;
            out[at] = T(four.x);
            out[at + 1u] = T(four.y);
            out[at + 2u] = T(four.z);
            out[at + 3u] = T(four.w);
        }
    }
}
