//! Names of recipes: printed and parsed.

use std::fmt;
use std::str::FromStr;

use super::recipe::{
    Blocks, Budget, BudgetMetric, Channel, Granularity, HalfType, Int8Dynamic, Int8Static, Mixed,
    RangeRule, Recipe, Scope, Stage,
};
use crate::error::{Error, Result};

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsGiven => f.write_str("as-given"),
            Self::External => f.write_str("external"),
            Self::Stages(stages) => {
                let names: Vec<String> = stages.iter().map(ToString::to_string).collect();
                f.write_str(&names.join("+"))
            }
        }
    }
}

impl fmt::Display for HalfType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
        })
    }
}

impl fmt::Display for RangeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.write_str("minmax"),
            Self::Percentile(p) => write!(f, "percentile-{p}"),
            Self::Entropy => f.write_str("entropy"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weighted => "weighted",
            Self::AllMatMuls => "all-matmuls",
            Self::EveryOp => "every-op",
        })
    }
}

impl fmt::Display for BudgetMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cosine => "cosine",
            Self::Agreement => "agreement",
        })
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.metric, self.at_least)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let option = |f: &mut fmt::Formatter<'_>, is_set: bool, name: &str| {
            if is_set { write!(f, "-{name}") } else { Ok(()) }
        };
        match self {
            Self::Half(half) => half.fmt(f),
            Self::Int8Dynamic(p) => {
                f.write_str("int8-dynamic")?;
                option(f, p.granularity == Granularity::PerTensor, "per-tensor")?;
                option(f, p.asymmetric, "asymmetric")?;
                option(f, p.reduce_range, "reduce-range")?;
                option(f, p.embeddings, "embeddings")?;
                option(f, p.conv, "conv")
            }
            Self::Int8Static(p) => {
                f.write_str("int8-static")?;
                option(f, p.range != RangeRule::default(), &p.range.to_string())?;
                option(f, p.granularity == Granularity::PerTensor, "per-tensor")?;
                option(f, p.symmetric, "symmetric")?;
                option(f, p.reduce_range, "reduce-range")?;
                option(f, p.scope != Scope::default(), &p.scope.to_string())
            }
            Self::Blocks(p) => {
                write!(f, "int{}-b{}", p.bits, p.block)?;
                option(f, p.asymmetric, "asymmetric")?;
                option(f, p.accuracy_level != 4, &format!("acc{}", p.accuracy_level))
            }
            Self::Channel(p) => write!(f, "int{}-channel", p.bits),
            Self::Mixed(p) => write!(f, "mixed-{}-{}", p.base, p.budget),
        }
    }
}

impl FromStr for Recipe {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "as-given" => Ok(Self::AsGiven),
            "external" => Ok(Self::External),
            _ => text.split('+').map(str::parse).collect::<Result<_>>().map(Self::Stages),
        }
    }
}

impl TryFrom<String> for Recipe {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Recipe> for String {
    fn from(recipe: Recipe) -> Self {
        recipe.to_string()
    }
}

impl FromStr for Budget {
    type Err = Error;

    /// `cosine-0.99`, or `cosine=0.99` as flags write it.
    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::input(format!("budget `{text}`"), "is none")
                .remedy("write cosine=0.99 or agreement=0.98: what must stay, and its least value")
        };
        let (metric, value) = text.split_once(['-', '=']).ok_or_else(bad)?;
        let metric = match metric {
            "cosine" => BudgetMetric::Cosine,
            "agreement" => BudgetMetric::Agreement,
            _ => return Err(bad()),
        };
        let at_least: f64 = value.parse().map_err(|_| bad())?;
        if !(0.0..=1.0).contains(&at_least) {
            return Err(bad());
        }
        Ok(Self { metric, at_least })
    }
}

/// Takes options, in any order, out of what is left of a name.
struct Options(String);

impl Options {
    /// Where `-name` stands as a whole.
    fn find(&self, name: &str) -> Option<std::ops::Range<usize>> {
        let wanted = format!("-{name}");
        let ends_there = |end: usize| self.0[end..].is_empty() || self.0[end..].starts_with('-');
        self.0
            .match_indices(&wanted)
            .map(|(at, found)| at..at + found.len())
            .find(|range| ends_there(range.end))
    }

