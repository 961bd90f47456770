//! Runners side by side.

use std::collections::BTreeMap;

use burn::prelude::Device;
use rekindle_core::metrics::MetricsState;
use rekindle_core::{Checkpointable, ModuleId, State};
use rekindle_env::{EnvConfig, Space};
use rekindle_rl_module::MultiRLModule;

use crate::{
    Amount, EnvRunner, EnvRunnerConfig, Experience, MultiAgentConfig, MultiAgentEnvRunner,
    PolicyBundle, Result, RunnerError, SampleOptions, SingleAgentEnvRunner,
};

/// Several runners of one configuration; RLlib's `EnvRunnerGroup`.
///
/// Runners are independent streams of experience; threads only decide how many work at a time. The
/// same seed gives the same experience for any number of threads.
#[derive(Debug)]
pub struct EnvRunnerGroup {
    runners: Vec<Box<dyn EnvRunner>>,
    num_threads: usize,
    /// Runners that were replaced since the last call of `take_recreated`.
    recreated: Vec<usize>,
}

impl EnvRunnerGroup {
    /// `num_runners` runners that work on up to `num_threads` threads and act on `device`:
    /// multi-agent ones if the configuration has policies.
    ///
    /// # Errors
    /// [`RunnerError::InvalidConfig`] for no runner or no thread, or as a runner's `new`.
    pub fn new(
        config: &EnvRunnerConfig,
        num_runners: usize,
        num_threads: usize,
        device: &Device,
    ) -> Result<Self> {
        for (field, value) in [("num_env_runners", num_runners), ("num_threads", num_threads)] {
            if value == 0 {
                let constraint = "it must be at least 1".into();
                return Err(RunnerError::InvalidConfig { field, value: "0".into(), constraint });
            }
        }
        let runner = |index| -> Result<Box<dyn EnvRunner>> {
            let config = config.clone();
            Ok(match config.multi_agent {
                Some(_) => Box::new(MultiAgentEnvRunner::new(config, index, device)?),
                None => Box::new(SingleAgentEnvRunner::new(config, index, device)?),
            })
        };
        let runners = (0..num_runners).map(runner).collect::<Result<_>>()?;
        Ok(Self { runners, num_threads, recreated: Vec::new() })
    }

    /// The modules that play, with the space of the observations as each sees them and the space of
    /// its actions.
    pub fn module_spaces(&self) -> BTreeMap<ModuleId, (Space, Space)> {
        self.runners[0].module_spaces()
    }

    /// The runners.
    pub fn runners(&self) -> &[Box<dyn EnvRunner>] {
        &self.runners
    }

    /// Gives all runners the weights they act with from now on; nothing is copied.
    ///
    /// # Errors
    /// As [`EnvRunner::set_modules`].
    pub fn set_modules(&mut self, modules: &MultiRLModule, weights_seq_no: u64) -> Result<()> {
        self.runners.iter_mut().try_for_each(|runner| runner.set_modules(modules, weights_seq_no))
    }

    /// Changes which modules play and which agents play with them.
    ///
    /// # Errors
    /// As [`EnvRunner::set_multi_agent`].
    pub fn set_multi_agent(&mut self, multi_agent: &MultiAgentConfig) -> Result<()> {
        self.runners.iter_mut().try_for_each(|runner| runner.set_multi_agent(multi_agent.clone()))
    }

    /// Makes all environments anew with other settings, in which episodes begin with the next sample.
    ///
    /// # Errors
    /// As [`EnvRunner::set_env_config`].
    pub fn set_env_config(&mut self, env_config: &EnvConfig) -> Result<()> {
        self.runners.iter_mut().try_for_each(|runner| runner.set_env_config(env_config))
    }

    /// Lets all environments begin a new episode with the next sample.
    pub fn reset_episodes(&mut self) {
        self.runners.iter_mut().for_each(|runner| runner.reset_episodes());
    }

    /// The policy of a module as the runners act with it, ready to be deployed.
    ///
    /// # Errors
    /// As [`EnvRunner::policy_bundle_of`].
    pub fn policy_bundle_of(&self, module_id: &str) -> Result<PolicyBundle> {
        self.runners[0].policy_bundle_of(module_id)
    }

    /// Every runner collects `amount`; what they bring comes in order of the runners.
    ///
    /// # Errors
    /// The error of the first runner that failed, after all are done.
    pub fn sample(&mut self, amount: Amount, options: SampleOptions) -> Result<Experience> {
        let amounts = vec![amount; self.runners.len()];
        self.sample_each(&amounts, options)
    }

