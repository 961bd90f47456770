//! The settings of runs whose modules learn from batches by themselves.

use rekindle_core::settings::at_least_one;
use rekindle_core::{ConfigError, settings};
use rekindle_learner::Loss;

use super::loss::OnlyLearnOnBatch;
use crate::config::{EnvRunnersConfig, TrainingConfig};
use crate::execution_plan::{ExecutionPlan, Synchronous};

settings! {
    /// The settings of a run whose modules learn from batches by themselves. What else there is to set belongs
    /// to the module ([`RLModuleSpec::model_config`](rekindle_rl_module::RLModuleSpec::model_config)).
    pub struct LearnOnBatchTraining {
        /// Environment steps per update; agent steps if
        /// [`count_steps_by`](crate::MultiAgentSection::count_steps_by) says so.
        set train_batch_size: usize = 512, at_least_one;
    }
}

impl TrainingConfig for LearnOnBatchTraining {
    const NAME: &'static str = "LearnOnBatch";
    const COMMON_FIELDS: &'static [&'static str] = &["train_batch_size"];

    fn validate(&self) -> Result<(), ConfigError> {
        self.check_fields()
    }

    fn check_sampling(&self, _: &EnvRunnersConfig) -> Result<(), ConfigError> {
        Ok(())
    }

    fn train_batch_size(&self) -> usize {
        self.train_batch_size
    }

    fn loss(&self) -> Box<dyn Loss> {
        Box::new(OnlyLearnOnBatch)
    }

    fn execution_plan(&self) -> Box<dyn ExecutionPlan> {
        Box::new(Synchronous::new(self.train_batch_size))
    }
}
