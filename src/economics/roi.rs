//! What a change saves, when it has paid for itself, and what that hangs on.

use serde::Serialize;

/// What a change costs once and saves month by month, in USD.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Cost of the first month before.
    pub before: f64,
    /// Of the first month after.
    pub after: f64,
    /// Saved in each month that is looked ahead, with that month's demand; fleets grow in steps, and bills may not grow
    /// at all.
    pub savings: Vec<f64>,
    /// Cost of changing: engineering hours, computing.
    pub one_off: f64,
    /// Interest a year: 0.08 is 8 %.
    pub interest: f64,
}

/// What it comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Return {
    /// USD a month, at first; below 0 where it costs more.
    pub saving_per_month: f64,
    /// Share of the cost before.
    pub saving_share: f64,
    /// Months until savings have made up for the cost of changing; `None` if never.
    pub payback_months: Option<f64>,
    /// Net present value over the months that are looked ahead.
    pub npv: f64,
    /// (savings − cost) / cost over these months; `None` where it costs nothing.
    pub roi: Option<f64>,
    /// Savings less costs until the end of each month, the cost of changing being month 0.
    pub cumulative: Vec<f64>,
}

impl Change {
    /// Saving, payback, present value.
    ///
    /// NPV = −C₀ + Σ s(m) / (1 + i)^(m/12), a year's interest i; payback is where the sum of savings, without
    /// interest, reaches C₀. A month after those that are looked ahead saves what the last one does.
    pub fn returns(&self) -> Return {
        let mut cumulative = vec![-self.one_off];
        let (mut npv, mut sum) = (-self.one_off, 0.0);
        for (month, own) in (1_u32..).zip(&self.savings) {
            sum += own;
            npv += own / (1.0 + self.interest).powf(f64::from(month) / 12.0);
            cumulative.push(sum - self.one_off);
        }
        Return {
            saving_per_month: self.savings.first().copied().unwrap_or(0.0),
            saving_share: if self.before > 0.0 { 1.0 - self.after / self.before } else { 0.0 },
            payback_months: self.payback(),
            npv,
            roi: (self.one_off > 0.0).then(|| (sum - self.one_off) / self.one_off),
            cumulative,
        }
    }

    /// Months until the savings reach C₀, with a part of the last one; `None` if not within a hundred years.
    fn payback(&self) -> Option<f64> {
        if self.one_off <= 0.0 {
            return Some(0.0);
        }
        let mut left = self.one_off;
        for (month, own) in (0_u32..).zip(&self.savings) {
            if *own >= left {
                return Some(f64::from(month) + left / own);
            }
            left -= own;
        }
        let last = self.savings.last().copied().filter(|own| *own > 0.0)?;
        let months = self.savings.len() as f64 + left / last;
        (months <= 1200.0).then_some(months)
    }
}

/// What a figure becomes when one assumption is lower or higher.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Swing {
    /// The assumption.
    pub what: String,
    /// Its low and high value, in words.
    pub range: (String, String),
    /// The figure at either.
    pub values: (f64, f64),
}

/// Swings, the widest first: a tornado.
pub fn tornado(mut swings: Vec<Swing>) -> Vec<Swing> {
    let width = |s: &Swing| (s.values.1 - s.values.0).abs();
    swings.sort_by(|a, b| width(b).total_cmp(&width(a)));
    swings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(before: f64, after: f64, one_off: f64) -> Return {
        let savings = vec![before - after; 36];
        Change { before, after, savings, one_off, interest: 0.0 }.returns()
    }

    #[test]
    fn worked_examples_come_out() {
        let near = |a: f64, b: f64, within: f64| assert!((a - b).abs() < within, "{a}, not {b}");
        // $8,000 to $1,800 a month.
        near(change(8000.0, 1800.0, 0.0).saving_share, 0.775, 1e-12);
        near(change(18_000.0, 3200.0, 0.0).saving_share, 0.8222, 5e-5);
        // 40 hours at $100 against $1,985.60 a month: two months, not a week.
        near(change(3.06 * 730.0, 0.34 * 730.0, 4000.0).payback_months.unwrap(), 2.01, 5e-3);
        // 100,000 images a day at $0.10 less for a thousand: over a year.
        let saving = 100_000.0 * 730.0 / 24.0 / 1000.0 * 0.10;
        near(change(saving, 0.0, 4000.0).payback_months.unwrap(), 13.2, 0.06);
        assert_eq!(change(100.0, 120.0, 10.0).payback_months, None);
        assert_eq!(change(100.0, 80.0, 0.0).payback_months, Some(0.0));
    }

    #[test]
    fn present_value_is_the_textbooks() {
        let plain = Change {
            before: 200.0,
            after: 100.0,
            savings: vec![100.0; 12],
            one_off: 1000.0,
            interest: 0.1,
        };
        let by_hand: f64 = (1..=12).map(|m| 100.0 / 1.1_f64.powf(f64::from(m) / 12.0)).sum();
        assert!((plain.returns().npv - (by_hand - 1000.0)).abs() < 1e-9);
        assert!((plain.returns().roi.unwrap() - 0.2).abs() < 1e-12);
        let savings = (0..12).map(|m| 100.0 * 1.1_f64.powi(m)).collect();
        let growing = Change { savings, interest: 0.0, ..plain }.returns();
        let sum: f64 = (0..12).map(|m| 100.0 * 1.1_f64.powi(m)).sum();
        assert!((growing.npv - (sum - 1000.0)).abs() < 1e-9);
        // The savings of 7 months and a part of the eighth.
        let payback = growing.payback_months.unwrap();
        assert!((7.0..8.0).contains(&payback), "{payback}");
        assert_eq!(growing.cumulative.len(), 13);
    }

    #[test]
    fn the_widest_swing_comes_first() {
        let swing = |what: &str, low, high| Swing {
            what: what.to_owned(),
            range: (String::new(), String::new()),
            values: (low, high),
        };
        let sorted =
            tornado(vec![swing("a", 1.0, 2.0), swing("b", 9.0, 1.0), swing("c", 5.0, 6.0)]);
        assert_eq!(sorted[0].what, "b");
    }
}
