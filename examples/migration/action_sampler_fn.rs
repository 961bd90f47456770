//! `action_sampler_fn`: the exploration pass decides how actions are sampled.
//!
//! The old function returned actions, log-probabilities, distribution inputs and state. Here, the
//! pass returns `actions`, `action_dist_inputs` or both, and `state_out`. The runner computes the
//! log-probabilities. Random numbers come from `ExplorationContext::rng`, one stream per environment,
//! which checkpoints save, so that runs can be repeated. The steps sampled so far, the old `timestep`, are
//! `ExplorationContext::env_steps`.

use std::error::Error;

use burn::module::Module;
use burn::prelude::*;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

/// Probability of a uniformly random action: it falls from 1 to 0.25 in 3000 environment steps.
fn epsilon(env_steps: u64) -> f64 {
    (1.0 - env_steps as f64 / 4000.0).max(0.25)
}

/// An ε-greedy policy over action values. To explore, it draws the actions itself, and returns the
/// log-probabilities of its rule beside them. In inference, it returns the greedy actions.
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

    // ANCHOR: exploration
    fn forward_exploration(
        &self,
        batch: &Batch,
        cx: &mut ExplorationContext,
    ) -> ModuleResult<Batch> {
        let greedy = self.greedy(batch)?;
        let (epsilon, actions) = (epsilon(cx.env_steps()), self.actions as i64);
        let mut random = Vec::new();
        for row in 0..batch.rows() {
            let rng = cx.rng(row)?;
            let explores = rng.random() < epsilon;
            random.push(if explores { rng.integers(0, actions) as i32 } else { -1 });
        }
        let random = Tensor::<1, Int>::from_data(random.as_slice(), &greedy.device());
        let explores = random.clone().greater_equal_elem(0);
        let one_hot = greedy.clone().one_hot::<2>(self.actions).float();
        let probabilities = one_hot * (1.0 - epsilon) + epsilon / self.actions as f64;
        Ok(Batch::new()
            .with(Columns::ACTIONS, greedy.mask_where(explores, random))
            .with(Columns::ACTION_DIST_INPUTS, probabilities.log()))
    }
    // ANCHOR_END: exploration

    fn forward_inference(&self, batch: &Batch) -> ModuleResult<Batch> {
        Ok(Batch::new().with(Columns::ACTIONS, self.greedy(batch)?))
    }
}

/// Lets the policy explore in CartPole as ε falls, and checks the recorded log-probabilities.
pub(crate) fn a_rule_that_samples() -> Result<(), Box<dyn Error>> {
    let device = DeviceSpec::Cpu.open()?;
    let config = EnvRunnerConfig::new("CartPole-v1").num_envs(4);
    let mut runner = SingleAgentEnvRunner::new(config, 0, &device)?;
    let module = RLModuleSpec::of::<EpsilonGreedy>()
        .observation_space(runner.observation_space().clone())
        .action_space(runner.action_space().clone())
        .build(&device)?;
    for (env_steps, epsilon) in [(0, 1.0), (2000, 0.5), (9000, 0.25)] {
        runner.set_module(&module, PublishedAt::new(0, env_steps))?;
        let rollout = runner.sample(Amount::Timesteps(400), SampleOptions::default())?;
        let logp = rollout.extras[Columns::ACTION_LOGP].as_f32()?;
        // The greedy action has probability 1 − ε/2, the other one ε/2.
        let (greedy, other) = (1.0 - epsilon / 2.0, epsilon / 2.0);
        let is = |logp: &f32, probability: f32| (logp.exp() - probability).abs() < 1e-3;
        assert!(logp.iter().all(|logp| is(logp, greedy) || is(logp, other)));
        let share = logp.iter().filter(|logp| is(logp, greedy)).count() as f32 / logp.len() as f32;
        let expected = if epsilon == 1.0 { 1.0 } else { greedy };
        assert!((share - expected).abs() < 0.1, "{share} at ε = {epsilon}");
    }
    Ok(())
}
