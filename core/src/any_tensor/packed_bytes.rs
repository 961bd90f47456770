//! Bytes on an accelerator that represent floats.

use std::sync::OnceLock;

use burn::prelude::*;
use burn::tensor::Int;
use burn::tensor::kind::BridgeTensor;

use super::MAX_RANK;
use crate::error::Result;

/// Bytes of a word.
const BYTES: usize = 4;

/// Bytes on an accelerator, four in a 32-bit integer, and the float tensor with the same values once it has been read.
///
/// Accelerators need not have integers of 8 bits.
#[derive(Debug)]
pub(super) struct PackedBytes {
    /// `[rows, W]`, without gradients: byte `k` of word `j` is element `k·W + j` of the row, so that the bytes of a row are
    /// unpacked in their order. Elements past the end of the row are 0.
    words: Tensor<2, Int>,
    shape: Vec<usize>,
    /// The device of the floats, with or without gradients.
    device: Device,
    floats: OnceLock<BridgeTensor>,
}

impl PackedBytes {
    /// Uploads bytes. The shape has between 1 and [`MAX_RANK`] dimensions.
    pub(super) fn new(data: &[u8], shape: Vec<usize>, device: &Device) -> Self {
        debug_assert!((1..=MAX_RANK).contains(&shape.len()));
        let len = shape[1..].iter().product::<usize>();
        let (rows, of_row) = (shape[0], len.div_ceil(BYTES));
        let mut words = Vec::with_capacity(rows * of_row);
        if len > 0 {
            for row in data.chunks_exact(len) {
                let byte = |index: usize| row.get(index).copied().unwrap_or(0);
                let word = |j: usize| [0, 1, 2, 3].map(|k| byte(k * of_row + j));
                words.extend((0..of_row).map(|j| i32::from_le_bytes(word(j))));
            }
        }
        let words = TensorData::new(words, [rows, of_row]);
        let words = Tensor::from_data(words, &device.clone().inner());
        Self::of(words, shape, device.clone())
    }

    fn of(words: Tensor<2, Int>, shape: Vec<usize>, device: Device) -> Self {
        Self { words, shape, device, floats: OnceLock::new() }
    }

    /// Returns the same bytes as a tensor of a device with or without gradients.
    pub(super) fn on(&self, device: Device) -> Self {
        Self::of(self.words.clone(), self.shape.clone(), device)
    }

    /// Returns rows in the given order, `[R]`.
    pub(super) fn select_rows(&self, rows: Tensor<1, Int>) -> Self {
        let count = rows.dims()[0];
        let rows = if rows.device().is_autodiff() { rows.inner() } else { rows };
        let shape = [&[count], &self.shape[1..]].concat();
        Self::of(self.words.clone().select(0, rows), shape, self.device.clone())
    }

