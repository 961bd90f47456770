//! Estimates of a policy's return from recorded data.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::activation::softmax;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::settings::{at_least_one, between_0_and_1};
use rekindle_core::{Batch, Columns, Generator, host_batch, settings};
use rekindle_env::Space;
use rekindle_env_runner::{Rollout, SegmentEnd};
use rekindle_offline::{
    Estimate, EstimatedEpisode, Estimator, OfflineError, OfflineSource, estimate_with_interval,
};
use rekindle_rl_module::{AnyRLModule, Role};

use crate::Result;

settings! {
    /// Estimates of a policy's return from recorded data, without playing it; RLlib's
    /// `off_policy_estimation_methods`.
    pub struct OffPolicyEstimation {
        /// The estimators.
        into methods: Vec<Estimator> = vec![Estimator::WeightedImportanceSampling];
        /// Discount factor per step.
        set gamma: f64 = 0.99, between_0_and_1;
        /// Probability with which the interval covers the return, about.
        set confidence: f64 = 0.95, between_0_and_1;
        /// Draws of the bootstrap.
        set resamples: usize = 1000, at_least_one;
        /// Seed of the bootstrap.
        set seed: u64 = 0;
    }
}

impl OffPolicyEstimation {
    /// Estimates the return of a module that samples its actions, from the episodes of `id` in the data.
    ///
    /// Importance sampling needs the log-probabilities `action_logp` of the policy that acted. The direct method and
    /// the doubly robust estimator need the values of all actions, as modules with critics in a `Discrete` space have:
    /// those of CQL, IQL and SAC, for example. They are right if these values are those of the policy.
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
    /// [`OfflineError::Estimator`] if the data or the module lack what an estimator needs; the errors of the data and
    /// of the module.
    pub fn estimate(
        &self,
        module: &AnyRLModule,
        data: &dyn OfflineSource,
        id: &str,
    ) -> Result<BTreeMap<Estimator, Estimate>> {
        self.check_fields()?;
        let module = module.valid();
        let mut episodes = Vec::new();
        for part in 0..data.num_parts() {
            for rollout in data.read(part)?.remove(id).unwrap_or_default() {
                self.add(&module, &rollout, &mut episodes)?;
            }
        }
        let mut estimates = BTreeMap::new();
        for &estimator in &self.methods {
            let mut rng = Generator::from_seed(self.seed);
            let estimate = estimate_with_interval(
                estimator,
                &episodes,
                self.gamma,
                self.confidence,
                self.resamples,
                &mut rng,
            )?;
            estimates.insert(estimator, estimate);
        }
        Ok(estimates)
    }

