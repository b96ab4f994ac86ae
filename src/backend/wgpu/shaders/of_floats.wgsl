// The second factor of a product: numbers, four columns next to each other; a bias for every column.

@group(0) @binding(3) var<storage, read_write> b: array<vec4<W>>;
@group(0) @binding(4) var<storage, read_write> bias: array<f32>;

fn four_of_b(row: u32, four: u32, z: u32) -> vec4<f32> {
    return vec4<f32>(b[z * p[6] + row * p[3] + four]);
}

fn bias_of(row: u32, column: u32) -> f32 {
    return bias[column];
}
