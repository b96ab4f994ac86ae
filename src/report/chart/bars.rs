//! Stacked bars by rows, with an interval at their ends.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::Chart;
use super::draw::{self, Axis, BOTTOM, LEFT, RIGHT, ROW, TOP, WIDTH, failed};
use crate::error::Result;

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What it is of.
    pub label: String,
    /// Its parts, from the left.
    pub parts: Vec<Part>,
    /// Ends of the interval of their sum.
    pub ends: Option<(f64, f64)>,
    /// Drawn hollow: a figure that is INVALID, assumed or predicted.
    pub is_hollow: bool,
}

/// A part of a bar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Which of the names of the chart it is.
    pub which: usize,
    /// Its length.
    pub value: f64,
}

/// Rows as a chart; `names` are those of the parts, `columns` the table's.
pub fn bars(
    about: (&str, &str, &str),
    names: &[&str],
    axis_name: &str,
    rows: &[Bar],
    table: (Vec<String>, Vec<Vec<String>>),
) -> Result<Chart> {
    let (name, title, alt) = about;
    let count = i32::try_from(rows.len()).unwrap_or(i32::MAX);
    let legend = if names.len() > 1 { 24 } else { 0 };
    let bottom = TOP + legend + count.saturating_mul(ROW);
    let sum = |bar: &Bar| bar.parts.iter().map(|part| part.value).sum::<f64>();
    let most = rows.iter().map(|bar| bar.ends.map_or(sum(bar), |(_, high)| high.max(sum(bar))));
    let axis = Axis::new(most.fold(0.0, f64::max), LEFT, WIDTH - RIGHT);
    let svg = draw::svg(bottom + BOTTOM, |area| {
        draw::axis_below(area, &axis, bottom, axis_name)?;
        if legend > 0 {
            for (at, name) in names.iter().enumerate() {
                let x = LEFT + draw::px(at) * 130;
                let swatch = [(x, TOP), (x + 12, TOP + 12)];
                area.draw(&Rectangle::new(swatch, draw::colour(at).filled())).map_err(failed)?;
                draw::text(area, (x + 18, TOP + 6), 13, HPos::Left, name)?;
            }
        }
        for (at, bar) in (0..).zip(rows) {
            let y = TOP + legend + at * ROW + ROW / 2;
            draw::label(area, y, &bar.label)?;
            let mut from = 0.0;
            for part in &bar.parts {
                let corners = [(axis.at(from), y - 8), (axis.at(from + part.value), y + 8)];
                let color = draw::colour(part.which);
                let style = if bar.is_hollow { color.stroke_width(2) } else { color.filled() };
                area.draw(&Rectangle::new(corners, style)).map_err(failed)?;
                from += part.value;
            }
            if let Some((low, high)) = bar.ends {
                draw::whisker(area, y, axis.at(low), axis.at(high), draw::INK)?;
            }
        }
        Ok(())
    })?;
    let (columns, rows) = table;
    Ok(Chart { name: name.into(), title: title.into(), alt: alt.into(), svg, columns, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_labels_stay_text() {
        let bar = Bar {
            label: "<script>alert('&\"')</script>".to_owned(),
            parts: vec![Part { which: 0, value: 1.0 }],
            ends: Some((0.9, 1.1)),
            is_hollow: false,
        };
        let chart =
            bars(("a", "b", "c"), &["one"], "USD", &[bar], (Vec::new(), Vec::new())).unwrap();
        assert!(!chart.svg.contains("<script"), "{}", chart.svg);
        assert!(chart.svg.contains("&lt;script"), "{}", chart.svg);
    }
}
