//! Estimates of a policy's return from recorded data.

mod values;

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::device::DeviceSpec;
use rekindle_core::settings::between_0_and_1;
use rekindle_core::{Batch, Columns, ConfigError, Generator, host_batch, settings};
use rekindle_env::{Buffer, Space};
use rekindle_env_runner::{Rollout, SegmentEnd};
use rekindle_offline::{
    Estimate, EstimatedEpisode, Estimator, OfflineError, OfflineSource, estimate_with_interval,
};
use rekindle_rl_module::{AnyRLModule, Role};

use self::values::Values;
use crate::Result;

settings! {
    /// Estimates of a policy's return from recorded data, without playing it; RLlib's
    /// `off_policy_estimation_methods`.
    pub struct OffPolicyEstimation {
        /// The estimators.
        into methods: Vec<Estimator> = vec![Estimator::WeightedImportanceSampling];
        /// Files or directories with the recordings that evaluations read, or directories of Minari datasets, as in
        /// [`OfflineDataConfig::input_`](crate::OfflineDataConfig::input_). Without any, they read the data that the
        /// algorithm learns from, where estimates of the policy are too high: hold some recordings out.
        #[serde(deserialize_with = "rekindle_core::settings::paths")]
        field input_: Vec<PathBuf> = Vec::new();
        /// Discount factor per step.
        set gamma: f64 = 0.99, between_0_and_1;
        /// Actions of the policy whose values are averaged at each observation, for the direct method and the doubly
        /// robust estimator. A sum over all actions needs none, in a `Discrete` space.
        set num_actions: usize = 32, few;
        /// Probability with which the interval covers the return, about.
        set confidence: f64 = 0.95, between_0_and_1;
        /// Draws of the bootstrap.
        set resamples: usize = 1000, few;
        /// Seed of the bootstrap and of the sampled actions.
        set seed: u64 = 0;
    }
}

/// The largest number of draws.
const MOST: usize = 100_000;

/// Checks a number of draws.
fn few(field: &'static str, draws: &usize) -> Result<(), ConfigError> {
    match (1..=MOST).contains(draws) {
        true => Ok(()),
        false => Err(ConfigError::new(field, draws, format!("it must be from 1 to {MOST}"))),
    }
}

impl OffPolicyEstimation {
    /// Appends a file or a directory with recordings that evaluations read.
    #[must_use]
    pub fn input_(mut self, path: impl Into<PathBuf>) -> Self {
        self.input_.push(path.into());
        self
    }

    /// Estimates the return of a module that samples its actions, from the episodes of `id` in the data.
    ///
    /// | policy | importance sampling | direct method | doubly robust |
    /// |---|---|---|---|
    /// | in a `Discrete` space, with critics of all actions | yes | exact mean over actions | yes |
    /// | in any other space, with critics of given actions | yes | mean over `num_actions` sampled actions | yes |
    /// | deterministic, with critics (TD3, DDPG, TD3+BC) | no: it has no density | the value of its action | no |
    /// | without critics (BC, MARWIL, PPO) | yes | no | no |
    /// | a Q-network (DQN), or with memory | no | no | no |
    ///
    /// Importance sampling needs the log-probabilities `action_logp` of the policy that acted. Those of a space without
    /// a density, such as `Discrete`, are at most 0. Estimates from values are right if the critics estimate the values of the policy, as those of CQL and SAC do.
    ///
    /// ```no_run
    /// use burn::prelude::Device;
    /// use rekindle_algorithms::{BcConfig, OffPolicyEstimation};
    /// use rekindle_offline::ParquetData;
    ///
    /// let mut algo = BcConfig::new()
    ///     .offline_data(|o| o.input_("data"))
    ///     .build(&Device::flex())?;
    /// algo.train()?;
    /// let (data, id) = (ParquetData::open("held_out")?, "default_policy");
    /// for (estimator, estimate) in OffPolicyEstimation::default().estimate(algo.module(id)?, &data, id)? {
    ///     println!("{}: {:.1} [{:.1}, {:.1}]", estimator.name(), estimate.value, estimate.low, estimate.high);
    /// }
    /// # Ok::<(), rekindle_algorithms::AlgorithmError>(())
    /// ```
    ///
    /// # Errors
    /// [`OfflineError::Estimator`] if the data or the module lack what an estimator needs, or if an estimate is not
    /// finite; the errors of the data and of the module.
    pub fn estimate(
        &self,
        module: &AnyRLModule,
        data: &dyn OfflineSource,
        id: &str,
    ) -> Result<BTreeMap<Estimator, Estimate>> {
        let estimates = self.each(module, data, id)?.into_iter();
        estimates.map(|(estimator, estimate)| Ok((estimator, estimate?))).collect()
    }

