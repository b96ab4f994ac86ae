//! Which operators ONNX has, and in which opsets their definition changed.

/// Oldest and newest opset that can be read.
pub(super) const OPSETS: std::ops::RangeInclusive<i64> = 7..=23;

/// A line an operator of ONNX's own domain: its name, and the opsets in which its definition
/// changed, `x` behind one that withdrew it. From the schemas of the Python package `onnx` 1.19.0
/// (`onnx.defs.get_all_schemas_with_history`), up to opset 23.
const OPERATORS: &str = include_str!("operators.txt");

/// The definition of an operator that an opset uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Definition {
    /// The one of this opset.
    Since(i64),
    /// Withdrawn in this opset.
    Withdrawn(i64),
    /// There was none yet, or never is.
    Unknown,
}

/// The definition of `name` that opset `opset` uses.
pub(super) fn definition(name: &str, opset: i64) -> Definition {
    let line = OPERATORS.lines().find(|line| line.split(' ').next() == Some(name));
    let mut found = Definition::Unknown;
    for word in line.into_iter().flat_map(|line| line.split(' ').skip(1)) {
        let withdrawn = word.strip_suffix('x');
        let Ok(since) = withdrawn.unwrap_or(word).parse::<i64>() else { continue };
        if since <= opset {
            found = match withdrawn {
                Some(_) => Definition::Withdrawn(since),
                None => Definition::Since(since),
            };
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_the_newest_that_the_opset_has() {
        assert_eq!(definition("Add", 13), Definition::Since(13));
        assert_eq!(definition("Add", 12), Definition::Since(7));
        assert_eq!(definition("Upsample", 9), Definition::Since(9));
        assert_eq!(definition("Upsample", 11), Definition::Withdrawn(10));
        assert_eq!(definition("Gelu", 19), Definition::Unknown);
        assert_eq!(definition("NoSuchThing", 19), Definition::Unknown);
        assert_eq!(OPERATORS.lines().count(), 196);
    }
}