    /// Adds the segments of a rollout.
    fn add(
        &self,
        module: &AnyRLModule,
        rollout: &Rollout,
        episodes: &mut Vec<EstimatedEpisode>,
    ) -> Result<()> {
        let needed =
            |needs: fn(Estimator) -> bool| self.methods.iter().copied().find(|e| needs(*e));
        let refuse = |estimator: Estimator, reason: &str| {
            let (estimator, reason) = (estimator.name(), reason.to_owned());
            OfflineError::Estimator { estimator, reason }
        };
        if module.initial_state()?.is_some()
            && let Some(estimator) = self.methods.first()
        {
            let reason = "it computes probabilities of single steps, and the module has memory; use one without";
            return Err(refuse(*estimator, reason).into());
        }
        let mut log_ratios = Vec::new();
        if let Some(estimator) = needed(Estimator::needs_ratios) {
            let Some(acted) = rollout.extras.get(Columns::ACTION_LOGP) else {
                let reason = "the data have no column `action_logp`; record a policy that samples its actions, or use the direct method";
                return Err(refuse(estimator, reason).into());
            };
            let actions = host_batch::upload(&rollout.actions, &device_of(module))?;
            let logp =
                module.distribution().logp(inputs(module, &rollout.observations)?, &actions)?;
            let acted = acted.as_f32()?.iter();
            let ratios = to_f32(logp)?.into_iter().zip(acted);
            log_ratios = ratios.map(|(logp, acted)| f64::from(logp) - f64::from(*acted)).collect();
        }
        let mut estimated = None;
        if let Some(estimator) = needed(Estimator::needs_values) {
            let of = |observations| values(module, observations);
            let (Some(now), Some(last)) =
                (of(&rollout.observations)?, of(&rollout.final_observations)?)
            else {
                let reason = "it needs the values of all actions; use a module with critics in a Discrete space, or pass values to `estimate`";
                return Err(refuse(estimator, reason).into());
            };
            estimated = Some((now, last));
        }
        let first = match module.spec().get_action_space() {
            Some(Space::Discrete(space)) => space.start(),
            _ => 0,
        };
        for (index, segment) in rollout.segments.iter().enumerate() {
            let rows: Vec<usize> = segment.rows().collect();
            let pick = |column: &[f64]| -> Vec<f64> {
                rows.iter().filter_map(|row| column.get(*row).copied()).collect()
            };
            let mut episode = EstimatedEpisode {
                rewards: rows.iter().map(|row| f64::from(rollout.rewards[*row])).collect(),
                log_ratios: pick(&log_ratios),
                ..EstimatedEpisode::default()
            };
            if let Some((now, last)) = &estimated {
                let taken = rollout.actions.as_i64()?;
                episode.values = pick(&now.of_policy);
                episode.values.push(match segment.end {
                    SegmentEnd::Terminated => 0.0,
                    _ => last.of_policy[index],
                });
                let of_action = |row: &usize| now.of_actions[*row][(taken[*row] - first) as usize];
                episode.action_values = rows.iter().map(of_action).collect();
            }
            episodes.push(episode);
        }
        Ok(())
    }
}

/// Values of some observations.
struct Values {
    /// The mean over the actions of the policy.
    of_policy: Vec<f64>,
    of_actions: Vec<Vec<f64>>,
}

fn device_of(module: &AnyRLModule) -> Device {
    module.devices().into_iter().next().unwrap_or_default()
}

/// Returns the inputs of the action distribution.
fn inputs(module: &AnyRLModule, observations: &rekindle_env::Buffer) -> Result<Tensor<2>> {
    let column = host_batch::upload(observations, &device_of(module))?;
    let outputs = module.forward_train(&Batch::new().with(Columns::OBS, column))?;
    Ok(outputs.float::<2>(Columns::ACTION_DIST_INPUTS)?)
}

/// Returns the values of observations in a `Discrete` space; `None` for a module without them.
fn values(module: &AnyRLModule, observations: &rekindle_env::Buffer) -> Result<Option<Values>> {
    let is_discrete = matches!(module.spec().get_action_space(), Some(Space::Discrete(_)));
    if !is_discrete || !module.has_role(Role::ActionCritic) {
        return Ok(None);
    }
    let column = host_batch::upload(observations, &device_of(module))?;
    let batch = Batch::new().with(Columns::OBS, column);
    let q = module.compute_action_values(&batch)?.min_dim(1).squeeze_dim::<2>(1);
    let [rows, actions] = q.dims();
    let probabilities = to_f32(softmax(inputs(module, observations)?, 1))?;
    let q: Vec<f64> = to_f32(q)?.into_iter().map(f64::from).collect();
    let of_actions: Vec<Vec<f64>> = q.chunks(actions.max(1)).map(<[f64]>::to_vec).collect();
    let of_policy = (0..rows).map(|row| {
        let probabilities = &probabilities[row * actions..(row + 1) * actions];
        let pairs = of_actions[row].iter().zip(probabilities);
        // Forbidden actions have probability 0, and values that need not be finite.
        pairs.filter(|(_, p)| **p > 0.0).map(|(q, p)| q * f64::from(*p)).sum()
    });
    Ok(Some(Values { of_policy: of_policy.collect(), of_actions }))
}