    /// Estimates as [`estimate`](Self::estimate) does. An estimator that fails does not keep the others from it.
    pub(crate) fn each(
        &self,
        module: &AnyRLModule,
        data: &dyn OfflineSource,
        id: &str,
    ) -> Result<Vec<(Estimator, Result<Estimate, OfflineError>)>> {
        self.check_fields()?;
        self.check_module(module)?;
        let module = module.valid();
        let mut rng = Generator::from_seed(self.seed);
        let mut episodes = Vec::new();
        let limit = LogpLimit::of(data, id);
        for part in 0..data.num_parts() {
            for rollout in data.read(part)?.remove(id).unwrap_or_default() {
                let acted = self.acted_logp(&rollout, &limit)?;
                self.add(&module, &rollout, acted, &mut rng, &mut episodes)?;
            }
        }
        let estimate = |&estimator: &Estimator| {
            let mut rng = Generator::from_seed(self.seed);
            let (gamma, resamples) = (self.gamma, self.resamples);
            let estimate = estimate_with_interval(
                estimator,
                &episodes,
                gamma,
                self.confidence,
                resamples,
                &mut rng,
            );
            (estimator, estimate)
        };
        Ok(self.methods.iter().map(estimate).collect())
    }

    /// Checks that a module and the first episodes of `id` in the data have what the estimators need.
    ///
    /// # Errors
    /// As [`estimate`](Self::estimate).
    pub(crate) fn check(
        &self,
        module: &AnyRLModule,
        data: &dyn OfflineSource,
        id: &str,
    ) -> Result<()> {
        self.check_fields()?;
        self.check_module(module)?;
        for part in 0..data.num_parts() {
            let rollouts = data.read(part)?.remove(id).unwrap_or_default();
            if let Some(rollout) = rollouts.first() {
                return self.acted_logp(rollout, &LogpLimit::of(data, id)).map(|_| ());
            }
        }
        Ok(())
    }

    /// Returns the first estimator that needs something.
    fn needing(&self, needs: fn(Estimator) -> bool) -> Option<Estimator> {
        self.methods.iter().copied().find(|estimator| needs(*estimator))
    }

    fn check_module(&self, module: &AnyRLModule) -> Result<()> {
        let has_policy = !module.has_role(Role::QNet) || module.has_role(Role::StochasticPolicy);
        let has_density = module.distribution().has_density();
        let has_memory = module.initial_state()?.is_some();
        let reasons = [
            (
                self.methods.first().copied().filter(|_| !has_policy),
                "a Q-network has no probabilities of actions; estimate a policy that samples them",
            ),
            (
                self.methods.first().copied().filter(|_| has_memory),
                "it computes probabilities of single steps, and the module has memory; use a module without",
            ),
            (
                self.needing(Estimator::needs_ratios).filter(|_| !has_density),
                "it weights actions by their probability, and a deterministic policy has no density; use the direct method",
            ),
            (
                self.needing(Estimator::needs_values)
                    .filter(|_| !module.has_role(Role::ActionCritic)),
                "it needs the values of actions, and the module has no critics; use one that has, such as that of CQL or SAC, or importance sampling",
            ),
        ];
        match reasons.into_iter().find_map(|(estimator, reason)| Some((estimator?, reason))) {
            Some((estimator, reason)) => Err(refusal(estimator, reason.into()).into()),
            None => Ok(()),
        }
    }

