//! Estimates of the modules' returns from recorded data, as part of evaluations.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekindle_core::ModuleId;
use rekindle_env::EnvError;
use rekindle_offline::OfflineSource;

use super::Algorithm;
use crate::evaluation::Estimates;
use crate::{OffPolicyEstimation, Result};

impl Algorithm {
    /// Whether there is something to evaluate with: an environment, a custom function, or data to estimate from. Runs
    /// that learn from recordings may have none of them, and an environment on the device may have no counterpart on
    /// the host.
    #[must_use]
    pub fn can_evaluate(&self) -> bool {
        let can_play = self.can_play() && !self.plays_on_device_only();
        can_play || self.config.evaluation.off_policy_estimation.is_some()
    }

    /// Whether evaluations play episodes. Without an environment, they consist of estimates.
    pub(super) fn plays_evaluations(&self) -> bool {
        self.can_play() || self.config.evaluation.off_policy_estimation.is_none()
    }

    /// Whether there is an environment to play in, or a custom evaluation function. Without one, evaluations have no
    /// episodes.
    #[must_use]
    pub fn can_play(&self) -> bool {
        let evaluation = &self.config.evaluation;
        self.config.environment.env.is_some()
            || evaluation.evaluation_config.env.is_some()
            || evaluation.custom_evaluation_function.get().is_some()
    }

    /// Whether the environment of evaluations exists on the device alone.
    pub(super) fn plays_on_device_only(&self) -> bool {
        let of_training = &self.config.environment.env;
        let env = self.config.evaluation.evaluation_config.env.as_ref().or(of_training.as_ref());
        self.config.env_runners.on_device
            && env.is_some_and(|env| {
                matches!(rekindle_env::spec(env), Err(EnvError::UnknownEnv { .. }))
            })
    }

    /// Checks that every module of the data has what the estimators need.
    pub(super) fn check_estimation(&self) -> Result<()> {
        let Some((estimation, source)) = self.estimation() else { return Ok(()) };
        let check = |id: &ModuleId| estimation.check(self.module(id)?, &**source, id);
        source.module_spaces().keys().try_for_each(check)
    }

    /// Estimates the returns of the current weights. An estimator whose weights overflow does not end the training: a
    /// warning says that its estimate is left out.
    pub(super) fn estimates(&self) -> Result<Estimates> {
        let mut estimates = Estimates::new();
        if self.config.evaluation.off_policy_estimation.is_some() {
            self.data.check_present()?;
        }
        let Some((estimation, source)) = self.estimation() else { return Ok(estimates) };
        for id in source.module_spaces().keys() {
            let mut of_module = BTreeMap::new();
            for (estimator, estimate) in estimation.each(self.module(id)?, &**source, id)? {
                match estimate {
                    Ok(estimate) => drop(of_module.insert(estimator, estimate)),
                    Err(error) => {
                        tracing::warn!(module = id, "an estimate is left out: {error}");
                    }
                }
            }
            estimates.insert(id.clone(), of_module);
        }
        Ok(estimates)
    }

    fn estimation(&self) -> Option<(&OffPolicyEstimation, &Arc<dyn OfflineSource>)> {
        let estimation = self.config.evaluation.off_policy_estimation.as_ref()?;
        Some((estimation, self.data.estimated.as_ref()?))
    }
}
