//! Acting and recording without waiting for the device.

use burn::prelude::*;
use rekindle_core::ConfigError;
use rekindle_core::rng::{Purpose, stream};
use rekindle_core::{AnyTensor, Batch, Columns, DEFAULT_MODULE_ID, Generator};
use rekindle_rl_module::{AnyRLModule, ExplorationContext};

use super::sampler::Sampler;
use super::{TensorEnv, TensorRollout, TensorVectorEnv, TensorVectorStep, noise};
use crate::env_runner::acting::on_device;
use crate::env_runner::checks::check_module;
use crate::error::Result;

/// Steps copies of a [`TensorEnv`] with a module, all on one device.
///
/// A [`SingleAgentEnvRunner`](crate::SingleAgentEnvRunner) reads every action back; here the host only
/// submits work, and nothing is read before a rollout is complete. There are no connectors, no
/// callbacks and no stateful modules, and actions and rewards that are not finite are not detected.
/// Continuous actions are scaled from [−1, 1] to their bounds and clipped, as `normalize_actions` does
/// by default.
#[derive(Debug)]
pub struct TensorEnvRunner<E> {
    pub(super) env: TensorVectorEnv<E>,
    pub(super) num_envs: usize,
    pub(super) device: Device,
    sampler: Sampler,
    /// The observations that the next actions are chosen on, `[N, O]`.
    pub(super) observations: Tensor<2>,
    /// Sums of the rewards of the running episodes, `[N]`.
    pub(super) returns: Tensor<1>,
    pub(super) action_rng: Generator,
    pub(super) reset_rng: Generator,
    /// The steps at the start of the last call, and the streams of exploration passes.
    pub(super) exploration: ExplorationContext,
}

/// The columns of each step.
#[derive(Default)]
struct Recorded {
    observations: Vec<Tensor<2>>,
    next_observations: Vec<Tensor<2>>,
    actions: Vec<AnyTensor>,
    action_dist_inputs: Vec<Tensor<2>>,
    action_logp: Vec<Tensor<1>>,
    rewards: Vec<Tensor<1>>,
    terminated: Vec<Tensor<1>>,
    done: Vec<Tensor<1>>,
    returns: Vec<Tensor<1>>,
    lens: Vec<Tensor<1>>,
}

impl<E: TensorEnv> TensorEnvRunner<E> {
    /// Creates a runner of `num_envs` copies on `device`, in their initial states.
    ///
    /// # Errors
    /// [`RunnerError::Config`](crate::RunnerError::Config) if `num_envs` is 0, or the action space has no sampler for
    /// devices.
    pub fn new(env: E, num_envs: usize, seed: u64, device: &Device) -> Result<Self> {
        Self::of_group(env, num_envs, [seed, 0], device)
    }

    /// Creates a runner whose random streams have the key of a seed and the index of a runner.
    ///
    /// # Errors
    /// As [`TensorEnvRunner::new`].
    pub(super) fn of_group(
        env: E,
        num_envs: usize,
        [seed, runner]: [u64; 2],
        device: &Device,
    ) -> Result<Self> {
        at_least_one("num_envs", num_envs)?;
        let sampler = Sampler::new(env.action_space())?;
        let device = device.clone().inner();
        let action_rng = stream(seed, runner, 0, Purpose::Action);
        let mut reset_rng = stream(seed, runner, 0, Purpose::EnvSeed);
        let first = first_draws(&env, num_envs, &mut reset_rng, &device);
        let env = TensorVectorEnv::new(env, first);
        let observations = env.observations();
        let returns = Tensor::zeros([num_envs], &device);
        let mut exploration = ExplorationContext::for_runner(seed, runner);
        exploration.set_slots(&(0..num_envs).collect::<Vec<_>>());
        Ok(Self {
            env,
            num_envs,
            device,
            sampler,
            observations,
            returns,
            action_rng,
            reset_rng,
            exploration,
        })
    }

    /// Returns the dynamics.
    #[must_use]
    pub fn env(&self) -> &E {
        self.env.env()
    }

    /// Begins new episodes in all copies.
    pub fn reset(&mut self) {
        let (n, device) = (self.num_envs, &self.device);
        let first = first_draws(self.env.env(), n, &mut self.reset_rng, device);
        let state = self.env.env().reset(first);
        self.env.set_state(state, Tensor::zeros([n], device));
        self.observations = self.env.observations();
        self.returns = Tensor::zeros([n], device);
    }

    /// Replaces the dynamics by others with the same spaces, and begins new episodes.
    pub(super) fn replace_env(&mut self, env: E) {
        let first = first_draws(&env, self.num_envs, &mut self.reset_rng, &self.device);
        self.env = TensorVectorEnv::new(env, first);
        self.observations = self.env.observations();
        self.returns = Tensor::zeros([self.num_envs], &self.device);
    }

