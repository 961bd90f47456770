//! Tensors whose rank and kind are known only at run time.

use std::borrow::Cow;
use std::sync::Arc;

use burn::backend::DispatchTensor;
use burn::prelude::*;
use burn::tensor::kind::{Basic, BridgeTensor};
use burn::tensor::{Bool, DType, Int, IntDType};

use crate::device::is_host;
use crate::error::{CoreError, Result};

/// Maximum number of dimensions of an [`AnyTensor`].
pub const MAX_RANK: usize = 6;

/// Runs `$body` with the constant `$d` equal to the run-time rank `$rank`.
macro_rules! with_rank {
    ($rank:expr, $shape:expr, $d:ident => $body:expr) => {
        match $rank {
            1 => {
                const $d: usize = 1;
                $body
            }
            2 => {
                const $d: usize = 2;
                $body
            }
            3 => {
                const $d: usize = 3;
                $body
            }
            4 => {
                const $d: usize = 4;
                $body
            }
            5 => {
                const $d: usize = 5;
                $body
            }
            6 => {
                const $d: usize = 6;
                $body
            }
            _ => Err($crate::CoreError::Rank { shape: $shape, max: $crate::any_tensor::MAX_RANK }),
        }
    };
}

mod bytes;
#[cfg(feature = "flex")]
mod host;
mod packed_bytes;
#[cfg(test)]
mod tests;

pub use bytes::Bytes;
use packed_bytes::PackedBytes;

/// The kind of the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorKind {
    /// Floating-point numbers.
    Float,
    /// Integers.
    Int,
    /// Booleans.
    Bool,
}

impl TensorKind {
    /// Returns the name of the kind after its indefinite article: `an int`.
    fn with_article(self) -> &'static str {
        match self {
            Self::Float => "a float",
            Self::Int => "an int",
            Self::Bool => "a bool",
        }
    }
}

impl std::fmt::Display for TensorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Int => "int",
            Self::Bool => "bool",
        })
    }
}

/// A tensor of any rank (1 to [`MAX_RANK`]) and kind.
///
/// It holds the tensor itself, not a copy. Erasing and restoring the type costs nothing and keeps the
/// autodiff graph.
#[derive(Debug, Clone)]
pub struct AnyTensor(Stored);

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a box would cost every operation an allocation")]
enum Stored {
    Tensor(BridgeTensor),
    /// In host memory.
    Bytes(Arc<Bytes>),
    /// On an accelerator.
    Packed(Arc<PackedBytes>),
}

impl<const D: usize, K: Basic> From<Tensor<D, K>> for AnyTensor {
    fn from(tensor: Tensor<D, K>) -> Self {
        Self(Stored::Tensor(tensor.into_bridge()))
    }
}

impl AnyTensor {
    /// Uploads host data; its element type decides the kind.
    ///
    /// # Errors
    /// [`CoreError::Rank`] if the data has no or more than [`MAX_RANK`] dimensions,
    /// [`CoreError::IntRange`] if an integer does not fit into the integers of the device.
    pub fn from_data(data: TensorData, device: &Device) -> Result<Self> {
        check_range(&data, device)?;
        let shape = data.shape().clone();
        #[cfg(feature = "flex")]
        let data = match host::from_data(data, device) {
            Ok(tensor) if (1..=MAX_RANK).contains(&shape.rank()) => return Ok(tensor),
            Ok(_) => return Err(CoreError::Rank { shape: shape.to_vec(), max: MAX_RANK }),
            Err(data) => data,
        };
        let dtype = data.dtype();
        with_rank!(shape.rank(), shape.to_vec(), D => Ok(match dtype {
            DType::Bool(_) => Tensor::<D, Bool>::from_data(data, device).into(),
            dtype if dtype.is_float() => Tensor::<D>::from_data(data, device).into(),
            _ => Tensor::<D, Int>::from_data(data, device).into(),
        }))
    }

    /// Wraps bytes as a float tensor with the same values. The floats are computed when the tensor is first read, and
    /// on the device.
    ///
    /// Kernels on host memory read [the bytes](Self::as_bytes) themselves.
    ///
    /// # Errors
    /// [`CoreError::Rank`] if the shape has no or more than [`MAX_RANK`] dimensions.
    pub fn from_bytes(data: Vec<u8>, shape: Vec<usize>, device: &Device) -> Result<Self> {
        Self::from_shared_bytes(Arc::new(data), shape, device)
    }

