//! Runners side by side.

use burn::prelude::Device;
use rekindle_core::metrics::MetricsState;
use rekindle_core::{Checkpointable, State};
use rekindle_env::Space;
use rekindle_rl_module::AnyRLModule;

use crate::{
    Amount, EnvRunnerConfig, PolicyBundle, Result, Rollout, RunnerError, SampleOptions,
    SingleAgentEnvRunner,
};

/// Several runners of one configuration; RLlib's `EnvRunnerGroup`.
///
/// Runners are independent streams of experience; threads only decide how many work at a time. The
/// same seed gives the same rollouts for any number of threads.
#[derive(Debug)]
pub struct EnvRunnerGroup {
    runners: Vec<SingleAgentEnvRunner>,
    num_threads: usize,
}

impl EnvRunnerGroup {
    /// `num_runners` runners that work on up to `num_threads` threads and act on `device`.
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
        let runners =
            (0..num_runners).map(|i| SingleAgentEnvRunner::new(config.clone(), i, device));
        Ok(Self { runners: runners.collect::<Result<_>>()?, num_threads })
    }

    /// The space of the observations as a module sees them.
    pub fn observation_space(&self) -> &Space {
        self.runners[0].observation_space()
    }

    /// The space of the actions.
    pub fn action_space(&self) -> &Space {
        self.runners[0].action_space()
    }

    /// The runners.
    pub fn runners(&self) -> &[SingleAgentEnvRunner] {
        &self.runners
    }

    /// Gives all runners the weights they act with from now on; nothing is copied.
    ///
    /// # Errors
    /// As [`SingleAgentEnvRunner::set_module`].
    pub fn set_module(&mut self, module: &AnyRLModule, weights_seq_no: u64) -> Result<()> {
        self.runners.iter_mut().try_for_each(|runner| runner.set_module(module, weights_seq_no))
    }

    /// The policy that the runners act with, ready to be deployed.
    ///
    /// # Errors
    /// As [`SingleAgentEnvRunner::policy_bundle`].
    pub fn policy_bundle(&self) -> Result<PolicyBundle> {
        self.runners[0].policy_bundle()
    }

    /// Every runner samples `amount`; rollouts come in order of the runners.
    ///
    /// # Errors
    /// The error of the first runner that failed, after all are done.
    pub fn sample(&mut self, amount: Amount, options: SampleOptions) -> Result<Vec<Rollout>> {
        let amounts = vec![amount; self.runners.len()];
        self.sample_each(&amounts, options)
    }

    /// Exactly `count` whole episodes, spread evenly over the runners.
    ///
    /// # Errors
    /// As [`EnvRunnerGroup::sample`].
    pub fn sample_episodes(
        &mut self,
        count: usize,
        options: SampleOptions,
    ) -> Result<Vec<Rollout>> {
        let n = self.runners.len();
        let share = |i| Amount::Episodes(count / n + usize::from(i < count % n));
        self.sample_each(&(0..n).map(share).collect::<Vec<_>>(), options)
    }

    fn sample_each(&mut self, amounts: &[Amount], options: SampleOptions) -> Result<Vec<Rollout>> {
        let threads = self.num_threads.min(self.runners.len());
        let jobs = self.runners.iter_mut().zip(amounts);
        if threads <= 1 {
            return jobs.map(|(runner, amount)| runner.sample(*amount, options)).collect();
        }
        let mut jobs: Vec<_> = jobs.collect();
        let per_thread = jobs.len().div_ceil(threads);
        let results: Vec<Result<Rollout>> = std::thread::scope(|scope| {
            let workers: Vec<_> = jobs
                .chunks_mut(per_thread)
                .map(|chunk| {
                    let first = chunk.first().map_or(0, |(runner, _)| runner.index());
                    let work = move || -> Vec<_> {
                        chunk.iter_mut().map(|(r, amount)| r.sample(**amount, options)).collect()
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
            runners.map(|r| r.env_to_module().take_deltas()).collect::<Result<_>>()?;
        for runner in &mut self.runners {
            runner.env_to_module().merge(&deltas)?;
        }
        Ok(())
    }

    /// Gives all runners the connector state of another group (evaluation follows training).
    ///
    /// # Errors
    /// If the other group has other connectors.
    pub fn copy_connectors_from(&mut self, other: &mut Self) -> Result<()> {
        let state = other.runners[0].env_to_module().get_state()?;
        self.runners.iter_mut().try_for_each(|runner| runner.env_to_module().set_state(&state))
    }

    /// What every runner logged since the last call.
    pub fn take_metrics(&mut self) -> Vec<MetricsState> {
        self.runners.iter_mut().map(SingleAgentEnvRunner::take_metrics).collect()
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