    /// Records `steps` steps of every copy with sampled actions. Episodes continue in the next call.
    ///
    /// # Errors
    /// [`RunnerError::Config`](crate::RunnerError::Config) if `steps` is 0, for a stateful module, or for one with another
    /// distribution than the default of its action space,
    /// [`RunnerError::ModuleSpaces`](crate::RunnerError::ModuleSpaces) for one that was built for other
    /// spaces; otherwise if a forward pass fails.
    pub fn sample(&mut self, module: &AnyRLModule, steps: usize) -> Result<TensorRollout> {
        at_least_one("steps", steps)?;
        let module = on_device(module, &self.device);
        self.check(short_name::<E>(), &module)?;
        let shape = [steps, self.num_envs];
        let noise = self.sampler.noise(&mut self.action_rng, shape, &self.device);
        let [steps, envs] = shape;
        let draws = self.env.env().reset_draws();
        let resets = noise::uniform(&mut self.reset_rng, [steps, envs, draws], &self.device);

        let mut recorded = Recorded::default();
        for t in 0..steps {
            let at = |tensor: &Tensor<3>| tensor.clone().narrow(0, t, 1).squeeze_dim::<2>(0);
            let batch = Batch::new().with(Columns::OBS, self.observations.clone());
            let outputs = module.forward_exploration(&batch, &mut self.exploration)?;
            let inputs = outputs.float::<2>(Columns::ACTION_DIST_INPUTS)?;
            let actions = self.sampler.sample(inputs.clone(), at(&noise));
            let column = actions.sampled.clone().into();
            recorded.action_logp.push(module.distribution().logp(inputs.clone(), &column)?);
            recorded.action_dist_inputs.push(inputs);
            recorded.actions.push(actions.sampled);
            let step = self.env.step(actions.for_env, at(&resets));
            self.record(&mut recorded, step);
        }
        let sampled = self.exploration.env_steps() + (steps * envs) as u64;
        self.exploration.set_env_steps(sampled);
        recorded.finish(shape)
    }

    fn record(&mut self, recorded: &mut Recorded, step: TensorVectorStep) {
        let done = step.terminated.clone().bool_or(step.truncated);
        let returns = self.returns.clone() + step.rewards.clone();
        self.returns = returns.clone().mask_fill(done.clone(), 0.0);
        let seen = std::mem::replace(&mut self.observations, step.observations);
        recorded.observations.push(seen);
        recorded.next_observations.push(step.next_observations);
        recorded.rewards.push(step.rewards);
        recorded.terminated.push(step.terminated.float());
        recorded.done.push(done.float());
        recorded.returns.push(returns);
        recorded.lens.push(step.elapsed);
    }

    /// Checks that the runner of environment `name` can act with a module.
    pub(super) fn check(&self, name: &str, module: &AnyRLModule) -> Result<()> {
        let refuse = |field, value: &str, constraint: String| {
            Err(ConfigError::new(field, value, constraint).into())
        };
        let (expected, found) = (self.sampler.distribution(), module.distribution().name());
        if expected != found {
            let constraint = format!("a `TensorEnvRunner` draws from {expected} for this space");
            return refuse("action distribution", found, constraint);
        }
        let env = self.env();
        let spaces = [env.observation_space(), env.action_space()];
        check_module(name, DEFAULT_MODULE_ID, module, spaces)?;
        if module.initial_state()?.is_some() {
            let constraint = "a `TensorEnvRunner` does not support stateful modules; use a \
                              `SingleAgentEnvRunner`";
            return refuse("module", module.spec().module(), constraint.into());
        }
        Ok(())
    }
}

impl Recorded {
    /// Joins the steps of each column in one tensor.
    fn finish(self, shape: [usize; 2]) -> Result<TensorRollout> {
        let flat = |tensors: Vec<Tensor<1>>| Tensor::cat(tensors, 0);
        let by_step = |tensors| flat(tensors).reshape(shape);
        Ok(TensorRollout {
            observations: Tensor::cat(self.observations, 0),
            next_observations: Tensor::cat(self.next_observations, 0),
            actions: AnyTensor::cat(&self.actions)?,
            action_dist_inputs: Tensor::cat(self.action_dist_inputs, 0),
            action_logp: flat(self.action_logp),
            rewards: by_step(self.rewards),
            terminated: by_step(self.terminated),
            done: by_step(self.done),
            episode_returns: by_step(self.returns),
            episode_lens: by_step(self.lens),
        })
    }
}

/// Draws the random numbers of the first states.
fn first_draws(
    env: &impl TensorEnv,
    num_envs: usize,
    rng: &mut Generator,
    device: &Device,
) -> Tensor<2> {
    noise::uniform(rng, [1, num_envs, env.reset_draws()], device).squeeze_dim(0)
}

fn short_name<E>() -> &'static str {
    let name = std::any::type_name::<E>();
    name.rsplit("::").next().unwrap_or(name)
}

fn at_least_one(field: &'static str, value: usize) -> Result<()> {
    if value > 0 {
        return Ok(());
    }
    let constraint = "it must be at least 1";
    Err(ConfigError::new(field, "0", constraint).into())
}
