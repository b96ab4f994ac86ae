// ScatterElements and ScatterND: updates at places that indices give, over a copy that is there already.

// Whether one invocation does all: where several updates of one place are put together.
override SERIAL: bool = false;
// Replaced (0), added (1), multiplied (2), the largest (3), the smallest (4).
override HOW: u32 = 0u;
// Whether an index is a tuple for a slice, or one along an axis.
override TUPLES: bool = false;

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> updates: array<T>;
@group(0) @binding(3) var<storage, read_write> index: array<i32>;

// p as in gather_nd.wgsl (with one batch) or gather_elements.wgsl.
fn place_of(i: u32) -> u32 {
    if (TUPLES) {
        let which = i / p[1];
        var place = i % p[1];
        for (var j = 0u; j < p[2]; j += 1u) {
            let size = i32(p[5u + j]);
            var at = index[which * p[2] + j];
            at = clamp(select(at, at + size, at < 0), 0, size - 1);
            place += u32(at) * p[5u + p[2] + j];
        }
        return place;
    }
    let size = i32(p[3]);
    var at = index[i];
    at = clamp(select(at, at + size, at < 0), 0, size - 1);
    var rest = i;
    var place = 0u;
    for (var d = p[1]; d > 0u; d -= 1u) {
        let length = p[3u + d];
        var c = rest % length;
        rest /= length;
        if (d - 1u == p[2]) { c = u32(at); }
        place += c * p[3u + p[1] + d];
    }
    return place;
}

fn update(i: u32) {
    let place = place_of(i);
    let v = updates[i];
    switch HOW {
        case 0u: { out[place] = v; }
        case 1u: { out[place] += v; }
        case 2u: { out[place] *= v; }
        case 3u: { out[place] = max(out[place], v); }
        default: { out[place] = min(out[place], v); }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if (SERIAL) {
        if (i == 0u) {
            for (var j = 0u; j < p[0]; j += 1u) { update(j); }
        }
        return;
    }
    if (i < p[0]) { update(i); }
}
