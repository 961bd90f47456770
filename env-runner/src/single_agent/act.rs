//! From observations to actions.

use std::time::Instant;

use rekindle_core::{Batch, Columns, host_batch};

use super::{SampleOptions, SingleAgentEnvRunner, Timers};
use crate::connectors::{ConnectorContext, LastStep};
use crate::{Result, RunnerError};

impl SingleAgentEnvRunner {
    /// Passes the environments' observations to where the module sees them. `starts` says which
    /// environments began an episode in the last step; `None` if all were reset.
    pub(super) fn observe(&mut self, starts: Option<&[bool]>, timers: &mut Timers) -> Result<()> {
        let started = Instant::now();
        let step = starts.map(|starts| LastStep {
            actions: &self.sampler.actions,
            rewards: &self.rewards,
            starts,
            is_final: false,
            slots: None,
        });
        let cx = ConnectorContext { update: self.config.update_connectors, step };
        let seen = self.env_to_module.transform(&self.step.observations, cx)?;
        self.observations.clear();
        self.observations.extend_from(seen, 0..seen.rows())?;
        timers.env_to_module += started.elapsed();
        Ok(())
    }

    /// Chooses an action for every environment.
    pub(super) fn act(&mut self, options: SampleOptions, timers: &mut Timers) -> Result<()> {
        if options.random_actions {
            return self.sampler.sample_uniform(&mut self.module_to_env, &mut self.action_rngs);
        }
        let acting = self.module.as_ref().ok_or(RunnerError::NoModule)?;
        let started = Instant::now();
        let mut batch =
            Batch::new().with(Columns::OBS, host_batch::upload(&self.observations, &self.device)?);
        if let Some(memory) = &self.memory {
            batch.insert(Columns::STATE_IN, host_batch::upload(&memory.state, &self.device)?);
        }
        let outputs = if options.explore {
            acting.module.forward_exploration(&batch)?
        } else {
            acting.module.forward_inference(&batch)?
        };
        let inferred = Instant::now();
        timers.inference += inferred - started;
        if let Some(memory) = &mut self.memory {
            host_batch::download_into(outputs.column(Columns::STATE_OUT)?, &mut memory.next)?;
        }
        let rngs = options.explore.then_some(&mut self.action_rngs[..]);
        self.sampler.sample(&acting.module, &outputs, rngs)?;
        timers.module_to_env += inferred.elapsed();
        Ok(())
    }
}
