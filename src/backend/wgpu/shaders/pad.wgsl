// Pad with a border made of what it surrounds.

// Mirrored (0), the edge (1), around to the other side (2).
override MODE: u32;

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> x: array<T>;

// p: elements, rank, then sizes of out, sizes of x, distances in x, borders before (signed).
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p[0]) {
        return;
    }
    let rank = p[1];
    var rest = i;
    var place = 0u;
    for (var d = rank; d > 0u; d -= 1u) {
        let length = p[1u + d];
        let size = i32(p[1u + rank + d]);
        var c = i32(rest % length) - bitcast<i32>(p[1u + 3u * rank + d]);
        rest /= length;
        switch MODE {
            case 0u: {
                let period = max(2 * (size - 1), 1);
                c = ((c % period) + period) % period;
                c = select(c, period - c, c >= size);
            }
            case 1u: { c = clamp(c, 0, size - 1); }
            default: { c = ((c % size) + size) % size; }
        }
        place += u32(c) * p[1u + 2u * rank + d];
    }
    out[i] = x[place];
}
