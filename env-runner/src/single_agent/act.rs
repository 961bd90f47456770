//! Computation of actions from observations.

use std::time::Instant;

use rekindle_core::{Batch, Columns, host_batch};
use rekindle_env::{Buffer, Space};

use super::SingleAgentEnvRunner;
use crate::connectors::{ConnectorContext, LastStep};
use crate::env_runner::SampleOptions;
use crate::env_runner::checks::find_non_finite;
use crate::error::{Result, RunnerError};

impl SingleAgentEnvRunner {
    /// Passes the environments' observations through the connectors. `starts` says which
    /// environments began an episode in the last step; `None` if all were reset.
    pub(super) fn observe(&mut self, starts: Option<&[bool]>) -> Result<()> {
        let started = Instant::now();
        let step = starts.map(|starts| LastStep {
            actions: &self.sampler.actions,
            rewards: &self.rewards,
            starts,
            is_final: false,
            slots: None,
        });
        let cx = ConnectorContext { update: self.base.config.update_connectors, step };
        let seen = self.env_to_module.transform(&self.step.observations, cx)?;
        self.observations.clear();
        self.observations.extend_from(seen, 0..seen.rows())?;
        self.base.timers.env_to_module += started.elapsed();
        Ok(())
    }

    /// Chooses an action for every environment.
    pub(super) fn act(&mut self, options: SampleOptions) -> Result<()> {
        if options.random_actions {
            let rngs = &mut self.base.action_rngs;
            return self.sampler.sample_uniform(&mut self.module_to_env, rngs);
        }
        let acting = self.module.as_ref().ok_or(RunnerError::NoModule)?;
        let started = Instant::now();
        let device = &self.base.device;
        let mut batch =
            Batch::new().with(Columns::OBS, host_batch::upload(&self.observations, device)?);
        if let Some(memory) = &self.memory {
            batch.insert(Columns::STATE_IN, host_batch::upload(&memory.state, device)?);
        }
        let outputs = if options.explore {
            acting.module.forward_exploration(&batch)?
        } else {
            acting.module.forward_inference(&batch)?
        };
        let inferred = Instant::now();
        self.base.timers.inference += inferred - started;
        if let Some(memory) = &mut self.memory {
            host_batch::download_into(outputs.column(Columns::STATE_OUT)?, &mut memory.next)?;
        }
        let rngs = options.explore.then_some(&mut self.base.action_rngs[..]);
        let sampled = self.sampler.sample(&acting.module, &outputs, rngs);
        sampled.map_err(|error| error.in_env(&self.base.config.env, |row| row))?;
        self.base.timers.module_to_env += inferred.elapsed();
        let (space, actions) = (self.module_to_env.input_space(), &self.sampler.actions);
        self.check_actions(space, actions, || format!("module `{}`", acting.module.spec().module()))
    }

    /// Fails on an action that is not finite; `origin` says where it comes from.
    pub(super) fn check_actions(
        &self,
        space: &Space,
        actions: &Buffer,
        origin: impl FnOnce() -> String,
    ) -> Result<()> {
        match find_non_finite(space, actions) {
            None => Ok(()),
            Some((index, value)) => {
                let env = self.base.config.env.clone();
                Err(RunnerError::InvalidAction { env, index, value, origin: origin() })
            }
        }
    }
}
