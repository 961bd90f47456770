//! The sampling rule: from a module's outputs to actions.

use rekindle_core::host_batch::download_into;
use rekindle_core::{Batch, Columns, Generator};
use rekindle_env::{Buffer, Discrete, Space};
use rekindle_rl_module::{AnyRLModule, ModuleError};

use super::{ConnectorContext, ConnectorPipeline};
use crate::env_runner::checks::{InvalidAction, find_non_finite};
use crate::env_runner::outputs::Outputs;
use crate::{Result, RunnerError};

/// The sampling rule, with the buffers it reuses between steps; RLlib's `GetActions`.
///
/// 1. `actions` in the outputs are used as they are.
/// 2. Otherwise actions come from the distribution that `action_dist_inputs` parameterize: sampled
///    when exploring, from the deterministic twin when not.
/// 3. With `action_dist_inputs`, exploration also gives the log-probability of the actions, unless
///    the module returned `action_logp` itself. For actions drawn here the distribution computes it
///    while drawing, before any rounding.
#[derive(Debug, Clone)]
pub(crate) struct ActionSampler {
    /// The actions as the module samples them, one row per environment or agent.
    pub(crate) actions: Buffer,
    /// `action_dist_inputs`, row-major; empty if the module returned none.
    pub(crate) inputs: Vec<f32>,
    /// `action_logp`; empty if unknown.
    pub(crate) logp: Vec<f32>,
    /// The other outputs of an exploration pass that is recorded.
    pub(crate) outputs: Outputs,
    /// Uniform actions as the environments receive them.
    uniform: Buffer,
}

/// Passes sampled actions through the connectors to the environments, whose
/// [`last_output`](ConnectorPipeline::last_output) they become. `update`: whether connectors learn from them.
/// Returns the row of the first action that a connector made not finite, with its value.
///
/// # Errors
/// The error of a connector.
pub(crate) fn connect_actions(
    module_to_env: &mut ConnectorPipeline,
    actions: &Buffer,
    update: bool,
) -> Result<Option<(usize, f32)>> {
    module_to_env.transform(actions, ConnectorContext::rows(update))?;
    // Rounding to integers would hide NaN, so what goes into the last connector is checked.
    let (connected, space) = (module_to_env.last_input(), module_to_env.input_space());
    Ok(connected.and_then(|rows| find_non_finite(space, rows)))
}

/// Draws one of the actions that a row of a mask allows; `None` if the row has not one number per action, and is no
/// mask.
fn draw_allowed(
    mask: &Buffer,
    row: usize,
    space: &Discrete,
    rng: &mut Generator,
) -> Result<Option<i64>> {
    let (bytes, floats) = (mask.row(row).as_u8().ok(), mask.row(row).as_f32().ok());
    let len = bytes.map(<[u8]>::len).or(floats.map(<[f32]>::len));
    if len != Some(space.n()) {
        return Ok(None);
    }
    let allows = |action: &usize| match (bytes, floats) {
        (Some(bytes), _) => bytes[*action] != 0,
        (_, floats) => floats.is_some_and(|floats| floats[*action] != 0.0),
    };
    let mut allowed = (0..space.n()).filter(allows);
    let count = allowed.clone().count();
    if count == 0 {
        return Err(ModuleError::AllMasked { row, choices: space.n() }.into());
    }
    let chosen = allowed.nth(rng.integers(0, count as i64) as usize);
    Ok(chosen.map(|action| space.start() + action as i64))
}

impl ActionSampler {
    /// Creates a sampler for actions that pass `module_to_env`, with room for `rows` of them.
    pub(crate) fn new(module_to_env: &ConnectorPipeline, rows: usize) -> Self {
        Self {
            actions: Buffer::zeros(module_to_env.input_space(), rows),
            inputs: Vec::new(),
            logp: Vec::new(),
            outputs: Outputs::default(),
            uniform: Buffer::zeros(module_to_env.output_space(), 0),
        }
    }

    /// Sets the number of rows to act for. The actions of other rows are forgotten.
    pub(crate) fn set_rows(&mut self, rows: usize) {
        if self.actions.rows() != rows {
            self.actions.clear();
            self.actions.extend_zeros(rows);
        }
        if rows == 0 {
            self.inputs.clear();
            self.logp.clear();
        }
    }

    /// Returns the actions of the last call of [`sample_uniform`](Self::sample_uniform) as the
    /// environments receive them.
    pub(crate) fn uniform(&self) -> &Buffer {
        &self.uniform
    }

    /// Draws one action per stream, uniformly from the environment's action space, and stores it in
    /// the module's units by the inverse of `module_to_env`. Where the observations have an action mask, draws
    /// from the allowed actions.
    ///
    /// # Errors
    /// [`RunnerError::NotInvertible`] if a connector of `module_to_env` has no inverse;
    /// [`ModuleError::AllMasked`] for a mask that allows nothing.
    pub(crate) fn sample_uniform(
        &mut self,
        module_to_env: &mut ConnectorPipeline,
        observations: &Buffer,
        rngs: &mut [Generator],
    ) -> Result<()> {
        self.inputs.clear();
        self.logp.clear();
        self.outputs.clear();
        self.set_rows(rngs.len());
        if self.uniform.rows() != rngs.len() {
            self.uniform.clear();
            self.uniform.extend_zeros(rngs.len());
        }
        let space = module_to_env.output_space();
        // With previous actions or rewards beside them, the observations are a part.
        let original = observations.get(Columns::ORIG_OBS).unwrap_or(observations);
        let mask = original.get(Columns::ACTION_MASK).ok();
        for (row, rng) in rngs.iter_mut().enumerate() {
            let allowed = match (space, mask) {
                (Space::Discrete(space), Some(mask)) => draw_allowed(mask, row, space, rng)?,
                _ => None,
            };
            let mut action = self.uniform.row_mut(row);
            match allowed {
                Some(allowed) => action.write_discrete(allowed)?,
                None => space.sample_into(rng, action)?,
            }
        }
        module_to_env.invert(&self.uniform, &mut self.actions)
    }

