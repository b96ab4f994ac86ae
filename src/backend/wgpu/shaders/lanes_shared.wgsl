// Sixty-four invocations a row, which put together what they have in shared memory.

const LANES: u32 = 64u;

var<workgroup> parts: array<f32, 64>;

// The sum (0), the largest (1), the smallest (2) or the product (3) of what all invocations of a row have.
fn all_of(v: f32, how: u32, lane: u32) -> f32 {
    // Whoever still reads what was put together before is done first.
    workgroupBarrier();
    parts[lane] = v;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half = half >> 1u) {
        if (lane < half) { parts[lane] = two_of(parts[lane], parts[lane + half], how); }
        workgroupBarrier();
    }
    return parts[0];
}

fn two_of(a: f32, b: f32, how: u32) -> f32 {
    switch how {
        case 0u: { return a + b; }
        case 1u: { return max(a, b); }
        case 2u: { return min(a, b); }
        default: { return a * b; }
    }
}
