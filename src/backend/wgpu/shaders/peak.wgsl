// Multiplications and additions that need no memory, in chains that do not wait for each other.

// Whether bytes are multiplied, four at a time, instead of numbers.
override BYTES: bool = false;

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

alias V = vec4<T>;

fn four(a: vec4<i32>, x: u32) -> vec4<i32> {
    return a + vec4<i32>(
        dot4I8Packed(u32(a.x), x), dot4I8Packed(u32(a.y), x), dot4I8Packed(u32(a.z), x), dot4I8Packed(u32(a.w), x),
    );
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    // Of p[0], so that nothing is known when it is compiled.
    let seed = f32(id.x % 7u + p[0]) * 0.001;
    if (BYTES) {
        let x = id.x + p[0];
        var a = vec4<i32>(i32(x));
        var b = a + 1;
        var c = a + 2;
        var d = a + 3;
        var e = a + 4;
        var f = a + 5;
        var g = a + 6;
        var h = a + 7;
        for (var i = 0u; i < 256u; i += 1u) {
            a = four(a, x);
            b = four(b, x);
            c = four(c, x);
            d = four(d, x);
            e = four(e, x);
            f = four(f, x);
            g = four(g, x);
            h = four(h, x);
        }
        let all = a + b + c + d + e + f + g + h;
        out[id.x] = f32(all.x + all.y + all.z + all.w);
        return;
    }
    let by = V(T(0.999 + seed * 0.0001));
    let more = V(T(seed));
    var a = V(T(seed));
    var b = a + V(T(0.1));
    var c = a + V(T(0.2));
    var d = a + V(T(0.3));
    var e = a + V(T(0.4));
    var f = a + V(T(0.5));
    var g = a + V(T(0.6));
    var h = a + V(T(0.7));
    for (var i = 0u; i < 256u; i += 1u) {
        a = fma(a, by, more);
        b = fma(b, by, more);
        c = fma(c, by, more);
        d = fma(d, by, more);
        e = fma(e, by, more);
        f = fma(f, by, more);
        g = fma(g, by, more);
        h = fma(h, by, more);
    }
    let all = a + b + c + d + e + f + g + h;
    out[id.x] = f32(all.x + all.y + all.z + all.w);
}
