//! Every way to serve at every price, without holding them all: the cheapest ones come out.

use super::HOURS_A_MONTH;
use super::business::Business;
use super::carbon::Footprints;
use super::catalogue::Catalogue;
use super::choose::{Choice, Priced, choose};
use super::demand::Demand;
use super::fleet::Peaks;
use super::offer::{Offer, fit, offer, stated_offer};
use super::pay::{Hourly, Paying, month};
use super::price::{PriceTable, Term};
use super::way::{Slo, Way, merge, stated, way};
use crate::error::{Error, Result};
use crate::store::Record;

/// What a plan is for, worked out once.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// What the user says of the business.
    pub business: &'a Business,
    /// Requests over a week.
    pub demand: &'a Demand,
    /// What a fleet must keep up with.
    pub peaks: Peaks,
    /// What energy and carbon are estimated by.
    pub footprints: Footprints,
    /// Ways to pay that are looked at.
    pub paying: Vec<Paying>,
}

/// What a grid comes down to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shortlist {
    /// To be worked out in full: the cheapest ones, and of each way the cheapest, so that none that could be chosen,
    /// held against, or on the Pareto front is missing.
    pub offers: Vec<Offer>,
    /// Plans that were looked at.
    pub looked_at: usize,
    /// How prices came about, and what could not be priced.
    pub notes: Vec<String>,
}

/// A plan, as small as it can be.
#[derive(Debug, Clone, Copy)]
struct Cell<'a> {
    way: usize,
    priced: Option<Priced<'a>>,
    paying: Paying,
    hourly: Hourly,
    rank: Rank,
}

/// What plans are sorted by: those that cannot be chosen last, measured before assumed, then the cheapest.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Rank {
    excluded: bool,
    assumed: bool,
    usd: f64,
}

impl<'a> Asked<'a> {
    /// For a demand.
    pub fn new(business: &'a Business, demand: &'a Demand, paying: Vec<Paying>) -> Result<Self> {
        let peaks = Peaks::of(demand, &business.fleet);
        Ok(Self { business, demand, peaks, footprints: Footprints::built_in()?, paying })
    }
}

/// Plans that are kept.
struct Kept<'a> {
    top: usize,
    cheapest: Vec<Cell<'a>>,
    /// The dearest of the `top` cheapest, once there are so many.
    bound: Option<Rank>,
    /// What the baseline names with its machine's type.
    wanted: Option<String>,
    /// The cheapest plan by each way to pay that it names.
    of_baseline: Vec<Cell<'a>>,
    /// Each way's own cheapest, and its cheapest that is assumed.
    of_way: Vec<[Option<Cell<'a>>; 2]>,
}

impl<'a> Kept<'a> {
    /// Whether a plan that costs at least `least` could still be kept.
    fn may(&self, way: usize, least: Rank) -> bool {
        let beats = |kept: &Option<Cell<'_>>| kept.is_none_or(|k| least < k.rank);
        let [all, assumed] = &self.of_way[way];
        self.bound.is_none_or(|bound| least < bound)
            || beats(all)
            || (least.assumed && beats(assumed))
    }

    /// Whether the baseline may be meant: all its plans are kept, whatever they cost, so that the right one is found.
    fn is_baseline(&self, way: &Way<'_>, cell: &Cell<'_>) -> bool {
        let Some(wanted) = &self.wanted else { return false };
        let of = cell.priced.map(|p| p.quote.instance_type.as_str());
        let is_assumed = cell.rank.assumed;
        match wanted.rsplit_once('@') {
            Some((name, at)) if way.name == name => of == Some(at),
            _ => way.name == *wanted && !is_assumed,
        }
    }

