//! Recipes as data: what is done to a model, parsed from and printed as one short name.
//!
//! A name is safe in file names, make and shells: letters, digits, `-`, `.` and, between the stages of
//! a chain, `+`. What a name leaves out has one fixed meaning, on every machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How a variant is derived from its model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Recipe {
    /// The model's own bytes, untouched.
    AsGiven,
    /// A file made elsewhere; its lineage says by whom.
    External,
    /// Stages, one after the other.
    Stages(Vec<Stage>),
}

/// One step from a graph to a smaller one.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// `fp16`, `bf16`: floats of 16 bits, but for nodes whose values would overflow.
    Half(HalfType),
    /// `int8-dynamic`: weights of 8 bits; activations become 8 bits at run time.
    Int8Dynamic(Int8Dynamic),
    /// `int8-static`: weights and activations of 8 bits, ranges calibrated on data.
    Int8Static(Int8Static),
    /// `int4-b32`: weights of 4 or 8 bits, a scale for each block (`MatMulNBits`).
    Blocks(Blocks),
    /// `int4-channel`: weights of 2 to 8 bits, a scale for each output channel; nothing else.
    Channel(Channel),
    /// `mixed-…`: another stage, its worst nodes kept in float until the answers are near enough.
    Mixed(Mixed),
}

/// The 16-bit float.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HalfType {
    /// IEEE half precision: 5 bits of exponent.
    Fp16,
    /// The upper half of a single: 8 bits of exponent.
    Bf16,
}

/// What shares one scale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Granularity {
    /// Each output channel has its own.
    #[default]
    PerChannel,
    /// The whole weight.
    PerTensor,
}

/// Parameters of `int8-dynamic`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Int8Dynamic {
    /// `-per-tensor` when it is that.
    pub granularity: Granularity,
    /// `-asymmetric`: weights with a zero point (u8).
    pub asymmetric: bool,
    /// `-reduce-range`: weights of 7 bits, for CPUs whose 8-bit products saturate (AVX2, AVX-512
    /// without VNNI).
    pub reduce_range: bool,
    /// `-embeddings`: tables that are gathered from, too.
    pub embeddings: bool,
    /// `-conv`: convolutions too (`ConvInteger`).
    pub conv: bool,
}

/// Parameters of `int8-static`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Int8Static {
    /// How activations' ranges follow from what was seen.
    pub range: RangeRule,
    /// `-per-tensor` when it is that.
    pub granularity: Granularity,
    /// `-symmetric`: activations without a zero point (i8).
    pub symmetric: bool,
    /// `-reduce-range`: weights of 7 bits.
    pub reduce_range: bool,
    /// Which nodes.
    pub scope: Scope,
}

/// How the range of an activation follows from the values seen.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum RangeRule {
    /// `-minmax`: the smallest and the largest.
    #[default]
    MinMax,
    /// `-percentile-99.9`: cut so that this share of values, in per cent, lies within.
    Percentile(f64),
    /// `-entropy`: the cut whose quantised distribution loses least information.
    Entropy,
}

/// Which nodes are made static.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// `MatMul`, `Gemm` and `Conv` with constant weights.
    #[default]
    Weighted,
    /// `-all-matmuls`: products of two activations too.
    AllMatMuls,
    /// `-every-op`: every operator on floats.
    EveryOp,
}

/// Parameters of `int4-b32` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// 4 or 8.
    pub bits: u8,
    /// Weights that share a scale, along the summed axis: a power of two from 16 to 256.
    pub block: usize,
    /// `-asymmetric`: a zero point for each block.
    pub asymmetric: bool,
    /// `-acc1`: what the products are computed in: 4 int8 (the default), 1 f32.
    pub accuracy_level: u8,
}

/// Parameters of `int4-channel` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// 2 to 8.
    pub bits: u8,
}

/// Parameters of `mixed`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixed {
    /// What is done to all nodes but those that are kept.
    pub base: Box<Stage>,
    /// What must hold on the validation samples.
    pub budget: Budget,
}

