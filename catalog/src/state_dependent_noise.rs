//! Noise of exploration that depends on the state.

use burn::module::{Module, Param};
use burn::prelude::*;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::settings;
use rekindle_core::settings::{finite, finite_and_not_negative};
use rekindle_onnx::{Graph, Value};

use crate::builder::ModelBuilder;
use crate::error::Result;

/// Smallest variance of an action (Stable-Baselines3's).
const SMALLEST_VARIANCE: f32 = 1e-6;

settings! {
    /// Settings of [`StateDependentNoise`]. The defaults are Stable-Baselines3's for SAC.
    pub struct StateDependentNoiseConfig {
        /// Logarithm of the standard deviations at the start.
        set log_std_init: f64 = -3.0, finite;
        /// Bound on the absolute means; 0 for none.
        set clip_mean: f64 = 2.0, finite_and_not_negative;
        /// Whether standard deviations above 1 grow as the logarithm of the parameters, and not exponentially.
        set use_expln: bool = false;
    }
}

/// Generalized state-dependent exploration, gSDE (Raffin et al., 2020): the noise of an action is a linear function of
/// the features that its mean is computed from.
///
/// With features `z`, learned standard deviations `σ` and standard normal numbers `ε`, both `[features, actions]`, the
/// noise is `zᵀ(σ∘ε)`. While `ε` stays the same, equal states get equal noise, so that exploration is smooth. Given the
/// state alone, an action is normally distributed with the variance `(z²)ᵀσ² + 10⁻⁶`.
#[derive(Module, Debug)]
pub struct StateDependentNoise {
    /// `[features, actions]`.
    log_std: Param<Tensor<2>>,
    clip_mean: f64,
    use_expln: bool,
}

impl StateDependentNoise {
    /// Creates the standard deviations of a layer of means.
    #[must_use]
    pub fn new(
        builder: &ModelBuilder,
        config: &StateDependentNoiseConfig,
        [features, actions]: [usize; 2],
    ) -> Self {
        let log_std = vec![config.log_std_init as f32; features * actions];
        Self {
            log_std: builder.param(log_std, [features, actions]),
            clip_mean: config.clip_mean,
            use_expln: config.use_expln,
        }
    }

    /// Returns the shape of the numbers `ε` of a row: the features and the elements of an action.
    #[must_use]
    pub fn noise_dims(&self) -> [usize; 2] {
        self.log_std.dims()
    }

    /// Returns the device of the parameters.
    #[must_use]
    pub fn device(&self) -> Device {
        self.log_std.val().device()
    }

    /// Computes the standard deviations of the matrix.
    ///
    /// # Shapes
    /// Result `[features, actions]`.
    fn std(&self) -> Tensor<2> {
        let log_std = self.log_std.val();
        if !self.use_expln {
            return log_std.exp();
        }
        // Each branch is computed where the other one holds, too, and must be finite there.
        let is_above = log_std.clone().greater_elem(0.0);
        let below = log_std.clone().mask_fill(is_above.clone(), 0.0).exp();
        let above = log_std.mask_fill(is_above.clone().bool_not(), 0.0).log1p() + 1.0;
        below.mask_where(is_above, above)
    }

    /// Clips means.
    fn clip(&self, means: Tensor<2>) -> Tensor<2> {
        match self.clip_mean > 0.0 {
            true => means.clamp(-self.clip_mean, self.clip_mean),
            false => means,
        }
    }

    /// Computes means and log standard deviations of the actions in some states.
    ///
    /// # Shapes
    /// `[B, features]` and `[B, actions]` to `[B, 2·actions]`.
    pub(crate) fn inputs(&self, features: Tensor<2>, means: Tensor<2>) -> Tensor<2> {
        let variance = features.square().matmul(self.std().square()) + SMALLEST_VARIANCE;
        Tensor::cat(vec![self.clip(means), variance.log() * 0.5], 1)
    }

