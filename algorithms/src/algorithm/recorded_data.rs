//! The recorded data that an algorithm reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use rekindle_core::ModuleId;
use rekindle_env::Space;
use rekindle_offline::OfflineSource;

use crate::config::AlgorithmConfig;
use crate::execution_plan::check_batch_size;
use crate::{AlgorithmError, Result, TrainingConfig};

/// The spaces of the observations and actions of modules.
pub(super) type ModuleSpaces = BTreeMap<ModuleId, (Space, Space)>;

/// The recorded data that an algorithm reads.
pub(super) struct RecordedData {
    /// Those to learn from.
    pub(super) learned: Option<Arc<dyn OfflineSource>>,
    /// Those that evaluations estimate returns from.
    pub(super) estimated: Option<Arc<dyn OfflineSource>>,
    /// Why data of a restored run cannot be opened. The run acts and is evaluated without them.
    absent: Option<String>,
}

impl RecordedData {
    /// Opens the data of a configuration. A restored policy acts without data that cannot be opened.
    pub(super) fn open<T: TrainingConfig>(
        config: &AlgorithmConfig<T>,
        is_restoring: bool,
    ) -> Result<Self> {
        let mut absent = None;
        let mut unless_absent = |opened: Result<Option<Arc<dyn OfflineSource>>>| match opened {
            Err(AlgorithmError::Offline(error)) if is_restoring => {
                tracing::warn!("without its data, the run cannot train on: {error}");
                absent = Some(error.to_string());
                Ok(None)
            }
            opened => opened,
        };
        let learned = unless_absent(config.source())?;
        let held_out = unless_absent(config.held_out())?;
        let is_estimated = config.evaluation.off_policy_estimation.is_some();
        let estimated = held_out.or_else(|| learned.clone().filter(|_| is_estimated));
        if let Some(learned) = learned.as_ref().filter(|_| config.plan().learns_offline()) {
            check_batch_size(config.training.train_batch_size(), &**learned)?;
        }
        Ok(Self { learned, estimated, absent })
    }

    /// Returns the spaces of the data to learn from.
    pub(super) fn module_spaces(&self) -> Option<ModuleSpaces> {
        self.learned.as_ref().map(|learned| learned.module_spaces().clone())
    }

    /// Checks that all data were opened.
    pub(super) fn check_present(&self) -> Result<()> {
        match &self.absent {
            Some(reason) => Err(AlgorithmError::AbsentData { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Checks that the modules of the data exist, and have the same spaces.
    pub(super) fn check_spaces(&self, of_modules: &ModuleSpaces) -> Result<()> {
        let sources = self.learned.iter().chain(&self.estimated);
        sources.into_iter().try_for_each(|source| check_spaces(source.module_spaces(), of_modules))
    }
}

fn check_spaces(of_data: &ModuleSpaces, of_modules: &ModuleSpaces) -> Result<()> {
    for (id, found) in of_data {
        let Some(expected) = of_modules.get(id) else {
            let known = of_modules.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(AlgorithmError::NoModuleForData { id: id.clone(), known });
        };
        if found != expected {
            let text = |(observations, actions): &(_, _)| {
                format!("the observation space {observations} and the action space {actions}")
            };
            let (id, expected, found) = (id.clone(), text(expected), text(found));
            return Err(AlgorithmError::OtherSpacesInData { id, expected, found });
        }
    }
    Ok(())
}