/// How near the answers must stay to the model's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// What is compared.
    pub metric: BudgetMetric,
    /// Its least value.
    pub at_least: f64,
}

/// What a [`Budget`] compares; no labels are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetMetric {
    /// Mean cosine of the output with the model's own.
    Cosine,
    /// Share of samples decided as by the model itself.
    Agreement,
}

impl Blocks {
    /// Symmetric, computed in int8.
    pub fn new(bits: u8, block: usize) -> Self {
        Self { bits, block, asymmetric: false, accuracy_level: 4 }
    }
}

impl Default for Mixed {
    fn default() -> Self {
        let base = Box::new(Stage::Int8Static(Int8Static::default()));
        Self { base, budget: Budget { metric: BudgetMetric::Cosine, at_least: 0.99 } }
    }
}

impl Stage {
    /// Whether it makes weights or activations whole numbers.
    pub fn quantises(&self) -> bool {
        !matches!(self, Self::Half(_))
    }

    /// Whether it must see data: calibration, or a search for the nodes to keep.
    pub fn needs_data(&self) -> bool {
        matches!(self, Self::Int8Static(_) | Self::Mixed(_))
    }

    /// Every parameter by name, those that the short name leaves out too.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let granularity = |g: &Granularity| match g {
            Granularity::PerChannel => "per-channel",
            Granularity::PerTensor => "per-tensor",
        };
        let yes = |b: bool| b.to_string();
        match self {
            Self::Half(half) => vec![("type", half.to_string())],
            Self::Int8Dynamic(p) => vec![
                ("weights", if p.asymmetric { "u8" } else { "i8" }.to_owned()),
                ("activations", "u8 at run time".to_owned()),
                ("weight_symmetric", yes(!p.asymmetric)),
                ("granularity", granularity(&p.granularity).to_owned()),
                ("reduce_range", yes(p.reduce_range)),
                ("embeddings", yes(p.embeddings)),
                ("conv", yes(p.conv)),
            ],
            Self::Int8Static(p) => vec![
                ("weights", "i8".to_owned()),
                ("activations", if p.symmetric { "i8" } else { "u8" }.to_owned()),
                ("weight_symmetric", yes(true)),
                ("activation_symmetric", yes(p.symmetric)),
                ("granularity", granularity(&p.granularity).to_owned()),
                ("reduce_range", yes(p.reduce_range)),
                ("range", p.range.to_string()),
                ("scope", p.scope.to_string()),
            ],
            Self::Blocks(p) => vec![
                ("bits", p.bits.to_string()),
                ("block_size", p.block.to_string()),
                ("weight_symmetric", yes(!p.asymmetric)),
                ("accuracy_level", p.accuracy_level.to_string()),
            ],
            Self::Channel(p) => vec![
                ("bits", p.bits.to_string()),
                ("weight_symmetric", yes(true)),
                ("granularity", "per-channel".to_owned()),
            ],
            Self::Mixed(p) => {
                let mut all = p.base.parameters();
                all.push(("base", p.base.to_string()));
                all.push(("budget", p.budget.to_string()));
                all
            }
        }
    }
}

impl Recipe {
    /// Whether any stage must see data.
    pub fn needs_data(&self) -> bool {
        matches!(self, Self::Stages(stages) if stages.iter().any(Stage::needs_data))
    }
}

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

/// Takes options off the front of what is left of a name.
struct Options<'a>(&'a str);

impl Options<'_> {
    fn take(&mut self, name: &str) -> bool {
        let rest = self.0.strip_prefix('-').and_then(|rest| rest.strip_prefix(name));
        match rest.filter(|rest| rest.is_empty() || rest.starts_with('-')) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// The number of `-name-NUMBER`.
    fn number(&mut self, name: &str) -> Option<f64> {
        let rest = self.0.strip_prefix('-')?.strip_prefix(name)?.strip_prefix('-')?;
        let end = rest.find('-').unwrap_or(rest.len());
        let number = rest[..end].parse().ok()?;
        self.0 = &rest[end..];
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
        let mut options = Options(rest);
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
        let mut options = Options(rest);
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
            let mut options = Options(&rest[end..]);
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
