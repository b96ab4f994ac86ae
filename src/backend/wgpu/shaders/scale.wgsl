// Scale and zero point of a range on 0 to 255, less 128: second half.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<storage, read_write> ends: array<vec2<f32>>;

@compute @workgroup_size(1)
fn main() {
    var both = vec2<f32>();
    for (var i = 0u; i < p[0]; i += 1u) {
        both = vec2<f32>(min(both.x, ends[i].x), max(both.y, ends[i].y));
    }
    var scale = (both.y - both.x) / 255.0;
    if (both.y <= both.x) { scale = 1.0; }
    out[0] = scale;
    out[1] = round(clamp(-both.x / scale, 0.0, 255.0)) - 128.0;
}