    fn keep(&mut self, cell: Cell<'a>) {
        let better = |kept: &Option<Cell<'_>>| kept.is_none_or(|k| cell.rank < k.rank);
        let [all, assumed] = &mut self.of_way[cell.way];
        if better(all) {
            *all = Some(cell);
        }
        if cell.rank.assumed && better(assumed) {
            *assumed = Some(cell);
        }
        if self.bound.is_none_or(|bound| cell.rank < bound) {
            self.cheapest.push(cell);
            if self.cheapest.len() >= self.top.saturating_mul(2).max(64) {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        self.cheapest.sort_by(|a, b| order(&a.rank, &b.rank));
        self.cheapest.truncate(self.top);
        if self.cheapest.len() == self.top {
            self.bound = self.cheapest.last().map(|cell| cell.rank);
        }
    }
}

fn order(a: &Rank, b: &Rank) -> std::cmp::Ordering {
    (a.excluded, a.assumed).cmp(&(b.excluded, b.assumed)).then(a.usd.total_cmp(&b.usd))
}

/// The cheapest `top` plans of all, and each way's own cheapest: with a choice of place and of ways to pay, among what
/// was measured and what was stated.
///
/// A plan whose least possible cost is above what is already kept is not worked out: what is left out is dearer. An
/// error where nothing can be priced.
pub fn shortlist(
    records: &[Record],
    table: &PriceTable,
    choice: &Choice,
    slo: Option<&Slo>,
    asked: &Asked<'_>,
    top: Option<usize>,
) -> Result<Shortlist> {
    let catalogue = Catalogue::of(table);
    if !records.is_empty() && choice.given.is_none() {
        catalogue.check(&choice.place)?;
    }
    let mut grid = Grid {
        catalogue: &catalogue,
        asked,
        kept: Kept {
            top: top.unwrap_or(usize::MAX),
            cheapest: Vec::new(),
            bound: None,
            wanted: asked.business.baseline.as_ref().and_then(|b| b.of.clone()),
            of_baseline: Vec::new(),
            of_way: Vec::new(),
        },
        looked_at: 0,
        notes: Vec::new(),
        first_error: None,
    };
    one_model(records)?;
    let names: Vec<&str> = records.iter().map(|r| r.case.variant.as_str()).collect();
    if let Some(twice) = asked.business.option.iter().find(|o| names.contains(&o.name.as_str())) {
        let name = format!("option `{}`", twice.name);
        return Err(Error::input(name, "has the name of a variant that was measured")
            .remedy("call it something else: a baseline must name one of them"));
    }
    let mut ways: Vec<Way<'_>> = Vec::new();
    for merged in merge(records) {
        match way(&merged, slo) {
            Err(why) => grid.note(format!("not priced: {why}")),
            Ok(way) => {
                grid.measured(&way, merged.last, choice, ways.len());
                ways.push(way);
            }
        }
    }
    for option in &asked.business.option {
        let way = stated(option, asked.demand.per_month(), slo);
        grid.stated(&way, ways.len());
        ways.push(way);
    }
    let Grid { mut kept, looked_at, mut notes, first_error, .. } = grid;
    kept.cut();
    let mut cells = kept.cheapest;
    let named = kept.of_baseline.into_iter();
    for cell in kept.of_way.into_iter().flatten().flatten().chain(named) {
        let is_there = |c: &Cell<'_>| {
            let at = |c: &Cell<'_>| c.priced.map(|p| std::ptr::from_ref(p.quote));
            (c.way, c.paying) == (cell.way, cell.paying) && at(c) == at(&cell)
        };
        if !cells.iter().any(is_there) {
            cells.push(cell);
        }
    }
    if let (Some(error), true) = (first_error, cells.is_empty()) {
        return Err(error);
    }
    let mut offers = Vec::with_capacity(cells.len());
    for cell in cells {
        let way = &ways[cell.way];
        match cell.priced {
            None => offers.push(stated_offer(way, &cell.hourly, cell.paying)),
            Some(priced) => {
                if let Some(record) = way.record {
                    note(&mut notes, priced.note(record));
                }
                let hourly = all_prices(&catalogue, &priced);
                offers.push(offer(way, &priced, &hourly, cell.paying));
            }
        }
    }
    Ok(Shortlist { offers, looked_at, notes })
}

/// Models that answer different questions are no alternatives.
fn one_model(records: &[Record]) -> Result<()> {
    let mut models: Vec<&str> = records.iter().map(|r| r.case.model.as_str()).collect();
    models.sort_unstable();
    models.dedup();
    if models.len() < 2 {
        return Ok(());
    }
    Err(Error::input("the runs", format!("are of several models: {}", models.join(", ")))
        .remedy(format!("plan for one of them: --model {}", models[0])))
}

fn note(notes: &mut Vec<String>, note: String) {
    if !notes.contains(&note) {
        notes.push(note);
    }
}

/// All prices of a machine in its quote's region.
fn all_prices(catalogue: &Catalogue<'_>, priced: &Priced<'_>) -> Hourly {
    let quote = priced.quote;
    let kind = catalogue
        .kind_of(&quote.provider, &quote.instance_type)
        .filter(|_| priced.instance.is_some());
    let Some(kind) = kind else {
        return Hourly { on_demand: Some(quote.usd_per_hour), ..Hourly::default() };
    };
    let price = |term| kind.price(&quote.region, term);
    Hourly {
        on_demand: price(Term::OnDemand),
        spot: price(Term::Spot),
        one_year: price(Term::OneYear),
        three_years: price(Term::ThreeYears),
        owned: None,
    }
}

struct Grid<'a, 'g> {
    catalogue: &'g Catalogue<'a>,
    asked: &'g Asked<'g>,
    kept: Kept<'a>,
    looked_at: usize,
    notes: Vec<String>,
    first_error: Option<Error>,
}

impl<'a> Grid<'a, '_> {
    fn note(&mut self, text: String) {
        note(&mut self.notes, text);
    }

