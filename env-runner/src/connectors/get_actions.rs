//! The sampling rule: from a module's outputs to actions.

use rekindle_catalog::Distribution;
use rekindle_core::host_batch::download_into;
use rekindle_core::{Batch, Columns, Generator};
use rekindle_env::Buffer;
use rekindle_rl_module::AnyRLModule;

use crate::{Result, RunnerError};

/// RLlib's `GetActions`, with the memory it needs between steps.
///
/// 1. `actions` in the outputs are used as they are.
/// 2. Otherwise actions come from the distribution that `action_dist_inputs` parameterise: sampled
///    when exploring, from the deterministic twin when not.
/// 3. With `action_dist_inputs`, exploration also gives the log-probability of the actions, unless
///    the module put `action_logp` out itself. Of actions drawn here the distribution says it while
///    drawing, when it knows them before any rounding.
#[derive(Debug)]
pub(crate) struct ActionSampler {
    /// The actions, a row per environment.
    pub(crate) actions: Buffer,
    /// `action_dist_inputs`, row-major; empty if the module put none out.
    pub(crate) inputs: Vec<f32>,
    /// `action_logp`; empty if unknown.
    pub(crate) logp: Vec<f32>,
}

impl ActionSampler {
    pub(crate) fn new(actions: Buffer) -> Self {
        Self { actions, inputs: Vec::new(), logp: Vec::new() }
    }

    /// Fills the buffers from the outputs of a pass, a row per row of `actions`. With `rngs`, one
    /// stream per row, it explores; without, it takes the actions of the deterministic twin.
    pub(crate) fn sample(
        &mut self,
        module: &AnyRLModule,
        outputs: &Batch,
        rngs: Option<&mut [Generator]>,
    ) -> Result<()> {
        let distribution = &**module.distribution();
        let (rows, explore) = (self.actions.rows(), rngs.is_some());
        let has_actions = outputs.contains(Columns::ACTIONS);
        self.inputs.clear();
        self.logp.clear();
        if let Some(column) = outputs.get(Columns::ACTION_DIST_INPUTS) {
            self.inputs = column.tensor()?.to_f32()?;
            let expected = rows * distribution.required_input_dim();
            self.check(module, Columns::ACTION_DIST_INPUTS, expected, self.inputs.len())?;
        } else if !has_actions {
            return Err(RunnerError::NoActions {
                pass: if explore { "forward_exploration" } else { "forward_inference" },
                module: module.spec().module().into(),
                found: outputs.iter().map(|(name, _)| name).collect::<Vec<_>>().join(", "),
            });
        }
        if has_actions {
            download_into(outputs.column(Columns::ACTIONS)?, &mut self.actions)?;
        } else {
            self.draw(distribution, rngs)?;
        }
        if !explore {
            return Ok(());
        }
        if let Some(column) = outputs.get(Columns::ACTION_LOGP) {
            self.logp = column.tensor()?.to_f32()?;
            self.check(module, Columns::ACTION_LOGP, rows, self.logp.len())?;
        } else if has_actions && !self.inputs.is_empty() {
            let width = distribution.required_input_dim();
            for (i, inputs) in self.inputs.chunks_exact(width).enumerate() {
                self.logp.push(distribution.row_logp(inputs, self.actions.row(i))?);
            }
        }
        Ok(())
    }

    /// Fills the actions and, when exploring, their log-probabilities.
    fn draw(
        &mut self,
        distribution: &dyn Distribution,
        rngs: Option<&mut [Generator]>,
    ) -> Result<()> {
        let rows = self.inputs.chunks_exact(distribution.required_input_dim()).enumerate();
        match rngs {
            Some(rngs) => {
                for ((i, inputs), rng) in rows.zip(rngs) {
                    let action = self.actions.row_mut(i);
                    self.logp.push(distribution.sample_and_logp(inputs, rng, action)?);
                }
            }
            None => {
                for (i, inputs) in rows {
                    distribution.deterministic(inputs, self.actions.row_mut(i))?;
                }
            }
        }
        Ok(())
    }

    fn check(
        &self,
        module: &AnyRLModule,
        column: &'static str,
        expected: usize,
        found: usize,
    ) -> Result<()> {
        if expected == found {
            return Ok(());
        }
        let module = module.spec().module().into();
        Err(RunnerError::ColumnSize { module, column, expected, found })
    }
}
