//! Names of backends: an engine on a device, e.g. `ort:cpu`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The program that executes a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// ONNX Runtime; the device is an execution provider.
    Ort,
    /// candle.
    Candle,
    /// wgpu; the device is an adapter.
    Wgpu,
    /// A scripted engine on a virtual clock, for testing the harness itself.
    Mock,
}

/// An engine on a device, as users write it: `ort:cpu`, `ort:cuda`, `wgpu:vulkan:0`, `mock`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackendId {
    /// The engine.
    pub engine: Engine,
    /// Everything after the first colon; the engine's default device when left out.
    pub device: String,
}

impl BackendId {
    /// The number of the NVIDIA GPU that it runs on; `None` for any other device.
    pub fn nvidia(&self) -> Option<u32> {
        let rest = self.device.strip_prefix("cuda").filter(|_| self.engine == Engine::Ort)?;
        rest.strip_prefix(':').map_or(Some(0), |number| number.parse().ok())
    }
}

impl FromStr for BackendId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (engine, device) = text.split_once(':').unwrap_or((text, ""));
        let (engine, default_device) = match engine {
            "ort" => (Engine::Ort, "cpu"),
            "candle" => (Engine::Candle, "cpu"),
            "wgpu" => (Engine::Wgpu, "default"),
            "mock" => (Engine::Mock, "latency_us=1000"),
            _ => {
                return Err(Error::input(format!("backend `{text}`"), "no such engine")
                    .remedy("name one of ort, candle, wgpu, with a device: `ort:cpu`"));
            }
        };
        let device = if device.is_empty() { default_device } else { device };
        Ok(Self { engine, device: device.to_owned() })
    }
}

impl TryFrom<String> for BackendId {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<BackendId> for String {
    fn from(id: BackendId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ort => "ort",
            Self::Candle => "candle",
            Self::Wgpu => "wgpu",
            Self::Mock => "mock",
        })
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.engine, self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_defaults_and_round_trips() {
        let nvidia = |text: &str| text.parse::<BackendId>().unwrap().nvidia();
        assert_eq!(
            (nvidia("ort:cuda:1"), nvidia("ort:cuda"), nvidia("ort")),
            (Some(1), Some(0), None)
        );
        let id: BackendId = "ort".parse().unwrap();
        assert_eq!(id.to_string(), "ort:cpu");
        let id: BackendId = "wgpu:vulkan:0".parse().unwrap();
        assert_eq!((id.engine, id.device.as_str()), (Engine::Wgpu, "vulkan:0"));
    }

    #[test]
    fn an_unknown_engine_says_which_exist() {
        let error = "onnx:cpu".parse::<BackendId>().unwrap_err().to_string();
        assert!(error.contains("`onnx:cpu`") && error.contains("ort, candle, wgpu"), "{error}");
    }
}