    fn refuse(&mut self, error: Error) {
        self.note(format!("not priced: {error}"));
        self.first_error.get_or_insert(error);
    }

    /// A measured way at all its prices.
    fn measured(&mut self, way: &Way<'_>, record: &Record, choice: &'a Choice, at: usize) {
        self.kept.of_way.push([None, None]);
        if record.provenance == "mock" && choice.given.is_none() {
            let name = format!("case {}", record.case.id);
            let error = Error::input(name, "holds figures of the scripted mock engine")
                .remedy("price a run on a real engine, or give --usd-per-hour");
            return self.refuse(error);
        }
        for paying in self.asked.paying.clone() {
            match choose(record, self.catalogue, choice, paying.term()) {
                Err(error) => self.refuse(error),
                Ok(all) => {
                    for priced in all {
                        self.at_price(way, at, priced, paying);
                    }
                }
            }
        }
    }

    fn at_price(&mut self, way: &Way<'_>, at: usize, priced: Priced<'a>, paying: Paying) {
        self.looked_at += 1;
        let fits = fit(way, &priced);
        let excluded = !way.excluded.is_empty() || fits.is_err();
        let times = fits.unwrap_or(priced.times);
        let usd = priced.quote.usd_per_hour;
        let hourly = match paying {
            Paying::OnDemand => Hourly { on_demand: Some(usd), ..Hourly::default() },
            _ => all_prices(self.catalogue, &priced),
        };
        let rank = Rank { excluded, assumed: priced.provenance == "assumed", usd: 0.0 };
        self.plan(way, Cell { way: at, priced: Some(priced), paying, hourly, rank }, times);
    }

    /// A stated option by each way to pay that it has a price for.
    fn stated(&mut self, way: &Way<'_>, at: usize) {
        self.kept.of_way.push([None, None]);
        let Some(option) = way.stated else { return };
        let hourly = option.hourly();
        let rank = Rank { excluded: !way.excluded.is_empty(), assumed: false, usd: 0.0 };
        let cell = Cell { way: at, priced: None, paying: Paying::OnDemand, hourly, rank };
        if way.bill.is_some() {
            self.looked_at += 1;
            return self.plan(way, cell, 1.0);
        }
        let mut paying = self.asked.paying.clone();
        if hourly.owned.is_some() {
            paying = vec![Paying::Owned];
        }
        let mut is_priced = false;
        for paying in paying {
            if hourly.of(paying).is_some() {
                is_priced = true;
                self.looked_at += 1;
                self.plan(way, Cell { paying, ..cell }, 1.0);
            } else {
                self.note(format!(
                    "not priced: option `{}` states no price for {paying}",
                    option.name
                ));
            }
        }
        if !is_priced {
            let name = format!("option `{}`", option.name);
            let error = Error::input(name, "has no price for the way to pay that --term names")
                .remedy("state usd_per_hour_spot, usd_per_hour_1y or usd_per_hour_3y, or leave --term out");
            self.refuse(error);
        }
    }

    /// Works a plan's month out, if it may be kept.
    fn plan(&mut self, way: &Way<'_>, mut cell: Cell<'a>, times: f64) {
        let business = self.asked.business;
        let rules = &business.fleet;
        let Some(capacity) = way.capacity.filter(|_| way.bill.is_none()) else {
            cell.rank.usd = way.bill.unwrap_or(f64::INFINITY);
            return self.kept.keep(cell);
        };
        let per_s = capacity.per_s * times;
        let part = rules.share * business.paid(cell.paying);
        if let Some(least) = cell.hourly.least(cell.paying) {
            // A hair below, for the last digits of what is rounded up.
            let replicas = self.asked.peaks.least(per_s, capacity.basis, rules) * (1.0 - 1e-6);
            let usd = replicas * (least * part * HOURS_A_MONTH + business.extras.disks());
            let is_named = self.kept.is_baseline(way, &cell);
            if !is_named && !self.kept.may(cell.way, Rank { usd, ..cell.rank }) {
                return;
            }
        }
        let fleet = self.asked.peaks.fleet(per_s, capacity.basis, rules);
        if let Some((usd, _)) = month(&fleet, &cell.hourly, cell.paying, &business.spot) {
            cell.rank.usd = usd * part + fleet.mean() * business.extras.disks();
            if self.kept.is_baseline(way, &cell) {
                self.kept.of_baseline.push(cell);
            }
            self.kept.keep(cell);
        }
    }
}
