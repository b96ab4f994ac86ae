// The least and the largest number of every 256th element: first half of a tensor's range.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> x: array<T>;

// p: elements. 0 is always in the range.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var ends = vec2<f32>();
    for (var i = id.x; i < p[0]; i += 256u) {
        let v = f32(x[i]);
        ends = vec2<f32>(min(ends.x, v), max(ends.y, v));
    }
    out[id.x] = ends;
}
