//! Records as people and programs read them.
//!
//! A [`ReportModel`] is computed once from records; each [`Report`] only lays it out.

pub mod chart;
mod compare;
mod csv;
pub mod gate;
mod markdown;
mod model;
mod numerics;
pub mod page;
mod profile;
mod serving;
mod table;

pub use compare::Comparison;
pub use csv::{Csv, csv_rows};
pub use markdown::{Markdown, markdown_table};
pub use model::ReportModel;
pub use profile::profile;
pub use table::{Table, ruled, wrapped};

use crate::error::Result;

/// A way to lay a report out.
pub trait Report {
    /// The whole text, ending in a newline.
    fn render(&self, model: &ReportModel) -> Result<String>;
}
