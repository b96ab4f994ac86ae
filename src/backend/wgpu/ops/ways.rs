//! Ways to multiply matrices: kernels, their parameters, and which may be the fastest where.

use crate::backend::wgpu::device::Gpu;
use crate::backend::wgpu::kernels::{Elem, Kernel};
use crate::backend::wgpu::lower::word;
use crate::backend::wgpu::shader::{Part, Shader};
use crate::backend::wgpu::tune::class_of;
use crate::graph::op::Activation;

/// A product as kernels see it: `z` times `[m, k] · [k, n]`, k being a multiple of four.
#[derive(Clone, Copy)]
pub(in crate::backend::wgpu) struct Sizes {
    pub(in crate::backend::wgpu) z: usize,
    pub(in crate::backend::wgpu) m: usize,
    pub(in crate::backend::wgpu) k: usize,
    pub(in crate::backend::wgpu) n: usize,
}

impl Sizes {
    pub(in crate::backend::wgpu) fn fours(self) -> usize {
        self.n.div_ceil(4)
    }

    /// Additions and multiplications.
    pub(in crate::backend::wgpu) fn flops(self) -> f64 {
        2.0 * self.z as f64 * self.m as f64 * self.k as f64 * self.n as f64
    }

    /// How choices between kernels name it.
    pub(in crate::backend::wgpu) fn class(self, what: &str) -> String {
        let Self { z, m, k, n } = self;
        format!("{what} {}×[≤{}, {k}]·[{k}, {n}]", class_of(z), class_of(m))
    }

    /// The eight parameters of every kernel; distances of whole matrices of a and b are zero where one serves
    /// all.
    pub(in crate::backend::wgpu) fn params(
        self,
        has_bias: bool,
        a_repeats: bool,
        b_repeats: bool,
    ) -> Vec<u32> {
        let Self { m, k, n, .. } = self;
        let far = |repeats: bool, distance: usize| if repeats { 0 } else { word(distance) };
        vec![
            word(m),
            word(n),
            word(k / 4),
            word(self.fours()),
            u32::from(has_bias),
            far(a_repeats, m * k / 4),
            far(b_repeats, k * self.fours()),
            word(m * n),
        ]
    }

    /// Workgroups of a kernel.
    pub(in crate::backend::wgpu) fn groups(self, shader: Shader) -> [u32; 3] {
        let (rows, fours) = match shader {
            Shader::Wide => (128, 32),
            Shader::Tiled | Shader::DotsTiled => (64, 16),
            Shader::Gemv => (4, 16),
            _ => (16, 16),
        };
        [word(self.fours().div_ceil(fours)), word(self.m.div_ceil(rows)), word(self.z)]
    }

    /// Kernels that may be the fastest on the adapter, the likeliest first; `registers` is the one that shares
    /// nothing.
    pub(in crate::backend::wgpu) fn shaders(self, gpu: &Gpu, registers: Shader) -> Vec<Shader> {
        if gpu.is_software() {
            // Where the CPU computes, a barrier costs as much as many products: large tiles have few of them.
            let mut shaders = vec![registers];
            if self.m <= FEW {
                shaders.push(Shader::Gemv);
            }
            if self.m >= MANY {
                shaders.insert(usize::from(self.m < 128), Shader::Wide);
            }
            if self.flops() < SMALL {
                shaders.push(Shader::Tiled);
            }
            return shaders;
        }
        let tiles = self.m.div_ceil(128) * self.n.div_ceil(128) * self.z;
        match self.m {
            0..=8 => vec![Shader::Gemv, registers],
            9..=32 => vec![Shader::Tiled, registers, Shader::Gemv],
            _ if tiles >= FILLS => vec![Shader::Wide, Shader::Tiled, registers],
            _ => vec![Shader::Tiled, Shader::Wide, registers],
        }
    }
}

/// Rows up to which sharing out the other factor's rows may pay on software adapters.
const FEW: usize = 8;
/// Rows from which on large tiles may pay there.
const MANY: usize = 32;
/// Products below this are tried by small tiles there: floating-point operations.
const SMALL: f64 = 1e8;
/// Tiles of 128 × 128 from which on large tiles are the likelier choice: about as many as a GPU runs at once.
const FILLS: usize = 128;

/// A kernel whose second factor is numbers of `b`; it gives what its first factor is of.
pub(in crate::backend::wgpu) fn of_floats(shader: Shader, a: Elem, b: Elem) -> Kernel {
    let kernel = Kernel::new(shader, 5).after(Part::Math).after(Part::OfFloats).after(Part::Four);
    kernel.of("T", a).of("A", a).of("W", b)
}

