// Functions that WGSL does not have, and what follows a product.

override ACTIVATION: u32 = 0u;
override ALPHA: f32 = 0.0;
override BETA: f32 = 0.0;

// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: within 3e-7.
fn erf(x: f32) -> f32 {
    let a = abs(x);
    let t = 1.0 / (1.0 + 0.3275911 * a);
    let p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    let y = 1.0 - p * exp(-a * a);
    return select(y, -y, x < 0.0);
}

// tanh of large numbers overflows in some drivers.
fn bounded_tanh(x: f32) -> f32 {
    return tanh(clamp(x, -15.0, 15.0));
}

fn sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + exp(-x));
}

fn gelu(x: f32) -> f32 {
    return 0.5 * x * (1.0 + erf(x * 0.70710678));
}

fn gelu_tanh(x: f32) -> f32 {
    return 0.5 * x * (1.0 + bounded_tanh(0.79788456 * (x + 0.044715 * x * x * x)));
}

fn hard_swish(x: f32) -> f32 {
    return x * clamp(x / 6.0 + 0.5, 0.0, 1.0);
}

fn softplus(x: f32) -> f32 {
    return max(x, 0.0) + log(1.0 + exp(-abs(x)));
}

// WGSL's pow is undefined for negative bases: of those, powers of whole numbers only, and NaN of others.
fn power(x: f32, y: f32) -> f32 {
    if (y == 2.0) {
        return x * x;
    }
    if (y == 0.0) {
        return 1.0;
    }
    let size = pow(abs(x), y);
    let odd = abs(y - 2.0 * trunc(y / 2.0)) == 1.0;
    let value = select(size, -size, x < 0.0 && odd);
    // WGSL has no NaN to write.
    let is_none = x < 0.0 && trunc(y) != y;
    return bitcast<f32>(select(bitcast<u32>(value), 0x7fc00000u, is_none));
}

fn round_even(x: f32) -> f32 {
    return round(x);
}

fn activated(x: f32) -> f32 {
    switch ACTIVATION {
        case 1u: { return max(x, 0.0); }
        case 2u: { return sigmoid(x); }
        case 3u: { return bounded_tanh(x); }
        case 4u: { return hard_swish(x); }
        case 5u: { return gelu(x); }
        case 6u: { return gelu_tanh(x); }
        case 7u: { return select(x, ALPHA * x, x < 0.0); }
        case 8u: { return clamp(x, ALPHA, BETA); }
        default: { return x; }
    }
}
