//! Figures with intervals by rows, several marks a row.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::Chart;
use super::draw::{self, Axis, BOTTOM, LEFT, RIGHT, ROW, TOP, WIDTH, failed};
use crate::error::Result;

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct Dot {
    /// What it is of.
    pub label: String,
    /// Its marks, in the order of their names.
    pub marks: Vec<Option<Mark>>,
    /// Drawn hollow: an INVALID figure, or one that was not measured.
    pub is_hollow: bool,
}

/// A figure with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    /// The figure.
    pub value: f64,
    /// Ends of its interval.
    pub ends: Option<(f64, f64)>,
}

/// Names and rows as a chart; `columns` are the table's, the label's first.
pub fn dots(
    about: (&str, &str, &str),
    names: &[&str],
    axis_name: &str,
    rows: &[Dot],
    table: (Vec<String>, Vec<Vec<String>>),
) -> Result<Chart> {
    let (name, title, alt) = about;
    let count = i32::try_from(rows.len()).unwrap_or(i32::MAX);
    let legend = 24;
    let bottom = TOP + legend + count.saturating_mul(ROW);
    let most = rows
        .iter()
        .flat_map(|row| row.marks.iter().flatten())
        .map(|mark| mark.ends.map_or(mark.value, |(_, high)| high.max(mark.value)))
        .fold(0.0, f64::max);
    let axis = Axis::new(most, LEFT, WIDTH - RIGHT);
    let svg = draw::svg(bottom + BOTTOM, |area| {
        draw::axis_below(area, &axis, bottom, axis_name)?;
        for (at, name) in names.iter().enumerate() {
            let x = LEFT + draw::px(at) * 110;
            let color = draw::colour(at);
            area.draw(&Circle::new((x, TOP + 6), 5, color.filled())).map_err(failed)?;
            draw::text(area, (x + 10, TOP + 6), 13, HPos::Left, name)?;
        }
        for (at, row) in (0..).zip(rows) {
            let y = TOP + legend + at * ROW + ROW / 2;
            draw::label(area, y, &row.label)?;
            for (which, mark) in row.marks.iter().enumerate() {
                let Some(mark) = mark else { continue };
                let (x, color) = (axis.at(mark.value), draw::colour(which));
                if let Some((low, high)) = mark.ends {
                    draw::whisker(area, y, axis.at(low), axis.at(high), color)?;
                }
                let style = if row.is_hollow { color.stroke_width(2) } else { color.filled() };
                area.draw(&Circle::new((x, y), 5, style)).map_err(failed)?;
            }
        }
        Ok(())
    })?;
    let (columns, rows) = table;
    Ok(Chart { name: name.into(), title: title.into(), alt: alt.into(), svg, columns, rows })
}
