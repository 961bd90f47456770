//! Runners side by side.

mod collect;
mod queue;
mod recover;
mod state;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, Sender, channel};

use burn::module::Module;
use burn::prelude::Device;
use rekindle_core::ModuleId;
use rekindle_env::{EnvConfig, Space};
use rekindle_metrics::MetricsState;
use rekindle_rl_module::MultiRLModule;
use serde_json::Value;

use crate::single_agent::share;
use crate::{
    Amount, ConnectorDeltas, EnvRunner, EnvRunnerConfig, Experience, MultiAgentConfig,
    PolicyBundle, Result, RunnerError, SampleOptions,
};
use queue::Done;
use worker::{Worker, build};

/// Several runners of one configuration; RLlib's `EnvRunnerGroup`.
///
/// Runners are independent streams of experience; threads only decide how many work at a time. The
/// same seed gives the same experience for any number of threads, unless a call does not wait for
/// all runners: [`sample_timeout_s`]. What happens when runners fail is said by
/// [`FaultToleranceConfig`] too.
///
/// [`sample_timeout_s`]: crate::FaultToleranceConfig::sample_timeout_s
/// [`FaultToleranceConfig`]: crate::FaultToleranceConfig
#[derive(Debug)]
pub struct EnvRunnerGroup {
    config: EnvRunnerConfig,
    device: Device,
    workers: Vec<Worker>,
    num_threads: usize,
    /// The modules that play, with what each sees and does.
    spaces: BTreeMap<ModuleId, (Space, Space)>,
    /// What the runners act with, for those that are built anew or were away.
    modules: Option<(MultiRLModule, u64)>,
    /// What threads send the runners back through.
    results: (Sender<Done>, Receiver<Done>),
    /// The number of the call, to tell what earlier ones did not wait for.
    call: u64,
    /// What earlier calls did not wait for.
    late: Vec<Experience>,
    num_late: u64,
    /// Calls in a row that brought nothing.
    empty_calls: u64,
    /// What the connectors have learnt as of the last merge, kept if runners may miss one.
    merged_connectors: Option<BTreeMap<ModuleId, Value>>,
    /// What the connectors of runners that were away have learnt.
    deltas: Vec<ConnectorDeltas>,
    /// What runners logged before they were replaced.
    metrics: Vec<MetricsState>,
    /// Runners that were built anew since the last call of `take_recreated`.
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
        let runners = (0..num_runners).map(|index| build(config, index, 0, device));
        let workers: Vec<_> =
            runners.map(|runner| Ok(Worker::new(runner?))).collect::<Result<_>>()?;
        let mut group = Self {
            config: config.clone(),
            device: device.clone(),
            workers,
            num_threads,
            spaces: BTreeMap::new(),
            modules: None,
            results: channel(),
            call: 0,
            late: Vec::new(),
            num_late: 0,
            empty_calls: 0,
            merged_connectors: None,
            deltas: Vec::new(),
            metrics: Vec::new(),
            recreated: Vec::new(),
        };
        group.spaces = group.first()?.module_spaces();
        // Training has checked the connectors that evaluation shares with it.
        if !config.in_evaluation {
            let reserve = config.multi_agent.iter().flat_map(|multi_agent| &multi_agent.policies);
            let modules: BTreeSet<_> = group.spaces.keys().chain(reserve).collect();
            config
                .check_connectors(&modules.into_iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        Ok(group)
    }

    /// The modules that play, with the space of the observations as each sees them and the space of
    /// its actions.
    pub fn module_spaces(&self) -> BTreeMap<ModuleId, (Space, Space)> {
        self.spaces.clone()
    }

    /// The runners that are ready: all, unless some failed or are late.
    pub fn runners(&self) -> impl Iterator<Item = &dyn EnvRunner> {
        self.workers.iter().filter_map(Worker::here)
    }

    fn runners_mut(&mut self) -> impl Iterator<Item = &mut Box<dyn EnvRunner>> {
        self.workers.iter_mut().filter_map(Worker::here_mut)
    }

    fn first(&self) -> Result<&dyn EnvRunner> {
        self.runners().next().ok_or(RunnerError::NoHealthyRunner)
    }

    /// Runners that did what they were asked for last.
    pub fn num_healthy(&self) -> usize {
        self.workers.iter().filter(|worker| worker.is_healthy()).count()
    }

    /// How often runners were built anew.
    pub fn num_restarts(&self) -> u64 {
        self.workers.iter().map(|worker| worker.health.restarts).sum()
    }

    /// How often a call did not wait for a runner.
    pub fn num_late(&self) -> u64 {
        self.num_late
    }

    /// Gives all runners the weights they act with from now on. Nothing is copied, but for weights
    /// on another device: those are, once for all runners.
    ///
    /// # Errors
    /// As [`EnvRunner::set_modules`].
    pub fn set_modules(&mut self, modules: &MultiRLModule, weights_seq_no: u64) -> Result<()> {
        let modules = match modules.devices().iter().all(|device| *device == self.device) {
            true => modules.clone(),
            false => modules.valid().to_device(&self.device),
        };
        self.modules = Some((modules.clone(), weights_seq_no));
        self.runners_mut().try_for_each(|runner| runner.set_modules(&modules, weights_seq_no))
    }

    /// Changes which modules play and which agents play with them, after waiting for runners that
    /// are late.
    ///
    /// # Errors
    /// As [`EnvRunner::set_multi_agent`].
    pub fn set_multi_agent(&mut self, multi_agent: &MultiAgentConfig) -> Result<()> {
        self.wait_for_all()?;
        self.runners_mut().try_for_each(|runner| runner.set_multi_agent(multi_agent.clone()))?;
        self.config.multi_agent = Some(multi_agent.clone());
        self.spaces = self.first()?.module_spaces();
        Ok(())
    }

    /// Makes all environments anew with other settings, in which episodes begin with the next sample,
    /// after waiting for runners that are late.
    ///
    /// # Errors
    /// As [`EnvRunner::set_env_config`].
    pub fn set_env_config(&mut self, env_config: &EnvConfig) -> Result<()> {
        self.wait_for_all()?;
        self.runners_mut().try_for_each(|runner| runner.set_env_config(env_config))?;
        self.config.env_config = env_config.clone();
        Ok(())
    }

    /// Lets all environments begin a new episode with the next sample, after waiting for runners
    /// that are late.
    ///
    /// # Errors
    /// If one of those failed.
    pub fn reset_episodes(&mut self) -> Result<()> {
        self.wait_for_all()?;
        self.runners_mut().for_each(|runner| runner.reset_episodes());
        Ok(())
    }

    /// The policy of a module as the runners act with it, ready to be deployed.
    ///
    /// # Errors
    /// As [`EnvRunner::policy_bundle_of`]; [`RunnerError::NoHealthyRunner`] if none is ready.
    pub fn policy_bundle_of(&self, module_id: &str) -> Result<PolicyBundle> {
        self.first()?.policy_bundle_of(module_id)
    }

    /// Every runner collects `amount`; what they bring comes in order of the runners.
    ///
    /// # Errors
    /// The first failure of a runner that is not tolerated, after all are done.
    pub fn sample(&mut self, amount: Amount, options: SampleOptions) -> Result<Experience> {
        self.collect(|_, _| amount, options)
    }

    /// The `i`-th of the `n` runners that are ready collects `share(i, n)`.
    ///
    /// # Errors
    /// As [`EnvRunnerGroup::sample`].
    pub fn sample_each(
        &mut self,
        share: impl Fn(usize, usize) -> Amount,
        options: SampleOptions,
    ) -> Result<Experience> {
        self.collect(share, options)
    }

    /// Exactly `count` whole episodes, spread evenly over the runners; less if failures are ignored
    /// or runners are late.
    ///
    /// # Errors
    /// As [`EnvRunnerGroup::sample`].
    pub fn sample_episodes(&mut self, count: usize, options: SampleOptions) -> Result<Experience> {
        self.collect(|i, n| Amount::Episodes(share(count, i, n)), options)
    }

    /// At least `count` steps, spread evenly over the runners and rounded up to whole steps of their
    /// vectors.
    ///
    /// # Errors
    /// As [`EnvRunnerGroup::sample`].
    pub fn sample_timesteps(&mut self, count: usize, options: SampleOptions) -> Result<Experience> {
        self.collect(|i, n| Amount::Timesteps(share(count, i, n)), options)
    }

    /// Shares what the connectors of all runners have learnt: afterwards they are equal.
    ///
    /// # Errors
    /// If a connector's state does not serialise.
    pub fn sync_connectors(&mut self) -> Result<()> {
        if self.runners().next().is_none() {
            // Nobody to tell: what was learnt waits for the next time.
            return Ok(());
        }
        let deltas = self.runners_mut().map(|runner| runner.take_connector_deltas());
        let mut deltas: Vec<_> = deltas.collect::<Result<_>>()?;
        deltas.append(&mut self.deltas);
        self.runners_mut().try_for_each(|runner| runner.merge_connector_deltas(&deltas))?;
        if self.config.fault_tolerance.sample_timeout_s.is_some() {
            self.merged_connectors = Some(self.first()?.connector_states()?);
        }
        Ok(())
    }

    /// Gives all runners the connector state of another group (evaluation follows training).
    ///
    /// # Errors
    /// If the other group has other connectors, or no runner that is ready.
    pub fn copy_connectors_from(&mut self, other: &Self) -> Result<()> {
        let states = match &other.merged_connectors {
            Some(states) => states.clone(),
            None => other.first()?.connector_states()?,
        };
        self.runners_mut().try_for_each(|runner| runner.set_connector_states(&states))
    }

    /// Gives all runners a state of their connectors, by module.
    ///
    /// # Errors
    /// If a state is not one of these connectors.
    pub fn set_connector_states(&mut self, states: &BTreeMap<ModuleId, Value>) -> Result<()> {
        self.runners_mut().try_for_each(|runner| runner.set_connector_states(states))
    }

    /// The indices of the runners that were built anew since the last call.
    pub fn take_recreated(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.recreated)
    }

    /// What every runner logged since the last call.
    pub fn take_metrics(&mut self) -> Vec<MetricsState> {
        let mut metrics: Vec<_> = self.runners_mut().map(|runner| runner.take_metrics()).collect();
        metrics.append(&mut self.metrics);
        metrics
    }
}