    /// Fills the buffers from the outputs of a forward pass, one row per row of `actions`. Without outputs, `inputs` are
    /// there already. With `rngs`, one stream per row, actions are sampled; without, they come from the deterministic
    /// twin.
    ///
    /// # Errors
    /// If the outputs have neither actions nor inputs of the distribution, or have another number of
    /// values than there are rows.
    pub(crate) fn sample(
        &mut self,
        module: &AnyRLModule,
        outputs: Option<&Batch>,
        rngs: Option<&mut [Generator]>,
    ) -> Result<()> {
        self.logp.clear();
        self.outputs.clear();
        match outputs {
            Some(outputs) => self.sample_outputs(module, outputs, rngs),
            None => {
                self.check_inputs(module)?;
                self.draw(module, rngs)
            }
        }
    }

    fn sample_outputs(
        &mut self,
        module: &AnyRLModule,
        outputs: &Batch,
        rngs: Option<&mut [Generator]>,
    ) -> Result<()> {
        let distribution = &**module.distribution();
        let (rows, explore) = (self.actions.rows(), rngs.is_some());
        let has_actions = outputs.contains(Columns::ACTIONS);
        self.inputs.clear();
        if let Some(column) = outputs.get(Columns::ACTION_DIST_INPUTS)? {
            self.inputs.extend_from_slice(&column.tensor()?.as_f32()?);
            self.check_inputs(module)?;
        } else if !has_actions {
            return Err(RunnerError::NoActions {
                pass: if explore { "forward_exploration" } else { "forward_inference" },
                module: module.spec().module().into(),
                found: outputs.names().collect::<Vec<_>>().join(", "),
            });
        }
        if has_actions {
            download_into(outputs.column(Columns::ACTIONS)?, &mut self.actions)?;
        } else {
            self.draw(module, rngs)?;
        }
        if !explore {
            return Ok(());
        }
        if let Some(column) = outputs.get(Columns::ACTION_LOGP)? {
            self.logp.extend_from_slice(&column.tensor()?.as_f32()?);
            self.check(module, Columns::ACTION_LOGP, rows, self.logp.len())?;
        } else if has_actions && !self.inputs.is_empty() {
            let width = distribution.required_input_dim();
            for (i, inputs) in self.inputs.chunks_exact(width).enumerate() {
                self.logp.push(distribution.row_logp(inputs, self.actions.row(i))?);
            }
        }
        Ok(())
    }

    /// As [`sample`](Self::sample), and returns the first action that is not an element of the module's
    /// action space.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub(crate) fn sample_checked(
        &mut self,
        module: &AnyRLModule,
        outputs: Option<&Batch>,
        rngs: Option<&mut [Generator]>,
        space: &Space,
    ) -> Result<Option<InvalidAction>> {
        // The conversion of bits to bytes would hide some.
        let actions = outputs.map(|outputs| outputs.get(Columns::ACTIONS)).transpose()?.flatten();
        let bits = InvalidAction::find_bits(space, actions);
        self.sample(module, outputs, rngs)?;
        Ok(bits.or_else(|| InvalidAction::find(space, &self.actions)))
    }

    /// Keeps the outputs of an exploration pass that are recorded besides the actions.
    ///
    /// # Errors
    /// If an output has another number of rows than there are actions.
    pub(crate) fn keep_outputs(&mut self, module: &AnyRLModule, outputs: &Batch) -> Result<()> {
        self.outputs = Outputs::of(module, outputs, self.actions.rows())?;
        Ok(())
    }

    /// Fills the actions and, when exploring, their log-probabilities.
    ///
    /// # Errors
    /// [`RunnerError::CannotAct`] with the row.
    fn draw(&mut self, module: &AnyRLModule, rngs: Option<&mut [Generator]>) -> Result<()> {
        let distribution = &**module.distribution();
        let at = |row| {
            move |source| {
                let (module, source) = (module.spec().module().into(), Box::new(source));
                RunnerError::CannotAct { module, env: None, row, source }
            }
        };
        let rows = self.inputs.chunks_exact(distribution.required_input_dim()).enumerate();
        match rngs {
            Some(rngs) => {
                for ((i, inputs), rng) in rows.zip(rngs) {
                    let action = self.actions.row_mut(i);
                    let logp = distribution.sample_and_logp(inputs, rng, action);
                    self.logp.push(logp.map_err(at(i))?);
                }
            }
            None => {
                for (i, inputs) in rows {
                    let action = self.actions.row_mut(i);
                    distribution.deterministic(inputs, action).map_err(at(i))?;
                }
            }
        }
        Ok(())
    }

    fn check_inputs(&self, module: &AnyRLModule) -> Result<()> {
        let expected = self.actions.rows() * module.distribution().required_input_dim();
        self.check(module, Columns::ACTION_DIST_INPUTS, expected, self.inputs.len())
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
