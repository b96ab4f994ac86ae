//! The report as Markdown.

use super::{Report, ReportModel};
use crate::error::Result;

/// A Markdown page.
#[derive(Debug, Clone, Copy, Default)]
pub struct Markdown;

impl Report for Markdown {
    fn render(&self, model: &ReportModel) -> Result<String> {
        let mut text =
            format!("### {}\n\n{}", model.title, markdown_table(&model.columns, &model.rows));
        if let Some(comparison) = &model.comparison {
            let title = one_line(&comparison.title);
            text.push_str(&format!("\n{title}\n\n"));
            text.push_str(&markdown_table(&comparison.columns, &comparison.rows));
        }
        text.push('\n');
        for (label, value) in &model.facts {
            text.push_str(&format!("- {label}: {}\n", one_line(value)));
        }
        for note in &model.notes {
            text.push_str(&format!("- {}\n", one_line(note)));
        }
        Ok(text)
    }
}

/// Rows below a header.
pub fn markdown_table<R: IntoIterator<Item = S>, S: AsRef<str>>(
    columns: &[impl AsRef<str>],
    rows: impl IntoIterator<Item = R>,
) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(columns.iter().map(|c| escaped(c.as_ref())).collect());
    text.push_str(&line(columns.iter().map(|_| "---".to_owned()).collect()));
    for row in rows {
        text.push_str(&line(row.into_iter().map(|cell| escaped(cell.as_ref())).collect()));
    }
    text
}

/// Markdown would read `|` as the end of a cell and `~…~` as struck out.
fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|").replace('~', "\\~")
}

fn one_line(text: &str) -> String {
    escaped(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}