    /// Adds means and log standard deviations to an ONNX graph, as [`inputs`](Self::inputs) computes them.
    pub(crate) fn export_onnx(
        &self,
        graph: &mut Graph,
        features: &Value,
        means: &Value,
    ) -> Result<Value> {
        let squares = graph.mul(features, features);
        let variances = to_f32(self.std().square())?;
        let variance = graph.linear(&squares, &variances, self.noise_dims(), None);
        let variance = graph.add_scalar(&variance, SMALLEST_VARIANCE);
        let logarithm = graph.node("Log", &[&variance], &[]);
        let log_std = graph.mul_scalar(&logarithm, 0.5);
        let clip = self.clip_mean as f32;
        let means = match clip > 0.0 {
            true => graph.clip(means, -clip, clip),
            false => means.clone(),
        };
        Ok(graph.concat(&[means, log_std]))
    }

    /// Adds the noise of each row to its means.
    ///
    /// # Shapes
    /// `[B, features]`, `[B, actions]` and `[B, features · actions]` to `[B, actions]`.
    pub(crate) fn explore(
        &self,
        features: Tensor<2>,
        means: Tensor<2>,
        noise: Tensor<2>,
    ) -> Tensor<2> {
        let ([rows, _], [count, actions]) = (features.dims(), self.noise_dims());
        let matrices = noise.reshape([rows, count, actions]) * self.std().unsqueeze_dim(0);
        let noise = features.unsqueeze_dim::<3>(1).matmul(matrices).squeeze_dim::<2>(1);
        self.clip(means) + noise
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::Generator;
    use rekindle_core::any_tensor::to_f32;

    use super::*;

    fn noise(config: &StateDependentNoiseConfig, log_std: &[f32]) -> StateDependentNoise {
        let builder = ModelBuilder::new(&Device::flex().autodiff(), Generator::from_seed(0));
        let mut noise = StateDependentNoise::new(&builder, config, [log_std.len(), 1]);
        noise.log_std = builder.param(log_std.to_vec(), [log_std.len(), 1]);
        noise
    }

    fn tensor<const N: usize>(row: [f32; N]) -> Tensor<2> {
        Tensor::from_floats([row], &Device::flex().autodiff())
    }

    fn close(found: Tensor<2>, expected: &[f32]) {
        let found = to_f32(found).unwrap();
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-5, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn the_variance_is_the_sum_of_squared_features_times_variances_and_means_are_clipped() {
        let config = StateDependentNoiseConfig::default();
        let noise = noise(&config, &[0.0, 2f32.ln()]);
        // 3²·1² + 1²·2² = 13.
        close(noise.inputs(tensor([3.0, 1.0]), tensor([2.5])), &[2.0, 0.5 * 13f32.ln()]);
        close(noise.inputs(tensor([0.0, 0.0]), tensor([-0.5])), &[-0.5, 0.5 * 1e-6f32.ln()]);
        // 3·1·0.5 − 1·2·0.25 = 1.
        let explored = noise.explore(tensor([3.0, 1.0]), tensor([-9.0]), tensor([0.5, -0.25]));
        close(explored, &[-1.0]);
        let unbounded = self::noise(&config.clip_mean(0.0), &[0.0]);
        close(unbounded.inputs(tensor([1.0]), tensor([9.0])).narrow(1, 0, 1), &[9.0]);
    }

    #[test]
    fn with_expln_standard_deviations_above_1_grow_slowly_and_gradients_are_finite() {
        let config = StateDependentNoiseConfig::default().use_expln(true);
        let noise = noise(&config, &[-1.0, 0.0, 50.0]);
        close(noise.std(), &[(-1f32).exp(), 1.0, 51f32.ln() + 1.0]);
        let gradients = noise.std().sum().backward();
        let gradient = noise.log_std.val().grad(&gradients).unwrap();
        close(gradient, &[(-1f32).exp(), 1.0, 1.0 / 51.0]);
    }
}
