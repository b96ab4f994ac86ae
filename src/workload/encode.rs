//! How a file's bytes become a model's input.

use serde::{Deserialize, Serialize};

/// Ways to turn a file into a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Magika's features: the file's first and last bytes without surrounding white space.
    /// An input `bytes`, i32, 2048 values of 0–255, 256 where there is nothing.
    MagikaV3,
}

const BLOCK: usize = 4096;
const HALF: usize = 1024;
const PADDING: i32 = 256;

impl Encoding {
    /// Name of the input that is made.
    pub fn input_name(self) -> &'static str {
        match self {
            Self::MagikaV3 => "bytes",
        }
    }

    /// Values a sample.
    pub fn width(self) -> usize {
        match self {
            Self::MagikaV3 => 2 * HALF,
        }
    }

    /// Encodes a file.
    ///
    /// Magika's model configuration (`standard_v3_3/config.min.json`) gives the sizes: blocks of
    /// 4096 bytes from both ends, white space stripped on the outer side, 1024 bytes kept of
    /// each, the rest padded on the inner side with 256.
    pub fn encode(self, file: &[u8]) -> Vec<i32> {
        let block = BLOCK.min(file.len());
        let front = trim_start(&file[..block]);
        let back = trim_end(&file[file.len() - block..]);
        let front = &front[..HALF.min(front.len())];
        let back = &back[back.len() - HALF.min(back.len())..];
        let mut values = Vec::with_capacity(self.width());
        values.extend(front.iter().map(|b| i32::from(*b)));
        values.resize(self.width() - back.len(), PADDING);
        values.extend(back.iter().map(|b| i32::from(*b)));
        values
    }
}

/// The white space that Magika strips: space, tab, newline, return, vertical tab, form feed.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|b| !is_space(*b)).unwrap_or(bytes.len());
    &bytes[start..]
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|b| !is_space(*b)).map_or(0, |i| i + 1);
    &bytes[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_file_is_padded_in_the_middle() {
        let values = Encoding::MagikaV3.encode(b"  ab\n");
        assert_eq!(values.len(), 2048);
        assert_eq!(values[..4], [97, 98, 10, 256]);
        assert_eq!(values[2043..], [256, 32, 32, 97, 98].map(i32::from));
    }

    #[test]
    fn a_long_file_keeps_its_ends() {
        let file: Vec<u8> = (40..240).cycle().take(10_000).collect();
        let values = Encoding::MagikaV3.encode(&file);
        assert_eq!(values[0], i32::from(file[0]));
        assert_eq!(values[1023], i32::from(file[1023]));
        assert_eq!(values[1024], i32::from(file[10_000 - 1024]));
        assert_eq!(values[2047], i32::from(file[9_999]));
        assert!(!values.contains(&256));
    }

    #[test]
    fn nothing_but_space_is_all_padding() {
        assert!(Encoding::MagikaV3.encode(b" \n\t ").iter().all(|v| *v == 256));
    }
}
