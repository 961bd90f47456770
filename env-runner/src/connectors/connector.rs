//! The trait that all connectors implement.

use std::fmt::Debug;

use rekindle_env::{Buffer, Space};
use rekindle_onnx::{Graph, OnnxError, Values};
use serde_json::Value;

use super::context::{ConnectorContext, RewardContext};
use crate::{Result, RunnerError};

/// A transform of one column, one row per environment or agent; RLlib's `ConnectorV2`.
///
/// A connector transforms rows (observations, or actions in the module-to-env pipeline) or rewards:
/// it overrides [`transform`](Self::transform) and [`output_space`](Self::output_space), or
/// [`transforms_rewards`](Self::transforms_rewards) and
/// [`transform_rewards`](Self::transform_rewards).
///
/// All rows that a pipeline passes are elements of the input space.
///
/// ```
/// use rekindle_env::Buffer;
/// use rekindle_env_runner::Result;
/// use rekindle_env_runner::connectors::{Connector, ConnectorContext};
/// use serde_json::Value;
///
/// /// Halves float observations.
/// #[derive(Debug, Clone)]
/// struct Halve;
///
/// impl Connector for Halve {
///     fn name(&self) -> &'static str {
///         "Halve"
///     }
///
///     fn transform(
///         &mut self,
///         input: &Buffer,
///         output: &mut Buffer,
///         _cx: ConnectorContext<'_>,
///     ) -> Result<()> {
///         let pairs = output.as_f32_mut()?.iter_mut().zip(input.as_f32()?);
///         pairs.for_each(|(half, x)| *half = x / 2.0);
///         Ok(())
///     }
///
///     // The connector remembers nothing of an episode, and learns nothing.
///     fn get_memory(&self) -> Result<Value> {
///         Ok(Value::Null)
///     }
///
///     fn get_state(&self) -> Result<Value> {
///         Ok(Value::Null)
///     }
/// }
/// ```
pub trait Connector: Debug + Send + CloneConnector {
    /// Returns the name under which a pipeline lists the connector and saves its state.
    fn name(&self) -> &'static str;

    /// Returns the space of the outputs for inputs of a space. The default is the same space.
    ///
    /// # Errors
    /// [`RunnerError::ConnectorSpace`] if the connector cannot work on that space.
    fn output_space(&self, input: &Space) -> Result<Space> {
        Ok(input.clone())
    }

    /// Sets the space of the inputs, before the first rows and when it changes. Only called with
    /// spaces that [`output_space`](Self::output_space) accepts.
    fn set_input_space(&mut self, _input: &Space) {}

    /// Transforms all rows. The default copies them.
    ///
    /// # Shapes
    /// `input` and `output` have the same number of rows. The rows of `output` hold zeros, or
    /// elements of the output space that an earlier call left there.
    ///
    /// # Errors
    /// If the rows are not of the input space.
    fn transform(
        &mut self,
        input: &Buffer,
        output: &mut Buffer,
        _cx: ConnectorContext<'_>,
    ) -> Result<()> {
        output.clear();
        Ok(output.extend_from(input, 0..input.rows())?)
    }

    /// Returns the number of frames that each output row stacks along its last axis, oldest first, or `None` if rows do
    /// not stack frames. Rollouts then store each frame once.
    ///
    /// The older frames of a row must be the newer frames of the same agent's row before in the same episode, as in
    /// [`FrameStacking`](super::FrameStacking).
    fn stacked_frames(&self) -> Option<usize> {
        None
    }

    /// Whether the connector transforms rewards. Rows then pass it unchanged:
    /// [`transform`](Self::transform) is not called.
    fn transforms_rewards(&self) -> bool {
        false
    }

    /// Transforms rewards in place, one per row, before the observations that came with them pass
    /// the pipeline. Reported episode returns use the environment's rewards.
    ///
    /// # Errors
    /// If a reward cannot be transformed.
    fn transform_rewards(&mut self, _rewards: &mut [f64], _cx: RewardContext<'_>) -> Result<()> {
        Ok(())
    }

