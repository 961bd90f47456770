//! Policies without a network: a random one with a weight, and tabular Q-learning, which reaches the
//! optimum of a grid world within 3 000 steps. Then both together with a network in one run.
//!
//! `cargo run --release --example policy_from_scratch`
#![allow(clippy::duplicate_mod, reason = "examples share the start of their programs")]

#[path = "custom_environment.rs"]
#[allow(dead_code, reason = "another example with a `main`")]
mod custom_environment;
#[path = "common/program.rs"]
mod program;

use burn::module::Module;
use burn::prelude::*;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

/// Acts at random, and remembers the mean reward.
#[derive(Module, Debug)]
pub(crate) struct RandomPolicy {
    actions: usize,
    /// The example's parameter.
    #[module(skip)]
    w: f64,
}

impl RLModule for RandomPolicy {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { actions: cx.action_space().as_discrete()?.n(), w: 1.0 })
    }

    // Equal logits. The runner draws the actions, from streams that a checkpoint holds.
    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let observations = batch.int::<1>(Columns::OBS)?;
        let logits =
            Tensor::<2>::zeros([observations.dims()[0], self.actions], &observations.device());
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn as_learn_on_batch(&self) -> Option<&dyn LearnOnBatch> {
        Some(self)
    }

    fn as_learn_on_batch_mut(&mut self) -> Option<&mut dyn LearnOnBatch> {
        Some(self)
    }

    fn type_name() -> String {
        "examples.RandomPolicy".into()
    }
}

impl LearnOnBatch for RandomPolicy {
    fn learn_on_batch(
        &mut self,
        batch: &HostBatch,
        _: &mut LearnContext<'_>,
    ) -> ModuleResult<LearnStats> {
        for reward in batch.as_f32(Columns::REWARDS)? {
            self.w += 0.01 * (f64::from(*reward) - self.w);
        }
        Ok(LearnStats::from([("w".into(), self.w)]))
    }

    fn get_weights(&self) -> ModuleResult<Weights> {
        Ok(Weights::from([("w".into(), vec![self.w].into())]))
    }

    fn set_weights(&mut self, weights: &Weights) -> ModuleResult<()> {
        if let Some([w]) = weights.get("w").map(Array::as_slice).transpose()? {
            self.w = *w;
        }
        Ok(())
    }
}

/// A table of action values, `[observations, actions]`, learned by Q-learning (Watkins, 1989).
#[derive(Module, Debug)]
pub(crate) struct QTable {
    actions: usize,
    #[module(skip)]
    values: Vec<f32>,
}

impl QTable {
    const STEP_SIZE: f32 = 0.5;
    const GAMMA: f32 = 0.95;
    /// Share of the explored actions that are random.
    const EPSILON: f32 = 0.2;

    fn row(&self, observation: i64) -> &[f32] {
        let start = observation as usize * self.actions;
        &self.values[start..start + self.actions]
    }

    fn max(values: &[f32]) -> f32 {
        values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }

    /// Logits for each observation of a batch.
    fn logits(&self, batch: &Batch, of: impl Fn(&[f32]) -> Vec<f32>) -> ModuleResult<Batch> {
        let observations = batch.column(Columns::OBS)?.tensor()?.to_i64()?;
        let logits: Vec<f32> = observations.iter().flat_map(|&o| of(self.row(o))).collect();
        let data = TensorData::new(logits, [observations.len(), self.actions]);
        let device = batch.int::<1>(Columns::OBS)?.device();
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, Tensor::<2>::from_data(data, &device)))
    }
}

impl RLModule for QTable {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let observations = cx.observation_space().as_discrete()?.n();
        let actions = cx.action_space().as_discrete()?.n();
        Ok(Self { actions, values: vec![0.0; observations * actions] })
    }

    // The most probable action is the one of the highest value.
    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        self.logits(batch, <[f32]>::to_vec)
    }

    // ε-greedy, as log-probabilities.
    fn forward_exploration(
        &self,
        batch: &Batch,
        _: &mut ExplorationContext,
    ) -> ModuleResult<Batch> {
        let random = Self::EPSILON / self.actions as f32;
        self.logits(batch, |row| {
            let best = row.iter().position(|value| *value == Self::max(row));
            let probability = |action| match best == Some(action) {
                true => 1.0 - Self::EPSILON + random,
                false => random,
            };
            (0..row.len()).map(|action| probability(action).ln()).collect()
        })
    }

    fn forward_inference(&self, batch: &Batch) -> ModuleResult<Batch> {
        self.forward_train(batch)
    }

    fn as_learn_on_batch(&self) -> Option<&dyn LearnOnBatch> {
        Some(self)
    }

    fn as_learn_on_batch_mut(&mut self) -> Option<&mut dyn LearnOnBatch> {
        Some(self)
    }

    fn type_name() -> String {
        "examples.QTable".into()
    }
}

