//! `.npz` files as NumPy writes them, for tests.

use std::io::Write;

use npyz::{AutoSerialize, Order, WriterBuilder};

/// One array of a file: its name and its `.npy`.
pub(crate) fn array<T: AutoSerialize>(
    name: &str,
    shape: &[u64],
    order: Order,
    values: &[T],
) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(shape).order(order);
    let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
    writer.extend(values).unwrap();
    writer.finish().unwrap();
    (name.to_owned(), bytes)
}

/// The file that holds these arrays.
pub(crate) fn npz(arrays: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        let stored = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored);
        zip.start_file(format!("{name}.npy"), stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}
