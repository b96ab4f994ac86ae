// Trilu: one side of each matrix's diagonals, zeros on the other.

@group(0) @binding(0) var<storage, read> p: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<T>;
@group(0) @binding(2) var<storage, read_write> x: array<T>;

// p: elements, rows, columns, the diagonal (signed), whether the upper side stays.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p[0]) {
        return;
    }
    let right = i32(i % p[2]) - i32(i / p[2] % p[1]) - bitcast<i32>(p[3]);
    let stays = select(right <= 0, right >= 0, p[4] != 0u);
    out[i] = select(T(), x[i], stays);
}
