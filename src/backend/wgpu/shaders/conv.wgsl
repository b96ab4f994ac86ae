// activation(conv(x, w) + bias) in two dimensions: four places of one output channel an invocation.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> w: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<T>;
@group(0) @binding(4) var<storage, read_write> bias: array<f32>;

// p: channels in, channels out, channels in and out of a group, then height and width of x, out, the window,
// the steps, the dilations, the padding before, and whether there is a bias.
@compute @workgroup_size(16, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let channel = id.y;
    let places = p[6] * p[7];
    let begin = id.x * 4u;
    if (channel >= p[1] || begin >= places) {
        return;
    }
    let inputs = p[2];
    let first = (channel / p[3]) * inputs;
    let window = p[8] * p[9];
    var sums = vec4<f32>();
    // Places past the end repeat the last one.
    let at = min(vec4<u32>(begin) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(places - 1u));
    let rows = vec4<i32>(at / p[7] * p[10]) - i32(p[14]);
    let columns = vec4<i32>(at % p[7] * p[11]) - i32(p[15]);
    for (var c = 0u; c < inputs; c += 1u) {
        let plane = (id.z * p[0] + first + c) * p[4] * p[5];
        let of_w = (channel * inputs + c) * window;
        for (var ky = 0u; ky < p[8]; ky += 1u) {
            let y = rows + i32(ky * p[12]);
            let line = plane + vec4<u32>(clamp(y, vec4<i32>(), vec4<i32>(i32(p[4]) - 1))) * p[5];
            let y_in = (y >= vec4<i32>()) & (y < vec4<i32>(i32(p[4])));
            for (var kx = 0u; kx < p[9]; kx += 1u) {
                let x_at = columns + i32(kx * p[13]);
                let is_in = y_in & (x_at >= vec4<i32>()) & (x_at < vec4<i32>(i32(p[5])));
                let places = line + vec4<u32>(clamp(x_at, vec4<i32>(), vec4<i32>(i32(p[5]) - 1)));
                let values = vec4<f32>(
                    f32(x[places.x]), f32(x[places.y]), f32(x[places.z]), f32(x[places.w]),
                );
                sums += select(vec4<f32>(), values, is_in) * w[of_w + ky * p[9] + kx];
            }
        }
    }
    if (p[16] != 0u) { sums += bias[channel]; }
    let to = (id.z * p[1] + channel) * places + begin;
    for (var j = 0u; j < 4u; j += 1u) {
        if (begin + j < places) { out[to + j] = T(activated(sums[j])); }
    }
}
