//! GPUs: what wgpu's adapters and NVIDIA's own library say.

use serde::{Deserialize, Serialize};

/// One adapter, as wgpu sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapter {
    /// As its driver calls it.
    pub name: String,
    /// `vulkan`, `metal`, `dx12`.
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`. Software adapters run on the
    /// CPU and are never mixed with GPUs.
    pub device_type: String,
    /// The driver and its version.
    pub driver: String,
    /// Features that matter for inference, of those it has.
    pub features: Vec<String>,
    /// Limits that matter for inference, by name.
    pub limits: std::collections::BTreeMap<String, u64>,
}

/// One device, as NVIDIA's management library sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nvidia {
    /// e.g. `NVIDIA L4`.
    pub name: String,
    /// e.g. `8.9`; `unknown` where the library does not say.
    pub compute_capability: String,
    /// Generation of its tensor cores and the number formats they take.
    pub tensor_cores: String,
    /// Memory on the device.
    pub memory_bytes: Option<u64>,
    /// Version of the driver.
    pub driver: String,
}

/// What was found on a machine's GPUs, and why something wasn't.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpus {
    /// wgpu's adapters.
    pub adapters: Vec<Adapter>,
    /// NVIDIA's devices.
    pub nvidia: Vec<Nvidia>,
    /// What could not be looked at, in words.
    pub notes: Vec<String>,
}

/// Looks at every GPU. Drivers are loaded into this process, so call it in one that may die.
pub fn gpus() -> Gpus {
    let mut gpus = Gpus::default();
    match adapters() {
        Ok(found) => gpus.adapters = found,
        Err(note) => gpus.notes.push(note),
    }
    match nvidia() {
        Ok(found) => gpus.nvidia = found,
        Err(note) => gpus.notes.push(note),
    }
    gpus
}

#[cfg(feature = "wgpu")]
fn adapters() -> Result<Vec<Adapter>, String> {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let mut listing = std::pin::pin!(instance.enumerate_adapters(wgpu::Backends::all()));
    // Outside a browser the listing is finished when it is first looked at.
    match listing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(found) if found.is_empty() => Err(
            "no wgpu adapter; on Debian `apt-get install mesa-vulkan-drivers libvulkan1` gives \
                 a software one"
                .to_owned(),
        ),
        Poll::Ready(found) => Ok(found.iter().map(adapter).collect()),
        Poll::Pending => Err("wgpu did not list its adapters".to_owned()),
    }
}

#[cfg(not(feature = "wgpu"))]
fn adapters() -> Result<Vec<Adapter>, String> {
    Err("wgpu adapters were not looked at: this binary was built without `wgpu`".to_owned())
}

#[cfg(feature = "wgpu")]
fn adapter(adapter: &wgpu::Adapter) -> Adapter {
    use wgpu::{DeviceType, Features as F};
    let info = adapter.get_info();
    let limits = adapter.limits();
    let known = [
        ("shader-f16", F::SHADER_F16),
        ("subgroup", F::SUBGROUP),
        ("timestamp-query", F::TIMESTAMP_QUERY),
        ("shader-int64", F::SHADER_INT64),
        ("shader-f64", F::SHADER_F64),
        ("mappable-primary-buffers", F::MAPPABLE_PRIMARY_BUFFERS),
        ("pipeline-cache", F::PIPELINE_CACHE),
    ];
    let has = adapter.features();
    Adapter {
        name: info.name,
        backend: info.backend.to_string(),
        device_type: match info.device_type {
            DeviceType::DiscreteGpu => "discrete",
            DeviceType::IntegratedGpu => "integrated",
            DeviceType::VirtualGpu => "virtual",
            DeviceType::Cpu => "software",
            DeviceType::Other => "other",
        }
        .to_owned(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        features: known
            .iter()
            .filter(|(_, feature)| has.contains(*feature))
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        limits: [
            ("max_buffer_bytes", limits.max_buffer_size),
            ("max_storage_binding_bytes", limits.max_storage_buffer_binding_size),
            ("max_workgroup_storage_bytes", limits.max_compute_workgroup_storage_size.into()),
            ("max_workgroup_invocations", limits.max_compute_invocations_per_workgroup.into()),
        ]
        .into_iter()
        .map(|(name, limit)| (name.to_owned(), limit))
        .collect(),
    }
}

/// NVIDIA's devices; an error that says why there is nothing, unless there is no driver at all.
fn nvidia() -> Result<Vec<Nvidia>, String> {
    use nvml_wrapper::Nvml;
    // The driver itself brings only the versioned name; the plain one comes with CUDA's toolkit.
    let versioned = std::ffi::OsStr::new("libnvidia-ml.so.1");
    let nvml = match Nvml::init().or_else(|_| Nvml::builder().lib_path(versioned).init()) {
        Ok(nvml) => nvml,
        Err(nvml_wrapper::error::NvmlError::LibloadingError(_)) => return Ok(Vec::new()),
        Err(e) => return Err(format!("NVIDIA's management library does not start: {e}")),
    };
    let failed = |e: nvml_wrapper::error::NvmlError| format!("NVIDIA's devices: {e}");
    let driver = nvml.sys_driver_version().map_err(failed)?;
    let mut devices = Vec::new();
    for index in 0..nvml.device_count().map_err(failed)? {
        let device = nvml.device_by_index(index).map_err(failed)?;
        let capability = device.cuda_compute_capability().ok().map(|c| (c.major, c.minor));
        devices.push(Nvidia {
            name: device.name().map_err(failed)?,
            compute_capability: capability.map_or_else(
                || super::UNKNOWN.to_owned(),
                |(major, minor)| format!("{major}.{minor}"),
            ),
            tensor_cores: capability
                .map_or(super::UNKNOWN, |(major, minor)| tensor_cores(major, minor))
                .to_owned(),
            memory_bytes: device.memory_info().ok().map(|m| m.total),
            driver: driver.clone(),
        });
    }
    Ok(devices)
}

/// Generation of the tensor cores of a compute capability, and what each generation added
/// (NVIDIA, *CUDA C++ Programming Guide*, "Compute Capabilities"; architecture white papers).
pub(super) fn tensor_cores(major: i32, minor: i32) -> &'static str {
    match (major, minor) {
        (..7, _) => "none",
        (7, 5) => "second generation (fp16, int8, int4)",
        (7, _) => "first generation (fp16)",
        (8, 9) | (9, _) => "fourth generation (fp16, bf16, tf32, fp8, int8, 2:4 sparse)",
        (8, _) => "third generation (fp16, bf16, tf32, int8, 2:4 sparse)",
        (10..=12, _) => "fifth generation (fp16, bf16, tf32, fp8, fp4, int8, 2:4 sparse)",
        _ => super::UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensor_cores_follow_the_compute_capability() {
        for (capability, says) in [
            ((6, 1), "none"),
            ((7, 0), "first"),
            ((7, 5), "second"),
            ((8, 0), "third"),
            ((8, 6), "third"),
            ((8, 9), "fourth"),
            ((9, 0), "fourth"),
            ((10, 0), "fifth"),
            ((12, 0), "fifth"),
            ((99, 0), "unknown"),
        ] {
            let said = tensor_cores(capability.0, capability.1);
            assert!(said.starts_with(says), "{capability:?}: {said}");
        }
    }
}
