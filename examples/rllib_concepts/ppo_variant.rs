//! `build_tf_policy(name="PPOTFPolicy", …)` and `with_updates`: PPO with other statistics, gradients and
//! loss.

use std::error::Error;

use burn::prelude::*;
use rekindle::learner::losses::ppo_surrogate;
use rekindle::learner::{GlobalNorm, GradClipBy, Gradients, LearnerError};
use rekindle::prelude::*;

/// `stats_fn`: the clipped share of the ratios, besides what PPO reports.
fn clip_fraction(
    cx: &LossContext<'_>,
    batch: &Batch,
) -> Result<Vec<(&'static str, Tensor<1>)>, LearnerError> {
    let ratio = (cx.logp()? - batch.float::<1>(Columns::ACTION_LOGP)?).exp();
    let clipped = (ratio - 1.0).abs().greater_elem(0.2).float();
    Ok(vec![("clip_fraction", cx.mean(clipped)?)])
}

/// `gradients_fn`. It replaces the clipping of the settings.
fn clip_gradients(gradients: Gradients, norm: &GlobalNorm) -> Result<Gradients, LearnerError> {
    gradients.clip(GradClipBy::GlobalNorm, 0.5, norm)
}

/// `loss_fn`: PPO's surrogate and a penalty on the divergence, with a constant weight. The columns are
/// those that PPO prepares: the advantages are standardized, as in RLlib.
fn some_custom_loss(cx: &LossContext<'_>, batch: &Batch) -> Result<Losses, LearnerError> {
    let (logp, old_logp) = (cx.logp()?, batch.float::<1>(Columns::ACTION_LOGP)?);
    let surrogate = ppo_surrogate(logp, old_logp, batch.float(Columns::ADVANTAGES)?, 0.2);
    let errors = cx.values()? - batch.float::<1>(Columns::VALUE_TARGETS)?;
    let old_inputs = batch.float::<2>(Columns::ACTION_DIST_INPUTS)?;
    let kl = cx.mean(cx.module.distribution().kl(old_inputs, cx.action_dist_inputs()?)?)?;
    let loss = cx.mean(surrogate)?.neg() + cx.mean(errors.square())? + kl.clone() * 0.2;
    Ok(Losses::new(loss).metric("mean_kl_loss", kl))
}

fn ppo() -> PpoConfig {
    PpoConfig::new()
        .environment("CartPole-v1")
        .training(|t| t.train_batch_size(128).minibatch_size(64).num_epochs(4).lr(1e-3))
        .seed(0)
}

/// Trains PPO with functions of its own, and then with another loss.
pub(crate) fn a_variant_of_ppo() -> Result<(), Box<dyn Error>> {
    let device = DeviceSpec::Cpu.open()?;
    let custom_ppo = ppo().with_name("MyCustomPPO").stats(clip_fraction).gradients(clip_gradients);
    let mut algo = custom_ppo.build(&device)?;
    assert_eq!(algo.name(), "MyCustomPPO");
    let result = algo.train()?;
    // What RLlib's `kl_and_loss_stats` returns, and the clipped share.
    for name in [
        "curr_kl_coeff",
        "default_optimizer_learning_rate",
        "total_loss",
        "policy_loss",
        "vf_loss",
        "vf_explained_var",
        "mean_kl_loss",
        "entropy",
        "clip_fraction",
    ] {
        let value = result.get(&format!("learners/default_policy/{name}"));
        assert!(value.is_some_and(f64::is_finite), "{name}: {value:?}");
    }

    // RLlib's `PPOTFPolicy.with_updates(name=…, loss_fn=…)`: everything else stays.
    let mut algo = custom_ppo.with_name("MyOtherPPO").with_loss(some_custom_loss).build(&device)?;
    let result = algo.train()?;
    let metric = |name: &str| result.get(&format!("learners/default_policy/{name}"));
    assert_eq!(metric("policy_loss"), None, "a term of the loss that was replaced");
    assert!(metric("mean_kl_loss").is_some_and(|kl| kl > 0.0));
    assert!(metric("clip_fraction").is_some());
    Ok(())
}
