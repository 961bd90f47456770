//! Device selection that returns errors.
//!
//! `Device::default()` prefers CUDA if it is compiled in, and panics without a driver. Here a device is
//! named by a string, and a device that cannot be used is an error that says what is missing.

use std::fmt;
use std::str::FromStr;

use burn::prelude::Device;
use serde::{Deserialize, Serialize};

use crate::error::{CoreError, Result};

#[cfg(any(feature = "wgpu", feature = "cuda-llvm"))]
mod probe;

/// A device by name: `"auto"`, `"cpu"` (also `"flex"`), `"wgpu"`, `"wgpu:1"`, `"cuda"`, `"cuda:1"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum DeviceSpec {
    /// The first of CUDA, a GPU through WGPU, and the CPU that is compiled in and works. Vulkan in
    /// software is slower than the CPU backend and is used only by name.
    Auto,
    /// Burn's CPU backend.
    #[default]
    Cpu,
    /// A device of WGPU, by position: discrete GPUs, then other GPUs, then Vulkan in software.
    Wgpu(usize),
    /// An NVIDIA GPU, by index.
    Cuda(usize),
}

impl DeviceSpec {
    /// Opens the device and runs one operation on it.
    ///
    /// # Errors
    /// [`CoreError::DeviceNotCompiledIn`] if the build lacks the backend,
    /// [`CoreError::DeviceUnavailable`] if the machine lacks the device or its driver.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Auto => auto(),
            Self::Cpu => cpu(),
            Self::Wgpu(index) => wgpu(index),
            Self::Cuda(index) => cuda(index),
        }
    }
}

/// Whether the memory of the device is host memory, so that reading a tensor does not wait.
#[must_use]
pub fn is_host(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    return device.clone().inner() == Device::flex();
    #[cfg(not(feature = "flex"))]
    {
        let _ = device;
        false
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Wgpu(index) => write!(f, "wgpu:{index}"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for DeviceSpec {
    type Err = CoreError;

    fn from_str(name: &str) -> Result<Self> {
        let unknown = || CoreError::UnknownDevice(name.into());
        let (kind, index) = match name.split_once(':') {
            Some((kind, index)) => (kind, Some(index.parse().map_err(|_| unknown())?)),
            None => (name, None),
        };
        match (kind, index) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu" | "flex", None) => Ok(Self::Cpu),
            ("wgpu", index) => Ok(Self::Wgpu(index.unwrap_or(0))),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            _ => Err(unknown()),
        }
    }
}

impl TryFrom<String> for DeviceSpec {
    type Error = CoreError;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<DeviceSpec> for String {
    fn from(spec: DeviceSpec) -> Self {
        spec.to_string()
    }
}

fn auto() -> Result<Device> {
    cuda(0).or_else(|_| wgpu_gpu()).or_else(|_| cpu())
}

#[cfg(feature = "flex")]
fn cpu() -> Result<Device> {
    Ok(Device::flex())
}

#[cfg(not(feature = "flex"))]
fn cpu() -> Result<Device> {
    Err(CoreError::DeviceNotCompiledIn { device: DeviceSpec::Cpu.to_string(), feature: "flex" })
}

#[cfg(feature = "wgpu")]
use probe::{wgpu, wgpu_gpu};

#[cfg(not(feature = "wgpu"))]
fn wgpu(index: usize) -> Result<Device> {
    let device = DeviceSpec::Wgpu(index).to_string();
    Err(CoreError::DeviceNotCompiledIn { device, feature: "wgpu" })
}

#[cfg(not(feature = "wgpu"))]
fn wgpu_gpu() -> Result<Device> {
    wgpu(0)
}

#[cfg(feature = "cuda-llvm")]
use probe::cuda;

#[cfg(not(feature = "cuda-llvm"))]
fn cuda(index: usize) -> Result<Device> {
    let device = DeviceSpec::Cuda(index).to_string();
    Err(CoreError::DeviceNotCompiledIn { device, feature: "cuda" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_print() {
        for (name, spec) in [
            ("auto", DeviceSpec::Auto),
            ("cpu", DeviceSpec::Cpu),
            ("wgpu:0", DeviceSpec::Wgpu(0)),
            ("cuda:3", DeviceSpec::Cuda(3)),
        ] {
            assert_eq!(name.parse::<DeviceSpec>().unwrap(), spec);
            assert_eq!(spec.to_string(), name);
        }
        assert_eq!("flex".parse::<DeviceSpec>().unwrap(), DeviceSpec::Cpu);
        for bad in ["gpu", "cuda:x", "cpu:1", ""] {
            assert!(matches!(bad.parse::<DeviceSpec>(), Err(CoreError::UnknownDevice(_))), "{bad}");
        }
    }

    #[test]
    fn auto_always_finds_the_cpu() {
        assert!(DeviceSpec::Auto.open().is_ok());
    }

    #[cfg(not(feature = "cuda-llvm"))]
    #[test]
    fn a_backend_that_is_not_compiled_in_names_its_feature() {
        let message = DeviceSpec::Cuda(0).open().unwrap_err().to_string();
        assert!(message.contains("--features cuda"), "{message}");
    }

    #[cfg(any(feature = "wgpu", feature = "cuda-llvm"))]
    #[test]
    fn a_device_that_is_not_there_is_an_error_that_says_how_to_get_it() {
        #[cfg(feature = "wgpu")]
        {
            let message = DeviceSpec::Wgpu(99).open().unwrap_err().to_string();
            assert!(message.contains("wgpu:99") && message.contains("Vulkan"), "{message}");
        }
        #[cfg(feature = "cuda-llvm")]
        {
            let message = DeviceSpec::Cuda(99).open().unwrap_err().to_string();
            assert!(message.contains("cuda:99") && message.contains("NVIDIA"), "{message}");
        }
    }
}