    /// As [`from_bytes`](Self::from_bytes), of bytes that have other owners, too.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn from_shared_bytes(
        data: Arc<Vec<u8>>,
        shape: Vec<usize>,
        device: &Device,
    ) -> Result<Self> {
        if shape.is_empty() || shape.len() > MAX_RANK {
            return Err(CoreError::Rank { shape, max: MAX_RANK });
        }
        Ok(match is_host(device) {
            true => Self::of_bytes(Bytes::new(data, shape, device)),
            false => Self::of_packed(PackedBytes::new(&data, shape, device)),
        })
    }

    /// Returns the bytes of a tensor in host memory that [`from_bytes`](Self::from_bytes) made, in row-major order.
    #[must_use]
    pub fn as_bytes(&self) -> Option<Arc<Bytes>> {
        match &self.0 {
            Stored::Tensor(_) | Stored::Packed(_) => None,
            Stored::Bytes(bytes) => Some(bytes.clone()),
        }
    }

    fn of_bytes(bytes: Bytes) -> Self {
        Self(Stored::Bytes(Arc::new(bytes)))
    }

    fn of_packed(bytes: PackedBytes) -> Self {
        Self(Stored::Packed(Arc::new(bytes)))
    }

    fn bridge(&self) -> &BridgeTensor {
        match &self.0 {
            Stored::Tensor(tensor) => tensor,
            Stored::Bytes(bytes) => bytes.floats(),
            Stored::Packed(bytes) => bytes.floats(),
        }
    }

    fn into_bridge(self) -> BridgeTensor {
        match self.0 {
            Stored::Tensor(tensor) => tensor,
            Stored::Bytes(bytes) => bytes.floats().clone(),
            Stored::Packed(bytes) => bytes.floats().clone(),
        }
    }

    /// Returns the shape, rows first.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        match &self.0 {
            Stored::Tensor(tensor) => tensor.shape().to_vec(),
            Stored::Bytes(bytes) => bytes.shape().to_vec(),
            Stored::Packed(bytes) => bytes.shape().to_vec(),
        }
    }

    /// Returns the length of the first dimension.
    #[must_use]
    pub fn rows(&self) -> usize {
        let rows = match &self.0 {
            Stored::Tensor(tensor) => tensor.shape().first().copied(),
            Stored::Bytes(bytes) => bytes.shape().first().copied(),
            Stored::Packed(bytes) => bytes.shape().first().copied(),
        };
        rows.unwrap_or(0)
    }

    fn rank(&self) -> usize {
        match &self.0 {
            Stored::Tensor(tensor) => tensor.rank(),
            Stored::Bytes(bytes) => bytes.shape().len(),
            Stored::Packed(bytes) => bytes.shape().len(),
        }
    }

    /// Returns the kind of the elements.
    #[must_use]
    pub fn kind(&self) -> TensorKind {
        match &self.0 {
            Stored::Tensor(tensor) if tensor.is_int() => TensorKind::Int,
            Stored::Tensor(tensor) if tensor.is_bool() => TensorKind::Bool,
            Stored::Tensor(_) | Stored::Bytes(_) | Stored::Packed(_) => TensorKind::Float,
        }
    }

    /// Returns kind and shape in words, for messages: `a float tensor of shape [3, 4]`.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{} tensor of shape {:?}", self.kind().with_article(), self.shape())
    }

    /// Returns the tensor as a float tensor of rank `D`.
    ///
    /// # Errors
    /// [`CoreError::TensorKind`] with the expected and the found kind and shape.
    pub fn float<const D: usize>(&self) -> Result<Tensor<D>> {
        self.check(TensorKind::Float, D)?;
        Ok(Tensor::from_bridge(self.bridge().clone()))
    }

    /// Returns the tensor as an int tensor of rank `D`.
    ///
    /// # Errors
    /// [`CoreError::TensorKind`] with the expected and the found kind and shape.
    pub fn int<const D: usize>(&self) -> Result<Tensor<D, Int>> {
        self.check(TensorKind::Int, D)?;
        Ok(Tensor::from_bridge(self.bridge().clone()))
    }

    /// Returns the tensor as a bool tensor of rank `D`.
    ///
    /// # Errors
    /// [`CoreError::TensorKind`] with the expected and the found kind and shape.
    pub fn bool<const D: usize>(&self) -> Result<Tensor<D, Bool>> {
        self.check(TensorKind::Bool, D)?;
        Ok(Tensor::from_bridge(self.bridge().clone()))
    }

    /// Converts into a float tensor of rank `D`, without a second owner of its storage.
    ///
    /// # Errors
    /// As [`AnyTensor::float`].
    pub fn into_float<const D: usize>(self) -> Result<Tensor<D>> {
        self.check(TensorKind::Float, D)?;
        Ok(Tensor::from_bridge(self.into_bridge()))
    }

    /// Returns the elements of a float tensor in one dimension.
    ///
    /// # Errors
    /// [`CoreError::TensorKind`] if it is not a float tensor.
    pub fn flatten(&self) -> Result<Tensor<1>> {
        let shape = self.shape();
        with_rank!(shape.len(), shape, D => {
            let tensor = self.float::<D>()?;
            let len = tensor.shape().num_elements();
            Ok(tensor.reshape([len]))
        })
    }

    /// Applies `f` to the elements of the float tensor, in one dimension, and restores its shape.
    ///
    /// # Errors
    /// [`CoreError::TensorKind`] if it is not a float tensor.
    pub fn map_flat(self, f: impl FnOnce(Tensor<1>) -> Tensor<1>) -> Result<Self> {
        let shape = self.shape();
        let flat = with_rank!(shape.len(), shape.clone(), D => {
            let tensor = self.into_float::<D>()?;
            let len = tensor.shape().num_elements();
            Ok(tensor.reshape([len]))
        })?;
        let flat = f(flat);
        with_rank!(shape.len(), shape, D => {
            let mut dims = [0; D];
            dims.copy_from_slice(&shape);
            Ok(flat.reshape(dims).into())
        })
    }

    /// Returns the tensor without the graph of its gradients.
    ///
    /// # Errors
    /// None in practice: every tensor has a kind and a rank of its own.
    pub fn inner(self) -> Result<Self> {
        match &self.0 {
            Stored::Tensor(_) => {}
            Stored::Bytes(bytes) => {
                return Ok(Self::of_bytes(bytes.on(bytes.device().clone().inner())));
            }
            Stored::Packed(bytes) => {
                return Ok(Self::of_packed(bytes.on(bytes.device().clone().inner())));
            }
        }
        let shape = self.shape();
        match self.kind() {
            TensorKind::Float => {
                with_rank!(shape.len(), shape, D => Ok(self.into_float::<D>()?.inner().into()))
            }
            TensorKind::Int => {
                with_rank!(shape.len(), shape, D => {
                    Ok(Tensor::<D, Int>::from_bridge(self.into_bridge()).inner().into())
                })
            }
            TensorKind::Bool => {
                with_rank!(shape.len(), shape, D => {
                    Ok(Tensor::<D, Bool>::from_bridge(self.into_bridge()).inner().into())
                })
            }
        }
    }

    /// Wraps a tensor of a device without gradients as a constant for a computation with gradients. The
    /// inverse of [`inner`](Self::inner).
    ///
    /// # Errors
    /// None in practice: every tensor has a kind and a rank of its own.
    pub fn from_inner(inner: Self) -> Result<Self> {
        match &inner.0 {
            Stored::Tensor(_) => {}
            Stored::Bytes(bytes) => {
                return Ok(Self::of_bytes(bytes.on(bytes.device().clone().autodiff())));
            }
            Stored::Packed(bytes) => {
                return Ok(Self::of_packed(bytes.on(bytes.device().clone().autodiff())));
            }
        }
        let shape = inner.shape();
        with_rank!(shape.len(), shape, D => Ok(match inner.kind() {
            TensorKind::Float => Tensor::from_inner(inner.float::<D>()?).into(),
            TensorKind::Int => Tensor::from_inner(inner.int::<D>()?).into(),
            TensorKind::Bool => Tensor::from_inner(inner.bool::<D>()?).into(),
        }))
    }

    /// Multiplies the float tensor by a number, in place if its storage has one owner.
    ///
    /// # Errors
    /// [`CoreError::TensorKind`] if it is not a float tensor.
    pub fn scale(self, factor: f64) -> Result<Self> {
        let shape = self.shape();
        with_rank!(shape.len(), shape, D => Ok(self.into_float::<D>()?.mul_scalar(factor).into()))
    }

    /// Multiplies the float tensor by a number that is on its device, `[1]`.
    ///
    /// # Errors
    /// [`CoreError::TensorKind`] if it is not a float tensor.
    pub fn scale_by(self, factor: &Tensor<1>) -> Result<Self> {
        let (shape, factor) = (self.shape(), factor.clone());
        with_rank!(shape.len(), shape, D => {
            Ok((self.into_float::<D>()? * factor.reshape([1; D])).into())
        })
    }

    /// Gathers rows of the tensor in the given order, on its device.
    ///
    /// # Shapes
    /// `rows`: `[R]`; result `[R, …]`.
    ///
    /// # Errors
    /// [`CoreError::Rank`] for an unsupported rank.
    pub fn select_rows(&self, rows: &Tensor<1, Int>) -> Result<Self> {
        match &self.0 {
            Stored::Tensor(_) => {}
            Stored::Bytes(bytes) => {
                if let Some(selected) = bytes.select_rows(&to_i64(rows.clone())?) {
                    return Ok(Self::of_bytes(selected));
                }
            }
            Stored::Packed(bytes) => return Ok(Self::of_packed(bytes.select_rows(rows.clone()))),
        }
        let (shape, rows) = (self.shape(), rows.clone());
        with_rank!(shape.len(), shape, D => Ok(match self.kind() {
            TensorKind::Float => self.float::<D>()?.select(0, rows).into(),
            TensorKind::Int => self.int::<D>()?.select(0, rows).into(),
            TensorKind::Bool => self.bool::<D>()?.select(0, rows).into(),
        }))
    }

    /// Concatenates tensors of one kind along the first dimension.
    ///
    /// # Errors
    /// [`CoreError::Rank`] for an empty list, [`CoreError::TensorKind`] if they differ in kind or
    /// rank.
    pub fn cat(tensors: &[Self]) -> Result<Self> {
        let bytes = tensors.iter().map(|tensor| match &tensor.0 {
            Stored::Bytes(bytes) => Some(&**bytes),
            Stored::Tensor(_) | Stored::Packed(_) => None,
        });
        let bytes: Option<Vec<&Bytes>> = bytes.collect();
        if let Some(all) = bytes.and_then(|bytes| Bytes::cat(&bytes)) {
            return Ok(Self::of_bytes(all));
        }
        let packed = tensors.iter().map(|tensor| match &tensor.0 {
            Stored::Packed(bytes) => Some(&**bytes),
            Stored::Tensor(_) | Stored::Bytes(_) => None,
        });
        let packed: Option<Vec<&PackedBytes>> = packed.collect();
        if let Some(all) = packed.and_then(|packed| PackedBytes::cat(&packed)) {
            return Ok(Self::of_packed(all));
        }
        let (shape, kind) = tensors
            .first()
            .map_or((Vec::new(), TensorKind::Float), |first| (first.shape(), first.kind()));
        with_rank!(shape.len(), shape, D => Ok(match kind {
            TensorKind::Float => cat(tensors, Self::float::<D>)?,
            TensorKind::Int => cat(tensors, Self::int::<D>)?,
            TensorKind::Bool => cat(tensors, Self::bool::<D>)?,
        }))
    }

    /// Returns the backend's tensor, for kernels that work on its memory.
    #[must_use]
    pub fn as_dispatch(&self) -> &DispatchTensor {
        self.bridge().as_parts().1
    }

    /// Returns the backend's tensor by value; see [`as_dispatch`](Self::as_dispatch).
    #[must_use]
    pub fn into_dispatch(self) -> DispatchTensor {
        self.into_bridge().into_parts().1
    }

    /// Wraps a backend's float tensor: the inverse of [`into_dispatch`](Self::into_dispatch).
    #[must_use]
    pub fn from_float_dispatch(tensor: DispatchTensor) -> Self {
        Self(Stored::Tensor(BridgeTensor::float(tensor)))
    }

    /// Returns the float tensor without checking kind and rank, which the caller knows.
    ///
    /// Burn panics later if they are different; [`into_float`](Self::into_float) checks.
    #[must_use]
    pub fn into_float_unchecked<const D: usize>(self) -> Tensor<D> {
        Tensor::from_bridge(self.into_bridge())
    }

    fn check(&self, kind: TensorKind, rank: usize) -> Result<()> {
        if self.kind() == kind && self.rank() == rank {
            return Ok(());
        }
        Err(CoreError::TensorKind {
            expected: format!("{} tensor of rank {rank}", kind.with_article()),
            found: self.describe(),
        })
    }

    /// Reads the elements as floats in row-major order, without a copy where host memory holds them like this. Waits for
    /// the device.
    ///
    /// # Errors
    /// [`CoreError::TensorKind`] if it is not a float tensor, [`CoreError::DeviceRead`] if the device
    /// fails.
    pub fn as_f32(&self) -> Result<Cow<'_, [f32]>> {
        #[cfg(feature = "flex")]
        if let Some(elements) = host::elements(self) {
            return Ok(Cow::Borrowed(elements));
        }
        let shape = self.shape();
        with_rank!(shape.len(), shape, D => to_f32(self.float::<D>()?).map(Cow::Owned))
    }

    /// As [`as_f32`](Self::as_f32), as a copy.
    ///
    /// # Errors
    /// As [`as_f32`](Self::as_f32).
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        self.as_f32().map(Cow::into_owned)
    }

    /// Reads the elements as integers in row-major order. Waits for the device.
    ///
    /// # Errors
    /// [`CoreError::TensorKind`] if it is a float tensor, [`CoreError::DeviceRead`] if the device
    /// fails.
    pub fn to_i64(&self) -> Result<Vec<i64>> {
        let shape = self.shape();
        match self.kind() {
            TensorKind::Bool => {
                with_rank!(shape.len(), shape, D => to_i64(self.bool::<D>()?.int()))
            }
            _ => with_rank!(shape.len(), shape, D => to_i64(self.int::<D>()?)),
        }
    }
}

