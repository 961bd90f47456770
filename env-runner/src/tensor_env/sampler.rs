//! Sampling of actions on the device.

use burn::prelude::*;
use burn::tensor::activation::softmax;
use rekindle_core::ConfigError;
use rekindle_core::{AnyTensor, Generator};
use rekindle_env::{BoxDType, Space};

use super::noise;
use crate::error::Result;

/// Draws actions of a space, given the inputs of its distribution and random numbers.
#[derive(Debug, Clone)]
pub(super) enum Sampler {
    /// Inverts the cumulative distribution at one uniform number per action.
    Categorical { n: usize, start: i64 },
    /// Adds scaled normal numbers to means. The environment receives the sum scaled from [−1, 1] to
    /// its bounds and clipped.
    DiagGaussian { low: Vec<f32>, high: Vec<f32> },
}

/// Actions in the units of the module and of the environment.
pub(super) struct Actions {
    /// Actions as losses need them, `[N]` or `[N, A]`.
    pub(super) sampled: AnyTensor,
    /// Actions as the environment needs them, `[N, A]`.
    pub(super) for_env: Tensor<2>,
}

impl Sampler {
    /// Creates the sampler of an action space.
    ///
    /// # Errors
    /// [`RunnerError::Config`](crate::RunnerError::Config) for a space without a sampler.
    pub(super) fn new(space: &Space) -> Result<Self> {
        match space {
            Space::Discrete(discrete) => {
                Ok(Self::Categorical { n: discrete.n(), start: discrete.start() })
            }
            Space::Box(space)
                if space.is_bounded()
                    && space.shape().len() == 1
                    && space.dtype() == BoxDType::Float32 =>
            {
                Ok(Self::DiagGaussian { low: space.low().to_vec(), high: space.high().to_vec() })
            }
            other => Err(ConfigError::new(
                "action_space",
                other.to_string(),
                "actions are drawn on the device for Discrete spaces and bounded Boxes \
                             of floats of one dimension; other environments need a `SingleAgentEnvRunner`",
            )
            .into()),
        }
    }

    /// Returns the name of the distribution that the sampler implements.
    pub(super) fn distribution(&self) -> &'static str {
        match self {
            Self::Categorical { .. } => "Categorical",
            Self::DiagGaussian { .. } => "DiagGaussian",
        }
    }

    /// Draws random numbers for `T` steps of `N` copies, `[T, N, numbers]`.
    pub(super) fn noise(
        &self,
        rng: &mut Generator,
        [steps, envs]: [usize; 2],
        device: &Device,
    ) -> Tensor<3> {
        match self {
            Self::Categorical { .. } => noise::uniform(rng, [steps, envs, 1], device),
            Self::DiagGaussian { low, .. } => noise::normal(rng, [steps, envs, low.len()], device),
        }
    }

    /// Draws one action per copy.
    ///
    /// # Shapes
    /// `inputs`: `[N, inputs]`; `noise`: `[N, numbers]`.
    pub(super) fn sample(&self, inputs: Tensor<2>, noise: Tensor<2>) -> Actions {
        match self {
            Self::Categorical { n, start } => {
                let cumulative = softmax(inputs, 1).cumsum(1);
                let bound = noise * cumulative.clone().narrow(1, n - 1, 1);
                // Only rounding can pass the last bound; the clamp below undoes it.
                let passed = cumulative.lower_equal(bound.expand([-1, *n as i64]));
                let index = passed.int().sum_dim(1).clamp(0, *n as i64 - 1);
                let actions = index + *start;
                let for_env = actions.clone().float();
                Actions { sampled: actions.squeeze_dim::<1>(1).into(), for_env }
            }
            Self::DiagGaussian { low, high } => {
                let dim = low.len();
                let mean = inputs.clone().narrow(1, 0, dim);
                // The bounds that the distribution itself uses.
                let log_std = inputs.narrow(1, dim, dim).clamp(-40.0, 40.0);
                let actions = mean + log_std.exp() * noise;
                let row = |values: Vec<f32>| {
                    Tensor::<1>::from_floats(&values[..], &actions.device()).unsqueeze::<2>()
                };
                let bounds = || low.iter().zip(high);
                let scaled = match bounds().all(|(low, high)| (high - low).is_finite()) {
                    true => {
                        let half = bounds().map(|(low, high)| (high - low) / 2.0).collect();
                        (actions.clone() + 1.0) * row(half) + row(low.clone())
                    }
                    // From the middle, because the width is beyond single precision.
                    false => {
                        let half = bounds().map(|(low, high)| high / 2.0 - low / 2.0).collect();
                        let middle = bounds().map(|(low, high)| high / 2.0 + low / 2.0).collect();
                        actions.clone() * row(half) + row(middle)
                    }
                };
                let (low, high) = (row(low.clone()), row(high.clone()));
                let for_env = scaled.max_pair(low).min_pair(high);
                Actions { sampled: actions.into(), for_env }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;

    use super::*;

    #[test]
    fn bounds_may_be_as_wide_as_single_precision() {
        let device = Device::flex();
        let sampler = Sampler::new(&Space::boxed(-3e38, 3e38, &[1]).unwrap()).unwrap();
        let means = Tensor::<2>::from_floats([[-1.0, -99.0], [0.5, -99.0], [7.0, -99.0]], &device);
        let actions = sampler.sample(means, Tensor::zeros([3, 1], &device));
        assert_eq!(to_f32(actions.for_env).unwrap(), [-3e38, 1.5e38, 3e38]);
    }
}
