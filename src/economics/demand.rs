//! Demand: how many requests come in each hour of a week.

use serde::{Deserialize, Serialize};

use super::HOURS_A_MONTH;
use crate::error::{Error, Result};

/// Hours of a week: Monday 0:00 is the first.
pub const HOURS_A_WEEK: usize = 168;
/// Requests a second that nobody has: above it figures stop to mean anything.
const MOST: f64 = 1e12;
/// Seconds of an hour.
const SECONDS: f64 = 3600.0;

/// How a week's requests are spread, where no profile is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Every hour alike.
    #[default]
    Flat,
    /// Monday to Friday from 8 to 18, little else.
    Office,
    /// Evenings and weekends most, nights least.
    Consumer,
}

/// What weights a shape gives the hours of a day, on working days and on weekends.
///
/// Invented to be plain, not taken from any service: give a profile of your own where it matters.
fn weights(shape: Shape) -> [[f64; 24]; 2] {
    let mut days = [[1.0; 24]; 2];
    match shape {
        Shape::Flat => {}
        Shape::Office => {
            for (hour, weight) in days[0].iter_mut().enumerate() {
                *weight = if (8..18).contains(&hour) { 10.0 } else { 1.0 };
            }
        }
        Shape::Consumer => {
            for (hour, weight) in days[0].iter_mut().enumerate() {
                *weight = match hour {
                    1..6 => 1.0,
                    6..17 => 4.0,
                    17..23 => 8.0,
                    _ => 3.0,
                };
            }
            days[1] = days[0].map(|weight| weight * 1.25);
        }
    }
    days
}

/// Requests over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Demand {
    /// Mean requests a second in each hour of the week.
    pub per_s: Vec<f64>,
    /// The busiest second of an hour over the hour's mean: what capacity must keep up with.
    pub peak_to_mean: f64,
    /// Growth a month: 0.05 is 5 %.
    pub growth: f64,
    /// Bytes that leave the cloud with each answer.
    pub payload_bytes: f64,
}

/// `10M/day`, `50/s`, `2e6/month`: requests a second on average.
///
/// Errors say what forms there are; none of 0 or below, or no number, is one.
pub fn parse_rate(text: &str) -> Result<f64> {
    let refuse = |why: &str| {
        Error::input(format!("demand `{text}`"), why)
            .remedy("write requests a time: 10M/day, 50/s, 300k/month, 1.2e6/h")
    };
    let (number, per) = text.trim().split_once('/').ok_or_else(|| refuse("names no time"))?;
    let number = number.trim();
    let (digits, factor) = match number.chars().last() {
        Some('k' | 'K') => (&number[..number.len() - 1], 1e3),
        Some('M') => (&number[..number.len() - 1], 1e6),
        Some('G' | 'B') => (&number[..number.len() - 1], 1e9),
        _ => (number, 1.0),
    };
    let count: f64 = digits.trim().parse().map_err(|_| refuse("is no number of requests"))?;
    let seconds = match per.trim() {
        "s" | "second" => 1.0,
        "min" | "minute" => 60.0,
        "h" | "hour" => SECONDS,
        "day" | "d" => 24.0 * SECONDS,
        "month" => HOURS_A_MONTH * SECONDS,
        "year" => 12.0 * HOURS_A_MONTH * SECONDS,
        _ => return Err(refuse("is a rate over an unknown time")),
    };
    let rate = count * factor / seconds;
    if !(rate.is_finite() && rate > 0.0) {
        return Err(refuse("is not above 0"));
    }
    if rate > MOST {
        return Err(refuse("is more than a trillion requests a second"));
    }
    Ok(rate)
}

impl Demand {
    /// `mean_per_s` requests a second on average, spread as `shape` says.
    pub fn shaped(mean_per_s: f64, shape: Shape) -> Self {
        let days = weights(shape);
        let hours: Vec<f64> = (0..7).flat_map(|day| days[usize::from(day >= 5)]).collect();
        Self::profiled(mean_per_s, &hours)
    }

    /// The same, spread in proportion to 168 weights, Monday 0:00 first.
    fn profiled(mean_per_s: f64, hours: &[f64]) -> Self {
        let all: f64 = hours.iter().sum();
        let each = |weight: &f64| mean_per_s * weight * HOURS_A_WEEK as f64 / all;
        Self {
            per_s: hours.iter().map(each).collect(),
            peak_to_mean: 1.0,
            growth: 0.0,
            payload_bytes: 0.0,
        }
    }

