//! `action_sampler_fn`: the exploration pass decides how actions are sampled.
//!
//! The old function returned actions, log-probabilities, distribution inputs and state. Here, the
//! pass returns `actions`, `action_dist_inputs` or both, and `state_out`. The runner computes the
//! log-probabilities. A module draws no random numbers, so that runs can be repeated. A random rule
//! is expressed as a distribution.

use std::error::Error;

use burn::module::Module;
use burn::prelude::*;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

/// Probability of a uniformly random action.
const EPSILON: f64 = 0.25;

/// An ε-greedy policy over action values. To explore, it returns the log-probabilities of its rule,
/// from which the runner samples. In inference, it returns the greedy actions themselves.
#[derive(Module, Debug)]
struct EpsilonGreedy {
    q: Mlp,
    actions: usize,
}

impl EpsilonGreedy {
    fn greedy(&self, batch: &Batch) -> ModuleResult<Tensor<1, Int>> {
        Ok(self.q.forward(batch.float::<2>(Columns::OBS)?).argmax(1).squeeze_dim(1))
    }
}

impl RLModule for EpsilonGreedy {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let actions = cx.action_space().as_discrete()?.n();
        Ok(Self { q: cx.mlp(cx.observation_space().flat_dim(), &[32], actions), actions })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let q = self.q.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::QF_PREDS, q))
    }

    fn forward_exploration(
        &self,
        batch: &Batch,
        _cx: &mut ExplorationContext,
    ) -> ModuleResult<Batch> {
        let greedy = self.greedy(batch)?.one_hot::<2>(self.actions).float();
        let probabilities = greedy * (1.0 - EPSILON) + EPSILON / self.actions as f64;
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, probabilities.log()))
    }

    fn forward_inference(&self, batch: &Batch) -> ModuleResult<Batch> {
        Ok(Batch::new().with(Columns::ACTIONS, self.greedy(batch)?))
    }
}

/// Lets the policy explore in CartPole and checks the recorded log-probabilities.
pub(crate) fn a_rule_that_samples() -> Result<(), Box<dyn Error>> {
    let device = DeviceSpec::Cpu.open()?;
    let config = EnvRunnerConfig { num_envs: 4, ..EnvRunnerConfig::new("CartPole-v1") };
    let mut runner = SingleAgentEnvRunner::new(config, 0, &device)?;
    let module = RLModuleSpec::of::<EpsilonGreedy>()
        .observation_space(runner.observation_space().clone())
        .action_space(runner.action_space().clone())
        .build(&device)?;
    runner.set_module(&module, PublishedAt::default())?;
    let rollout = runner.sample(Amount::Timesteps(400), SampleOptions::default())?;
    let logp = rollout.extras[Columns::ACTION_LOGP].as_f32()?;
    // The greedy action has probability 1 − ε/2, the other one ε/2.
    let greedy = (1.0 - EPSILON / 2.0) as f32;
    let share = logp.iter().filter(|logp| (logp.exp() - greedy).abs() < 1e-3).count();
    assert!(logp.iter().all(|l| (l.exp() - greedy).abs() < 1e-3 || (l.exp() - 0.125).abs() < 1e-3));
    assert!((share as f32 / logp.len() as f32 - greedy).abs() < 0.1, "{share} of {}", logp.len());
    Ok(())
}
