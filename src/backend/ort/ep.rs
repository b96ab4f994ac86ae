//! Execution providers by name; one that cannot be registered is an error, never a fallback.

use ort::ep::{CUDA, ExecutionProviderDispatch, OpenVINO};
use ort::session::builder::SessionBuilder;

use super::one_line;
use crate::error::{Error, Result};
use crate::variant::BackendId;

/// The execution providers that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    Cpu,
    Cuda { device: i32 },
    OpenVino,
}

impl Provider {
    /// From the device of an `ort:` backend: `cpu`, `cuda`, `cuda:1`, `openvino`.
    pub(super) fn parse(id: &BackendId) -> Result<Self> {
        let unknown = || {
            Error::input(format!("backend `{id}`"), "no such execution provider")
                .remedy("use ort:cpu, ort:cuda, ort:cuda:N or ort:openvino")
        };
        match id.device.split_once(':') {
            None => match id.device.as_str() {
                "cpu" => Ok(Self::Cpu),
                "cuda" => Ok(Self::Cuda { device: 0 }),
                "openvino" => Ok(Self::OpenVino),
                _ => Err(unknown()),
            },
            Some(("cuda", index)) => {
                index.parse().map(|device| Self::Cuda { device }).map_err(|_| unknown())
            }
            Some(_) => Err(unknown()),
        }
    }

    /// ONNX Runtime's own name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPUExecutionProvider",
            Self::Cuda { .. } => "CUDAExecutionProvider",
            Self::OpenVino => "OpenVINOExecutionProvider",
        }
    }

    /// Puts the provider into a session's options. The CPU is always there and needs nothing.
    pub(super) fn register(self, builder: &mut SessionBuilder, threads: usize) -> Result<()> {
        let (dispatch, build): (ExecutionProviderDispatch, _) = match self {
            Self::Cpu => return Ok(()),
            Self::Cuda { device } => (CUDA::default().with_device_id(device).build(), "gpu"),
            Self::OpenVino => {
                // Threads are what the case says here too; left alone, OpenVINO takes all CPUs.
                let provider = OpenVINO::default().with_device_type("CPU");
                (provider.with_num_threads(threads).build(), "openvino")
            }
        };
        dispatch.register(builder).map_err(|e| {
            Error::environment(self.name(), format!("not available: {}", one_line(e.message())))
                .remedy(format!(
                    "this ONNX Runtime may be built without it: `run --runtime {build}` fetches one \
                     that has it (drivers are yours to install), or set ORT_DYLIB_PATH to your own"
                ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_named_exactly() {
        let parse = |text: &str| Provider::parse(&text.parse().unwrap());
        assert_eq!(parse("ort:cuda:1").unwrap(), Provider::Cuda { device: 1 });
        assert_eq!(parse("ort").unwrap(), Provider::Cpu);
        for text in ["ort:gpu", "ort:cuda:x", "ort:cpu:1"] {
            assert!(parse(text).unwrap_err().to_string().contains(text), "{text}");
        }
    }
}