    /// Returns the log-probabilities of the policy that acted; `None` if no estimator reads them.
    fn acted_logp<'a>(&self, rollout: &'a Rollout, limit: &LogpLimit) -> Result<Option<&'a [f32]>> {
        let Some(estimator) = self.needing(Estimator::needs_ratios) else { return Ok(None) };
        let Some(acted) = rollout.extras.get(Columns::ACTION_LOGP) else {
            let reason = "the data have no column `action_logp`; record a policy that samples its actions, or use the direct method";
            return Err(refusal(estimator, reason.into()).into());
        };
        let acted = acted.as_f32()?;
        let is_valid = |logp: &f32| logp.is_finite() && *logp <= limit.most;
        let Some(row) = acted.iter().position(|logp| !is_valid(logp)) else {
            return Ok(Some(acted));
        };
        let found = acted[row];
        let mut segments = rollout.segments.iter();
        let segment = segments.find(|segment| segment.rows().any(|of| of == row));
        let of_episode = match segment {
            Some(segment) => format!(" of episode {}", segment.episode),
            None => String::new(),
        };
        let why = match found.is_finite() {
            true => format!(", and a log-probability in {} is at most 0", limit.space),
            false => String::new(),
        };
        let reason = format!(
            "the column `action_logp`{of_episode} in the data holds {found}{why}; correct or leave out the episodes with such rows"
        );
        Err(refusal(estimator, reason).into())
    }

    /// Adds the segments of a rollout.
    fn add(
        &self,
        module: &AnyRLModule,
        rollout: &Rollout,
        acted: Option<&[f32]>,
        rng: &mut Generator,
        episodes: &mut Vec<EstimatedEpisode>,
    ) -> Result<()> {
        let mut log_ratios = Vec::new();
        if let Some(acted) = acted {
            let actions = host_batch::upload(&rollout.actions, &device_of(module)?)?;
            let logp = module.distribution().logp(inputs(module, &rollout.observations)?, &actions);
            let ratios = to_f32(logp?)?.into_iter().zip(acted);
            log_ratios = ratios.map(|(logp, acted)| f64::from(logp) - f64::from(*acted)).collect();
        }
        let mut values = match self.needing(Estimator::needs_values) {
            Some(_) => Some(Values::new(module, self.num_actions, rng)?),
            None => None,
        };
        let of_all_steps = self.needing(|estimator| estimator == Estimator::DoublyRobust).is_some();
        for (index, segment) in rollout.segments.iter().enumerate() {
            let rows: Vec<usize> = segment.rows().collect();
            let mut episode = EstimatedEpisode {
                rewards: rows.iter().map(|row| f64::from(rollout.rewards[*row])).collect(),
                log_ratios: rows.iter().filter_map(|row| log_ratios.get(*row).copied()).collect(),
                ..EstimatedEpisode::default()
            };
            if let Some(values) = &mut values {
                let read = if of_all_steps { &rows[..] } else { &rows[..rows.len().min(1)] };
                let observations = rollout.observations.gather(read)?;
                episode.values = values.of_policy(&observations)?;
                if of_all_steps {
                    let after = rollout.final_observations.slice(index..index + 1)?;
                    episode.values.extend(match segment.end {
                        SegmentEnd::Terminated => vec![0.0],
                        _ => values.of_policy(&after)?,
                    });
                    let actions = rollout.actions.gather(&rows)?;
                    episode.action_values = values.of_actions(&observations, &actions)?;
                }
            }
            episodes.push(episode);
        }
        Ok(())
    }
}

/// The largest log-probability that actions of a space may have.
struct LogpLimit {
    most: f32,
    /// The space in words.
    space: String,
}

impl LogpLimit {
    /// Log-probabilities are computed in `f32`, and may exceed 0 a little.
    const ROUNDING: f32 = 1e-4;

    fn of(data: &dyn OfflineSource, id: &str) -> Self {
        let space = data.module_spaces().get(id).map(|(_, actions)| actions);
        let most = match space {
            Some(space) if !has_density(space) => Self::ROUNDING,
            _ => f32::INFINITY,
        };
        Self { most, space: space.map(ToString::to_string).unwrap_or_default() }
    }
}

/// Whether the probability of an action is a density, which may exceed 1: whether the space has a Box.
fn has_density(space: &Space) -> bool {
    match space {
        Space::Box(_) => true,
        Space::Dict(parts) => parts.iter().any(|(_, part)| has_density(part)),
        Space::Tuple(parts) => parts.spaces().iter().any(has_density),
        _ => false,
    }
}

fn refusal(estimator: Estimator, reason: String) -> OfflineError {
    OfflineError::Estimator { estimator: estimator.name(), reason }
}

/// Returns the device of a module. One without parameters computes on the CPU.
fn device_of(module: &AnyRLModule) -> Result<Device> {
    match module.devices().into_iter().next() {
        Some(device) => Ok(device),
        None => Ok(DeviceSpec::Cpu.open()?),
    }
}

/// Returns observations as the batch of a module.
fn batch_of(module: &AnyRLModule, observations: &Buffer) -> Result<Batch> {
    let column = host_batch::upload(observations, &device_of(module)?)?;
    Ok(Batch::new().with(Columns::OBS, column))
}

/// Returns the inputs of the action distribution.
fn inputs(module: &AnyRLModule, observations: &Buffer) -> Result<Tensor<2>> {
    let outputs = module.forward_train(&batch_of(module, observations)?)?;
    Ok(outputs.float::<2>(Columns::ACTION_DIST_INPUTS)?)
}
