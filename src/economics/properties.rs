//! What holds for every plan, whatever the figures.

use proptest::prelude::*;

use super::business::Business;
use super::choose::Choice;
use super::demand::{Demand, Shape};
use super::evaluate::{AS_IS, What, bill, evaluate};
use super::fleet::{Basis, Rules};
use super::grid::{Asked, shortlist};
use super::offer::{Offer, PriceOf};
use super::pay::{Hourly, Paying, SpotRules};
use super::price::PriceTable;
use super::way::Capacity;
use super::{HOURS_A_MONTH, Stated};

fn offer(hourly: Hourly, paying: Paying, per_s: f64, basis: Basis) -> Offer {
    let price = PriceOf {
        provider: "me".to_owned(),
        instance_type: "x".to_owned(),
        region: "here".to_owned(),
        paying,
        usd_per_hour: hourly.of(paying).unwrap_or(0.0),
        hourly,
        date: "2026-01-02".to_owned(),
        source: "books".to_owned(),
        provenance: "list price".to_owned(),
        machine: None,
        own_watts: None,
    };
    let capacity = Capacity { per_s, low: Some(0.9 * per_s), high: Some(1.1 * per_s), basis };
    Offer { price: Some(price), capacity: Some(capacity), ..Offer::default() }
}

fn paying() -> impl Strategy<Value = Paying> {
    prop::sample::select(Paying::ASKED.to_vec())
}

fn hourly() -> impl Strategy<Value = Hourly> {
    (1e-3..50.0_f64, 0.05..1.3_f64, 0.3..1.0_f64, 0.2..1.0_f64).prop_map(|(usd, a, b, c)| Hourly {
        on_demand: Some(usd),
        spot: Some(usd * a),
        one_year: Some(usd * b),
        three_years: Some(usd * c),
        owned: None,
    })
}

fn business() -> impl Strategy<Value = Business> {
    let rules = (0..3_u32, 0..3_u32, any::<bool>(), 0..4_usize, 0.1..1.0_f64);
    (rules, 0.0..0.9_f64, 0.0..0.5_f64, any::<bool>(), 0..3_u32).prop_map(
        |(
            (at_least, redundant, autoscaled, lag_hours, share),
            discount,
            monthly,
            blended,
            floor,
        )| {
            let fleet =
                Rules { at_least, redundant, autoscaled, lag_hours, share, utilization: None };
            let interruptions_per_month = monthly;
            let spot =
                SpotRules { interruptions_per_month, floor, blended, ..SpotRules::default() };
            Business { fleet, discount, spot, ..Business::default() }
        },
    )
}

proptest! {
    #[test]
    fn costs_rise_with_prices_and_demand_and_never_beat_the_bound(
        hourly in hourly(),
        paying in paying(),
        business in business(),
        rates in prop::collection::vec(0.0..1e4_f64, 168),
        per_s in 0.01..1e4_f64,
        more in 1.0..5.0_f64,
        saturated: bool,
    ) {
        let mut demand = Demand::shaped(1.0, Shape::Flat);
        demand.per_s = rates;
        let asked = Asked::new(&business, &demand, vec![paying]).unwrap();
        let basis = if saturated { Basis::Saturated } else { Basis::Slo };
        let offer = offer(hourly, paying, per_s, basis);
        let usd = |what: What| bill(&offer, &asked, &what).unwrap().usd;
        let month = usd(AS_IS);
        prop_assert!(month.is_finite() && month >= 0.0);
        let (dearer, busier) = (What { price: more, ..AS_IS }, What { demand: more, ..AS_IS });
        prop_assert!(usd(dearer) >= month * (1.0 - 1e-9));
        prop_assert!(usd(busier) >= month * (1.0 - 1e-9));
        let faster = What { capacity: more, ..AS_IS };
        prop_assert!(usd(faster) <= month * (1.0 + 1e-9));
        let fleet = bill(&offer, &asked, &AS_IS).unwrap().fleet.unwrap();
        for (rate, replicas) in demand.per_s.iter().zip(&fleet.replicas) {
            let capacity = per_s * business.fleet.share;
            prop_assert!(f64::from(*replicas) >= rate / capacity - 1e-6);
        }
        // As many machines as the mean demand keeps wholly busy, at the least that an hour can cost.
        let least = hourly.least(paying).unwrap() * (1.0 - business.discount) * HOURS_A_MONTH;
        let bound = demand.mean_per_s() / per_s * least;
        prop_assert!(month >= bound * (1.0 - 1e-6), "{month} {bound}");
        let (rows, _) = evaluate(std::slice::from_ref(&offer), &asked).unwrap();
        let row = &rows[0];
        prop_assert!(row.usd_per_month_low <= month * (1.0 + 1e-9));
        prop_assert!(row.usd_per_month_high >= month * (1.0 - 1e-9));
        prop_assert!(row.usd_three_years.is_finite() && row.usd_per_request.is_finite());
    }

    #[test]
    fn a_price_that_is_not_known_is_never_nothing(paying in paying(), business in business()) {
        let demand = Demand::shaped(1.0, Shape::Flat);
        let asked = Asked::new(&business, &demand, vec![paying]).unwrap();
        let unknown = offer(Hourly::default(), paying, 1.0, Basis::Slo);
        prop_assert!(evaluate(&[unknown], &asked).is_err());
    }

    #[test]
    fn a_shortlist_begins_as_the_whole_list_does(
        options in prop::collection::vec((hourly(), 0.1..100.0_f64), 1..40),
        business in business(),
        mean in 0.01..1e3_f64,
        office: bool,
        top in 1..8_usize,
    ) {
        let option = options.iter().enumerate().map(|(at, (hourly, capacity))| Stated {
            name: format!("o{at}"),
            usd_per_hour: hourly.on_demand,
            usd_per_hour_spot: hourly.spot,
            usd_per_hour_1y: hourly.one_year,
            usd_per_hour_3y: hourly.three_years,
            capacity_per_s: Some(*capacity),
            ..Stated::default()
        });
        let business = Business { option: option.collect(), ..business };
        let demand = Demand::shaped(mean, if office { Shape::Office } else { Shape::Flat });
        let asked = Asked::new(&business, &demand, Paying::ASKED.to_vec()).unwrap();
        let months = |top: Option<usize>| {
            let table = PriceTable::default();
            let found = shortlist(&[], &table, &Choice::default(), None, &asked, top).unwrap();
            let (mut rows, _) = evaluate(&found.offers, &asked).unwrap();
            rows.sort_by(|a, b| a.usd_per_month.total_cmp(&b.usd_per_month));
            rows.iter().map(|row| row.usd_per_month).collect::<Vec<_>>()
        };
        let (all, few) = (months(None), months(Some(top)));
        prop_assert_eq!(all.len(), 5 * business.option.len());
        let top = top.min(all.len());
        prop_assert!(few.len() >= top);
        for (a, b) in all[..top].iter().zip(&few[..top]) {
            prop_assert!((a - b).abs() <= 1e-9 * a.max(1.0), "{a} {b}");
        }
    }
}
