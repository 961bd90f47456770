//! Modules that learn from a batch by themselves.

use std::collections::BTreeMap;
use std::ops::Range;

use rekindle_core::weights::Weights;
use rekindle_core::{Generator, HostBatch};

use crate::error::Result;

/// Numbers to report by name.
pub type LearnStats = BTreeMap<String, f64>;

/// A module that learns from a batch by itself, without a loss, gradients and optimizers: a table, a bandit,
/// an evolution strategy, a rule with a state. RLlib's `Policy` written from scratch.
///
/// Its weights are plain numbers. They are part of [`AnyRLModule::state_dict`](crate::AnyRLModule::state_dict),
/// and thus of checkpoints and policy bundles, besides the parameters that the module may also have. Parameters
/// stay as they are unless `learn_on_batch` changes them.
///
/// A learner calls `learn_on_batch` once per update with all experience of the module, whatever the
/// algorithm. It uses neither the algorithm's loss nor its epochs, minibatches and optimizers for the module,
/// and requires no other role. The plan `AsyncGradients`, which has no updates of whole batches, refuses such
/// modules.
///
/// Implement the role on a struct that derives Burn's [`Module`](burn::module::Module), whose fields of plain
/// numbers are marked `#[module(skip)]`, and return it from [`RLModule::as_learn_on_batch`](crate::RLModule::as_learn_on_batch) and
/// [`RLModule::as_learn_on_batch_mut`](crate::RLModule::as_learn_on_batch_mut).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not learn from a batch by itself",
    note = "implement `LearnOnBatch` for `{Self}` and return `Some(self)` from `RLModule::as_learn_on_batch` and `RLModule::as_learn_on_batch_mut`"
)]
pub trait LearnOnBatch {
    /// Learns from the experience of one update. Returns numbers to report as metrics of the module.
    ///
    /// The batch has one row per step, trajectory after trajectory
    /// ([`LearnContext::trajectories`]), and these columns:
    ///
    /// | column | holds |
    /// |---|---|
    /// | `obs`, `new_obs` | observations before and after the step, as the module sees them |
    /// | `actions` | actions as the module returned them |
    /// | `rewards` | rewards, `f32` |
    /// | `terminateds`, `truncateds` | 1.0 where the step ended its episode in this way, else 0.0, `f32` |
    /// | `t` | steps of the episode before this one, `i64` |
    /// | `infos` | numbers that the environment reported, NaN where it did not, `f32` |
    /// | `step_state_in`, `step_state_out` | the recurrent state before and after the step, of a stateful module |
    /// | others | the outputs of `forward_exploration`, such as `action_logp`, by their names |
    ///
    /// # Errors
    /// If the module cannot learn from the batch. The learner then keeps the module as it was before the
    /// call, as it does after a panic, and if a weight or a returned number is not finite.
    fn learn_on_batch(
        &mut self,
        batch: &HostBatch,
        cx: &mut LearnContext<'_>,
    ) -> Result<LearnStats>;

    /// Returns the weights: everything that the module has learned, by names that no parameter has. The names
    /// are the same in every call. All numbers are finite.
    ///
    /// # Errors
    /// If the weights cannot be read.
    fn get_weights(&self) -> Result<Weights>;

    /// Replaces the weights by some that [`get_weights`](Self::get_weights) of the same type of module
    /// returned. Afterwards `get_weights` must return exactly these.
    ///
    /// # Errors
    /// If the shapes or types do not fit the module.
    fn set_weights(&mut self, weights: &Weights) -> Result<()>;
}

/// The context in which a module learns from a batch.
#[derive(Debug)]
#[non_exhaustive]
pub struct LearnContext<'a> {
    /// Environment steps sampled since the start of training.
    pub env_steps: u64,
    /// The rows of each episode, or of each part of one, in time order.
    pub trajectories: &'a [Range<usize>],
    /// Random numbers. Checkpoints hold the stream.
    pub rng: &'a mut Generator,
}

impl<'a> LearnContext<'a> {
    /// Creates a context, for tests of modules and for loops without a learner.
    #[must_use]
    pub fn new(env_steps: u64, trajectories: &'a [Range<usize>], rng: &'a mut Generator) -> Self {
        Self { env_steps, trajectories, rng }
    }
}
