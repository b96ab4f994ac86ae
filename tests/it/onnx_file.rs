//! Small ONNX files, encoded by hand: protobuf wire format with the field numbers of onnx.proto3.

/// A model of one `Relu` from `x` (f32, `dims`) to `y`. A negative size is a free dimension.
pub(crate) fn relu(dims: &[i64]) -> Vec<u8> {
    let value = |name: &str| {
        let shape: Vec<u8> = dims
            .iter()
            .enumerate()
            .flat_map(|(axis, size)| {
                let dim = match u64::try_from(*size) {
                    Ok(size) => varint(1, size),
                    Err(_) => bytes(2, format!("free{axis}").as_bytes()),
                };
                bytes(1, &dim)
            })
            .collect();
        let tensor = [varint(1, 1), bytes(2, &shape)].concat();
        [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
    };
    let node = [bytes(1, b"x"), bytes(2, b"y"), bytes(4, b"Relu")].concat();
    let graph =
        [bytes(1, &node), bytes(2, b"relu"), bytes(11, &value("x")), bytes(12, &value("y"))]
            .concat();
    let opset = [bytes(1, b""), varint(2, 17)].concat();
    [varint(1, 8), bytes(7, &graph), bytes(8, &opset)].concat()
}

/// A model of one `Add` of `x` (f32, [N, 4]) and four weights kept in the file `location`.
pub(crate) fn external(location: &str) -> Vec<u8> {
    let entry = [bytes(1, b"location"), bytes(2, location.as_bytes())].concat();
    let weights =
        [varint(1, 4), varint(2, 1), bytes(8, b"w"), bytes(13, &entry), varint(14, 1)].concat();
    let value = |name: &str| {
        let dims = [bytes(1, &bytes(2, b"n")), bytes(1, &varint(1, 4))].concat();
        let tensor = [varint(1, 1), bytes(2, &dims)].concat();
        [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
    };
    let node = [bytes(1, b"x"), bytes(1, b"w"), bytes(2, b"y"), bytes(4, b"Add")].concat();
    let graph = [
        bytes(1, &node),
        bytes(2, b"add"),
        bytes(5, &weights),
        bytes(11, &value("x")),
        bytes(12, &value("y")),
    ]
    .concat();
    let opset = [bytes(1, b""), varint(2, 17)].concat();
    [varint(1, 8), bytes(7, &graph), bytes(8, &opset)].concat()
}

/// A node: operator, inputs, outputs.
pub(crate) type Node<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

/// A model of these nodes from `x` (f32, `[2, 4]`) to `y`, with weights `(name, dims, bytes)` of f32.
pub(crate) fn model(nodes: &[Node<'_>], weights: &[(&str, &[u64], &[u8])], opset: u64) -> Vec<u8> {
    let value = |name: &str| {
        let dims = [bytes(1, &varint(1, 2)), bytes(1, &varint(1, 4))].concat();
        let tensor = [varint(1, 1), bytes(2, &dims)].concat();
        [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
    };
    let node = |(op, inputs, outputs): &Node<'_>| {
        let mut node: Vec<u8> = inputs.iter().flat_map(|i| bytes(1, i.as_bytes())).collect();
        node.extend(outputs.iter().flat_map(|o| bytes(2, o.as_bytes())));
        node.extend(bytes(3, format!("{op}_{}", outputs[0]).as_bytes()));
        node.extend(bytes(4, op.as_bytes()));
        bytes(1, &node)
    };
    let weight = |(name, dims, data): &(&str, &[u64], &[u8])| {
        let mut tensor: Vec<u8> = dims.iter().flat_map(|d| varint(1, *d)).collect();
        tensor.extend(varint(2, 1));
        tensor.extend(bytes(8, name.as_bytes()));
        tensor.extend(bytes(9, data));
        bytes(5, &tensor)
    };
    let mut graph: Vec<u8> = nodes.iter().flat_map(node).collect();
    graph.extend(bytes(2, b"graph"));
    graph.extend(weights.iter().flat_map(weight));
    graph.extend([bytes(11, &value("x")), bytes(12, &value("y"))].concat());
    let imported = [bytes(1, b""), varint(2, opset)].concat();
    [varint(1, 8), bytes(7, &graph), bytes(8, &imported)].concat()
}

fn varint(field: u64, value: u64) -> Vec<u8> {
    [raw_varint(field << 3), raw_varint(value)].concat()
}

fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    [raw_varint(field << 3 | 2), raw_varint(content.len() as u64), content.to_vec()].concat()
}

fn raw_varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 128 {
        out.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    out.push(u8::try_from(value).unwrap());
    out
}
