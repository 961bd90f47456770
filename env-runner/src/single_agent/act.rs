//! Computation of actions from observations.

use std::time::Instant;

use super::SingleAgentEnvRunner;
use crate::connectors::{ConnectorContext, LastStep};
use crate::env_runner::SampleOptions;
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
        let (from, to) = (&self.step.observations, &mut self.observations);
        self.env_to_module.transform_into(from, to, cx)?;
        self.base.timers.env_to_module += started.elapsed();
        Ok(())
    }

    /// Chooses an action for every environment. Returns the time at which the module had finished. The clock is read
    /// rarely, because on small networks a reading takes about 1 % of a step.
    pub(super) fn act(&mut self, options: SampleOptions) -> Result<Instant> {
        let random = options.random_actions;
        if random && self.memory.is_none() {
            let started = Instant::now();
            self.act_at_random()?;
            return Ok(started);
        }
        let started = Instant::now();
        let seen = self.env_to_module.outputs_of(&self.step.observations, &self.observations);
        let states = self.memory.as_mut().map(|memory| (&memory.state, &mut memory.next));
        let exploration = (options.explore || random).then_some(&mut self.base.exploration);
        let acting = self.module.as_mut().ok_or(RunnerError::NoModule)?;
        let outputs = acting.forward(seen, states, exploration, &mut self.sampler)?;
        let inferred = Instant::now();
        self.base.timers.inference += inferred - started;
        if random {
            self.act_at_random()?;
            return Ok(inferred);
        }
        let rngs = options.explore.then_some(&mut self.base.action_rngs[..]);
        let space = self.module_to_env.input_space();
        let module = &acting.module;
        let sampled = self.sampler.sample_checked(module, outputs.as_ref(), rngs, space);
        let invalid = sampled.map_err(|error| error.in_env(&self.base.config.env, |row| row))?;
        if let Some(outputs) = outputs.filter(|_| options.explore && options.record) {
            self.sampler.keep_outputs(module, &outputs)?;
        }
        match invalid {
            None => Ok(inferred),
            Some(invalid) => {
                let origin = format!("module `{}`", module.spec().module());
                let row = invalid.row();
                Err(invalid.error(&self.base.config.env, row, origin))
            }
        }
    }

    fn act_at_random(&mut self) -> Result<()> {
        let seen = self.env_to_module.outputs_of(&self.step.observations, &self.observations);
        let rngs = &mut self.base.action_rngs;
        self.sampler.sample_uniform(&mut self.module_to_env, seen, rngs)
    }
}
