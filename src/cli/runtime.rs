//! `--runtime`: which build of ONNX Runtime is fetched, and which ones this machine could use.

use crate::artifact::Build;
use crate::hardware::{Host, Root};

/// Builds of ONNX Runtime that can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Runtime {
    /// The plain one
    Cpu,
    /// With CUDA, for NVIDIA's GPUs
    Gpu,
    /// With OpenVINO, for Intel's processors
    Openvino,
}

impl Runtime {
    /// What `artifact` calls it.
    pub(super) fn build(self) -> Build {
        match self {
            Self::Cpu => Build::Cpu,
            Self::Gpu => Build::Gpu,
            Self::Openvino => Build::OpenVino,
        }
    }

    /// Builds that this machine could use besides the plain one, in words.
    pub(super) fn offers(host: &Host) -> Vec<String> {
        let mut offers = Vec::new();
        if Root::live().exists("/proc/driver/nvidia/version") {
            offers.push(
                "an NVIDIA driver is here: `--runtime gpu --backend ort:cuda` fetches ONNX \
                 Runtime's GPU build and runs on it"
                    .to_owned(),
            );
        }
        if host.cpu.vendor == "GenuineIntel" {
            offers.push(
                "an Intel processor is here: `--runtime openvino --backend ort:openvino` fetches \
                 ONNX Runtime's OpenVINO build and runs on it"
                    .to_owned(),
            );
        }
        offers
    }
}
