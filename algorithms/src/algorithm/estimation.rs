//! Estimates of the modules' returns from recorded data, as part of evaluations.

use std::sync::Arc;

use rekindle_core::ModuleId;
use rekindle_metrics::Metrics;
use rekindle_offline::{OfflineSource, ParquetData};

use super::Algorithm;
use crate::config::AlgorithmConfig;
use crate::{OffPolicyEstimation, Result};

/// Opens the data that evaluations estimate from: those of the settings, or the data to learn from.
pub(super) fn source_of<T>(
    config: &AlgorithmConfig<T>,
    learned: Option<&Arc<dyn OfflineSource>>,
) -> Result<Option<Arc<dyn OfflineSource>>> {
    Ok(match &config.evaluation.off_policy_estimation {
        Some(estimation) if !estimation.input_.is_empty() => {
            Some(Arc::new(ParquetData::open_all(&estimation.input_)?))
        }
        Some(_) => learned.cloned(),
        None => None,
    })
}

impl Algorithm {
    /// Whether there is something to evaluate with: an environment, a custom function, or data to estimate from. Runs
    /// that learn from recordings may have none of them.
    #[must_use]
    pub fn can_evaluate(&self) -> bool {
        self.can_play() || self.config.evaluation.off_policy_estimation.is_some()
    }

    /// Whether evaluations play episodes. Without an environment, they consist of estimates.
    pub(super) fn plays_evaluations(&self) -> bool {
        self.can_play() || self.config.evaluation.off_policy_estimation.is_none()
    }

    fn can_play(&self) -> bool {
        let evaluation = &self.config.evaluation;
        self.config.environment.env.is_some()
            || evaluation.evaluation_config.env.is_some()
            || evaluation.custom_evaluation_function.get().is_some()
    }

    /// Checks that every module of the data has what the estimators need.
    pub(super) fn check_estimation(&self) -> Result<()> {
        let Some((estimation, source)) = self.estimation() else { return Ok(()) };
        let check = |id: &ModuleId| estimation.check(self.module(id)?, &**source, id);
        source.module_spaces().keys().try_for_each(check)
    }

    /// Estimates the returns of the current weights.
    pub(super) fn estimates(&self) -> Result<Metrics> {
        let mut metrics = Metrics::new();
        let Some((estimation, source)) = self.estimation() else { return Ok(metrics) };
        for id in source.module_spaces().keys() {
            for (estimator, estimate) in estimation.estimate(self.module(id)?, &**source, id)? {
                let key = format!("off_policy_estimation/{id}/{}", estimator.name());
                metrics.insert(format!("{key}_low"), estimate.low);
                metrics.insert(format!("{key}_high"), estimate.high);
                metrics.insert(key, estimate.value);
            }
        }
        Ok(metrics)
    }

    fn estimation(&self) -> Option<(&OffPolicyEstimation, &Arc<dyn OfflineSource>)> {
        let estimation = self.config.evaluation.off_policy_estimation.as_ref()?;
        Some((estimation, self.estimation_source.as_ref()?))
    }
}
