//! Learner connectors: transforms of experience before losses see it.

mod config;
mod pipeline;
mod registry;

use std::fmt::Debug;

use rekindle_checkpoint::State;

use crate::error::Result;
use crate::loss::{PrepareContext, refuse_state};
use crate::train_data::TrainData;

pub use config::LearnerConnectorConfig;
pub(crate) use pipeline::Pipeline;
pub use registry::register_learner_connector;

/// A transform of a module's experience, before the loss completes it with advantages and the like; RLlib's
/// learner connector.
///
/// It changes rewards, adds columns, or learns from what it sees: intrinsic rewards, relabeling, statistics.
/// A learner runs the connectors of its settings
/// ([`LearnerConfig::connectors`](crate::LearnerConfig::connectors)) in order, once per update, for each
/// module with connectors of its own. Modules that learn from a batch by themselves have them, too.
///
/// ```
/// use rekindle_checkpoint::State;
/// use rekindle_core::Columns;
/// use rekindle_learner::{LearnerConnector, PrepareContext, Result, TrainData};
/// use rekindle_learner::register_learner_connector;
///
/// /// Takes the signs of rewards.
/// #[derive(Debug)]
/// struct SignsOfRewards;
///
/// impl LearnerConnector for SignsOfRewards {
///     fn transform(&mut self, _: &PrepareContext<'_>, mut data: TrainData) -> Result<TrainData> {
///         let signs = data.as_f32(Columns::REWARDS)?.iter().map(|reward| reward.signum()).collect();
///         data.insert_f32(Columns::REWARDS, signs)?;
///         Ok(data)
///     }
///
///     fn get_state(&self) -> Result<State> {
///         Ok(State::new()) // The connector learns nothing.
///     }
/// }
///
/// register_learner_connector("SignsOfRewards", |_| Ok(Box::new(SignsOfRewards)));
/// ```
pub trait LearnerConnector: Debug + Send {
    /// Transforms the experience of one update.
    ///
    /// Rows follow one another in time within each segment
    /// ([`TrainData::segments`]). Their number and the segments must stay. Runners have collected and
    /// reported them before, so that episode returns in the metrics are those of the environment.
    ///
    /// # Errors
    /// If the experience lacks a column or a forward pass fails.
    fn transform(&mut self, cx: &PrepareContext<'_>, data: TrainData) -> Result<TrainData>;

    /// Returns everything that the connector has learned or counted, or [`State::new`] if that is nothing.
    ///
    /// There is no default: a connector without this method would lose its state in every checkpoint.
    ///
    /// # Errors
    /// If the state does not serialize.
    fn get_state(&self) -> Result<State>;

    /// Replaces everything that the connector has learned or counted. It is called on a newly built
    /// connector. By default, only an empty state is accepted.
    ///
    /// # Errors
    /// [`LearnerError::InvalidState`](crate::LearnerError::InvalidState) if the state is not one of such a
    /// connector.
    fn set_state(&mut self, state: &State) -> Result<()> {
        refuse_state("learner connector", state)
    }
}