    /// Exactly `count` whole episodes, spread evenly over the runners.
    ///
    /// # Errors
    /// As [`EnvRunnerGroup::sample`].
    pub fn sample_episodes(&mut self, count: usize, options: SampleOptions) -> Result<Experience> {
        self.sample_each(&self.shares(count, Amount::Episodes), options)
    }

    /// At least `count` steps, spread evenly over the runners and rounded up to whole steps of their
    /// vectors.
    ///
    /// # Errors
    /// As [`EnvRunnerGroup::sample`].
    pub fn sample_timesteps(&mut self, count: usize, options: SampleOptions) -> Result<Experience> {
        self.sample_each(&self.shares(count, Amount::Timesteps), options)
    }

    /// What each runner does of a whole; the first ones more if it does not divide.
    fn shares(&self, count: usize, amount: fn(usize) -> Amount) -> Vec<Amount> {
        let n = self.runners.len();
        (0..n).map(|i| amount(count / n + usize::from(i < count % n))).collect()
    }

    fn sample_each(&mut self, amounts: &[Amount], options: SampleOptions) -> Result<Experience> {
        let mut all = Experience::default();
        for experience in self.collect_each(amounts, options)? {
            all.extend(experience);
        }
        Ok(all)
    }

    fn collect_each(
        &mut self,
        amounts: &[Amount],
        options: SampleOptions,
    ) -> Result<Vec<Experience>> {
        let threads = self.num_threads.min(self.runners.len());
        let jobs = self.runners.iter_mut().zip(amounts);
        if threads <= 1 {
            return jobs.map(|(runner, amount)| runner.collect(*amount, options)).collect();
        }
        let mut jobs: Vec<_> = jobs.collect();
        let per_thread = jobs.len().div_ceil(threads);
        let results: Vec<Result<Experience>> = std::thread::scope(|scope| {
            let workers: Vec<_> = jobs
                .chunks_mut(per_thread)
                .map(|chunk| {
                    let first = chunk.first().map_or(0, |(runner, _)| runner.index());
                    let work = move || -> Vec<_> {
                        chunk.iter_mut().map(|(r, amount)| r.collect(**amount, options)).collect()
                    };
                    (first, scope.spawn(work))
                })
                .collect();
            let joined = workers.into_iter().map(|(runner, worker)| {
                worker.join().unwrap_or_else(|panic| vec![Err(panicked(runner, &*panic))])
            });
            joined.flatten().collect()
        });
        results.into_iter().collect()
    }

    /// Shares what the connectors of all runners have learnt: afterwards they are equal.
    ///
    /// # Errors
    /// If a connector's state does not serialise.
    pub fn sync_connectors(&mut self) -> Result<()> {
        let runners = self.runners.iter_mut();
        let deltas: Vec<_> =
            runners.map(|runner| runner.take_connector_deltas()).collect::<Result<_>>()?;
        self.runners.iter_mut().try_for_each(|runner| runner.merge_connector_deltas(&deltas))
    }

    /// Gives all runners the connector state of another group (evaluation follows training).
    ///
    /// # Errors
    /// If the other group has other connectors.
    pub fn copy_connectors_from(&mut self, other: &Self) -> Result<()> {
        let states = other.runners[0].connector_states()?;
        self.runners.iter_mut().try_for_each(|runner| runner.set_connector_states(&states))
    }

    /// Takes down that the runner of an index is a new one, for
    /// [`take_recreated`](Self::take_recreated).
    pub fn note_recreated(&mut self, runner: usize) {
        self.recreated.push(runner);
    }

    /// The indices of the runners that were replaced since the last call.
    pub fn take_recreated(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.recreated)
    }

    /// What every runner logged since the last call.
    pub fn take_metrics(&mut self) -> Vec<MetricsState> {
        self.runners.iter_mut().map(|runner| runner.take_metrics()).collect()
    }
}

fn panicked(runner: usize, panic: &(dyn std::any::Any + Send)) -> RunnerError {
    let message = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "no message".into());
    RunnerError::Panicked { runner, message }
}

impl Checkpointable for EnvRunnerGroup {
    type Error = RunnerError;

    fn get_state(&self) -> Result<State> {
        let mut state = State::new();
        for runner in &self.runners {
            state.insert_component(format!("runner_{}", runner.index()), runner.get_state()?);
        }
        Ok(state)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        if state.components.len() != self.runners.len() {
            return Err(RunnerError::InvalidState {
                component: "env runner group",
                reason: format!(
                    "it was saved with {} runners, there are {}",
                    state.components.len(),
                    self.runners.len()
                ),
            });
        }
        for runner in &mut self.runners {
            runner.set_state(state.component(&format!("runner_{}", runner.index()))?)?;
        }
        Ok(())
    }
}
