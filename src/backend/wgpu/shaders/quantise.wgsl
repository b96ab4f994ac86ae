// Numbers as signed 8 bits by a scale and a zero point, four a word.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<storage, read_write> x: array<vec4<T>>;
@group(0) @binding(3) var<storage, read_write> by: array<f32>;

// p: words.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p[0]) {
        return;
    }
    let q = clamp(round(vec4<f32>(x[i]) / by[0]) + by[1], vec4<f32>(-128.0), vec4<f32>(127.0));
    let bytes = bitcast<vec4<u32>>(vec4<i32>(q)) & vec4<u32>(0xffu);
    out[i] = bytes.x | bytes.y << 8u | bytes.z << 16u | bytes.w << 24u;
}
