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
    let spec = spec.to_string();
    let tried = catch_unwind(|| {
        let devices = devices();
        let found = devices.len();
        let Some(device) = devices.into_iter().nth(index) else {
            return Err(not_found(&spec, found, advice));
        };
        let sum = Tensor::<1>::ones([2], &device).sum();
        sum.try_into_data().map(|_| device).map_err(|error| format!("{error:?}; {advice}"))
    });
    let reason = match tried {
        Ok(Ok(device)) => return Ok(device),
        Ok(Err(reason)) => reason,
        Err(panic) => {
            format!("the backend could not start: {}; {advice}", panics::message(&*panic))
        }
    };
    Err(CoreError::DeviceUnavailable { device: spec, reason })
}

/// Explains a device index that is out of range. Advises a driver only if no device was found at all.
fn not_found(spec: &str, found: usize, advice: &str) -> String {
    let kind = spec.split(':').next().unwrap_or(spec);
    match found {
        0 => format!("no device of this kind was found; {advice}"),
        1 => format!("there is one device of this kind; use `{kind}:0`"),
        _ => format!(
            "there are {found} devices of this kind; use `{kind}:0` to `{kind}:{}`",
            found - 1
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_index_names_the_right_ones_and_no_driver() {
        let open = |found| {
            let devices = move || vec![Device::flex(); found];
            open(DeviceSpec::Wgpu(3), devices, 3, "install a driver").map_err(|e| e.to_string())
        };
        let none = open(0).unwrap_err();
        assert!(none.contains("`wgpu:3`") && none.contains("install a driver"), "{none}");
        for (found, advice) in [(1, "use `wgpu:0`"), (3, "use `wgpu:0` to `wgpu:2`")] {
            let error = open(found).unwrap_err();
            assert!(error.contains(advice) && !error.contains("driver"), "{error}");
        }
        assert!(open(4).is_ok());
    }
}
