//! The range that observations are mapped from before the first layer.

use burn::prelude::*;
use rekindle_env::{BoxDType, BoxSpace};
use rekindle_onnx::{Graph, Value};

/// The map of observations before the first layer of an encoder.
///
/// Bytes are mapped from their bounds to `[0, 1]`: raw bytes saturate the first layer. Floats are
/// read as they are. (RLlib leaves both to its users.)
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum InputScale {
    /// Observations as they are.
    #[default]
    Identity,
    /// `(x − low)/(high − low)` with the same bounds for every element.
    Uniform {
        /// Number that becomes 0.
        low: f32,
        /// Number that becomes 1.
        high: f32,
    },
    /// `(x − low)/(high − low)` with bounds for each element, row-major.
    PerElement {
        /// Numbers that become 0.
        low: Vec<f32>,
        /// Numbers that become 1.
        high: Vec<f32>,
    },
}

impl InputScale {
    /// Returns the scale of a space: from the bounds of a `uint8` Box to `[0, 1]`, and none for a
    /// `float32` Box.
    #[must_use]
    pub fn of(space: &BoxSpace) -> Self {
        let (low, high) = (space.low(), space.high());
        let uniform = |bounds: &[f32]| bounds.windows(2).all(|pair| pair[0] == pair[1]);
        match (space.dtype(), low.first(), high.first()) {
            (BoxDType::Uint8, Some(&first_low), Some(&first_high)) => {
                if uniform(low) && uniform(high) {
                    Self::Uniform { low: first_low, high: first_high }
                } else {
                    Self::PerElement { low: low.to_vec(), high: high.to_vec() }
                }
            }
            _ => Self::Identity,
        }
    }

    /// Returns `low` and the width of the range for the fused kernel. Returns `None` if the elements have different
    /// ranges, which the kernel does not support.
    pub(crate) fn fused(&self) -> Option<Option<[f32; 2]>> {
        match self {
            Self::Identity => Some(None),
            Self::Uniform { low, high } => Some(Some([*low, width(*low, *high)])),
            Self::PerElement { .. } => None,
        }
    }

    /// Maps flattened observations. An element whose bounds are equal becomes 0.
    ///
    /// # Shapes
    /// `[B, numbers]` to `[B, numbers]`.
    pub(crate) fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Identity => x,
            Self::Uniform { low, high } => {
                let x = if *low == 0.0 { x } else { x - *low };
                x / width(*low, *high)
            }
            Self::PerElement { low, high } => {
                let widths = low.iter().zip(high).map(|(low, high)| width(*low, *high)).collect();
                let row = |numbers: Vec<f32>| {
                    let shape = [1, numbers.len()];
                    Tensor::<2>::from_data(TensorData::new(numbers, shape), &x.device())
                };
                let (low, widths) = (row(low.clone()), row(widths));
                (x - low) / widths
            }
        }
    }

    /// Adds the map to an ONNX graph.
    pub(crate) fn export_onnx(&self, graph: &mut Graph, x: &Value) -> Value {
        let (low, widths) = match self {
            Self::Identity => return x.clone(),
            Self::Uniform { low, high } => (vec![*low], vec![width(*low, *high)]),
            Self::PerElement { low, high } => {
                let widths = low.iter().zip(high).map(|(low, high)| width(*low, *high));
                (low.clone(), widths.collect())
            }
        };
        let [low, widths] = [low, widths].map(|row| graph.floats(&row, &[row.len()]));
        let shifted = graph.sub(x, &low);
        graph.div(&shifted, &widths)
    }
}

fn width(low: f32, high: f32) -> f32 {
    if high > low { high - low } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;
    use rekindle_env::Space;

    use super::*;

    fn scaled(scale: &InputScale, row: [f32; 2]) -> Vec<f32> {
        to_f32(scale.apply(Tensor::from_floats([row], &Device::flex()))).unwrap()
    }

    #[test]
    fn bytes_are_mapped_from_their_bounds_and_floats_are_not() {
        let scale = InputScale::of(&BoxSpace::bytes(3, 7, &[2]).unwrap());
        assert_eq!(scaled(&scale, [3.0, 5.0]), [0.0, 0.5]);
        let scale = InputScale::of(&BoxSpace::uniform(3.0, 7.0, &[2]).unwrap());
        assert_eq!(scaled(&scale, [3.0, 5.0]), [3.0, 5.0]);
        let image = InputScale::of(&BoxSpace::image(&[2]).unwrap());
        assert_eq!(scaled(&image, [51.0, 254.0]), [51.0 / 255.0, 254.0 / 255.0]);
    }

    #[test]
    fn each_element_has_its_own_bounds_and_equal_bounds_give_0() {
        let json = r#"{"Box":{"low":[0,9],"high":[4,9],"shape":[2],"dtype":"uint8"}}"#;
        let space: Space = serde_json::from_str(json).unwrap();
        let scale = InputScale::of(space.as_box().unwrap());
        assert_eq!(scaled(&scale, [1.0, 9.0]), [0.25, 0.0]);
        let constant = InputScale::of(&BoxSpace::bytes(5, 5, &[2]).unwrap());
        assert_eq!(scaled(&constant, [5.0, 5.0]), [0.0, 0.0]);
    }
}
