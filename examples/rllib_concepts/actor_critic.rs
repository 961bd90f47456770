//! `build_torch_policy(name="A3CTorchPolicy", …)`: loss, statistics, postprocessing, gradients and
//! optimizer.

use std::error::Error;

use rekindle::algorithms::{AlgorithmConfig, CustomTraining, Trajectory};
use rekindle::learner::ops::gae;
use rekindle::learner::{GradClipBy, LearnerError};
use rekindle::prelude::*;

const GAMMA: f32 = 0.99;
const LAMBDA: f32 = 1.0;

/// `loss_fn`, and as its metrics `stats_fn`.
fn actor_critic_loss(cx: &LossContext<'_>, batch: &Batch) -> Result<Losses, LearnerError> {
    let pi_err = (cx.logp()? * batch.float::<1>(Columns::ADVANTAGES)?).mean().neg();
    let value_err = (cx.values()? - batch.float::<1>(Columns::VALUE_TARGETS)?).square().mean();
    let entropy = cx.entropy()?.mean();
    let overall_err = pi_err.clone() + value_err.clone() * 0.5 - entropy.clone() * 0.01;
    Ok(Losses::new(overall_err)
        .metric("policy_entropy", entropy)
        .metric("policy_loss", pi_err)
        .metric("vf_loss", value_err))
}

/// `postprocess_fn`. The value after the last step is 0 where the episode was terminated; RLlib's program
/// asks `policy._value` for it.
fn add_advantages(trajectory: &mut Trajectory<'_>) -> Result<(), LearnerError> {
    let (values, last_r) = trajectory.values()?;
    let (advantages, targets) = gae(trajectory.rewards()?, values, last_r, GAMMA, LAMBDA)?;
    trajectory.insert(Columns::ADVANTAGES, advantages)?;
    trajectory.insert(Columns::VALUE_TARGETS, targets)
}

/// The policy. `extra_action_out_fn` has no counterpart here: `trajectory.values()` computes the values of
/// all trajectories in one pass.
pub(crate) fn a3c() -> AlgorithmConfig<CustomTraining> {
    AlgorithmConfig::from_loss("A3C", actor_critic_loss)
        .with_postprocess(add_advantages)
        // extra_grad_process_fn
        .gradients(|gradients, norm| gradients.clip(GradClipBy::GlobalNorm, 40.0, norm))
        // optimizer_fn
        .optimizers([OptimizerGroup::default().lr(1e-4)])
}

/// Trains the policy, and the one of the page's first PyTorch program.
pub(crate) fn a3cs_policy() -> Result<(), Box<dyn Error>> {
    let device = DeviceSpec::Cpu.open()?;
    let on_cartpole = |config: AlgorithmConfig<CustomTraining>| {
        config.environment("CartPole-v1").training(|t| t.train_batch_size(64)).seed(0)
    };
    let mut algo = on_cartpole(a3c()).build(&device)?;
    assert_eq!(algo.name(), "A3C");
    let result = algo.train()?;
    let metric = |name: &str| result.get(&format!("learners/default_policy/{name}"));
    let entropy = metric("policy_entropy").ok_or("the entropy is reported")?;
    assert!((0.5..0.7).contains(&entropy), "nearly uniform, ln 2 at most: {entropy}");
    assert!(metric("vf_loss").is_some_and(|loss| loss > 0.0));
    assert_eq!(metric("default_optimizer_learning_rate"), Some(1e-4));

    // -train_batch[SampleBatch.REWARDS].dot(log_probs)
    let dot = AlgorithmConfig::from_loss("MyTorchPolicy", |cx, batch| {
        Ok((cx.logp()? * batch.float::<1>(Columns::REWARDS)?).sum().neg())
    });
    let result = on_cartpole(dot).build(&device)?.train()?;
    let loss = result.get("learners/default_policy/total_loss");
    // 64 rewards of 1, each with a log-probability of about −ln 2.
    assert!(loss.is_some_and(|loss| (loss - 64.0 * 0.693).abs() < 5.0), "{loss:?}");
    Ok(())
}
