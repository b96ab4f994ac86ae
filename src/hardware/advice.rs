//! Which recipes this hardware rewards. Advice, not measurement: it says what the silicon offers
//! and what engines are known to make of it; only a run says what a model gains.

use serde::{Deserialize, Serialize};

use super::gpu::Gpus;

/// One piece of advice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// A recipe, or a parameter of a run.
    pub recipe: String,
    /// Whether the hardware rewards it.
    pub rewarded: Rewarded,
    /// Why.
    pub reason: String,
    /// Always `advice`: no figure of it was measured.
    pub provenance: String,
}

/// How much a recipe gains here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rewarded {
    /// It should be faster.
    Yes,
    /// Sometimes, or a little.
    Little,
    /// No faster; perhaps smaller.
    No,
    /// Nothing is known.
    Unknown,
}

/// Advice for a processor with these usable instruction sets, `l3` bytes of last-level cache,
/// `threads_per_core`, and these GPUs.
///
/// Operations a cycle and core are those of the instruction sets (Intel SDM; Arm ARM): AMX int8
/// 2048, VNNI 256, AVX-512 fp32 64. That ONNX Runtime's CPU kernels widen fp16 to fp32 on x86 was
/// measured with 1.31.1: no gain for a sentence encoder.
pub(super) fn advise(
    isa: &[String],
    l3: Option<u64>,
    threads_per_core: Option<usize>,
    gpus: &Gpus,
) -> Vec<Advice> {
    let has = |name: &str| isa.iter().any(|i| i == name);
    let is_x86 = has("sse4.2");
    let is_arm = has("neon");
    let mut all = Vec::new();
    let mut add = |recipe: &str, rewarded, reason: String| {
        let provenance = "advice".to_owned();
        all.push(Advice { recipe: recipe.to_owned(), rewarded, reason, provenance });
    };
    let (int8, why) = int8(&has, is_x86, is_arm);
    add("on the CPU: int8-dynamic, int8-static", int8, why.to_owned());
    let (fp16, why) = match (is_x86, has("fp16")) {
        (true, _) => {
            (Rewarded::No, "halves the file; ONNX Runtime's CPU kernels widen fp16 to fp32 on x86")
        }
        (false, true) => (Rewarded::Yes, "fp16 arithmetic in NEON: twice the lanes of fp32"),
        (false, false) if is_arm => (Rewarded::No, "no fp16 arithmetic; it is widened to fp32"),
        _ => (Rewarded::Unknown, "the instruction sets are not known"),
    };
    add("on the CPU: fp16", fp16, why.to_owned());
    let (bf16, why) = if has("amx-bf16") {
        (Rewarded::Little, "AMX has bf16 tiles; few engines use them for a plain ONNX model")
    } else if has("avx512bf16") || has("bf16") {
        (
            Rewarded::Little,
            "bf16 dot products are there; few engines use them for a plain ONNX model",
        )
    } else if is_x86 || is_arm {
        (Rewarded::No, "no bf16 instructions; it is widened to fp32")
    } else {
        (Rewarded::Unknown, "the instruction sets are not known")
    };
    add("on the CPU: bf16", bf16, why.to_owned());
    let cache =
        l3.map_or_else(String::new, |bytes| format!(" ({} here)", crate::units::Bytes(bytes)));
    add(
        "int4-b32, int8-b32",
        Rewarded::Little,
        format!(
            "weight-only: pays for models whose weights exceed the last-level cache{cache}, at \
             small batches, where memory and not arithmetic is the limit"
        ),
    );
    let sparse = gpus.nvidia.iter().any(|g| g.tensor_cores.contains("2:4"));
    add(
        "prune-2:4",
        if sparse { Rewarded::Little } else { Rewarded::No },
        if sparse {
            "the tensor cores can skip 2:4 zeros, with an engine that has such kernels".to_owned()
        } else {
            "no sparse tensor cores here; dense kernels multiply the zeros too".to_owned()
        },
    );
    add(
        "prune-heads, prune-ffn",
        Rewarded::Yes,
        "structured pruning makes the graph itself smaller, which any hardware runs faster; what \
         it costs in quality only a run tells"
            .to_owned(),
    );
    if let Some(threads) = threads_per_core.filter(|t| *t > 1) {
        add(
            "threads",
            Rewarded::Little,
            format!(
                "{threads} hardware threads share a core's arithmetic units: measure `--threads` \
                 at the number of cores too"
            ),
        );
    }
    if let Some(gpu) = gpus.nvidia.iter().find(|g| g.tensor_cores.contains('(')) {
        add(
            "on the GPU: fp16, int8",
            Rewarded::Yes,
            format!("{} has tensor cores, {}; fp32 does not use them", gpu.name, gpu.tensor_cores),
        );
    }
    let only_software =
        !gpus.adapters.is_empty() && gpus.adapters.iter().all(|a| a.device_type == "software");
    if only_software && gpus.nvidia.is_empty() {
        add(
            "wgpu",
            Rewarded::No,
            "the only adapter is software that runs on the CPU: good for checking, not for speed"
                .to_owned(),
        );
    }
    all
}

fn int8(has: &impl Fn(&str) -> bool, is_x86: bool, is_arm: bool) -> (Rewarded, &'static str) {
    if has("amx-int8") {
        (Rewarded::Yes, "AMX multiplies int8 tiles: up to 2048 operations a cycle and core")
    } else if has("avx512vnni") || has("avxvnni") {
        (
            Rewarded::Yes,
            "VNNI multiplies and adds four int8 products in one instruction: up to 4 times fp32's \
             rate; signed weights (S8) hit its kernels",
        )
    } else if has("i8mm") {
        (Rewarded::Yes, "i8mm multiplies int8 matrices: up to 8 times fp32's rate")
    } else if has("dotprod") {
        (Rewarded::Yes, "dot products of int8: up to 4 times fp32's rate")
    } else if has("avx2") {
        (
            Rewarded::Little,
            "no VNNI: int8 products go through 16 bits, which is little faster than fp32 and \
             saturates unless the range is reduced",
        )
    } else if is_x86 || is_arm {
        (Rewarded::No, "no int8 dot products; converting costs more than it saves")
    } else {
        (Rewarded::Unknown, "the instruction sets are not known")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewarded(isa: &[&str], recipe: &str) -> Rewarded {
        let isa: Vec<String> = isa.iter().map(|s| (*s).to_owned()).collect();
        let advice = advise(&isa, None, None, &Gpus::default());
        advice.iter().find(|a| a.recipe.ends_with(recipe)).unwrap().rewarded
    }

    #[test]
    fn int8_pays_where_the_silicon_has_dot_products() {
        assert_eq!(rewarded(&["sse4.2", "avx2"], "int8-static"), Rewarded::Little);
        assert_eq!(rewarded(&["sse4.2", "avx2", "avx512vnni"], "int8-static"), Rewarded::Yes);
        assert_eq!(rewarded(&["neon", "dotprod"], "int8-static"), Rewarded::Yes);
        assert_eq!(rewarded(&["neon"], "int8-static"), Rewarded::No);
        assert_eq!(rewarded(&["unknown"], "int8-static"), Rewarded::Unknown);
        assert_eq!(rewarded(&["sse4.2", "avx512fp16"], "fp16"), Rewarded::No);
    }
}
