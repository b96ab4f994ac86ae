//! Detection on other machines' files and registers: it is a function of those alone.

use std::path::Path;

use infermark::hardware::{Gpus, Profile, Registers, Root};
use serde_json::{Value, json};

fn profile(machine: &str) -> Value {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/machines").join(machine);
    let registers = std::fs::read_to_string(folder.join("registers.txt"))
        .ok()
        .map(|text| Registers::parse(&text).unwrap());
    Profile::of(&Root::at(&folder), registers.as_ref(), None, Gpus::default()).to_json()
}

fn advice<'a>(profile: &'a Value, recipe: &str) -> &'a str {
    let mut all = profile["advice"].as_array().unwrap().iter();
    let one = all.find(|a| a["recipe"].as_str().unwrap().ends_with(recipe)).unwrap();
    assert_eq!(one["provenance"], "advice");
    one["rewarded"].as_str().unwrap()
}

#[test]
fn intel_with_amx_on_ec2() {
    let found = profile("intel-amx-ec2");
    let cpu = &found["cpu"];
    assert_eq!(cpu["vendor"], "GenuineIntel");
    assert_eq!(cpu["microarchitecture"], "Sapphire Rapids");
    let isa = json!([
        "sse4.2",
        "avx2",
        "fma",
        "f16c",
        "avxvnni",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512vnni",
        "avx512bf16",
        "avx512fp16",
        "amx-tile",
        "amx-int8",
        "amx-bf16"
    ]);
    assert_eq!(cpu["isa"], isa);
    assert_eq!((&cpu["physical_cores"], &cpu["logical_cpus"]), (&json!(2), &json!(4)));
    assert_eq!((&cpu["sockets"], &cpu["threads_per_core"]), (&json!(1), &json!(2)));
    assert_eq!(cpu["effective_cpus"], 4);
    assert_eq!(cpu["effective_cpus_reason"], "all CPUs of the machine");
    assert_eq!(cpu["caches"][3]["size_bytes"], 107_520 * 1024);
    assert_eq!(cpu["boost"], true);
    assert_eq!(cpu["governor"], "unknown");
    assert_eq!(found["memory"]["total_bytes"], 7_903_104_u64 * 1024);
    assert_eq!(found["memory"]["limit_bytes"], Value::Null);
    assert_eq!(
        found["cloud"],
        json!({"provider": "aws", "instance_type": "c7i.xlarge", "region": "unknown"})
    );
    assert_eq!(found["virtualisation"]["hypervisor"], "KVM");
    assert_eq!(advice(&found, "int8-static"), "yes");
    assert_eq!(advice(&found, "threads"), "little");
}

#[test]
fn graviton_with_i8mm_and_sve_in_a_fractional_quota() {
    let found = profile("graviton3-quota-v2");
    let cpu = &found["cpu"];
    assert_eq!((&cpu["vendor"], &cpu["microarchitecture"]), (&json!("ARM"), &json!("Neoverse V1")));
    assert_eq!(cpu["isa"], json!(["neon", "dotprod", "fp16", "i8mm", "bf16", "sve"]));
    assert_eq!(cpu["effective_cpus"], 1);
    assert_eq!(cpu["effective_cpus_reason"], "cgroup CPU quota of 1.50 CPUs, of 4 allowed");
    assert_eq!(cpu["threads_per_core"], 1);
    assert_eq!(cpu["model"], "unknown");
    assert_eq!(found["memory"]["limit_bytes"], 2_u64 << 30);
    assert_eq!(found["virtualisation"]["container"], "docker");
    assert_eq!(found["cloud"]["instance_type"], "c7g.xlarge");
    assert_eq!(advice(&found, "int8-static"), "yes");
    assert_eq!(advice(&found, "fp16"), "yes");
}

#[test]
fn a_pod_under_cgroup_v1_with_a_cpuset_and_a_quota() {
    let found = profile("cascade-lake-pod-v1");
    let cpu = &found["cpu"];
    assert_eq!(cpu["microarchitecture"], "Cascade Lake");
    assert_eq!(cpu["isa"].as_array().unwrap().last().unwrap(), "avx512vnni");
    assert_eq!(cpu["effective_cpus"], 2);
    assert_eq!(cpu["effective_cpus_reason"], "cgroup CPU quota of 2.50 CPUs, of 3 allowed");
    assert_eq!(found["memory"]["limit_bytes"], 4_u64 << 30);
    assert_eq!(found["virtualisation"]["container"], "kubernetes");
    assert_eq!(found["cloud"]["provider"], "gcp");
    assert_eq!(found["cloud"]["instance_type"], "unknown", "only its metadata service knows");
}

#[test]
fn two_sockets_without_a_hypervisor() {
    let found = profile("milan-two-sockets");
    let cpu = &found["cpu"];
    assert_eq!(cpu["microarchitecture"], "Zen3");
    assert_eq!((&cpu["sockets"], &cpu["physical_cores"]), (&json!(2), &json!(16)));
    assert_eq!((&cpu["numa_nodes"], &cpu["threads_per_core"]), (&json!(2), &json!(2)));
    assert_eq!(cpu["effective_cpus"], 16);
    assert_eq!(cpu["effective_cpus_reason"], "CPU affinity allows 16 of 32 CPUs");
    assert_eq!((&cpu["max_mhz"], &cpu["governor"]), (&json!(3729), &json!("schedutil")));
    assert_eq!(cpu["boost"], true);
    assert_eq!(found["virtualisation"]["hypervisor"], "none (bare metal)");
    assert_eq!(found["cloud"]["provider"], "unknown");
    assert_eq!(advice(&found, "int8-static"), "little");
}

#[test]
fn an_empty_machine_is_unknown_throughout() {
    let folder = tempfile::tempdir().unwrap();
    let found = Profile::of(&Root::at(folder.path()), None, None, Gpus::default()).to_json();
    for key in ["vendor", "model", "microarchitecture", "isa", "physical_cores", "governor"] {
        assert_eq!(found["cpu"][key], "unknown", "{key}");
    }
    assert_eq!(found["memory"], json!({"total_bytes": "unknown", "limit_bytes": "unknown"}));
    assert_eq!(advice(&found, "int8-static"), "unknown");
}
