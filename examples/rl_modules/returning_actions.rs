//! "Writing Custom Single Agent RL Modules": what the acting passes may return.

use std::error::Error;

use burn::module::Module;
use burn::prelude::*;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

/// Returns `action_dist_inputs`. The runner samples actions from them when it explores, and uses
/// the deterministic twin in inference. It also computes their log-probabilities.
#[derive(Module, Debug)]
struct WithoutActions {
    policy: Mlp,
}

impl RLModule for WithoutActions {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let actions = cx.action_space().as_discrete()?.n();
        Ok(Self { policy: cx.mlp(cx.observation_space().flat_dim(), &[32], actions) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

/// Returns `actions`, which are used as they are. If `action_dist_inputs` are returned too,
/// exploration also computes the log-probabilities of the actions.
#[derive(Module, Debug)]
struct WithActions {
    policy: Mlp,
}

impl RLModule for WithActions {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let actions = cx.action_space().as_discrete()?.n();
        Ok(Self { policy: cx.mlp(cx.observation_space().flat_dim(), &[32], actions) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn forward_exploration(
        &self,
        batch: &Batch,
        _cx: &mut ExplorationContext,
    ) -> ModuleResult<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        let actions: Tensor<1, Int> = logits.clone().argmax(1).squeeze_dim(1);
        Ok(Batch::new().with(Columns::ACTIONS, actions).with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

/// Lets both modules act in CartPole.
pub(crate) fn with_and_without_the_actions_key() -> Result<(), Box<dyn Error>> {
    let device = DeviceSpec::Cpu.open()?;
    for spec in [RLModuleSpec::of::<WithoutActions>(), RLModuleSpec::of::<WithActions>()] {
        let config = EnvRunnerConfig::new("CartPole-v1").num_envs(4);
        let mut runner = SingleAgentEnvRunner::new(config, 0, &device)?;
        let module = spec
            .observation_space(runner.observation_space().clone())
            .action_space(runner.action_space().clone())
            .build(&device)?;
        runner.set_module(&module, PublishedAt::default())?;
        let rollout = runner.sample(Amount::Timesteps(100), SampleOptions::default())?;
        assert!(rollout.extras.contains_key(Columns::ACTION_LOGP));
        println!("{} acted for {} steps", module.spec().module(), rollout.env_steps());
    }
    Ok(())
}
