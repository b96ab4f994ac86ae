//! Charts as SVG, each with the table that it shows.
//!
//! Colours are Okabe and Ito's, which colour-blind readers can tell apart (Okabe & Ito 2008, *Color Universal Design*);
//! what is INVALID or predicted has another mark too, never another colour only.

mod bars;
mod dots;
mod draw;

pub use bars::{Bar, Part, bars};
pub use dots::{Dot, Mark, dots};

use serde::Serialize;

/// A chart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    /// Its file's name without an ending: lower-case letters, digits and dashes.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// The same for those who cannot see it, with what stands out.
    pub alt: String,
    /// SVG, `viewBox` set; text in black, which a page may colour.
    pub svg: String,
    /// Names of the columns of its table.
    pub columns: Vec<String>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

/// Colours in the order that they are used in.
pub const COLOURS: [(u8, u8, u8); 7] = [
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (90, 90, 90),
];
