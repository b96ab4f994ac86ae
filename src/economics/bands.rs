//! A band by draws: what a month comes to when capacity, prices and demand are drawn from their ranges.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::business::Draws;
use super::evaluate::{AS_IS, What, bill};
use super::grid::Asked;
use super::offer::Offer;
use super::way::Capacity;
use crate::error::Result;

/// The half-width of a normal distribution's 95 % interval, in standard deviations.
const Z95: f64 = 1.959_963_984_540_054;

/// The 5th, 50th and 95th percentile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// 5 % of the draws are below.
    pub p5: f64,
    /// Half.
    pub p50: f64,
    /// 5 % are above.
    pub p95: f64,
}

/// What the draws come to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Band {
    /// How many.
    pub draws: u32,
    /// Of this seed.
    pub seed: u64,
    /// USD a month.
    pub usd_per_month: Spread,
    /// The saving of a month's bill against the baseline; `None` without one.
    pub saving_per_month: Option<Spread>,
    /// Share of the draws in which the change has paid for itself within the months that are looked ahead, without
    /// interest; `None` without a baseline.
    pub pays: Option<f64>,
}

fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a length is one of its places"
        )]
        let place = ((values.len() - 1) as f64 * share).round() as usize;
        values[place]
    };
    Spread { p5: at(0.05), p50: at(0.5), p95: at(0.95) }
}

/// A factor from 1 − `range` to 1 + `range`, likeliest in the middle: the mean of two even ones is a triangle.
fn triangle(random: &mut ChaCha8Rng, range: f64) -> f64 {
    let sum: f64 = random.random::<f64>() + random.random::<f64>();
    1.0 + range * (sum - 1.0)
}

/// A factor of a capacity: log-normal with the measured interval as its 95 %.
fn factor(random: &mut ChaCha8Rng, capacity: Option<&Capacity>) -> f64 {
    let normal: f64 = rand_distr::Distribution::sample(&rand_distr::StandardNormal, random);
    let ends = capacity.and_then(|c| Some((c.low.filter(|low| *low > 0.0)?, c.high?)));
    let deviation = ends.map_or(0.0, |(low, high)| (high / low).ln() / (2.0 * Z95));
    (normal * deviation).exp()
}

/// Draws of a plan's month, and of its saving against `base`.
///
/// Demand moves both plans alike; prices and capacities move each by itself. The same seed for every plan: what they
/// share is drawn alike.
pub(super) fn band(offer: &Offer, base: Option<&Offer>, asked: &Asked<'_>) -> Result<Band> {
    let business = asked.business;
    let change = &business.change;
    let Draws { draws, seed } = business.band.clone().unwrap_or_default();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let is_base = base.is_some_and(|base| {
        (&base.name, &base.case_id, &base.price) == (&offer.name, &offer.case_id, &offer.price)
    });
    let (mut costs, mut savings) = (Vec::new(), Vec::new());
    for _ in 0..draws {
        let demand = triangle(&mut random, change.demand_range);
        let mut drawn = |offer: &Offer| {
            let price = triangle(&mut random, change.price_range);
            let capacity = factor(&mut random, offer.capacity.as_ref());
            bill(offer, asked, &What { demand, price, capacity, ..AS_IS }).map(|b| b.usd)
        };
        let usd = drawn(offer)?;
        costs.push(usd);
        if let Some(base) = base {
            savings.push(if is_base { 0.0 } else { drawn(base)? - usd });
        }
    }
    let months = f64::from(change.months);
    let one_off = change.one_off();
    let pays = savings.iter().filter(|s| **s * months > one_off).count() as f64;
    Ok(Band {
        draws,
        seed,
        usd_per_month: spread(costs),
        pays: (!savings.is_empty() && !is_base).then(|| pays / f64::from(draws)),
        saving_per_month: (!savings.is_empty()).then(|| spread(savings)),
    })
}
