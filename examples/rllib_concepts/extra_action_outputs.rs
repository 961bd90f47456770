//! `action_info_batch`, `extra_action_out_fn`: outputs of acting that the loss reads.

use std::error::Error;

use burn::module::Module;
use rekindle::algorithms::AlgorithmConfig;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

/// Records its values and two numbers of its own with each action. Texts become numbers: a column is a
/// tensor.
#[derive(Module, Debug)]
struct Talkative {
    policy: Mlp,
    value: Mlp,
}

const FOO: f32 = 0.5;
const OTHER: i64 = 12345;

impl RLModule for Talkative {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let inputs = cx.observation_space().flat_dim();
        let actions = cx.action_space().as_discrete()?.n();
        Ok(Self { policy: cx.mlp(inputs, &[16], actions), value: cx.mlp(inputs, &[16], 1) })
    }

    /// The runner records each output under its name. `action_dist_inputs` and `action_logp` of the policy
    /// that acts are always recorded, for importance weights.
    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let observations = batch.float::<2>(Columns::OBS)?;
        let values = self.value.forward(observations.clone()).squeeze_dim::<1>(1);
        Ok(Batch::new()
            .with(Columns::ACTION_DIST_INPUTS, self.policy.forward(observations))
            .with("some_value", values.ones_like() * FOO)
            .with("other_value", values.ones_like().int() * OTHER)
            .with(Columns::VF_PREDS, values))
    }
}

/// Trains on importance weights, the recorded values and the recorded numbers.
pub(crate) fn outputs_that_the_loss_reads() -> Result<(), Box<dyn Error>> {
    let config = AlgorithmConfig::from_loss("Talkative", |cx, batch| {
        let ratio = (cx.logp()? - batch.float::<1>(Columns::ACTION_LOGP)?).exp();
        let advantages = batch.float::<1>(Columns::REWARDS)? - batch.float(Columns::VF_PREDS)?;
        let values = cx.outputs()?.float::<1>(Columns::VF_PREDS)?;
        let vf_loss = (values - batch.float::<1>(Columns::REWARDS)?).square().mean();
        Ok((ratio * advantages).mean().neg() + vf_loss)
    })
    .stats(|_, batch| {
        Ok(vec![
            ("some_value", batch.float::<1>("some_value")?.mean()),
            ("other_value", batch.int::<1>("other_value")?.float().mean()),
        ])
    })
    .rl_module(RLModuleSpec::of::<Talkative>())
    .environment("CartPole-v1")
    .training(|t| t.train_batch_size(64))
    .seed(0);
    let result = config.build(&DeviceSpec::Cpu.open()?)?.train()?;
    let metric = |name: &str| result.get(&format!("learners/default_policy/{name}"));
    assert_eq!(metric("some_value"), Some(f64::from(FOO)));
    assert_eq!(metric("other_value"), Some(OTHER as f64));
    Ok(())
}
