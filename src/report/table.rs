//! The terminal table: fits 100 columns.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, TableStyle};

use super::{Report, ReportModel};
use crate::error::Result;

/// Columns that the table fits into.
pub(super) const WIDTH: u16 = 100;

/// A line above, below and under the header.
const RULED: TableStyle = {
    let line = LineStyle::none().fill('─').junction('─');
    TableStyle::new().top_border(line).header_separator(line).bottom_border(line)
};

/// A table for the terminal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Table;

impl Report for Table {
    fn render(&self, model: &ReportModel) -> Result<String> {
        let mut text = wrapped("", &model.title);
        text.push_str(&ruled(&model.columns, &model.rows));
        if let Some(comparison) = &model.comparison {
            text.push_str(&wrapped("", &comparison.title));
            text.push_str(&ruled(&comparison.columns, &comparison.rows));
        }
        for (label, value) in &model.facts {
            text.push_str(&wrapped(&format!("{label:<9} "), value));
        }
        for note in &model.notes {
            text.push_str(&wrapped("· ", note));
        }
        Ok(text)
    }
}

/// Rows below a header, ruled; text to the left, figures to the right.
pub fn ruled<R: AsRef<[String]>>(columns: &[impl AsRef<str>], rows: &[R]) -> String {
    let mut table = comfy_table::Table::new();
    table
        .load_style(RULED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(columns.iter().map(AsRef::as_ref));
    for row in rows {
        table.add_row(row.as_ref());
    }
    // A column takes its longest cell, a space on each side and one between columns.
    let longest = |i: usize| {
        let cells = rows.iter().filter_map(|row| row.as_ref().get(i)).map(String::as_str);
        let cells = cells.chain(columns.get(i).map(AsRef::as_ref));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let width: usize = (0..columns.len()).map(|i| longest(i) + 3).sum();
    for (index, column) in table.column_iter_mut().enumerate() {
        if width > usize::from(WIDTH) {
            column.set_padding((0, 1));
        }
        if !TEXT.contains(&columns[index].as_ref()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}

/// Columns that hold text.
const TEXT: [&str; 16] = [
    "variant",
    "backend",
    "sess×thr",
    "load",
    "verdict",
    "instance",
    "region",
    "term",
    "price of",
    "date",
    "basis",
    "op",
    "type",
    "graph",
    "output",
    "reason",
];

/// `value` after `label`, broken at spaces so that no line is wider than the table; lines of the
/// value itself are kept, and what follows is indented as far as the label.
pub fn wrapped(label: &str, value: &str) -> String {
    let indent = " ".repeat(label.chars().count());
    let mut out = String::new();
    let mut lead = label;
    for line in value.lines() {
        let mut current = String::from(lead);
        let mut is_fresh = true;
        for word in line.split_inclusive(' ') {
            let width = current.chars().count() + word.trim_end().chars().count();
            if !is_fresh && width > usize::from(WIDTH) {
                out.push_str(current.trim_end());
                out.push('\n');
                current.clone_from(&indent);
            }
            current.push_str(word);
            is_fresh = false;
        }
        out.push_str(current.trim_end());
        out.push('\n');
        lead = &indent;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_broken_at_spaces() {
        let words = "word ".repeat(40);
        let text = wrapped("isa       ", &words);
        assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("          word"));
        assert_eq!(text.matches("word").count(), 40);
    }
}
