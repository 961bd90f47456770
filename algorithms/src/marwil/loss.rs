//! MARWIL's loss: weighted log-likelihood and value loss.

use burn::prelude::*;
use rekindle_checkpoint::State;
use rekindle_core::Columns;
use rekindle_core::any_tensor::to_f32;
use rekindle_learner::{
    LearnerError, Loss, LossContext, Losses, OptimizerGroup, PrepareContext, Result, TrainData,
};
use rekindle_rl_module::Role;

use super::MarwilTraining;
use crate::config::one_optimizer;

/// Added to the scale of the advantages, RLlib's.
const EPSILON: f64 = 1e-8;

/// MARWIL's loss of one module: `−mean(exp(β·A/c)·logp) + ½·c_v·mean(A²)` with the advantages `A = target − V`, whose
/// scale c is the root of a moving average of their squares.
#[derive(Debug, Clone)]
pub struct MarwilLoss {
    config: MarwilTraining,
    square: MovingSquare,
}

/// The moving average of squared advantages: the sum of two numbers, because single precision would round away the
/// small steps of one.
#[derive(Debug, Clone)]
enum MovingSquare {
    Numbers([f32; 2]),
    /// `[1]` each, on the device of the module, without gradients.
    Tensors(Box<[Tensor<1>; 2]>),
}

impl MovingSquare {
    /// Moves the average towards that of a minibatch, `[1]`. A minibatch whose average is not finite does not count.
    fn follow(&mut self, mean: Tensor<1>, rate: f64) -> Tensor<1> {
        let [high, low] = match self {
            Self::Numbers(numbers) => numbers.map(|number| mean.full_like(number)),
            Self::Tensors(tensors) => (**tensors).clone(),
        };
        let step = (mean - high.clone()) * rate + low.clone();
        let sum = high.clone() + step.clone();
        let rest = step - (sum.clone() - high.clone());
        let lost = sum.clone().is_finite().bool_not();
        let sum = sum.mask_where(lost.clone(), high);
        let rest = rest.mask_where(lost, low);
        *self = Self::Tensors(Box::new([sum.clone(), rest]));
        sum
    }

    fn numbers(&self) -> Result<[f32; 2]> {
        Ok(match self {
            Self::Numbers(numbers) => *numbers,
            Self::Tensors(tensors) => {
                let [high, low] = &**tensors;
                let number = |tensor: &Tensor<1>| {
                    Ok::<_, LearnerError>(to_f32(tensor.clone())?.first().copied().unwrap_or(0.0))
                };
                [number(high)?, number(low)?]
            }
        })
    }
}

impl MarwilLoss {
    /// Creates the loss of a module from its settings.
    #[must_use]
    pub fn new(config: MarwilTraining) -> Self {
        let square = start(&config);
        Self { config, square }
    }
}

fn start(config: &MarwilTraining) -> MovingSquare {
    let start = config.moving_average_sqd_adv_norm_start;
    MovingSquare::Numbers([start as f32, (start - f64::from(start as f32)) as f32])
}

/// Computes the weights `exp(β·A/(c + 10⁻⁸))` of actions from their advantages.
///
/// # Shapes
/// `advantages`: `[B]`; `square`, the average of their squares: `[1]`; result `[B]`.
fn weights(advantages: Tensor<1>, square: Tensor<1>, beta: f64) -> Tensor<1> {
    (advantages * beta / (square.sqrt() + EPSILON)).exp()
}

impl Loss for MarwilLoss {
    fn name(&self) -> &str {
        "MARWIL"
    }

    fn required_roles(&self) -> Vec<Role> {
        vec![Role::ValueFunction]
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        let MarwilTraining { lr, optimizer, grad_clip, grad_clip_by, .. } = &self.config;
        one_optimizer(lr, *optimizer, *grad_clip, *grad_clip_by)
    }

    fn gradients_apart(&self) -> bool {
        // The moving average.
        false
    }

    fn prepare(&mut self, cx: &PrepareContext<'_>, mut data: TrainData) -> Result<TrainData> {
        let MarwilTraining { gamma, lambda_, .. } = self.config;
        data.add_advantages(cx, gamma as f32, lambda_ as f32)?;
        Ok(data)
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses> {
        let targets = cx.batch().float::<1>(Columns::VALUE_TARGETS)?;
        let advantages = targets - cx.values()?;
        let vf_loss = cx.mean(advantages.clone().square())? * 0.5;
        let mean_square = cx.mean_over_learners(vf_loss.clone().inner() * 2.0)?;
        let rate = self.config.moving_average_sqd_adv_norm_update_rate;
        let square = self.square.follow(mean_square, rate);
        let weights = weights(advantages.inner(), square.clone(), self.config.beta);
        let policy_loss = cx.mean(cx.logp()? * Tensor::from_inner(weights))?.neg();
        let total = policy_loss.clone() + vf_loss.clone() * self.config.vf_coeff;
        Ok(Losses::new(total)
            .metric("policy_loss", policy_loss)
            .metric("vf_loss", vf_loss)
            .metric("moving_average_sqd_adv_norm", Tensor::from_inner(square)))
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::from_data(&self.square.numbers()?)?)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        if state.data.is_null() {
            self.square = start(&self.config);
            return Ok(());
        }
        let numbers: [f32; 2] = state.data_as()?;
        if numbers.iter().any(|number| !number.is_finite()) || numbers[0] < 0.0 {
            let reason = format!("the moving average of squared advantages is {numbers:?}");
            return Err(LearnerError::InvalidState { component: "MARWIL loss".into(), reason });
        }
        self.square = MovingSquare::Numbers(numbers);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
