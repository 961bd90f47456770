//! Runners that work in parallel.

mod asynchronous;
mod collect;
mod job;
mod pool;
mod recover;
mod state;
mod worker;

use rekindle_core::ConfigError;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};

use burn::module::Module;
use burn::prelude::Device;
use rekindle_core::ModuleId;
use rekindle_env::{EnvConfig, Space};
use rekindle_metrics::MetricsState;
use rekindle_rl_module::MultiRLModule;
use serde_json::Value;

use crate::env_runner::{
    Amount, ConnectorDeltas, EnvRunner, EnvRunnerConfig, PublishedAt, SampleOptions, share,
};
use crate::error::{Result, RunnerError};
use crate::experience::Experience;
use crate::multi_agent::MultiAgentConfig;
use crate::policy_bundle::{BundleConfig, PolicyBundle};
pub use asynchronous::Finished;
use asynchronous::Started;
use job::Done;
use pool::Pool;
use worker::{Worker, build};

/// Several runners with one configuration; RLlib's `EnvRunnerGroup`.
///
/// Runners are independent streams of experience, and threads only decide how many work at a time.
/// The same seed gives the same experience with any number of threads, unless a call does not wait
/// for all runners ([`sample_timeout_s`]). [`FaultToleranceConfig`] describes what happens when
/// runners fail.
///
/// [`sample_timeout_s`]: crate::FaultToleranceConfig::sample_timeout_s
/// [`FaultToleranceConfig`]: crate::FaultToleranceConfig
#[derive(Debug)]
pub struct EnvRunnerGroup {
    config: EnvRunnerConfig,
    device: Device,
    workers: Vec<Worker>,
    num_threads: usize,
    /// The modules that act, with the spaces of their observations and actions.
    spaces: BTreeMap<ModuleId, (Space, Space)>,
    /// The current modules, for runners that are recreated or were late.
    modules: Option<(MultiRLModule, PublishedAt)>,
    /// Whether a runner ever returned experience, or all environments of one ever began an episode.
    has_begun: bool,
    /// The channel through which threads return the runners.
    results: (Sender<Done>, Receiver<Done>),
    /// The number of the current call, which identifies results of earlier ones.
    call: u64,
    /// The threads of the runners.
    pool: Option<Pool>,
    /// Runners that were started individually, by index.
    started: BTreeMap<usize, Started>,
    /// What started runners did that finished while the group waited for something else.
    finished: VecDeque<Finished>,
    /// Calls whose results are dropped, because the runner was replaced.
    abandoned: BTreeSet<u64>,
    /// Experience that arrived after its call had ended.
    late: Vec<Experience>,
    num_late: u64,
    /// Consecutive calls without any experience.
    empty_calls: u64,
    /// The connector states of the last merge, kept if runners may miss a merge.
    merged_connectors: Option<BTreeMap<ModuleId, Value>>,
    /// The changes of the connector states of late runners.
    deltas: Vec<ConnectorDeltas>,
    /// Metrics of runners that were replaced.
    metrics: Vec<MetricsState>,
    /// Runners recreated since the last call of `take_recreated`.
    recreated: Vec<usize>,
}