/// A kernel whose second factor is weights of 4 or 8 bits, with a zero point for every column or none.
pub(in crate::backend::wgpu) fn of_integers(
    shader: Shader,
    a: Elem,
    is_narrow: bool,
    has_offsets: bool,
) -> Kernel {
    let kernel = Kernel::new(shader, 7).after(Part::Math).after(Part::OfIntegers).after(Part::Four);
    let kernel = kernel.of("T", a).of("A", a);
    let kernel = kernel.with("BITS", if is_narrow { 4.0 } else { 8.0 });
    kernel.with("OFFSETS", f64::from(u8::from(has_offsets)))
}

/// A kernel of two factors of 8 bits, which gives numbers of `out`.
pub(in crate::backend::wgpu) fn of_bytes(shader: Shader, out: Elem, is_packed: bool) -> Kernel {
    let kernel = Kernel::new(shader, 8).after(Part::Math).after(Part::OfBytes).of("T", out);
    if is_packed { kernel } else { kernel.with("PACKED", 0.0) }
}

/// What `math.wgsl` calls it.
pub(in crate::backend::wgpu) fn with_activation(
    kernel: Kernel,
    activation: Option<Activation>,
) -> Kernel {
    let (number, alpha, beta) = match activation {
        None => return kernel,
        Some(Activation::Relu) => (1.0, 0.0, 0.0),
        Some(Activation::Sigmoid) => (2.0, 0.0, 0.0),
        Some(Activation::Tanh) => (3.0, 0.0, 0.0),
        Some(Activation::HardSwish) => (4.0, 0.0, 0.0),
        Some(Activation::Gelu { tanh: false }) => (5.0, 0.0, 0.0),
        Some(Activation::Gelu { tanh: true }) => (6.0, 0.0, 0.0),
        Some(Activation::LeakyRelu { alpha }) => (7.0, alpha, 0.0),
        // Bounds of an override must be finite.
        Some(Activation::Clip { min, max }) => (8.0, min.max(f32::MIN), max.min(f32::MAX)),
    };
    let kernel = kernel.with("ACTIVATION", number);
    kernel.with("ALPHA", f64::from(alpha)).with("BETA", f64::from(beta))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::wgpu::buffers;
    use crate::backend::wgpu::tune::{Candidate, answer};

    /// The adapter that there is; without one nothing of this is tested, which is said.
    #[expect(clippy::print_stderr, reason = "a test that is not run says so")]
    fn adapter() -> Option<std::sync::Arc<Gpu>> {
        let gpu = Gpu::open("default", None).ok();
        if gpu.is_none() {
            eprintln!("NOT RUN: there is no adapter");
        }
        gpu
    }

    /// Numbers that f32 adds up without loss: halves of small whole ones.
    fn numbers(count: usize, salt: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7 + i / 5 + salt) % 17) as f32 * 0.5 - 4.0).collect()
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    /// a · b + bias, and none of it below zero.
    fn right(sizes: Sizes, a: &[f32], b: impl Fn(usize, usize) -> f32, bias: &[f32]) -> Vec<f32> {
        let Sizes { m, k, n, .. } = sizes;
        let at = |row: usize, column: usize| {
            let sum: f32 = (0..k).map(|i| a[row * k + i] * b(i, column)).sum();
            (sum + bias[column]).max(0.0)
        };
        (0..m)
            .flat_map(|row| (0..n).map(move |column| (row, column)))
            .map(|(r, c)| at(r, c))
            .collect()
    }

    const SHADERS: [Shader; 4] = [Shader::MatMul, Shader::Gemv, Shader::Tiled, Shader::Wide];

    fn odd_sizes() -> Vec<Sizes> {
        let size = |m, k, n| Sizes { z: 1, m, k, n };
        vec![size(1, 4, 1), size(3, 20, 5), size(17, 36, 70), size(66, 8, 130), size(130, 68, 137)]
    }

    /// Every kernel at sizes that fill no tile, on the adapter that there is.
    #[test]
    fn every_kernel_gives_the_same_products() {
        let Some(gpu) = adapter() else { return };
        let buffer = |bytes: &[u8]| buffers::filled(&gpu, bytes).unwrap();
        let relu = |kernel| with_activation(kernel, Some(Activation::Relu));
        for sizes in odd_sizes() {
            let Sizes { m, k, n, .. } = sizes;
            let wide = n.next_multiple_of(4);
            let (a, b, bias) = (numbers(m * k, 0), numbers(k * wide, 3), numbers(n, 5));
            let expected = right(sizes, &a, |row, column| b[row * wide + column], &bias);
            let give = |kernel: Kernel, params: Vec<u32>, reads: Vec<wgpu::Buffer>| {
                let shader = kernel.shader;
                let candidate =
                    Candidate { kernel: relu(kernel), params, groups: sizes.groups(shader) };
                answer(&gpu, &candidate, &reads, m * n)
            };
            for shader in SHADERS {
                let reads = vec![buffer(&bytes(&a)), buffer(&bytes(&b)), buffer(&bytes(&bias))];
                let kernel = of_floats(shader, Elem::F32, Elem::F32);
                let got = give(kernel, sizes.params(true, true, true), reads);
                assert_eq!(got, expected, "{shader:?} of {m}×{k}×{n}");
            }
            // Weights of 4 and 8 bits: a scale for every four rows, an offset for every column.
            for is_narrow in [false, true] {
                let bits = if is_narrow { 4 } else { 8 };
                let half: u8 = if is_narrow { 8 } else { 100 };
                let span = 2 * usize::from(half);
                let whole = |row: usize, column: usize| {
                    i32::try_from((row * 31 + column * 7) % span).unwrap() - i32::from(half)
                };
                let scales: Vec<f32> = (0..k / 4 * wide).map(|i| [0.5, 1.0, 2.0][i % 3]).collect();
                let offsets: Vec<f32> = (0..wide).map(|i| (i % 3) as f32).collect();
                let real = |row: usize, column: usize| {
                    (whole(row, column) as f32 + offsets[column]) * scales[row / 4 * wide + column]
                };
                let expected = right(sizes, &a, real, &bias);
                let per_word = 32 / bits;
                let rows = per_word / 4;
                let word = |row: usize, four: usize| {
                    (0..per_word).fold(0_u32, |all, j| {
                        let value = whole(row * rows + j / 4, four * 4 + j % 4).cast_unsigned();
                        all | (value & ((1 << bits) - 1)) << (bits * j)
                    })
                };
                let words: Vec<u32> = (0..k / rows)
                    .flat_map(|row| (0..wide / 4).map(move |four| (row, four)))
                    .map(|(row, four)| word(row, four))
                    .collect();
                let packed: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
                for shader in SHADERS.into_iter().chain([Shader::Integers]) {
                    let reads =
                        [&bytes(&a), &packed, &bytes(&scales), &bytes(&offsets), &bytes(&bias)];
                    let reads = reads.map(|bytes| buffer(bytes)).to_vec();
                    let kernel = of_integers(shader, Elem::F32, is_narrow, true);
                    let mut params = sizes.params(true, true, true);
                    params.push(4);
                    let got = give(kernel, params, reads);
                    assert_eq!(got, expected, "{shader:?} of {bits} bits, {m}×{k}×{n}");
                }
            }
        }
    }

    /// Several matrices at once, one after the other in memory.
    #[test]
    fn every_kernel_multiplies_several_matrices() {
        let Some(gpu) = adapter() else { return };
        let buffer = |values: &[f32]| buffers::filled(&gpu, &bytes(values)).unwrap();
        for sizes in odd_sizes().into_iter().take(4).map(|s| Sizes { z: 3, ..s }) {
            let Sizes { z, m, k, n } = sizes;
            let wide = n.next_multiple_of(4);
            let (a, b) = (numbers(z * m * k, 1), numbers(z * k * wide, 2));
            let none = vec![0.0; n];
            let expected: Vec<f32> = (0..z)
                .flat_map(|at| {
                    let b = &b[at * k * wide..];
                    right(sizes, &a[at * m * k..], |row, column| b[row * wide + column], &none)
                })
                .collect();
            for shader in SHADERS {
                let kernel = of_floats(shader, Elem::F32, Elem::F32);
                let kernel = with_activation(kernel, Some(Activation::Relu));
                let params = sizes.params(false, false, false);
                let candidate = Candidate { kernel, params, groups: sizes.groups(shader) };
                let reads = [buffer(&a), buffer(&b), buffer(&none)];
                let got = answer(&gpu, &candidate, &reads, z * m * n);
                assert_eq!(got, expected, "{shader:?} of {z} × {m}×{k}×{n}");
            }
        }
    }

    /// Convolutions as products: windows that overhang, with steps and gaps.
    #[test]
    fn every_kernel_slides_windows() {
        let Some(gpu) = adapter() else { return };
        let buffer = |values: &[f32]| buffers::filled(&gpu, &bytes(values)).unwrap();
        let (images, channels, height, width, filters) = (2, 4, 9, 7, 70);
        let ([kh, kw], [sy, sx], [dy, dx], [py, px]) = ([3, 2], [2, 1], [1, 2], [1, 2]);
        let out = |size: usize, k: usize, s: usize, d: usize, p: usize| {
            (size + 2 * p - (k - 1) * d - 1) / s + 1
        };
        let (rows, columns) = (out(height, kh, sy, dy, py), out(width, kw, sx, dx, px));
        let window = channels * kh * kw;
        let sizes = Sizes { z: images, m: filters, k: window, n: rows * columns };
        let x = numbers(images * channels * height * width, 4);
        let (w, bias) = (numbers(filters * window, 6), numbers(filters, 8));
        let at = |image: usize, channel: usize, y: usize, c: usize| -> f32 {
            // Counted from before the border.
            let inside = (py..py + height).contains(&y) && (px..px + width).contains(&c);
            if !inside {
                return 0.0;
            }
            x[((image * channels + channel) * height + y - py) * width + c - px]
        };
        let one = |image: usize, filter: usize, y: usize, c: usize| -> f32 {
            let mut sum = bias[filter];
            for channel in 0..channels {
                for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                    let factor = w[((filter * channels + channel) * kh + ky) * kw + kx];
                    sum += factor * at(image, channel, y * sy + ky * dy, c * sx + kx * dx);
                }
            }
            sum
        };
        let mut expected = Vec::new();
        for (image, filter) in (0..images).flat_map(|i| (0..filters).map(move |f| (i, f))) {
            for (y, c) in (0..rows).flat_map(|y| (0..columns).map(move |c| (y, c))) {
                expected.push(one(image, filter, y, c));
            }
        }
        for shader in SHADERS {
            let kernel = Kernel::new(shader, 5).after(Part::Math).after(Part::OfWindow);
            let kernel = kernel.after(Part::Four).of("T", Elem::F32).of("A", Elem::F32);
            let mut params = sizes.params(true, true, true);
            let geometry =
                [window, channels, height, width, columns, kh, kw, sy, sx, dy, dx, py, px];
            params.extend(geometry.map(word));
            let kernel = kernel.of("X", Elem::F32);
            let candidate = Candidate { kernel, params, groups: sizes.groups(shader) };
            let reads = [buffer(&w), buffer(&x), buffer(&bias)];
            let got = answer(&gpu, &candidate, &reads, expected.len());
            assert_eq!(got, expected, "{shader:?}");
        }
    }

    /// Two factors of 8 bits, with a zero point, by WGSL's own function and without it.
    #[test]
    fn every_kernel_of_bytes_gives_the_same_products() {
        let Some(gpu) = adapter() else { return };
        let buffer = |bytes: &[u8]| buffers::filled(&gpu, bytes).unwrap();
        for sizes in odd_sizes() {
            let Sizes { m, k, n, .. } = sizes;
            let wide = n.next_multiple_of(4);
            let byte = |i: usize| u8::try_from((i * 37 + i / 3) % 256).unwrap().cast_signed();
            let (zero, scale) = (-3_i32, 0.25_f32);
            let scales: Vec<f32> = (0..n).map(|i| [0.5, 1.0, 2.0][i % 3]).collect();
            let bias = numbers(n, 5);
            let a: Vec<u8> = (0..m * k).map(|i| byte(i).cast_unsigned()).collect();
            let w = |row: usize, column: usize| byte(row * 11 + column * 5);
            let mut packed = Vec::new();
            for step in 0..k / 4 {
                for column in 0..wide {
                    packed.extend((0..4).map(|j| w(step * 4 + j, column).cast_unsigned()));
                }
            }
            let sums: Vec<u8> = (0..n)
                .map(|column| (0..k).map(|row| i32::from(w(row, column))).sum::<i32>())
                .flat_map(i32::to_le_bytes)
                .collect();
            let at = |row: usize, column: usize| {
                let sum: i32 = (0..k)
                    .map(|i| {
                        (i32::from(a[row * k + i].cast_signed()) - zero) * i32::from(w(i, column))
                    })
                    .sum();
                sum as f32 * (scale * scales[column]) + bias[column]
            };
            let expected: Vec<f32> =
                (0..m).flat_map(|r| (0..n).map(move |c| (r, c))).map(|(r, c)| at(r, c)).collect();
            let by = bytes(&[scale, zero as f32]);
            for (shader, is_packed) in
                [Shader::Dots, Shader::DotsTiled].into_iter().flat_map(|s| [(s, true), (s, false)])
            {
                let reads = [&a, &packed, &bytes(&scales), &sums, &by, &bytes(&bias)];
                let reads = reads.map(|bytes| buffer(bytes)).to_vec();
                let candidate = Candidate {
                    kernel: of_bytes(shader, Elem::F32, is_packed),
                    params: sizes.params(true, true, true),
                    groups: sizes.groups(shader),
                };
                let got = answer(&gpu, &candidate, &reads, m * n);
                assert_eq!(got, expected, "{shader:?} of {m}×{k}×{n}, packed {is_packed}");
            }
        }
    }
}
