//! A machine's facts as a list, each with where it comes from; JSON and TOML are layouts of it.

use serde_json::{Map, Value, json};

use super::advice::{Advice, advise};
use super::cloud::{self, Cloud};
use super::container::MemoryLimit;
use super::gpu::Gpus;
use super::registers::Registers;
use super::root::Root;
use super::{UNKNOWN, container, cpu_facts, topology};

/// One fact about a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Dotted, e.g. `cpu.vendor`.
    pub key: &'static str,
    /// Its value; `None` is unknown.
    pub value: Option<Value>,
    /// `detected`: read from this machine. `derived`: looked up from what was detected. `measured`: by
    /// `--probe`. `unknown`.
    pub provenance: &'static str,
    /// What was read, or how it was measured.
    pub source: std::borrow::Cow<'static, str>,
}

/// All facts about a machine, and the advice that follows from them.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// In the order they are shown.
    pub facts: Vec<Fact>,
    /// What could not be looked at, in words.
    pub notes: Vec<String>,
    /// Which recipes it rewards.
    pub advice: Vec<Advice>,
}

impl Profile {
    /// The facts of the machine whose files lie below `root` and whose registers these are.
    ///
    /// `asked` is what the cloud's metadata service said, if it was asked; `gpus` what was found
    /// on them, which only the machine itself can say.
    pub fn of(
        root: &Root,
        registers: Option<&Registers>,
        asked: Option<Cloud>,
        gpus: Gpus,
    ) -> Self {
        let cpu = cpu_facts(root, registers);
        let built = topology::topology(root);
        let effective = container::effective_cpus(root);
        let source = if asked.is_some() { "metadata service" } else { "DMI" };
        let cloud = asked.unwrap_or_else(|| cloud::from_dmi(root));
        let isa_source =
            if registers.is_some() { "CPUID and XCR0" } else { "/proc/cpuinfo Features" };
        let known = |text: String| (text != UNKNOWN).then(|| json!(text));
        let text = |text: Option<String>| text.map(|t| json!(t));
        let number = |n: Option<usize>| n.map(|n| json!(n));
        let mut facts = Vec::new();
        let mut add = |key, value: Option<Value>, provenance, source: &'static str| {
            // What is not known was not detected either.
            let provenance = if value.is_none() { UNKNOWN } else { provenance };
            facts.push(Fact { key, value, provenance, source: source.into() });
        };
        let (files, cpuinfo) = ("/sys/devices/system", "/proc/cpuinfo");
        let l3 = built.caches.iter().filter(|c| c.kind != "Instruction").max_by_key(|c| c.level);
        let advice = advise(&cpu.isa, l3.map(|c| c.size_bytes), built.threads_per_core, &gpus);
        add("cpu.vendor", known(cpu.vendor), "detected", cpuinfo);
        add("cpu.model", known(cpu.model), "detected", cpuinfo);
        add("cpu.signature", known(cpu.signature), "detected", cpuinfo);
        add(
            "cpu.microarchitecture",
            known(cpu.microarchitecture),
            "derived",
            "table of families and parts",
        );
        let isa = Some(json!(cpu.isa)).filter(|_| cpu.isa != [UNKNOWN]);
        add("cpu.isa", isa, "detected", isa_source);
        add("cpu.sockets", number(built.sockets), "detected", files);
        add("cpu.physical_cores", number(built.physical_cores), "detected", files);
        add("cpu.logical_cpus", Some(json!(cpu.logical_cpus)), "detected", cpuinfo);
        add("cpu.threads_per_core", number(built.threads_per_core), "detected", files);
        add(
            "cpu.effective_cpus",
            Some(json!(effective.count)),
            "derived",
            "affinity, cpuset, quota",
        );
        add(
            "cpu.effective_cpus_reason",
            Some(json!(effective.reason)),
            "derived",
            "affinity, cpuset, quota",
        );
        add("cpu.base_mhz", built.base_mhz.map(|n| json!(n)), "detected", "cpufreq");
        add("cpu.max_mhz", built.max_mhz.map(|n| json!(n)), "detected", "cpufreq");
        add(
            "cpu.current_mhz",
            built.current_mhz.map(|n| json!(n)),
            "detected",
            "cpufreq or /proc/cpuinfo",
        );
        add("cpu.governor", text(built.governor), "detected", "cpufreq");
        add("cpu.boost", built.boost.map(|b| json!(b)), "detected", "cpufreq");
        let caches = (!built.caches.is_empty()).then(|| json!(built.caches));
        add("cpu.caches", caches, "detected", files);
        add("cpu.numa_nodes", number(built.numa_nodes), "detected", files);
        add(
            "memory.total_bytes",
            total_memory(root).map(|n| json!(n)),
            "detected",
            "/proc/meminfo",
        );
        let limit = match container::memory_limit(root) {
            MemoryLimit::Bytes(bytes) => Some(json!(bytes)),
            MemoryLimit::None => Some(Value::Null),
            MemoryLimit::Unknown => None,
        };
        add("memory.limit_bytes", limit, "detected", "memory cgroup");
        let beneath = cloud::virtualisation(root, registers);
        add(
            "virtualisation.hypervisor",
            text(beneath),
            "detected",
            "CPUID leaf 0x40000000 or /sys/hypervisor",
        );
        let container = cloud::container(root).unwrap_or_else(|| "none seen".to_owned());
        add(
            "virtualisation.container",
            Some(json!(container)),
            "detected",
            "cgroup paths and marker files",
        );
        add("cloud.provider", text(cloud.provider), "detected", source);
        add("cloud.instance_type", text(cloud.instance_type), "detected", source);
        add("cloud.region", text(cloud.region), "detected", source);
        add("gpus", Some(json!(gpus.adapters)), "detected", "wgpu");
        add("nvidia", Some(json!(gpus.nvidia)), "detected", "NVML");
        Self { facts, notes: gpus.notes, advice }
    }

    /// Adds what was measured; `None` is what cannot be.
    pub fn add_measured(&mut self, key: &'static str, value: Option<Value>, source: String) {
        let provenance = if value.is_none() { UNKNOWN } else { "measured" };
        self.facts.push(Fact { key, value, provenance, source: source.into() });
    }

    /// Bytes of all last-level caches together, as far as the machine says: the largest one, as often as the
    /// CPUs need it.
    pub fn last_level_cache(&self) -> Option<u64> {
        let value = |key: &str| self.facts.iter().find(|fact| fact.key == key)?.value.as_ref();
        let cpus = value("cpu.logical_cpus").and_then(Value::as_u64).unwrap_or(1);
        let all = value("cpu.caches")?.as_array()?;
        let largest = all.iter().max_by_key(|cache| cache["size_bytes"].as_u64())?;
        let shared = largest["shared_by_cpus"].as_u64().unwrap_or(1).max(1);
        Some(largest["size_bytes"].as_u64()? * cpus.div_ceil(shared))
    }

    /// The machine contract's JSON: facts nested by their keys, `unknown` where nothing is known.
    pub fn to_json(&self) -> Value {
        let mut tree = Map::new();
        for fact in &self.facts {
            insert(&mut tree, fact.key, fact.shown());
        }
        tree.insert("notes".to_owned(), json!(self.notes));
        tree.insert("advice".to_owned(), json!(self.advice));
        Value::Object(tree)
    }

    /// For `hardware-profiles/NAME.toml`: each fact a table of value, provenance and source.
    pub fn to_stored(&self, name: &str, saved_at: &str) -> Value {
        let mut tree = Map::new();
        tree.insert("name".to_owned(), json!(name));
        tree.insert("saved_at".to_owned(), json!(saved_at));
        tree.insert("tool_version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
        for fact in &self.facts {
            // TOML has no null: no limit is written as the word.
            let value = match fact.shown() {
                Value::Null => json!("none"),
                value => value,
            };
            let table = json!({
                "value": value, "provenance": fact.provenance, "source": fact.source,
            });
            insert(&mut tree, fact.key, table);
        }
        tree.insert("advice".to_owned(), json!(self.advice));
        Value::Object(tree)
    }
}

impl Fact {
    /// The value, or the word `unknown`.
    pub fn shown(&self) -> Value {
        self.value.clone().unwrap_or_else(|| json!(UNKNOWN))
    }
}

fn insert(tree: &mut Map<String, Value>, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            tree.insert(key.to_owned(), value);
        }
        Some((first, rest)) => {
            let branch = tree.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(branch) = branch {
                insert(branch, rest, value);
            }
        }
    }
}

/// `MemTotal` of `/proc/meminfo`, which counts in KiB.
pub(super) fn total_memory(root: &Root) -> Option<u64> {
    let text = root.text("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