impl EnvRunnerGroup {
    /// Creates `num_runners` runners that work on up to `num_threads` threads and act on `device`.
    /// They are multi-agent runners if the configuration has policies.
    ///
    /// # Errors
    /// [`RunnerError::Config`] if either number is 0, or the error of a runner's `new`.
    pub fn new(
        config: &EnvRunnerConfig,
        num_runners: usize,
        num_threads: usize,
        device: &Device,
    ) -> Result<Self> {
        for (field, value) in [("num_env_runners", num_runners), ("num_threads", num_threads)] {
            if value == 0 {
                let constraint = "it must be at least 1";
                return Err(ConfigError::new(field, "0", constraint).into());
            }
        }
        let runners = (0..num_runners).map(|index| build(config, index, 0, device));
        let mut group = Self::of_workers(config, num_threads, device);
        group.workers = runners.map(|runner| Ok(Worker::new(runner?))).collect::<Result<_>>()?;
        group.spaces = group.first()?.module_spaces();
        // Training has already checked the connectors that it shares with evaluation.
        if !config.in_evaluation {
            let reserve = config.multi_agent.iter().flat_map(|multi_agent| &multi_agent.policies);
            let modules: BTreeSet<_> = group.spaces.keys().chain(reserve).collect();
            config
                .check_connectors(&modules.into_iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        Ok(group)
    }

    /// Creates a group without runners, for modules with the given spaces that learn from recorded data. It never
    /// collects anything.
    #[must_use]
    pub fn without_environments(
        config: &EnvRunnerConfig,
        spaces: BTreeMap<ModuleId, (Space, Space)>,
        device: &Device,
    ) -> Self {
        Self { spaces, ..Self::of_workers(config, 1, device) }
    }

    fn of_workers(config: &EnvRunnerConfig, num_threads: usize, device: &Device) -> Self {
        Self {
            config: config.clone(),
            device: device.clone(),
            workers: Vec::new(),
            num_threads,
            spaces: BTreeMap::new(),
            modules: None,
            has_begun: false,
            results: channel(),
            call: 0,
            pool: None,
            started: BTreeMap::new(),
            finished: VecDeque::new(),
            abandoned: BTreeSet::new(),
            late: Vec::new(),
            num_late: 0,
            empty_calls: 0,
            merged_connectors: None,
            deltas: Vec::new(),
            metrics: Vec::new(),
            recreated: Vec::new(),
        }
    }

    /// Returns the modules that act, each with the space of its observations (after the connectors)
    /// and the space of its actions.
    #[must_use]
    pub fn module_spaces(&self) -> BTreeMap<ModuleId, (Space, Space)> {
        self.spaces.clone()
    }

    /// Returns the policies and the mapping from agents to them; `None` for one agent.
    #[must_use]
    pub fn multi_agent(&self) -> Option<&MultiAgentConfig> {
        self.config.multi_agent.as_ref()
    }

    /// Returns the available runners: all except those that failed for good or are late.
    pub fn runners(&self) -> impl Iterator<Item = &dyn EnvRunner> {
        self.workers.iter().filter_map(Worker::runner)
    }

    fn runners_mut(&mut self) -> impl Iterator<Item = &mut Box<dyn EnvRunner>> {
        self.workers.iter_mut().filter_map(Worker::runner_mut)
    }

    /// Changes a setting of all runners, and reverts the change if one runner rejects it. Reverting may cost
    /// the runners before it their running episodes.
    fn change_all<T>(
        &mut self,
        setting: &T,
        before: &T,
        set: impl Fn(&mut dyn EnvRunner, &T) -> Result<()>,
    ) -> Result<()> {
        let mut changed = Vec::new();
        for runner in self.runners_mut() {
            if let Err(error) = set(&mut **runner, setting) {
                for runner in changed {
                    set(runner, before)?;
                }
                return Err(error);
            }
            changed.push(&mut **runner);
        }
        Ok(())
    }

    fn first(&self) -> Result<&dyn EnvRunner> {
        self.runners().next().ok_or(RunnerError::NoHealthyRunner)
    }

    /// Returns the number of runners whose last call succeeded.
    #[must_use]
    pub fn num_healthy(&self) -> usize {
        self.workers.iter().filter(|worker| worker.is_healthy()).count()
    }

    /// Returns the number of times runners were recreated.
    #[must_use]
    pub fn num_restarts(&self) -> u64 {
        self.workers.iter().map(|worker| worker.health.restarts).sum()
    }

    /// Returns the number of times a call ended without a runner.
    #[must_use]
    pub fn num_late(&self) -> u64 {
        self.num_late
    }

    /// Sets the weights that all runners act with from now on. Nothing is copied, except weights on
    /// another device, which are copied once for all runners.
    ///
    /// # Errors
    /// As [`EnvRunner::set_modules`]. Runners before the one that rejects the modules act with them, the
    /// others keep theirs; pass modules for all of them next.
    #[doc(alias = "sync_weights")]
    pub fn set_modules(&mut self, modules: &MultiRLModule, at: PublishedAt) -> Result<()> {
        let modules = match modules.devices().iter().all(|device| *device == self.device) {
            true => modules.clone(),
            false => modules.valid().to_device(&self.device),
        };
        self.runners_mut().try_for_each(|runner| runner.set_modules(&modules, at))?;
        self.modules = Some((modules, at));
        Ok(())
    }

    /// Changes which modules act and which agents they act for. Waits for late runners first.
    ///
    /// # Errors
    /// As [`EnvRunner::set_multi_agent`]; the error of a late runner that failed;
    /// [`RunnerError::NoHealthyRunner`] if none is available. The group is then unchanged, except that
    /// connectors of modules that the change would have dropped may have lost what they learned.
    pub fn set_multi_agent(&mut self, multi_agent: &MultiAgentConfig) -> Result<()> {
        if self.workers.is_empty() {
            self.config.multi_agent = Some(multi_agent.clone());
            return Ok(());
        }
        self.wait_for_all()?;
        self.first()?;
        let before = self.config.multi_agent.clone().unwrap_or_default();
        self.change_all(multi_agent, &before, |runner, setting| {
            runner.set_multi_agent(setting.clone())
        })?;
        self.spaces = self.first()?.module_spaces();
        self.config.multi_agent = Some(multi_agent.clone());
        Ok(())
    }

    /// Checks that [`set_multi_agent`](Self::set_multi_agent), and then
    /// [`set_modules`](Self::set_modules) with these modules, would succeed. Changes nothing.
    ///
    /// # Errors
    /// As [`EnvRunner::check_multi_agent`]; [`RunnerError::NoHealthyRunner`] if none is available.
    pub fn check_multi_agent(
        &self,
        multi_agent: &MultiAgentConfig,
        modules: &MultiRLModule,
    ) -> Result<()> {
        match self.workers.is_empty() {
            true => Ok(()),
            false => self.first()?.check_multi_agent(multi_agent, modules),
        }
    }

    /// Recreates all environments with other settings, in which the next call begins new episodes.
    /// Waits for late runners first.
    ///
    /// # Errors
    /// As [`EnvRunner::set_env_config`]; the error of a late runner that failed. The settings are then
    /// unchanged. If only a later runner rejects them, as a callback may, the runners before it have
    /// recreated their environments and begin new episodes.
    pub fn set_env_config(&mut self, env_config: &EnvConfig) -> Result<()> {
        self.wait_for_all()?;
        let before = self.config.env_config.clone();
        self.change_all(env_config, &before, |runner, setting| runner.set_env_config(setting))?;
        self.config.env_config = env_config.clone();
        Ok(())
    }

    /// Makes the next call begin new episodes in all environments. Waits for late runners first.
    ///
    /// # Errors
    /// The error of a late runner that failed.
    pub fn reset_episodes(&mut self) -> Result<()> {
        self.wait_for_all()?;
        self.runners_mut().for_each(|runner| runner.reset_episodes());
        Ok(())
    }

    /// Returns the policy of a module with its connectors, as a bundle for deployment.
    ///
    /// # Errors
    /// As [`EnvRunner::policy_bundle_of`]; [`RunnerError::NoHealthyRunner`] if none is available.
    pub fn policy_bundle_of(&self, module_id: &str) -> Result<PolicyBundle> {
        if self.workers.is_empty() {
            return self.bundle_without_environments(module_id);
        }
        self.first()?.policy_bundle_of(module_id)
    }

    /// Returns the policy of a module without connectors, in a group without environments.
    fn bundle_without_environments(&self, module_id: &str) -> Result<PolicyBundle> {
        let (Some((modules, at)), Some((observations, actions))) =
            (&self.modules, self.spaces.get(module_id))
        else {
            let known = self.spaces.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(RunnerError::UnknownModule { module: module_id.into(), known });
        };
        let config = BundleConfig::of_runner(&self.config, module_id, observations, actions);
        let module = modules.module(module_id)?.valid();
        Ok(PolicyBundle::new(module, config, &self.device)?.with_env_steps(at.env_steps))
    }

    /// Collects `amount` with every available runner. Experience is in order of the runners.
    ///
    /// # Errors
    /// The first failure of a runner that is not tolerated, after all runners have finished.
    pub fn sample(&mut self, amount: Amount, options: SampleOptions) -> Result<Experience> {
        self.collect(|_, _| amount, options)
    }

    /// Collects `share(i, n)` with the `i`-th of the `n` available runners.
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

    /// Collects exactly `count` complete episodes, split evenly across runners; fewer if failures
    /// are ignored, runners are late or the time limit passes.
    ///
    /// # Errors
    /// As [`EnvRunnerGroup::sample`].
    pub fn sample_episodes(&mut self, count: usize, options: SampleOptions) -> Result<Experience> {
        self.collect(|i, n| Amount::Episodes(share(count, i, n)), options)
    }

    /// Collects at least `count` environment steps, split evenly across runners and rounded up to
    /// whole vector steps.
    ///
    /// # Errors
    /// As [`EnvRunnerGroup::sample`].
    pub fn sample_timesteps(&mut self, count: usize, options: SampleOptions) -> Result<Experience> {
        self.collect(|i, n| Amount::Timesteps(share(count, i, n)), options)
    }

    /// Merges the connector states of all runners. Afterwards, the states are equal.
    ///
    /// # Errors
    /// If the state of a connector does not serialize.
    pub fn sync_connectors(&mut self) -> Result<()> {
        if self.runners().next().is_none() {
            // No available runner: keep the deltas for the next sync.
            return Ok(());
        }
        let deltas = self.runners_mut().map(|runner| runner.take_connector_deltas());
        let deltas = deltas.collect::<Result<_>>()?;
        self.merge_connectors(deltas)
    }

    /// Takes the changes of the connectors' learned states since the last merge from all runners, for a group in another
    /// process that merges them.
    ///
    /// # Errors
    /// If the state of a connector does not serialize.
    pub fn take_connector_deltas(&mut self) -> Result<Vec<ConnectorDeltas>> {
        self.runners_mut().map(|runner| runner.take_connector_deltas()).collect()
    }

    /// Adds changes that runners of another group took. The next [merge](Self::sync_connectors) includes them.
    pub fn add_connector_deltas(&mut self, deltas: impl IntoIterator<Item = ConnectorDeltas>) {
        self.deltas.extend(deltas);
    }

    /// Returns the learned states of the connectors of each module, which are equal in all runners after a
    /// [merge](Self::sync_connectors).
    ///
    /// # Errors
    /// If no runner is available, or a state does not serialize.
    pub fn connector_states(&self) -> Result<BTreeMap<ModuleId, Value>> {
        self.first()?.connector_states()
    }

    /// Merges changes, and those that are still waiting, into the connector states of all runners.
    fn merge_connectors(&mut self, mut deltas: Vec<ConnectorDeltas>) -> Result<()> {
        if self.runners().next().is_none() {
            return Ok(());
        }
        deltas.append(&mut self.deltas);
        self.runners_mut().try_for_each(|runner| runner.merge_connector_deltas(&deltas))?;
        if self.config.fault_tolerance.sample_timeout_s.is_some() {
            self.merged_connectors = Some(self.first()?.connector_states()?);
        }
        Ok(())
    }

    /// Copies the connector states of another group to all runners, as evaluation does from
    /// training.
    ///
    /// # Errors
    /// If the other group has other connectors, or no available runner.
    pub fn copy_connectors_from(&mut self, other: &Self) -> Result<()> {
        let states = match &other.merged_connectors {
            Some(states) => states.clone(),
            None if other.workers.is_empty() => return Ok(()),
            None => other.first()?.connector_states()?,
        };
        self.set_connector_states(&states)
    }

    /// Sets the connector states of all runners, by module. Counts as a merge: what the states contain since
    /// their last merge counts once, and what these runners learned since theirs is dropped.
    ///
    /// # Errors
    /// If a state does not fit these connectors.
    pub fn set_connector_states(&mut self, states: &BTreeMap<ModuleId, Value>) -> Result<()> {
        let mut deltas = Vec::new();
        for runner in self.runners_mut() {
            runner.set_connector_states(states)?;
            // All runners now have the same changes, which the merge must not count once for each.
            deltas = vec![runner.take_connector_deltas()?];
        }
        self.deltas = deltas;
        self.merge_connectors(Vec::new())
    }

    /// Returns the indices of the runners recreated since the last call.
    pub fn take_recreated(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.recreated)
    }

    /// Reads the episodes of earlier calls that are still on the device, for
    /// [`take_metrics`](Self::take_metrics).
    ///
    /// # Errors
    /// As [`EnvRunner::read_device`].
    pub fn read_device(&mut self) -> Result<()> {
        self.runners_mut().try_for_each(|runner| runner.read_device())
    }

    /// Returns the metrics that every runner logged since the last call.
    pub fn take_metrics(&mut self) -> Vec<MetricsState> {
        let mut metrics: Vec<_> = self.runners_mut().map(|runner| runner.take_metrics()).collect();
        metrics.append(&mut self.metrics);
        metrics
    }
}
