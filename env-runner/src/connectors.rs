//! Connectors: transforms of whole columns between environment and module.
//!
//! The env-to-module pipeline turns the environments' observations into what the module sees; the
//! module-to-env pipeline turns sampled actions into what the environments receive. The sampled
//! actions themselves stay as they are: losses use those.

mod config;
mod flatten_observations;
mod frame_stacking;
mod get_actions;
mod history;
mod mean_std_filter;
mod normalize_and_clip_actions;
mod pipeline;
mod prev_actions_prev_rewards;
mod registry;

use std::fmt::Debug;

use rekindle_env::{Buffer, Space};
use serde_json::Value;

use crate::{Result, RunnerError};

pub use config::ConnectorConfig;
pub use flatten_observations::FlattenObservations;
pub use frame_stacking::FrameStacking;
pub(crate) use get_actions::ActionSampler;
pub use mean_std_filter::MeanStdFilter;
pub use normalize_and_clip_actions::NormalizeAndClipActions;
pub use pipeline::ConnectorPipeline;
pub use prev_actions_prev_rewards::PrevActionsPrevRewards;
pub use registry::register_connector;

/// What a connector may know beside the rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectorContext<'a> {
    /// Whether running statistics may learn from the rows; false for evaluation and for
    /// observations that were transformed before.
    pub update: bool,
    /// The step that led to the rows; `None` if every row starts an episode.
    pub step: Option<LastStep<'a>>,
}

/// The step that led to some observations, an entry for each of their rows.
#[derive(Debug, Clone, Copy)]
pub struct LastStep<'a> {
    /// The actions as they were sampled.
    pub actions: &'a Buffer,
    /// The rewards.
    pub rewards: &'a [f64],
    /// Which observations are the first of an episode.
    pub starts: &'a [bool],
    /// Whether the observations are the last ones of episodes that ended: the rows of environments
    /// that go on are stale, and what a connector remembers of an episode stays as it is.
    pub is_final: bool,
    /// Whose observations the rows are, if they are not those of all episodes in order.
    pub slots: Option<Slots<'a>>,
}

/// Whose observations some rows are: those of the agents that act, among all there are.
#[derive(Debug, Clone, Copy)]
pub struct Slots<'a> {
    /// For each row, the number of its agent.
    pub of_rows: &'a [usize],
    /// How many agents there are.
    pub count: usize,
}

impl LastStep<'_> {
    /// The place that a connector remembers the episode of a row in.
    pub fn slot(&self, row: usize) -> usize {
        self.slots.map_or(row, |slots| slots.of_rows.get(row).copied().unwrap_or(row))
    }

    /// How many episodes a connector has to remember, given the number of rows.
    pub fn num_slots(&self, rows: usize) -> usize {
        self.slots.map_or(rows, |slots| slots.count)
    }
}

impl ConnectorContext<'_> {
    /// Rows that start episodes, or that nothing is known of.
    pub fn rows(update: bool) -> Self {
        Self { update, step: None }
    }
}

/// A transform of one column, a row per environment; RLlib's `ConnectorV2`.
pub trait Connector: Debug + Send {
    /// The name under which the pipeline knows it and saves its state.
    fn name(&self) -> &'static str;

    /// The space of what it puts out for inputs of a space.
    ///
    /// # Errors
    /// [`RunnerError::ConnectorSpace`] if it cannot work on that space.
    fn output_space(&self, input: &Space) -> Result<Space>;

    /// Says the space of its inputs: before the first rows, and when it changes. Only for one that
    /// [`output_space`](Self::output_space) accepted.
    fn set_input_space(&mut self, _input: &Space) {}

    /// Transforms all rows.
    ///
    /// # Errors
    /// If the rows are not of the input space.
    fn transform(
        &mut self,
        input: &Buffer,
        output: &mut Buffer,
        cx: ConnectorContext<'_>,
    ) -> Result<()>;

    /// What it remembers of the running episodes; null if nothing. It belongs to one runner,
    /// unlike what the connector has learnt.
    ///
    /// # Errors
    /// If the memory does not serialise.
    fn get_memory(&self) -> Result<Value> {
        Ok(Value::Null)
    }

    /// Replaces what it remembers of the running episodes.
    ///
    /// # Errors
    /// [`RunnerError::InvalidState`] if the memory is not one of such a connector.
    fn set_memory(&mut self, memory: &Value) -> Result<()> {
        if memory.is_null() {
            return Ok(());
        }
        let reason = format!("connector `{}` has no memory", self.name());
        Err(RunnerError::InvalidState { component: "connector pipeline", reason })
    }

    /// Everything it has learnt; null without state.
    ///
    /// # Errors
    /// If the state does not serialise.
    fn get_state(&self) -> Result<Value> {
        Ok(Value::Null)
    }

    /// Replaces what it has learnt.
    ///
    /// # Errors
    /// [`RunnerError::InvalidState`] if the state is not one of such a connector.
    fn set_state(&mut self, state: &Value) -> Result<()> {
        if state.is_null() {
            return Ok(());
        }
        let reason = format!("connector `{}` has no state", self.name());
        Err(RunnerError::InvalidState { component: "connector pipeline", reason })
    }

    /// Takes what it has learnt since the last [`Connector::merge`]; null if nothing.
    ///
    /// # Errors
    /// If the state does not serialise.
    fn take_delta(&mut self) -> Result<Value> {
        Ok(Value::Null)
    }

    /// Adds what all runners learnt since the last merge, itself included: afterwards the
    /// connectors of all runners are equal.
    ///
    /// # Errors
    /// [`RunnerError::InvalidState`] if a delta is not one of such a connector.
    fn merge(&mut self, _deltas: &[Value]) -> Result<()> {
        Ok(())
    }
}

/// The pipelines around a module: from observations to the module, from actions to environments.
///
/// # Errors
/// [`RunnerError::ConnectorSpace`] if a connector cannot work on what comes before it.
pub(crate) fn pipelines(
    observations: &Space,
    actions: &Space,
    [env_to_module, module_to_env]: [&[ConnectorConfig]; 2],
    normalize_actions: bool,
    clip_actions: bool,
) -> Result<(ConnectorPipeline, ConnectorPipeline)> {
    let pieces = env_to_module.iter().map(|config| config.build(actions)).collect::<Result<_>>()?;
    let own = module_to_env.iter().map(|config| config.build(actions));
    let mut to_env = ConnectorPipeline::with(actions.clone(), own.collect::<Result<_>>()?)?;
    if to_env.output_space() != actions {
        return Err(RunnerError::ConnectorSpace {
            connector: to_env.names().last().unwrap_or_default().into(),
            space: actions.to_string(),
            reason: "what goes to the environment must be of its action space".into(),
        });
    }
    let bounds = NormalizeAndClipActions::new(actions, normalize_actions, clip_actions);
    to_env.append(Box::new(bounds))?;
    Ok((ConnectorPipeline::with(observations.clone(), pieces)?, to_env))
}