    fn take(&mut self, name: &str) -> bool {
        let found = self.find(name);
        if let Some(range) = &found {
            self.0.replace_range(range.clone(), "");
        }
        found.is_some()
    }

    /// The number of `-name-NUMBER`.
    fn number(&mut self, name: &str) -> Option<f64> {
        let range = self.find(name)?;
        let rest = self.0[range.end..].strip_prefix('-')?;
        let digits = rest.find('-').unwrap_or(rest.len());
        let number = rest[..digits].parse().ok()?;
        self.0.replace_range(range.start..range.end + 1 + digits, "");
        Some(number)
    }
}

impl FromStr for Stage {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| {
            Error::input(format!("recipe `{text}`"), "there is none of that name").remedy(
                "write e.g. fp16, int8-dynamic, int8-static, int4-b32, int4-channel or mixed; \
                 docs/recipes.md lists all with their options",
            )
        })
    }
}

fn parse(text: &str) -> Option<Stage> {
    let stage = if text == "fp16" {
        Stage::Half(HalfType::Fp16)
    } else if text == "bf16" {
        Stage::Half(HalfType::Bf16)
    } else if let Some(rest) = text.strip_prefix("mixed") {
        return parse_mixed(rest);
    } else if let Some(rest) = text.strip_prefix("int8-dynamic") {
        let mut options = Options(rest.to_owned());
        let mut p = Int8Dynamic::default();
        if options.take("per-tensor") {
            p.granularity = Granularity::PerTensor;
        }
        p.asymmetric = options.take("asymmetric");
        p.reduce_range = options.take("reduce-range");
        p.embeddings = options.take("embeddings");
        p.conv = options.take("conv");
        options.0.is_empty().then_some(Stage::Int8Dynamic(p))?
    } else if let Some(rest) = text.strip_prefix("int8-static") {
        let mut options = Options(rest.to_owned());
        let mut p = Int8Static::default();
        if let Some(percent) = options.number("percentile") {
            p.range = RangeRule::Percentile(percent);
            if !(percent > 50.0 && percent <= 100.0) {
                return None;
            }
        } else if options.take("entropy") {
            p.range = RangeRule::Entropy;
        } else if options.take("minmax") {
            p.range = RangeRule::MinMax;
        }
        if options.take("per-tensor") {
            p.granularity = Granularity::PerTensor;
        }
        p.symmetric = options.take("symmetric");
        p.reduce_range = options.take("reduce-range");
        if options.take("all-matmuls") {
            p.scope = Scope::AllMatMuls;
        } else if options.take("every-op") {
            p.scope = Scope::EveryOp;
        }
        options.0.is_empty().then_some(Stage::Int8Static(p))?
    } else {
        let rest = text.strip_prefix("int")?;
        let (bits, rest) = rest.split_once('-')?;
        let bits: u8 = bits.parse().ok()?;
        if rest == "channel" {
            (2..=8).contains(&bits).then_some(Stage::Channel(Channel { bits }))?
        } else {
            let rest = rest.strip_prefix('b')?;
            let end = rest.find('-').unwrap_or(rest.len());
            let mut p = Blocks::new(bits, rest[..end].parse().ok()?);
            let mut options = Options(rest[end..].to_owned());
            p.asymmetric = options.take("asymmetric");
            if options.take("acc1") {
                p.accuracy_level = 1;
            }
            let fits = matches!(p.bits, 4 | 8)
                && p.block.is_power_of_two()
                && (16..=256).contains(&p.block);
            (fits && options.0.is_empty()).then_some(Stage::Blocks(p))?
        }
    };
    Some(stage)
}

