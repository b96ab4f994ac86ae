// The second factor of a product that is a convolution: a row is a channel and a place of the window, a column
// a place of the output; a bias for every row of the product.
//
// p[8…]: rows, channels, height and width of x, width of the output, height and width of the window, steps,
// dilations, padding before. z counts images.

@group(0) @binding(3) var<storage, read_write> x: array<X>;
@group(0) @binding(4) var<storage, read_write> bias: array<f32>;

fn four_of_b(row: u32, four: u32, z: u32) -> vec4<f32> {
    if (row >= p[8]) {
        return vec4<f32>();
    }
    let window = p[13] * p[14];
    let plane = (z * p[9] + row / window) * p[10] * p[11];
    // Places past the end repeat the last one, and are not written.
    let place = min(vec4<u32>(four * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(p[1] - 1u));
    let down = row % window / p[14] * p[17];
    let right = row % p[14] * p[18];
    let y = vec4<i32>(place / p[12] * p[15] + down) - i32(p[19]);
    let c = vec4<i32>(place % p[12] * p[16] + right) - i32(p[20]);
    let height = vec4<i32>(i32(p[10]));
    let width = vec4<i32>(i32(p[11]));
    let inside = (y >= vec4<i32>()) & (y < height) & (c >= vec4<i32>()) & (c < width);
    let line = clamp(y, vec4<i32>(), height - 1);
    let at = plane + vec4<u32>(line * width + clamp(c, vec4<i32>(), width - 1));
    let v = vec4<f32>(f32(x[at.x]), f32(x[at.y]), f32(x[at.z]), f32(x[at.w]));
    return select(vec4<f32>(), v, inside);
}

fn bias_of(row: u32, column: u32) -> f32 {
    return bias[row];
}
