//! A report as one self-contained page: what is decided first, then what it rests on.
//!
//! A [`Page`] is computed once from records and prices; rendering is a pure function of it. Every text is escaped by the
//! template, and nothing in it is fetched.

mod charts;
mod provenance;
mod redact;
mod summary;

pub use redact::records as redacted;

use serde::Serialize;

use super::chart::Chart;
use super::model::ReportModel;
use crate::economics::PriceTable;
use crate::error::{Error, Result};
use crate::store::Record;

/// What the author of a report adds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Author {
    /// For whom it is.
    pub client: Option<String>,
    /// The author's own text: paragraphs.
    pub notes: Option<String>,
    /// A picture as a `data:` address.
    pub logo: Option<String>,
    /// When it is made, RFC 3339 UTC.
    pub made_at: String,
}

/// A cell: what is shown, and what it is sorted by.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    text: String,
    sort: Option<f64>,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sheet {
    title: String,
    columns: Vec<String>,
    rows: Vec<SheetRow>,
}

/// A row, and whether its figures can be believed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SheetRow {
    cells: Vec<Cell>,
    is_marked: bool,
}

/// Everything that a page shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page {
    title: String,
    client: Option<String>,
    made_at: String,
    tool_version: &'static str,
    logo: Option<String>,
    author_notes: Vec<String>,
    /// Sentences: what to do, what it saves, how sure that is, what is traded.
    summary: Vec<String>,
    comparison: Sheet,
    variants: Option<Sheet>,
    charts: Vec<Chart>,
    facts: Vec<(String, String)>,
    notes: Vec<String>,
    provenance: Sheet,
    commands: Vec<String>,
}

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

impl Page {
    /// The page of `records`, priced by `prices`; `runs` are how they are called in commands.
    pub fn of(
        records: &[Record],
        prices: &PriceTable,
        author: &Author,
        runs: &[String],
    ) -> Result<Self> {
        let model = ReportModel::of(records, prices);
        let marked: Vec<bool> = records
            .iter()
            .map(|r| {
                !r.verdict.valid || r.verdict.meets_quality == Some(false) || r.failure.is_some()
            })
            .collect();
        let comparison = sheet(&model.title, &model.columns, &model.rows, &marked);
        let variants = model
            .comparison
            .as_ref()
            .map(|c| sheet(&c.title, &c.columns, &c.rows, &vec![false; c.rows.len()]));
        let paragraphs = author.notes.iter().flat_map(|text| text.split("\n\n"));
        Ok(Self {
            title: records.first().map(|r| r.case.model.clone()).unwrap_or_default(),
            client: author.client.clone(),
            made_at: author.made_at.clone(),
            tool_version: env!("CARGO_PKG_VERSION"),
            logo: author.logo.clone(),
            author_notes: paragraphs
                .map(|p| p.trim().to_owned())
                .filter(|p| !p.is_empty())
                .collect(),
            summary: summary::of(records, &model.costs),
            comparison,
            variants,
            charts: charts::of(records, &model.costs)?,
            facts: model
                .facts
                .iter()
                .map(|(label, value)| ((*label).to_owned(), value.clone()))
                .collect(),
            notes: model.notes.clone(),
            provenance: provenance::of(records),
            commands: provenance::commands(records, runs),
        })
    }

    /// The charts, to be written as files.
    pub fn charts(&self) -> &[Chart] {
        &self.charts
    }

    /// As HTML.
    pub fn html(&self) -> Result<String> {
        let failed = |e: minijinja::Error| Error::internal("report", e);
        let mut environment = minijinja::Environment::new();
        // The name's ending switches escaping on.
        environment.add_template("page.html", TEMPLATE).map_err(failed)?;
        let template = environment.get_template("page.html").map_err(failed)?;
        // Charts take the page's colours; files of them stay black on white.
        let drawings: Vec<String> = self.charts.iter().map(|chart| inline(&chart.svg)).collect();
        template
            .render(minijinja::context! { page => minijinja::Value::from(minijinja::value::Serde(self)), style => STYLE, script => SCRIPT, drawings })
            .map_err(failed)
    }
}

fn inline(svg: &str) -> String {
    svg.replace("fill=\"#000000\"", "fill=\"currentColor\"")
        .replace("stroke=\"#000000\"", "stroke=\"currentColor\"")
        .replace("stroke=\"#C8C8C8\"", "stroke=\"var(--line)\"")
}

fn sheet(title: &str, columns: &[String], rows: &[Vec<String>], marked: &[bool]) -> Sheet {
    let row = |(cells, marked): (&Vec<String>, &bool)| SheetRow {
        cells: cells
            .iter()
            .map(|text| Cell { text: text.clone(), sort: number_in(text) })
            .collect(),
        is_marked: *marked,
    };
    Sheet {
        title: title.to_owned(),
        columns: columns.to_vec(),
        rows: rows.iter().zip(marked).map(row).collect(),
    }
}

/// The number that a cell begins with, by which it is sorted.
fn number_in(text: &str) -> Option<f64> {
    let text = text.trim_start_matches(['~', '+']);
    let end = text.find(|c: char| !(c.is_ascii_digit() || ".-e".contains(c))).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let line = include_str!("../../../benches/record.json").lines().next().unwrap();
        let record: Record = serde_json::from_str(line).unwrap();
        let mut other = record.clone();
        other.case.variant = "<script>alert(1)</script>\"'".to_owned();
        other.case.id = "x".to_owned();
        vec![record, other]
    }

    #[test]
    fn a_page_is_whole_and_hostile_names_stay_text() {
        let prices = PriceTable::built_in().unwrap();
        let author = Author {
            client: Some("A & <b>".to_owned()),
            made_at: "2026-11-28T00:00:00Z".to_owned(),
            ..Author::default()
        };
        let page = Page::of(&records(), &prices, &author, &["latest".to_owned()]).unwrap();
        let html = page.html().unwrap();
        assert!(!html.contains("<script>alert") && !html.contains("A & <b>"), "{html}");
        assert!(html.contains("&lt;script&gt;alert(1)"), "{html}");
        assert!(html.contains("<svg") && html.contains("currentColor"));
        // Nothing is fetched.
        for outside in ["src=\"http", "href=\"http", "url(http", "@import"] {
            assert!(!html.contains(outside), "{outside}");
        }
    }

    #[test]
    fn cells_are_sorted_by_the_number_that_they_begin_with() {
        assert_eq!(number_in("4.81 ±0.3%"), Some(4.81));
        assert_eq!(number_in("~9.00"), Some(9.0));
        assert_eq!(number_in("+0.5 %"), Some(0.5));
        assert_eq!(number_in("VALID"), None);
    }
}
