//! Rows of CSV, JSON and JSON Lines files: column → value.

use std::path::Path;

use serde_json::{Map, Value};

use super::data_spec::TableFormat;
use crate::error::{Error, Result};

/// One row and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// File and number, for errors.
    pub(super) at: String,
    values: Map<String, Value>,
}

/// Reads all rows of a file; `name` names it in errors.
pub(super) fn read(path: &Path, name: &str, format: Option<TableFormat>) -> Result<Vec<Row>> {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    let format = match (format, ending.to_ascii_lowercase().as_str()) {
        (Some(format), _) => format,
        (None, "csv") => TableFormat::Csv,
        (None, "json") => TableFormat::Json,
        (None, "jsonl" | "ndjson") => TableFormat::Jsonl,
        _ => {
            return Err(Error::input(name, "has a name that tells no format")
                .remedy("set `format` to csv, json or jsonl beside its source"));
        }
    };
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, "read", &e))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let before = String::from_utf8_lossy(&e.as_bytes()[..e.utf8_error().valid_up_to()]);
        let line = before.matches('\n').count() + 1;
        Error::input(name, format!("is not UTF-8 from line {line} on"))
            .remedy("convert it, e.g. `iconv -f latin1 -t utf-8`")
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let rows = match format {
        TableFormat::Csv => of_csv(text, name),
        TableFormat::Json => of_json(text, name),
        TableFormat::Jsonl => of_jsonl(text, name),
    }?;
    if rows.is_empty() {
        return Err(Error::input(name, "holds no rows")
            .remedy("check that it is the right file; nothing can be measured without inputs"));
    }
    Ok(rows)
}

fn of_csv(text: &str, name: &str) -> Result<Vec<Row>> {
    let bad = |e: csv::Error| {
        let line = e.position().map_or_else(String::new, |p| format!(" at line {}", p.line()));
        Error::input(name, format!("is no CSV{line}: {e}"))
            .remedy("give a header line and as many cells in every row, quoted where needed")
    };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header: Vec<String> =
        reader.headers().map_err(bad)?.iter().map(|h| h.trim().to_owned()).collect();
    if let Some(twice) = header.iter().enumerate().find(|(i, h)| header[..*i].contains(h)) {
        return Err(Error::input(name, format!("has two columns `{}`", twice.1))
            .remedy("give every column a name of its own"));
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(bad)?;
        let line = record.position().map_or(0, csv::Position::line);
        let cells = record.iter().map(|cell| Value::String(cell.to_owned()));
        let values = header.iter().cloned().zip(cells).collect();
        rows.push(Row { at: format!("{name}: line {line}"), values });
    }
    Ok(rows)
}

fn of_json(text: &str, name: &str) -> Result<Vec<Row>> {
    let rows: Vec<Map<String, Value>> = serde_json::from_str(text).map_err(|e| {
        Error::input(name, format!("is no JSON list of objects: {e}"))
            .remedy("give a list of objects, or JSON Lines with `format = \"jsonl\"`")
    })?;
    let at = |i: usize| format!("{name}: object {}", i + 1);
    Ok(rows.into_iter().enumerate().map(|(i, values)| Row { at: at(i), values }).collect())
}

fn of_jsonl(text: &str, name: &str) -> Result<Vec<Row>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(i, line)| {
            let at = format!("{name}: line {}", i + 1);
            let values = serde_json::from_str(line).map_err(|e| {
                Error::input(&at, format!("is no JSON object: {e}")).remedy("give one a line")
            })?;
            Ok(Row { at, values })
        })
        .collect()
}

impl Row {
    /// The value of a column; `None` when it is empty. A column that the row does not have is an
    /// error that lists those it has.
    pub(super) fn get(&self, column: &str) -> Result<Option<&Value>> {
        match self.values.get(column) {
            Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(value) => Ok(Some(value)),
            None => {
                let known: Vec<&str> = self.values.keys().map(String::as_str).collect();
                Err(Error::input(&self.at, format!("has no column `{column}`")).remedy(format!(
                    "map one of its columns in [data.table]: {}",
                    known.join(", ")
                )))
            }
        }
    }

    /// The value of a column that must not be empty.
    pub(super) fn need(&self, column: &str) -> Result<&Value> {
        self.get(column)?.ok_or_else(|| {
            Error::input(&self.at, format!("has nothing in column `{column}`"))
                .remedy("fill it in, or remove the row")
        })
    }

    /// A column as text.
    pub(super) fn text(&self, column: &str) -> Result<String> {
        Ok(match self.need(column)? {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// A column's numbers: one, or the list it holds.
    pub(super) fn numbers(&self, column: &str) -> Result<Vec<f64>> {
        let number = |value: &Value| match value {
            Value::Number(n) => n.as_f64(),
            Value::Bool(b) => Some(f64::from(u8::from(*b))),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let value = self.need(column)?;
        let numbers = match value {
            Value::Array(list) => list.iter().map(number).collect::<Option<Vec<f64>>>(),
            one => number(one).map(|n| vec![n]),
        };
        numbers.filter(|all| all.iter().all(|n| n.is_finite())).ok_or_else(|| {
            let shown: String = value.to_string().chars().take(40).collect();
            Error::input(&self.at, format!("column `{column}` holds {shown}, which is no number"))
                .remedy("give a number, or in JSON a list of numbers")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_formats_give_the_same_rows() {
        let csv = of_csv("text,class\n\"a, b\",1\n", "f").unwrap();
        let json = of_json(r#"[{"text": "a, b", "class": 1}]"#, "f").unwrap();
        let jsonl = of_jsonl("{\"text\": \"a, b\", \"class\": 1}\n", "f").unwrap();
        for rows in [&csv, &json, &jsonl] {
            assert_eq!(rows[0].text("text").unwrap(), "a, b");
            assert_eq!(rows[0].numbers("class").unwrap(), [1.0]);
        }
        assert_eq!(csv[0].at, "f: line 2");
    }

    #[test]
    fn wrong_columns_and_cells_are_named() {
        let rows = of_csv("a,b\nx,\n", "f.csv").unwrap();
        let error = rows[0].text("c").unwrap_err().to_string();
        assert!(error.contains("f.csv: line 2") && error.contains("`c`") && error.contains("a, b"));
        assert!(rows[0].text("b").unwrap_err().to_string().contains("nothing in column `b`"));
        assert!(rows[0].numbers("a").unwrap_err().to_string().contains("no number"));
        assert!(of_csv("a,a\n1,2\n", "f").unwrap_err().to_string().contains("two columns `a`"));
        assert!(of_csv("a,b\n1\n", "f").unwrap_err().to_string().contains("line 2"));
        assert!(of_jsonl("{\n", "f").unwrap_err().to_string().contains("f: line 1"));
    }
}
