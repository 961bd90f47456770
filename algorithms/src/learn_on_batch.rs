//! An algorithm whose modules learn from batches by themselves: policies written from scratch.
//!
//! A module with the role [`LearnOnBatch`](rekindle_rl_module::LearnOnBatch) learns by itself in a run of any
//! algorithm, beside networks that learn by the algorithm's loss. This algorithm has no loss and serves runs
//! in which no network learns.

mod config;
mod loss;

pub use config::LearnOnBatchTraining;

/// The configuration of a run whose modules learn from batches by themselves.
///
/// ```no_run
/// use burn::module::Module;
/// use rekindle_algorithms::LearnOnBatchConfig;
/// use rekindle_core::weights::Weights;
/// use rekindle_core::{Batch, Columns, HostBatch};
/// use rekindle_rl_module::{
///     LearnContext, LearnOnBatch, LearnStats, ModuleContext, RLModule, RLModuleSpec, Result,
/// };
///
/// /// Goes left or right, whichever has brought more.
/// #[derive(Module, Debug)]
/// struct Bandit {
///     #[module(skip)]
///     rewards: [f64; 2],
/// }
///
/// impl RLModule for Bandit {
///     fn setup(_: &ModuleContext<'_>) -> Result<Self> {
///         Ok(Self { rewards: [0.0; 2] })
///     }
///
///     fn forward_train(&self, batch: &Batch) -> Result<Batch> {
///         let observations = batch.float::<2>(Columns::OBS)?;
///         let [rows, _] = observations.dims();
///         // Logits: the better arm is drawn more often.
///         let logits = observations.slice([0..rows, 0..1]).zeros_like();
///         let [left, right] = self.rewards;
///         let both = vec![logits.clone() + left, logits + right];
///         Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, burn::tensor::Tensor::cat(both, 1)))
///     }
///
///     fn as_learn_on_batch(&self) -> Option<&dyn LearnOnBatch> {
///         Some(self)
///     }
///
///     fn as_learn_on_batch_mut(&mut self) -> Option<&mut dyn LearnOnBatch> {
///         Some(self)
///     }
/// }
///
/// impl LearnOnBatch for Bandit {
///     fn learn_on_batch(
///         &mut self,
///         batch: &HostBatch,
///         _: &mut LearnContext<'_>,
///     ) -> Result<LearnStats> {
///         let actions = batch.column(Columns::ACTIONS)?.as_i64()?;
///         for (action, reward) in actions.iter().zip(batch.as_f32(Columns::REWARDS)?) {
///             let kept = &mut self.rewards[usize::from(*action == 1)];
///             *kept += 0.01 * (f64::from(*reward) - *kept);
///         }
///         Ok(LearnStats::from([("left".into(), self.rewards[0])]))
///     }
///
///     fn get_weights(&self) -> Result<Weights> {
///         Ok(Weights::from([("rewards".into(), self.rewards.to_vec().into())]))
///     }
///
///     fn set_weights(&mut self, weights: &Weights) -> Result<()> {
///         for (kept, given) in self.rewards.iter_mut().zip(weights["rewards"].as_slice::<f64>()?) {
///             *kept = *given;
///         }
///         Ok(())
///     }
/// }
///
/// let config = LearnOnBatchConfig::new()
///     .environment("CartPole-v1")
///     .rl_module(RLModuleSpec::of::<Bandit>())
///     .training(|t| t.train_batch_size(256));
/// let mut algo = config.build(&burn::prelude::Device::flex())?;
/// algo.train()?;
/// # Ok::<(), rekindle_algorithms::AlgorithmError>(())
/// ```
pub type LearnOnBatchConfig = crate::AlgorithmConfig<LearnOnBatchTraining>;