/// Checks that integers fit into the integers of the device. Burn would panic otherwise.
fn check_range(data: &TensorData, device: &Device) -> Result<()> {
    // Other integers of the host have at most 32 bits.
    let Ok(values) = data.as_slice::<i64>() else { return Ok(()) };
    match values.iter().find(|value| i32::try_from(**value).is_err()) {
        Some(&value) if device.settings().int_dtype != IntDType::I64 => {
            Err(CoreError::IntRange { value })
        }
        _ => Ok(()),
    }
}

fn cat<const D: usize, K: Basic>(
    tensors: &[AnyTensor],
    typed: impl Fn(&AnyTensor) -> Result<Tensor<D, K>>,
) -> Result<AnyTensor> {
    let tensors = tensors.iter().map(typed).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(tensors, 0).into())
}

/// Reads the elements of a float tensor in row-major order. Waits for the device.
///
/// # Errors
/// [`CoreError::DeviceRead`] if the device fails.
pub fn to_f32<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let data = tensor.try_into_data().map_err(|e| CoreError::DeviceRead(format!("{e:?}")))?;
    let data = if data.dtype() == DType::F32 { data } else { data.convert::<f32>() };
    data.try_into_vec::<f32>().map_err(|e| CoreError::DeviceRead(format!("{e:?}")))
}

/// Reads the elements of an int tensor in row-major order. Waits for the device.
///
/// # Errors
/// [`CoreError::DeviceRead`] if the device fails.
pub fn to_i64<const D: usize>(tensor: Tensor<D, Int>) -> Result<Vec<i64>> {
    let data = tensor.try_into_data().map_err(|e| CoreError::DeviceRead(format!("{e:?}")))?;
    data.convert::<i64>().try_into_vec::<i64>().map_err(|e| CoreError::DeviceRead(format!("{e:?}")))
}