/// `mixed`, `mixed-STAGE`, `mixed-STAGE-cosine-0.99`.
fn parse_mixed(rest: &str) -> Option<Stage> {
    let mut mixed = Mixed::default();
    if rest.is_empty() {
        return Some(Stage::Mixed(mixed));
    }
    let mut base = rest.strip_prefix('-')?;
    for metric in ["cosine-", "agreement-"] {
        if let Some(at) = base.find(metric).filter(|at| *at == 0 || base[..*at].ends_with('-')) {
            mixed.budget = base[at..].parse().ok()?;
            base = base[..at].trim_end_matches('-');
        }
    }
    if !base.is_empty() {
        let stage = parse(base)?;
        if matches!(stage, Stage::Mixed(_)) {
            return None;
        }
        mixed.base = Box::new(stage);
    }
    Some(Stage::Mixed(mixed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stage() -> impl Strategy<Value = Stage> {
        let flag = proptest::bool::ANY;
        let granularity =
            || prop_oneof![Just(Granularity::PerChannel), Just(Granularity::PerTensor)];
        let range = prop_oneof![
            Just(RangeRule::MinMax),
            Just(RangeRule::Entropy),
            (501_u32..=1000).prop_map(|p| RangeRule::Percentile(f64::from(p) / 10.0)),
        ];
        let scope =
            prop_oneof![Just(Scope::Weighted), Just(Scope::AllMatMuls), Just(Scope::EveryOp)];
        prop_oneof![
            prop_oneof![Just(HalfType::Fp16), Just(HalfType::Bf16)].prop_map(Stage::Half),
            (granularity(), flag, flag, flag, flag).prop_map(
                |(granularity, asymmetric, reduce_range, embeddings, conv)| {
                    Stage::Int8Dynamic(Int8Dynamic {
                        granularity,
                        asymmetric,
                        reduce_range,
                        embeddings,
                        conv,
                    })
                }
            ),
            (range, granularity(), flag, flag, scope).prop_map(
                |(range, granularity, symmetric, reduce_range, scope)| {
                    Stage::Int8Static(Int8Static {
                        range,
                        granularity,
                        symmetric,
                        reduce_range,
                        scope,
                    })
                }
            ),
            (prop_oneof![Just(4_u8), Just(8)], 4_u32..=8, flag, flag).prop_map(
                |(bits, power, asymmetric, exact)| {
                    let accuracy_level = if exact { 1 } else { 4 };
                    Stage::Blocks(Blocks { bits, block: 1 << power, asymmetric, accuracy_level })
                }
            ),
            (2_u8..=8).prop_map(|bits| Stage::Channel(Channel { bits })),
        ]
    }

    proptest! {
        #[test]
        fn names_say_everything(
            stages in proptest::collection::vec(stage(), 1..4),
            mixed in flag_and_budget(),
        ) {
            let mut stages = stages;
            if let Some(budget) = mixed {
                let base = Box::new(stages.remove(0));
                stages.push(Stage::Mixed(Mixed { base, budget }));
            }
            let recipe = Recipe::Stages(stages);
            let name = recipe.to_string();
            prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "-.+".contains(c)));
            prop_assert_eq!(name.parse::<Recipe>().unwrap(), recipe);
        }
    }

    fn flag_and_budget() -> impl Strategy<Value = Option<Budget>> {
        let metric = prop_oneof![Just(BudgetMetric::Cosine), Just(BudgetMetric::Agreement)];
        proptest::option::of((metric, 0_u32..=1000).prop_map(|(metric, thousandths)| Budget {
            metric,
            at_least: f64::from(thousandths) / 1000.0,
        }))
    }

    #[test]
    fn defaults_are_short_and_written_options_of_them_are_taken() {
        for (written, printed) in [
            ("int8-static-minmax", "int8-static"),
            ("mixed", "mixed-int8-static-cosine-0.99"),
            ("mixed-int4-b32", "mixed-int4-b32-cosine-0.99"),
            ("mixed-agreement-0.98", "mixed-int8-static-agreement-0.98"),
            ("fp16+int4-b32-asymmetric", "fp16+int4-b32-asymmetric"),
            ("int8-dynamic-conv-per-tensor", "int8-dynamic-per-tensor-conv"),
            (
                "int8-static-every-op-symmetric-percentile-99.9",
                "int8-static-percentile-99.9-symmetric-every-op",
            ),
        ] {
            assert_eq!(written.parse::<Recipe>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_recipe_is_refused() {
        for wrong in [
            "",
            "int8",
            "int8-dynamic-",
            "int8-dynamic-fast",
            "int3-b32",
            "int4-b20",
            "int9-channel",
            "fp16+",
            "mixed-mixed",
            "mixed-cosine-2",
            "int8-static-percentile-12",
            "prune%30",
        ] {
            let error = wrong.parse::<Recipe>().unwrap_err().to_string();
            assert!(error.contains("recipe `"), "{wrong}: {error}");
        }
    }
}
