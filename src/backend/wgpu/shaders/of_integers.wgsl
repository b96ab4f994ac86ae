// The second factor of a product: weights of 4 or 8 bits that become numbers in registers.
//
// A word has four columns of one row in bytes, or of two rows in halves of bytes. p[8]: rows that share a scale.

override BITS: u32 = 8u;
override OFFSETS: bool = false;

@group(0) @binding(3) var<storage, read_write> w: array<u32>;
@group(0) @binding(4) var<storage, read_write> scales: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> offsets: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> bias: array<f32>;

// The lowest four numbers of four bits, signed.
fn nibbles(word: u32) -> vec4<f32> {
    let high = vec4<u32>(word << 28u, word << 24u, word << 20u, word << 16u);
    return vec4<f32>(bitcast<vec4<i32>>(high) >> vec4<u32>(28u));
}

// Four columns of a row before they are scaled.
fn whole_of_b(row: u32, four: u32) -> vec4<f32> {
    if (BITS == 8u) {
        return vec4<f32>(unpack4xI8(w[row * p[3] + four]));
    }
    return nibbles(w[(row >> 1u) * p[3] + four] >> ((row & 1u) * 16u));
}

fn four_of_b(row: u32, four: u32, z: u32) -> vec4<f32> {
    var v = whole_of_b(row, four);
    if (OFFSETS) { v += offsets[four]; }
    return v * scales[row / p[8] * p[3] + four];
}

fn bias_of(row: u32, column: u32) -> f32 {
    return bias[column];
}