    /// Concatenates bytes along their first dimension, or returns `None` if their rows or devices differ.
    pub(super) fn cat(parts: &[&Self]) -> Option<Self> {
        let first = parts.first()?;
        // Devices with and without gradients are equal.
        let fits = |part: &&Self| {
            part.shape[1..] == first.shape[1..]
                && part.device == first.device
                && part.device.is_autodiff() == first.device.is_autodiff()
        };
        if !parts.iter().all(fits) {
            return None;
        }
        let mut shape = first.shape.clone();
        shape[0] = parts.iter().map(|part| part.shape[0]).sum();
        let words = Tensor::cat(parts.iter().map(|part| part.words.clone()).collect(), 0);
        Some(Self::of(words, shape, first.device.clone()))
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn floats(&self) -> &BridgeTensor {
        self.floats.get_or_init(|| {
            let shape = self.shape.clone();
            let tensor: Result<BridgeTensor> = with_rank!(shape.len(), shape, D => {
                let mut dims = [0; D];
                dims.copy_from_slice(&self.shape);
                let floats: Tensor<D> = self.unpacked().reshape(dims);
                Ok(match self.device.is_autodiff() {
                    true => Tensor::from_inner(floats).into_bridge(),
                    false => floats.into_bridge(),
                })
            });
            // Unreachable, because the rank was checked.
            tensor.unwrap_or_else(|_| Tensor::<1>::zeros([0], &self.device).into_bridge())
        })
    }

    /// `[rows, numbers]`, without gradients.
    fn unpacked(&self) -> Tensor<2> {
        let [rows, of_row] = self.words.dims();
        let len = self.shape[1..].iter().product::<usize>();
        let shifts = TensorData::new(vec![0i32, 8, 16, 24], [1, BYTES, 1]);
        let shifts = Tensor::<3, Int>::from_data(shifts, &self.words.device());
        let words = self.words.clone().reshape([rows, 1, of_row]);
        let bytes = words.bitwise_right_shift(shifts).bitwise_and_scalar(0xff);
        let floats = bytes.float().reshape([rows, BYTES * of_row]);
        if len == BYTES * of_row { floats } else { floats.slice([0..rows, 0..len]) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AnyTensor, TensorKind, to_i64};
    use super::*;

    fn packed(data: &[u8], shape: &[usize], device: &Device) -> AnyTensor {
        AnyTensor::of_packed(PackedBytes::new(data, shape.to_vec(), device))
    }

    #[test]
    fn four_bytes_are_a_word_and_read_as_floats() {
        let device = Device::flex();
        let data = [0, 127, 128, 255, 7, 1, 2, 3, 4, 5];
        let bytes = PackedBytes::new(&data, vec![2, 5], &device);
        // The words of a row hold its elements 0, 2, 4 and 1, 3.
        let words = to_i64(bytes.words.clone()).unwrap();
        let expected = [[0, 128, 7, 0], [127, 255, 0, 0], [1, 3, 5, 0], [2, 4, 0, 0]];
        assert_eq!(words, expected.map(|bytes| i64::from(i32::from_le_bytes(bytes))));
        let any = packed(&data, &[2, 5], &device);
        assert_eq!((any.kind(), any.shape(), any.rows()), (TensorKind::Float, vec![2, 5], 2));
        assert_eq!(any.to_f32().unwrap(), data.map(f32::from));
        assert!(any.as_bytes().is_none() && any.int::<2>().is_err());
        let whole = packed(&[255; 8], &[1, 2, 2, 2], &device);
        assert_eq!(whole.float::<4>().unwrap().dims(), [1, 2, 2, 2]);
        assert_eq!(whole.to_f32().unwrap(), [255.0; 8]);
        assert_eq!(packed(&[], &[0, 3], &device).to_f32().unwrap(), [0.0; 0]);
    }

    #[test]
    fn words_stay_packed_without_gradients_and_when_rows_are_selected_or_put_together() {
        let device = Device::flex().autodiff();
        let any = packed(&[0, 7, 255, 1], &[2, 2], &device);
        let is_packed = |any: &AnyTensor| matches!(any.0, super::super::Stored::Packed(_));
        assert!(any.float::<2>().unwrap().device().is_autodiff());
        let inner = any.clone().inner().unwrap();
        assert!(is_packed(&inner) && !inner.float::<2>().unwrap().device().is_autodiff());
        let outer = AnyTensor::from_inner(inner).unwrap();
        assert!(is_packed(&outer) && outer.float::<2>().unwrap().device().is_autodiff());
        let rows = Tensor::<1, Int>::from_ints([1, 0, 1], &device);
        let selected = any.select_rows(&rows).unwrap();
        assert!(is_packed(&selected));
        assert_eq!(selected.to_f32().unwrap(), [255.0, 1.0, 0.0, 7.0, 255.0, 1.0]);
        let all = AnyTensor::cat(&[selected.clone(), any.clone()]).unwrap();
        assert!(is_packed(&all) && all.shape() == [5, 2]);
        assert_eq!(all.to_f32().unwrap()[6..], any.to_f32().unwrap());
        let mixed = AnyTensor::cat(&[any.float::<2>().unwrap().into(), any.clone()]).unwrap();
        assert!(!is_packed(&mixed));
        assert_eq!(mixed.to_f32().unwrap()[4..], any.to_f32().unwrap());
    }
}
