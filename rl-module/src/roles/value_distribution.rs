//! Distributions of returns.

use burn::prelude::*;
use burn::tensor::activation::softmax;
use rekindle_core::{Columns, ConfigError};
use rekindle_onnx::{Attribute, Graph, Value};

/// The kind of distribution that a [`DistributionalQNet`](super::DistributionalQNet) has for each action.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum ValueDistribution {
    /// Probabilities of `num_atoms` returns, spaced evenly from `v_min` to `v_max`: C51 (Bellemare et al.,
    /// 2017). The parameters are logits.
    Categorical {
        /// Number of returns, at least 2.
        num_atoms: usize,
        /// Smallest return.
        v_min: f64,
        /// Largest return.
        v_max: f64,
    },
    /// Returns of `num_quantiles` equal probabilities, at the quantiles `(2i + 1)/2N`: QR-DQN (Dabney et al.,
    /// 2018). The parameters are the returns.
    Quantile {
        /// Number of quantiles.
        num_quantiles: usize,
    },
}

impl ValueDistribution {
    /// Returns the distribution that the settings of a network describe; `None` for a network of expected
    /// values: `num_atoms` 1 and no `num_quantiles`.
    ///
    /// # Errors
    /// [`ConfigError`] for a number that is 0, for both kinds at once, and unless `v_min < v_max`.
    pub fn from_settings(
        num_atoms: usize,
        [v_min, v_max]: [f64; 2],
        num_quantiles: Option<usize>,
    ) -> Result<Option<Self>, ConfigError> {
        if num_atoms == 0 || num_quantiles == Some(0) {
            let field = if num_atoms == 0 { "num_atoms" } else { "num_quantiles" };
            return Err(ConfigError::new(field, 0, "it must be at least 1"));
        }
        match (num_atoms, num_quantiles) {
            (1, None) => Ok(None),
            (1, Some(num_quantiles)) => Ok(Some(Self::Quantile { num_quantiles })),
            (_, Some(_)) => {
                let constraint = "`num_quantiles` is set, too; a network learns either atoms (C51) or quantiles (QR-DQN): set `num_atoms` to 1, or leave out `num_quantiles`";
                Err(ConfigError::new("num_atoms", num_atoms, constraint))
            }
            (num_atoms, None) if v_min < v_max && (v_max - v_min).is_finite() => {
                Ok(Some(Self::Categorical { num_atoms, v_min, v_max }))
            }
            _ => {
                let constraint =
                    format!("it must be finite and less than `v_max`, which is {v_max}");
                Err(ConfigError::new("v_min", v_min, constraint))
            }
        }
    }

    /// Returns the number of parameters for each action.
    #[must_use]
    pub fn num_atoms(&self) -> usize {
        match self {
            Self::Categorical { num_atoms, .. } => *num_atoms,
            Self::Quantile { num_quantiles } => *num_quantiles,
        }
    }

    /// Returns the name of the column of the parameters: [`Columns::QF_LOGITS`] or
    /// [`Columns::QF_QUANTILES`].
    #[must_use]
    pub fn column(&self) -> &'static str {
        match self {
            Self::Categorical { .. } => Columns::QF_LOGITS,
            Self::Quantile { .. } => Columns::QF_QUANTILES,
        }
    }

    /// Computes the expected values of all actions from the parameters.
    ///
    /// # Shapes
    /// `[B, actions, atoms]` to `[B, actions]`.
    #[must_use]
    pub fn expected_values(&self, parameters: Tensor<3>) -> Tensor<2> {
        match *self {
            Self::Categorical { num_atoms, v_min, v_max } => {
                let atoms = TensorData::new(atoms(num_atoms, [v_min, v_max]), [1, 1, num_atoms]);
                let atoms = Tensor::<3>::from_data(atoms, &parameters.device());
                (softmax(parameters, 2) * atoms).sum_dim(2).squeeze_dim(2)
            }
            Self::Quantile { .. } => parameters.mean_dim(2).squeeze_dim(2),
        }
    }

    /// Adds the expected values to an ONNX graph.
    ///
    /// # Shapes
    /// As [`expected_values`](Self::expected_values).
    pub(crate) fn export_onnx(&self, graph: &mut Graph, parameters: &Value) -> Value {
        match *self {
            Self::Categorical { num_atoms, v_min, v_max } => {
                let softmax = graph.node("Softmax", &[parameters], &[("axis", Attribute::Int(2))]);
                let atoms = graph.floats(&atoms(num_atoms, [v_min, v_max]), &[num_atoms]);
                let weighted = graph.mul(&softmax, &atoms);
                graph.sum(&weighted, 2, false)
            }
            Self::Quantile { .. } => graph.reduce("ReduceMean", parameters, 2, false),
        }
    }
}

/// Returns the returns of the atoms.
fn atoms(num_atoms: usize, [v_min, v_max]: [f64; 2]) -> Vec<f32> {
    let step = (v_max - v_min) / (num_atoms as f64 - 1.0).max(1.0);
    (0..num_atoms).map(|atom| (v_min + step * atom as f64) as f32).collect()
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;

    use super::*;

    #[test]
    fn expected_values_weigh_atoms_by_probabilities_and_quantiles_equally() {
        let device = Device::flex();
        let kind = ValueDistribution::from_settings(5, [-2.0, 2.0], None).unwrap().unwrap();
        let p = [0.1f32, 0.2, 0.4, 0.2, 0.1].map(f32::ln);
        let skewed = [0.05f32, 0.17, 0.36, 0.28, 0.14].map(f32::ln);
        let values = kind.expected_values(Tensor::from_floats([[p, skewed]], &device));
        let found = to_f32(values).unwrap();
        // The second has the reference mean of the projected distribution.
        assert!(found[0].abs() < 1e-6 && (found[1] - 0.29).abs() < 1e-6, "{found:?}");
        let kind = ValueDistribution::from_settings(1, [0.0; 2], Some(3)).unwrap().unwrap();
        let values = kind.expected_values(Tensor::from_floats([[[-0.5, 0.4, 2.0]]], &device));
        assert!((to_f32(values).unwrap()[0] - 1.9 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn settings_that_describe_no_distribution_are_refused() {
        let refused = |atoms, range, quantiles| {
            ValueDistribution::from_settings(atoms, range, quantiles).unwrap_err().to_string()
        };
        assert!(refused(51, [10.0, -10.0], None).contains("less than `v_max`, which is -10"));
        assert!(refused(51, [1.0, 1.0], None).contains("`v_min` is 1"));
        assert!(refused(51, [f64::NAN, 1.0], None).contains("`v_min` is NaN"));
        assert!(refused(51, [f64::NEG_INFINITY, 1.0], None).contains("finite"));
        assert!(refused(0, [-1.0, 1.0], None).contains("`num_atoms` is 0"));
        assert!(refused(1, [-1.0, 1.0], Some(0)).contains("`num_quantiles` is 0"));
        assert!(refused(51, [-1.0, 1.0], Some(10)).contains("either atoms (C51) or quantiles"));
        assert_eq!(ValueDistribution::from_settings(1, [-1.0, 1.0], None), Ok(None));
    }
}
