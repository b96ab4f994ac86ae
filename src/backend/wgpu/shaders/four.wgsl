// The end of a product: four columns of a row, with bias and activation. p[4]: whether there is a bias.

fn write(to: u32, sums: vec4<f32>, row: u32, column: u32, n: u32) {
    for (var j = 0u; j < 4u; j += 1u) {
        if (column + j < n) {
            var v = sums[j];
            if (p[4] != 0u) { v += bias_of(row, column + j); }
            out[to + j] = T(activated(v));
        }
    }
}
