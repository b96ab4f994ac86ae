// The largest or the mean of a window in two dimensions: one invocation a place.

override MEAN: bool;
override COUNT_PADDING: bool = false;

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> x: array<T>;

// p: elements, then height and width of x, out, the window, the steps, the dilations, padding before and
// after.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p[0]) {
        return;
    }
    let places = p[3] * p[4];
    let plane = i / places * p[1] * p[2];
    let top = i32(i % places / p[4] * p[7]) - i32(p[11]);
    let left = i32(i % p[4] * p[8]) - i32(p[12]);
    let height = i32(p[1]);
    let width = i32(p[2]);
    var sum = 0.0;
    var largest = -3.4028235e38;
    var count = 0.0;
    for (var ky = 0u; ky < p[5]; ky += 1u) {
        let y = top + i32(ky * p[9]);
        for (var kx = 0u; kx < p[6]; kx += 1u) {
            let column = left + i32(kx * p[10]);
            let inside = y >= 0 && y < height && column >= 0 && column < width;
            if (inside) {
                let value = f32(x[plane + u32(y) * p[2] + u32(column)]);
                sum += value;
                largest = max(largest, value);
            }
            // What overhangs the padding counts nowhere.
            let padded = y < height + i32(p[13]) && column < width + i32(p[14]);
            if (inside || (COUNT_PADDING && padded)) { count += 1.0; }
        }
    }
    out[i] = T(select(largest, sum / count, MEAN));
}