impl LearnOnBatch for QTable {
    fn learn_on_batch(
        &mut self,
        batch: &HostBatch,
        _: &mut LearnContext<'_>,
    ) -> ModuleResult<LearnStats> {
        let observations = batch.column(Columns::OBS)?.as_i64()?;
        let next = batch.column(Columns::NEXT_OBS)?.as_i64()?;
        let actions = batch.column(Columns::ACTIONS)?.as_i64()?;
        let rewards = batch.as_f32(Columns::REWARDS)?;
        let terminated = batch.as_f32(Columns::TERMINATEDS)?;
        let mut errors = 0.0;
        // From the last step to the first, so that rewards spread over whole trajectories.
        for row in (0..batch.rows()).rev() {
            let following = (1.0 - terminated[row]) * Self::max(self.row(next[row]));
            let at = observations[row] as usize * self.actions + actions[row] as usize;
            let error = rewards[row] + Self::GAMMA * following - self.values[at];
            self.values[at] += Self::STEP_SIZE * error;
            errors += f64::from(error.abs());
        }
        Ok(LearnStats::from([("td_error_mean".into(), errors / batch.rows() as f64)]))
    }

    fn get_weights(&self) -> ModuleResult<Weights> {
        let shape = [self.values.len() / self.actions, self.actions];
        Ok(Weights::from([("values".into(), Array::new(shape, self.values.clone())?)]))
    }

    fn set_weights(&mut self, weights: &Weights) -> ModuleResult<()> {
        let values = weights.get("values").map(Array::as_slice).transpose()?.unwrap_or_default();
        if values.len() != self.values.len() {
            let (found, expected) = (values.len(), self.values.len());
            return Err(ModuleError::custom(format!("{found} values in a table of {expected}")));
        }
        self.values.copy_from_slice(values);
        Ok(())
    }
}

/// A run in which only the policy written from scratch learns.
pub(crate) fn alone(policy: RLModuleSpec, seed: u64) -> LearnOnBatchConfig {
    LearnOnBatchConfig::new()
        .environment("GridWorld-v0")
        .rl_module(policy)
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .training(|t| t.train_batch_size(256))
        .evaluation(|e| e.evaluation_duration(100))
        .seed(seed)
}

/// A run of PPO with three agents, each in its own grid: one is random, one has a table, one a network.
pub(crate) fn beside_a_network(seed: u64) -> PpoConfig {
    PpoConfig::new()
        .environment("ThreeGridWorlds-v0")
        .env_config(EnvConfig::new().with("num_agents", 3))
        .multi_agent(|m| {
            let modules = [("0", "random"), ("1", "table"), ("2", "network")];
            let modules = modules.map(|(agent, module)| (agent.into(), module.into()));
            m.policies(["random", "table", "network"])
                .policy_mapping(PolicyMapping::Table(modules.into()))
                .rl_module_specs(MultiRLModuleSpec::new([
                    ("random", RLModuleSpec::of::<RandomPolicy>()),
                    ("table", RLModuleSpec::of::<QTable>()),
                ]))
        })
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .model("fcnet_hiddens", vec![64])
        .training(|t| t.lr(5e-3).train_batch_size(1024).minibatch_size(256).num_epochs(6))
        .seed(seed)
}

/// Registers the grid world, and one of several agents.
pub(crate) fn register_grid_worlds() -> Result<(), rekindle::env::EnvError> {
    custom_environment::register_grid_world()?;
    let grid = EnvSpec::new("GridWorld-v0", custom_environment::GridWorld::new);
    let grid = grid.with_max_episode_steps(50);
    register_multi_agent(MultiAgentEnvSpec::copies("ThreeGridWorlds-v0", grid))
}

/// Trains until 100 greedy episodes all reach the optimum, for at most `max_steps` environment steps.
/// Returns the steps and the smallest return of these episodes.
pub(crate) fn train(config: &LearnOnBatchConfig, max_steps: u64) -> Result<(u64, f64), MainError> {
    let mut algo = config.build(&DeviceSpec::Cpu.open()?)?;
    loop {
        algo.train()?;
        let smallest = algo.evaluate()?.min_return();
        if smallest >= 1.0 || algo.env_steps() >= max_steps {
            return Ok((algo.env_steps(), smallest));
        }
    }
}

fn main() -> Result<(), MainError> {
    let about =
        "Trains policies without networks in a grid world, alone and together with a network.";
    program::no_arguments("policy_from_scratch", about);
    program::show_warnings();
    register_grid_worlds()?;

    for (name, policy) in [
        ("random policy", RLModuleSpec::of::<RandomPolicy>()),
        ("Q-learning", RLModuleSpec::of::<QTable>()),
    ] {
        let (steps, smallest) = train(&alone(policy, 0), 20_000)?;
        println!("{name:>13}: smallest of 100 greedy returns {smallest:>5.2} after {steps} steps");
    }

    let mut algo = beside_a_network(0).build(&DeviceSpec::Cpu.open()?)?;
    for _ in 0..30 {
        let result = algo.train()?;
        if algo.iteration() % 10 == 0 {
            let of = |agent: &str| {
                let key = format!("env_runners/agent_episode_returns_mean/{agent}");
                result.get(&key).unwrap_or(f64::NAN)
            };
            let [random, table, network] = ["0", "1", "2"].map(of);
            println!(
                "{:>6} steps: random {random:>6.2}, table {table:>5.2}, network {network:>5.2}",
                algo.env_steps()
            );
        }
    }
    Ok(())
}
