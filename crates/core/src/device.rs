//! Device selection that returns errors.
//!
//! `Device::default()` takes CUDA first when it is compiled in and panics without a driver. Here a
//! device is named by a string, and a name that cannot be served is an error that says why.

use std::fmt;
use std::str::FromStr;

use burn::prelude::Device;
use serde::{Deserialize, Serialize};

use crate::{CoreError, Result};

/// A device by name: `"auto"`, `"cpu"` (also `"flex"`), `"wgpu"`, `"wgpu:1"`, `"cuda"`, `"cuda:1"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum DeviceSpec {
    /// The first of CUDA, WGPU and the CPU that is compiled in and works.
    Auto,
    /// Burn's CPU backend.
    #[default]
    Cpu,
    /// A GPU through WGPU, by index.
    Wgpu(usize),
    /// An NVIDIA GPU, by index.
    Cuda(usize),
}

impl DeviceSpec {
    /// Opens the device.
    ///
    /// # Errors
    /// [`CoreError::DeviceNotCompiledIn`] if the build lacks the backend,
    /// [`CoreError::DeviceUnavailable`] if the machine lacks the device or its driver.
    pub fn open(self) -> Result<Device> {
        match self {
            Self::Auto => {
                Self::Cuda(0).open().or_else(|_| Self::Wgpu(0).open()).or_else(|_| Self::Cpu.open())
            }
            Self::Cpu => cpu(),
            Self::Wgpu(index) => wgpu(index),
            Self::Cuda(index) => cuda(index),
        }
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

#[cfg(feature = "flex")]
fn cpu() -> Result<Device> {
    Ok(Device::flex())
}

#[cfg(not(feature = "flex"))]
fn cpu() -> Result<Device> {
    Err(CoreError::DeviceNotCompiledIn { device: DeviceSpec::Cpu.to_string(), feature: "flex" })
}

#[cfg(feature = "wgpu")]
fn wgpu(index: usize) -> Result<Device> {
    use burn::tensor::DeviceKind;
    let kind = if index == 0 { DeviceKind::DefaultDevice } else { DeviceKind::DiscreteGpu(index) };
    probe(DeviceSpec::Wgpu(index), move || Device::wgpu(kind))
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(index: usize) -> Result<Device> {
    let device = DeviceSpec::Wgpu(index).to_string();
    Err(CoreError::DeviceNotCompiledIn { device, feature: "wgpu" })
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<Device> {
    probe(DeviceSpec::Cuda(index), move || Device::cuda(index))
}

#[cfg(not(feature = "cuda"))]
fn cuda(index: usize) -> Result<Device> {
    let device = DeviceSpec::Cuda(index).to_string();
    Err(CoreError::DeviceNotCompiledIn { device, feature: "cuda" })
}

/// Runs one tiny operation on the device: backends report a missing driver by a panic at first use.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn probe(
    spec: DeviceSpec,
    open: impl FnOnce() -> Device + std::panic::UnwindSafe,
) -> Result<Device> {
    use burn::prelude::Tensor;
    let tried = std::panic::catch_unwind(|| {
        let device = open();
        let ones = Tensor::<1>::ones([2], &device);
        ones.sum().try_into_data().map(|_| device).map_err(|e| format!("{e:?}"))
    });
    let reason = match tried {
        Ok(Ok(device)) => return Ok(device),
        Ok(Err(reason)) => reason,
        Err(panic) => panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_else(|| "the backend could not start".into()),
    };
    Err(CoreError::DeviceUnavailable { device: spec.to_string(), reason })
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

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_backend_that_is_not_compiled_in_names_its_feature() {
        let message = DeviceSpec::Cuda(0).open().unwrap_err().to_string();
        assert!(message.contains("--features cuda"), "{message}");
    }
}