    /// Spread as a file's 168 numbers say, an hour each, Monday 0:00 first; a header line may precede them.
    ///
    /// Errors name the line: fewer or more hours, numbers below 0, or nothing but 0.
    pub fn from_csv(mean_per_s: f64, name: &str, text: &str) -> Result<Self> {
        let remedy = "give 168 numbers, one an hour, Monday 0:00 first";
        let mut hours = Vec::new();
        // What some editors begin a file with.
        let text = text.trim_start_matches('\u{feff}');
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            // The number is the last column; what stands before it names the hour.
            let cell = line.rsplit(',').next().unwrap_or_default().trim();
            match cell.parse::<f64>() {
                Ok(weight) if (0.0..=1e15).contains(&weight) => hours.push(weight),
                Err(_) if at == 0 => {}
                _ => {
                    let message = format!("line {}: `{cell}` is no amount of requests", at + 1);
                    return Err(Error::input(name, message).remedy(remedy));
                }
            }
        }
        if hours.len() != HOURS_A_WEEK {
            let message = format!("holds {} hours, not {HOURS_A_WEEK}", hours.len());
            return Err(Error::input(name, message).remedy(remedy));
        }
        if hours.iter().sum::<f64>() <= 0.0 {
            return Err(Error::input(name, "asks for nothing in any hour").remedy(remedy));
        }
        Ok(Self::profiled(mean_per_s, &hours))
    }

    /// Mean requests a second over the week.
    pub fn mean_per_s(&self) -> f64 {
        self.per_s.iter().sum::<f64>() / self.per_s.len().max(1) as f64
    }

    /// Requests of a month.
    pub fn per_month(&self) -> f64 {
        self.mean_per_s() * HOURS_A_MONTH * SECONDS
    }

    /// The busiest second's requests.
    pub fn peak_per_s(&self) -> f64 {
        self.per_s.iter().fold(0.0_f64, |most, rate| most.max(*rate)) * self.peak_to_mean
    }

    /// The same demand, `factor` times as much.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        Self { per_s: self.per_s.iter().map(|rate| rate * factor).collect(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_they_are_said() {
        let close = |text: &str, rate: f64| {
            assert!((parse_rate(text).unwrap() / rate - 1.0).abs() < 1e-12, "{text}");
        };
        close("50/s", 50.0);
        close("1M/day", 1e6 / 86_400.0);
        close("2628000/month", 1.0);
        close("7.2k/h", 2.0);
        for wrong in ["50", "0/s", "-1/s", "many/day", "5/fortnight", "NaN/s", "inf/s", "/s"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_shape_keeps_the_mean() {
        for shape in [Shape::Flat, Shape::Office, Shape::Consumer] {
            let demand = Demand::shaped(20.0, shape);
            assert_eq!(demand.per_s.len(), HOURS_A_WEEK);
            assert!((demand.mean_per_s() - 20.0).abs() < 1e-9, "{shape:?}");
        }
        let office = Demand::shaped(20.0, Shape::Office);
        // Saturday's noon is a tenth of Friday's.
        assert!((office.per_s[4 * 24 + 12] / office.per_s[5 * 24 + 12] - 10.0).abs() < 1e-9);
    }

    #[test]
    fn a_profile_says_which_line_is_wrong() {
        let good: String = std::iter::once("hour,requests\n".to_owned())
            .chain((0..168).map(|h| format!("{h},{}\n", h % 24)))
            .collect();
        let demand = Demand::from_csv(5.0, "p.csv", &good).unwrap();
        assert!((demand.mean_per_s() - 5.0).abs() < 1e-9 && demand.per_s[0] == 0.0);
        for (text, says) in [
            (good.replace("\n7,7\n", "\n7,-7\n"), "line 9"),
            (good.replace("\n7,7\n", "\n"), "167 hours"),
            ((0..168).map(|_| "0\n").collect(), "nothing in any hour"),
        ] {
            let error = Demand::from_csv(5.0, "p.csv", &text).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("p.csv"), "{error}");
        }
    }
}
