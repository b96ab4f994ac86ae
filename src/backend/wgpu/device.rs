//! An adapter, opened: which one, what it can do, and what went wrong on it.

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use wgpu::{DeviceType, Features};

use super::pipelines::Pipelines;
use super::trusted::Compiled;
use super::tune::Tuner;
use crate::error::{Error, Result};

/// Features that kernels use where an adapter has them.
const WANTED: [Features; 4] =
    [Features::SHADER_F16, Features::SUBGROUP, Features::TIMESTAMP_QUERY, Features::PIPELINE_CACHE];

/// An open adapter with its queue.
pub(super) struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) info: wgpu::AdapterInfo,
    pub(super) features: Features,
    pub(super) limits: wgpu::Limits,
    /// Every kernel that was compiled for it.
    pub(super) pipelines: Pipelines,
    /// Which kernels are fastest on it.
    pub(super) tuner: Tuner,
    /// What wgpu reported outside of a call, first things first.
    faults: Arc<Mutex<Vec<String>>>,
}

/// The value of a future that is ready when it is first asked, as all of wgpu's are outside a browser.
fn ready<T>(future: impl Future<Output = T>, what: &str) -> Result<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err(Error::internal("wgpu", format!("{what} is not finished at once"))),
    }
}

/// Every adapter, in the order of the drivers.
fn adapters() -> Result<Vec<wgpu::Adapter>> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let found = ready(instance.enumerate_adapters(wgpu::Backends::all()), "listing adapters")?;
    if found.is_empty() {
        return Err(Error::environment("wgpu", "there is no adapter").remedy(
            "install a driver for Vulkan; on Debian `apt-get install mesa-vulkan-drivers \
             libvulkan1` gives a software adapter",
        ));
    }
    Ok(found)
}

/// Whether it computes on the CPU.
pub(super) fn is_software(info: &wgpu::AdapterInfo) -> bool {
    info.device_type == DeviceType::Cpu
}

/// What a record calls it.
pub(super) fn describe(info: &wgpu::AdapterInfo) -> String {
    let driver = format!("{} {}", info.driver, info.driver_info);
    let mark = if is_software(info) { ", SOFTWARE: it computes on the CPU" } else { "" };
    format!("{} ({}, {}{mark})", info.name, info.backend, driver.trim())
}

/// Devices first that a model is best served on.
fn preference(info: &wgpu::AdapterInfo) -> usize {
    match info.device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

/// The adapter that `wanted` names: `default`, `vulkan:0`, `0`, or a part of a name.
fn choose(wanted: &str) -> Result<wgpu::Adapter> {
    let mut all = adapters()?;
    let listed: Vec<String> = all
        .iter()
        .enumerate()
        .map(|(at, a)| format!("{at}: {}", describe(&a.get_info())))
        .collect();
    let refuse = |message: &str| {
        Error::input(format!("backend `wgpu:{wanted}`"), message)
            .remedy(format!("name one of {}", listed.join("; ")))
    };
    let at = if wanted == "default" {
        (0..all.len()).min_by_key(|at| preference(&all[*at].get_info()))
    } else if let Ok(index) = wanted.parse::<usize>() {
        (index < all.len()).then_some(index)
    } else if let Some((api, index)) =
        wanted.split_once(':').and_then(|(api, index)| Some((api, index.parse::<usize>().ok()?)))
    {
        let of_api = |at: &usize| all[*at].get_info().backend.to_str().eq_ignore_ascii_case(api);
        (0..all.len()).filter(of_api).nth(index)
    } else {
        let wanted = wanted.to_lowercase();
        let named = |at: &usize| all[*at].get_info().name.to_lowercase().contains(&wanted);
        let found: Vec<usize> = (0..all.len()).filter(named).collect();
        if found.len() > 1 {
            return Err(refuse("several adapters have that in their name"));
        }
        found.first().copied()
    };
    let at = at.ok_or_else(|| refuse("there is no such adapter"))?;
    Ok(all.swap_remove(at))
}

/// What the adapter called `wanted` is, without opening it.
pub(super) fn look(wanted: &str) -> Result<wgpu::AdapterInfo> {
    Ok(choose(wanted)?.get_info())
}

impl Gpu {
    /// The adapter called `wanted`, opened once in a process. What is compiled and measured for it is kept in
    /// `folder`.
    pub(super) fn open(wanted: &str, folder: Option<&Path>) -> Result<Arc<Self>> {
        static OPEN: Mutex<Vec<(String, Arc<Gpu>)>> = Mutex::new(Vec::new());
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, gpu)) = open.iter().find(|(name, _)| name == wanted) {
            return Ok(Arc::clone(gpu));
        }
        let gpu = Arc::new(Self::new(wanted, folder)?);
        open.push((wanted.to_owned(), Arc::clone(&gpu)));
        Ok(gpu)
    }

    fn new(wanted: &str, folder: Option<&Path>) -> Result<Self> {
        let adapter = choose(wanted)?;
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let has = adapter.features();
        let features = WANTED.into_iter().fold(Features::empty(), |all, f| all | (f & has));
        let asked = wgpu::DeviceDescriptor {
            label: Some("infermark"),
            required_features: features,
            required_limits: limits.clone(),
            memory_hints: wgpu::MemoryHints::Performance,
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = ready(adapter.request_device(&asked), "opening the adapter")?
            .map_err(|e| {
                Error::environment(format!("adapter {}", info.name), format!("does not open: {e}"))
                    .remedy("update its driver, or choose another adapter (infermark hardware)")
            })?;
        let faults = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&faults);
        let keep = move |message: String| {
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        };
        let lost = keep.clone();
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| keep(e.to_string())));
        device.set_device_lost_callback(move |reason, message| {
            // Destroying the device at the end is no loss.
            if reason != wgpu::DeviceLostReason::Destroyed {
                lost(format!("the device was lost: {message}"));
            }
        });
        let compiled = folder.and_then(|folder| Compiled::open(&device, &info, folder));
        let pipelines = Pipelines::new(compiled);
        let tuner = Tuner::open(describe(&info), folder);
        Ok(Self { device, queue, info, features, limits, pipelines, tuner, faults })
    }

    /// An error where wgpu has reported something since the last time.
    pub(super) fn check(&self) -> Result<()> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *faults).into_iter().next() {
            None => Ok(()),
            Some(first) => {
                let first = first.lines().map(str::trim).collect::<Vec<_>>().join(" ");
                Err(Error::environment(format!("adapter {}", self.info.name), first).remedy(
                    "measure on another adapter, with a smaller batch, or look at the driver's log",
                ))
            }
        }
    }

    /// Waits until a submission is done.
    pub(super) fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<()> {
        let until = wgpu::PollType::Wait { submission_index: Some(submission), timeout: None };
        match self.device.poll(until) {
            Ok(_) => self.check(),
            Err(e) => {
                self.check()?;
                Err(Error::environment(format!("adapter {}", self.info.name), e.to_string())
                    .remedy("look at the driver's log"))
            }
        }
    }

    pub(super) fn is_software(&self) -> bool {
        is_software(&self.info)
    }

    pub(super) fn has_subgroups(&self) -> bool {
        self.features.contains(Features::SUBGROUP)
    }

    pub(super) fn has_f16(&self) -> bool {
        self.features.contains(Features::SHADER_F16)
    }
}
