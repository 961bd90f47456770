//! Finding accelerators and trying them.
//!
//! Backends panic at first use if a driver is missing. Listing devices does not panic, so that
//! comes first. Then one operation runs on the device, and a panic in it becomes an error.

use std::panic::{UnwindSafe, catch_unwind};

#[cfg(feature = "wgpu")]
use burn::tensor::DeviceKind;
use burn::tensor::DeviceType;
use burn::tensor::{Device, Tensor};

use super::DeviceSpec;
use crate::error::{CoreError, Result};
use crate::panics;

/// Opens the device at a position in [`adapters`].
#[cfg(feature = "wgpu")]
pub(super) fn wgpu(index: usize) -> Result<Device> {
    open(DeviceSpec::Wgpu(index), adapters, index, VULKAN)
}

/// Opens the first device of WGPU that is not Vulkan in software.
#[cfg(feature = "wgpu")]
pub(super) fn wgpu_gpu() -> Result<Device> {
    let gpus = || adapters().into_iter().filter(|device| !is_software(device)).collect();
    open(DeviceSpec::Wgpu(0), gpus, 0, VULKAN)
}

#[cfg(feature = "cuda-llvm")]
pub(super) fn cuda(index: usize) -> Result<Device> {
    let devices = || Device::enumerate(DeviceType::Cuda).into_iter().collect();
    open(DeviceSpec::Cuda(index), devices, index, NVIDIA)
}

#[cfg(feature = "wgpu")]
const VULKAN: &str = "install a driver for Vulkan (Metal and DirectX come with their systems); \
                      Debian's package mesa-vulkan-drivers has one in software, to try things out";
#[cfg(feature = "cuda-llvm")]
const NVIDIA: &str = "it needs an NVIDIA GPU, its driver (`nvidia-smi` shows both) and, at run \
                      time, NVRTC and the CUDA headers, found by `CUDA_PATH`";

/// Returns the devices of WGPU, Vulkan in software last.
#[cfg(feature = "wgpu")]
fn adapters() -> Vec<Device> {
    let mut devices: Vec<Device> = Device::enumerate(DeviceType::Wgpu).into_iter().collect();
    devices.sort_by_key(is_software);
    devices
}

#[cfg(feature = "wgpu")]
fn is_software(device: &Device) -> bool {
    *device == Device::wgpu(DeviceKind::Cpu)
}

/// Opens one of the devices, by index, and runs one operation on it.
fn open(
    spec: DeviceSpec,
    devices: impl FnOnce() -> Vec<Device> + UnwindSafe,
    index: usize,
    advice: &str,
) -> Result<Device> {
    let tried = catch_unwind(|| {
        let devices = devices();
        let found = devices.len();
        let device = devices.into_iter().nth(index).ok_or_else(|| match found {
            0 => "no device of this kind was found".to_owned(),
            1 => "there is one device of this kind, with index 0".to_owned(),
            _ => format!("there are {found} devices of this kind, from index 0"),
        })?;
        let sum = Tensor::<1>::ones([2], &device).sum();
        sum.try_into_data().map(|_| device).map_err(|error| format!("{error:?}"))
    });
    let reason = match tried {
        Ok(Ok(device)) => return Ok(device),
        Ok(Err(reason)) => reason,
        Err(panic) => format!("the backend could not start: {}", panics::message(&*panic)),
    };
    Err(CoreError::DeviceUnavailable {
        device: spec.to_string(),
        reason: format!("{reason}; {advice}"),
    })
}