    /// Inverts [`transform`](Self::transform): fills `input` with rows that `transform` maps to
    /// `output`. Connectors of actions need an inverse for random actions and for log-probabilities
    /// of given actions, because both are recorded in the module's units.
    ///
    /// # Errors
    /// [`RunnerError::NotInvertible`] unless the connector implements it.
    fn invert(&self, _output: &Buffer, _input: &mut Buffer) -> Result<()> {
        Err(RunnerError::NotInvertible(self.name().into()))
    }

    /// Adds the transform with the learned state to an ONNX graph.
    ///
    /// # Shapes
    /// Rows `[B, …]` with the shapes of the input space: floats, or integers for choices. Result: rows of the output
    /// space.
    ///
    /// # Errors
    /// [`OnnxError::NotExportable`] unless the connector implements it.
    fn export_onnx(&self, _graph: &mut Graph, _rows: &Values) -> Result<Values> {
        let method = "Connector::export_onnx";
        Err(OnnxError::not_implemented("connector", self.name(), method).into())
    }

    /// Returns the connector's episode state, such as the previous actions of running episodes, or null
    /// if it has none. Episode states belong to one runner, unlike the learned
    /// [state](Self::get_state).
    ///
    /// There is no default: a connector without this method would lose its episode state in every
    /// checkpoint. JSON has no infinities and no NaN: [`save_state`](super::save_state) keeps them.
    ///
    /// # Errors
    /// If the episode state does not serialize.
    fn get_memory(&self) -> Result<Value>;

    /// Replaces the connector's episode state; null clears it. By default, only null is accepted.
    ///
    /// # Errors
    /// [`RunnerError::InvalidState`] if the episode state does not fit the connector.
    fn set_memory(&mut self, memory: &Value) -> Result<()> {
        if memory.is_null() {
            return Ok(());
        }
        let reason = format!("connector `{}` has no episode state", self.name());
        Err(RunnerError::InvalidState { component: "connector pipeline", reason })
    }

    /// Returns the learned state of the connector, such as running statistics, or null if it has none.
    ///
    /// There is no default: a connector without this method would lose what it learned in every
    /// checkpoint. JSON has no infinities and no NaN: [`save_state`](super::save_state) keeps them.
    ///
    /// A connector with a learned state also implements [`take_delta`](Self::take_delta) and
    /// [`merge`](Self::merge). Otherwise each runner keeps a state of its own, and evaluation and
    /// deployment use that of the first runner.
    ///
    /// # Errors
    /// If the state does not serialize.
    fn get_state(&self) -> Result<Value>;

    /// Replaces the learned state of the connector. By default, only null is accepted.
    ///
    /// # Errors
    /// [`RunnerError::InvalidState`] if the state does not fit the connector.
    fn set_state(&mut self, state: &Value) -> Result<()> {
        if state.is_null() {
            return Ok(());
        }
        let reason = format!("connector `{}` has no state", self.name());
        Err(RunnerError::InvalidState { component: "connector pipeline", reason })
    }

    /// Takes the change of the learned state since the last [`merge`](Self::merge); null if there
    /// is none.
    ///
    /// # Errors
    /// If the change does not serialize.
    fn take_delta(&mut self) -> Result<Value> {
        Ok(Value::Null)
    }

    /// Merges the changes of all runners, including this one, since the last merge. Afterwards the
    /// connectors of all runners have the same state. By default, only null is accepted.
    ///
    /// # Errors
    /// [`RunnerError::InvalidState`] if a change does not fit the connector.
    fn merge(&mut self, deltas: &[Value]) -> Result<()> {
        if deltas.iter().all(Value::is_null) {
            return Ok(());
        }
        let reason = format!("connector `{}` has changes; implement `merge`", self.name());
        Err(RunnerError::InvalidState { component: "connector pipeline", reason })
    }
}

/// Cloning of boxed connectors, implemented for every [`Connector`] that is [`Clone`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not implement `Clone`, which every `Connector` needs",
    note = "add `#[derive(Clone)]` to `{Self}`"
)]
pub trait CloneConnector {
    /// Returns a boxed copy.
    fn clone_box(&self) -> Box<dyn Connector>;
}

impl<T: Connector + Clone + 'static> CloneConnector for T {
    fn clone_box(&self) -> Box<dyn Connector> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Connector> {
    fn clone(&self) -> Self {
        (**self).clone_box()
    }
}
