//! What charts have in common: a drawing, an axis with round ticks, labels that fit.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::COLOURS;
use crate::error::{Error, Result};

/// Width of every chart in px: what fits a page at print size.
pub(super) const WIDTH: i32 = 820;
/// Height of a row of a chart by rows.
pub(super) const ROW: i32 = 26;
/// Space for labels to the left.
pub(super) const LEFT: i32 = 300;
/// Space to the right, for the last tick's label.
pub(super) const RIGHT: i32 = 40;
/// Space above the first row.
pub(super) const TOP: i32 = 12;
/// Space below the last row: ticks and the axis' name.
pub(super) const BOTTOM: i32 = 52;
/// Characters that fit to the left.
const LABEL: usize = 46;

pub(super) const INK: RGBColor = RGBColor(0, 0, 0);
/// Lines of the grid.
pub(super) const GRID: RGBColor = RGBColor(200, 200, 200);

/// The colour of a legend's entry, by its place.
pub(super) fn colour(at: usize) -> RGBColor {
    let (r, g, b) = COLOURS[at % COLOURS.len()];
    RGBColor(r, g, b)
}

/// A count of things in a chart, to reckon with pixels.
pub(super) fn px(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A linear axis from 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    /// The last tick.
    pub(super) most: f64,
    step: f64,
    from: i32,
    to: i32,
}

impl Axis {
    /// From 0 to the next round number above `most`, over the pixels `from` to `to`.
    pub(super) fn new(most: f64, from: i32, to: i32) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let rough = most / 5.0;
        let power = 10.0_f64.powf(rough.log10().floor());
        let nice = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|n| n * power >= rough);
        let step = nice.unwrap_or(10.0) * power;
        Self { most: (most / step).ceil() * step, step, from, to }
    }

    /// Where a value stands.
    #[expect(clippy::cast_possible_truncation, reason = "pixels of a chart")]
    pub(super) fn at(&self, value: f64) -> i32 {
        let share = (value / self.most).clamp(0.0, 1.0);
        self.from + (share * f64::from(self.to - self.from)).round() as i32
    }

    /// Ticks and their labels.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let digits = (-self.step.log10().floor()).max(0.0)
            + if self.step.to_string().ends_with("25") { 1.0 } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some digits")]
        let digits = digits as usize;
        let mut ticks = Vec::new();
        let mut count = 0.0;
        while count * self.step <= self.most * (1.0 + 1e-9) {
            let value = count * self.step;
            ticks.push((value, format!("{value:.digits$}")));
            count += 1.0;
        }
        ticks
    }
}

/// An error of the drawing library, which draws into memory and cannot fail for a user's sake.
pub(super) fn failed(error: impl std::fmt::Display) -> Error {
    Error::internal("chart", error)
}

/// Draws a chart `height` px high.
pub(super) fn svg(height: i32, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut text = String::new();
    {
        let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    Ok(text)
}

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Text at a place: `h` says which side of it the place is.
pub(super) fn text(area: &Area<'_>, at: (i32, i32), size: i32, h: HPos, words: &str) -> Result<()> {
    let style = TextStyle::from(("sans-serif", size).into_font())
        .color(&INK)
        .pos(Pos::new(h, VPos::Center));
    area.draw(&Text::new(words.to_owned(), at, style)).map_err(failed)
}

/// A label that fits to the left of the rows; what is too long ends in an ellipsis, and stands in the table whole.
pub(super) fn label(area: &Area<'_>, y: i32, words: &str) -> Result<()> {
    let mut short: String = words.chars().take(LABEL).collect();
    if words.chars().count() > LABEL {
        short.pop();
        short.push('…');
    }
    text(area, (LEFT - 8, y), 13, HPos::Right, &short)
}

/// Grid, ticks and name of the axis below rows that end at `bottom`.
pub(super) fn axis_below(area: &Area<'_>, axis: &Axis, bottom: i32, name: &str) -> Result<()> {
    for (value, words) in axis.ticks() {
        let x = axis.at(value);
        area.draw(&PathElement::new([(x, TOP), (x, bottom)], GRID)).map_err(failed)?;
        text(area, (x, bottom + 14), 12, HPos::Center, &words)?;
    }
    text(area, (i32::midpoint(LEFT, WIDTH - RIGHT), bottom + 36), 13, HPos::Center, name)
}

/// A line with ends, from `low` to `high`.
pub(super) fn whisker(area: &Area<'_>, y: i32, low: i32, high: i32, color: RGBColor) -> Result<()> {
    for line in
        [[(low, y), (high, y)], [(low, y - 4), (low, y + 4)], [(high, y - 4), (high, y + 4)]]
    {
        area.draw(&PathElement::new(line, color.stroke_width(2))).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_beyond_the_largest() {
        for (most, last) in [(4.3, 5.0), (0.071, 0.08), (99.0, 100.0), (1.0, 1.0), (0.0, 1.0)] {
            let axis = Axis::new(most, 0, 100);
            let ticks = axis.ticks();
            assert!((ticks.last().unwrap().0 - last).abs() < 1e-9, "{most}: {ticks:?}");
            assert!((3..=8).contains(&ticks.len()), "{most}: {ticks:?}");
        }
        let axis = Axis::new(10.0, 100, 200);
        assert_eq!((axis.at(0.0), axis.at(10.0), axis.at(f64::INFINITY)), (100, 200, 200));
    }
}
