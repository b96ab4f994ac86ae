// Sixty-four invocations a row, which put together what they have by subgroups first, of whatever size.

const LANES: u32 = 64u;

var<workgroup> parts: array<f32, 64>;
var<private> which: vec3<u32>;

// As in lanes_shared.wgsl.
fn all_of(v: f32, how: u32, lane: u32) -> f32 {
    var own = v;
    switch how {
        case 0u: { own = subgroupAdd(v); }
        case 1u: { own = subgroupMax(v); }
        case 2u: { own = subgroupMin(v); }
        default: { own = subgroupMul(v); }
    }
    workgroupBarrier();
    if (which.z == 0u) { parts[which.x] = own; }
    workgroupBarrier();
    var all = parts[0];
    for (var i = 1u; i < which.y; i += 1u) {
        let next = parts[i];
        switch how {
            case 0u: { all += next; }
            case 1u: { all = max(all, next); }
            case 2u: { all = min(all, next); }
            default: { all *= next; }
        }
    }
    return all;
}
