//! The trait of RL modules.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::prelude::Device;
use rekindle_catalog::Distribution;
use rekindle_checkpoint as checkpoint;
use rekindle_core::{Batch, Erase, Erased, ErasedModule, Family};
use rekindle_env::Buffer;
use rekindle_onnx::{Graph, OnnxError, PolicyOutputs, Values};

use crate::context::ModuleContext;
use crate::error::Result;
use crate::exploration::ExplorationContext;
use crate::policy_pass::PolicyPass;
use crate::roles::{
    ActionCritic, DeterministicPolicy, DistributionalQNet, LearnOnBatch, QNet, SelfSupervisedLoss,
    StochasticPolicy, TargetNetwork, ValueFunction,
};

/// Marker of erased RL modules for [`Erased`].
#[derive(Debug, Clone, Copy)]
pub enum RLModuleFamily {}

impl Family for RLModuleFamily {
    type Dyn = dyn RLModule;
}

/// A boxed RL module of any type. It is itself a Burn module.
pub type BoxRLModule = Erased<RLModuleFamily>;

/// A neural network with a pass for training, one for exploration and one for inference.
///
/// Derive [`Module`] on a plain struct and implement [`setup`](Self::setup) and
/// [`forward_train`](Self::forward_train). The two acting passes must return
/// [`Columns::ACTION_DIST_INPUTS`](rekindle_core::Columns::ACTION_DIST_INPUTS),
/// [`Columns::ACTIONS`](rekindle_core::Columns::ACTIONS), or both. Returned actions are used as they
/// are. Otherwise they are sampled (exploration) or taken from the deterministic twin (inference).
///
/// ```
/// use burn::module::Module;
/// use rekindle_catalog::Mlp;
/// use rekindle_core::{Batch, Columns};
/// use rekindle_rl_module::{ModuleContext, RLModule, Result};
///
/// #[derive(Module, Debug)]
/// struct DiscreteBc {
///     policy: Mlp,
/// }
///
/// impl RLModule for DiscreteBc {
///     fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
///         let logits = cx.action_space().as_discrete()?.n();
///         Ok(Self { policy: cx.mlp(cx.observation_space().flat_dim(), &[64], logits) })
///     }
///
///     fn forward_train(&self, batch: &Batch) -> Result<Batch> {
///         let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
///         Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an RL module",
    label = "this type does not implement `RLModule`",
    note = "implement `RLModule` for `{Self}`: `setup` and `forward_train`"
)]
pub trait RLModule: ErasedModule<RLModuleFamily> {
    /// Builds the network for the spaces and settings of the context.
    ///
    /// It may build or restore other modules, such as a teacher, on the thread that it is called on. Other
    /// threads build theirs afterwards, so do not wait for them here.
    ///
    /// # Errors
    /// If the module does not support a space or setting.
    fn setup(cx: &ModuleContext<'_>) -> Result<Self>
    where
        Self: Sized;

    /// Computes the outputs for the loss, with gradients.
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn forward_train(&self, batch: &Batch) -> Result<Batch>;

    /// Computes the outputs for collecting experience, without gradients. Defaults to
    /// [`forward_train`](Self::forward_train).
    ///
    /// The context has the environment steps so far, for schedules, and a saved random stream for each
    /// row. Draw random numbers from these only: the same seed then gives the same actions, also after a
    /// checkpoint.
    ///
    /// Runners record each output under its name, except
    /// [`EMBEDDINGS`](rekindle_core::Columns::EMBEDDINGS), and losses read it. An output has one row per observation and
    /// may be nested. Booleans are recorded as integers, 0 and 1.
    ///
    /// # Errors
    /// The errors of [`RLModule::forward_train`] and [`ExplorationContext::rng`].
    fn forward_exploration(&self, batch: &Batch, _cx: &mut ExplorationContext) -> Result<Batch> {
        self.forward_train(batch)
    }

    /// Computes the outputs of a deployed policy, without gradients. Defaults to
    /// [`forward_exploration`](Self::forward_exploration) at 0 environment steps, without random
    /// streams: implement it for a module that draws or has a schedule.
    ///
    /// # Errors
    /// The errors of [`RLModule::forward_train`]; [`ModuleError::NoRandomStream`] if the default draws.
    ///
    /// [`ModuleError::NoRandomStream`]: crate::ModuleError::NoRandomStream
    fn forward_inference(&self, batch: &Batch) -> Result<Batch> {
        self.forward_exploration(batch, &mut ExplorationContext::of_inference())
    }

    /// Returns both acting passes as one over slices in host memory, which runners use instead of them; `None` (the
    /// default) for a module that has no such pass. It must compute the same: the inputs of the action distribution alone, without
    /// random numbers.
    ///
    /// It avoids tensors, whose cost exceeds that of a small network. Layers and encoders of the catalog have it:
    ///
    /// ```
    /// # use rekindle_catalog::Mlp;
    /// # use rekindle_rl_module::PolicyPass;
    /// # struct MyModule { policy: Mlp }
    /// # impl MyModule {
    /// fn policy_pass(&self) -> Option<PolicyPass> {
    ///     self.policy.host_pass().map(PolicyPass::new)
    /// }
    /// # }
    /// ```
    fn policy_pass(&self) -> Option<PolicyPass> {
        None
    }

    /// Returns the recurrent state before the first step of an episode, one row; `None` for a module
    /// without one. RLlib's `get_initial_state`.
    ///
    /// The state is one array, or a Dict of several named ones of any shape and kind
    /// ([`Buffer::from_dict`]; RLlib's `state_in_0`, `state_in_1`).
    ///
    /// A module with a recurrent state is *stateful*. Its passes read the column
    /// [`Columns::STATE_IN`](rekindle_core::Columns::STATE_IN), `[S, …]` in the layout of this
    /// state, nested if the state is a Dict. All other columns have `S·T` rows: `S` sequences of `T`
    /// steps, one after the other (`T` is 1 while acting). Each sequence starts from its row of the
    /// state. The acting passes return [`Columns::STATE_OUT`](rekindle_core::Columns::STATE_OUT),
    /// the state after the last step of each sequence.
    ///
    /// # Errors
    /// If the state cannot be created.
    fn initial_state(&self) -> Result<Option<Buffer>> {
        Ok(None)
    }

    /// Adds one step of the inference pass to an ONNX graph, for
    /// [`PolicyBundle::to_onnx`](https://docs.rs/rekindle-env-runner). A recurrent module adds its state as inputs
    /// and outputs ([`Graph::state_in`], [`Graph::state_out`]). Encoders, [`Mlp`](rekindle_catalog::Mlp) and
    /// [`PolicyHead`](rekindle_catalog::PolicyHead) have a method of the same name.
    ///
    /// # Shapes
    /// Observations `[B, …]` with the shapes of their space: floats, or integers for choices.
    ///
    /// # Errors
    /// [`OnnxError::NotExportable`] unless the module implements it.
    fn export_onnx(&self, _graph: &mut Graph, _observations: &Values) -> Result<PolicyOutputs> {
        let name = std::any::type_name::<Self>();
        Err(OnnxError::not_implemented("module", name, "RLModule::export_onnx").into())
    }

    /// Returns the longest sequence that a stateful module is trained on, in steps.
    fn max_seq_len(&self) -> usize {
        20
    }

    /// Returns how many standard normal numbers for each row a training pass of a module with noisy layers reads
    /// from the column [`Columns::NOISE`](rekindle_core::Columns::NOISE), `[B, noise_dim]`; 0 without noisy
    /// layers.
    ///
    /// Losses draw the numbers from the module's saved stream, the same for all rows of a minibatch. Without the
    /// column, passes are those of the means. An exploration pass draws its noise itself, from the streams of
    /// its context.
    fn noise_dim(&self) -> usize {
        0
    }

    /// Returns the module as a value function, if it is one.
    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        None
    }

    /// Returns the module as a network of action values, if it is one.
    fn as_q_net(&self) -> Option<&dyn QNet> {
        None
    }

    /// Returns the module as critics of actions, if it has them.
    fn as_action_critic(&self) -> Option<&dyn ActionCritic> {
        None
    }

    /// Returns the module as a policy that draws actions with gradients, if it is one.
    fn as_stochastic_policy(&self) -> Option<&dyn StochasticPolicy> {
        None
    }

    /// Returns the module as a deterministic policy, if it is one.
    fn as_deterministic_policy(&self) -> Option<&dyn DeterministicPolicy> {
        None
    }

    /// Returns the module as a network of distributions of action values, if it is one.
    fn as_distributional_q_net(&self) -> Option<&dyn DistributionalQNet> {
        None
    }

    /// Returns the module as one with target networks, if it has them.
    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        None
    }

    /// Returns the module as one with its own loss, if it has one.
    fn as_self_supervised_loss(&self) -> Option<&dyn SelfSupervisedLoss> {
        None
    }

    /// Returns the module as one that learns from a batch by itself, if it does.
    fn as_learn_on_batch(&self) -> Option<&dyn LearnOnBatch> {
        None
    }

    /// Returns the same as [`as_learn_on_batch`](Self::as_learn_on_batch), to learn.
    fn as_learn_on_batch_mut(&mut self) -> Option<&mut dyn LearnOnBatch> {
        None
    }

    /// Returns prefixes of the names of the parameters that an inference-only module lacks, with dots
    /// between levels: `["vf", "critic_encoder"]`. RLlib's `get_non_inference_attributes`.
    fn non_inference_attributes(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the distribution of the actions, by default the catalog's.
    ///
    /// # Errors
    /// The errors of [`Catalog::action_distribution`](rekindle_catalog::Catalog::action_distribution).
    fn action_distribution(cx: &ModuleContext<'_>) -> Result<Arc<dyn Distribution>>
    where
        Self: Sized,
    {
        Ok(cx.catalog().action_distribution(cx.action_space())?)
    }

    /// Returns the name of the type in checkpoints, by default its path. The path begins with the name
    /// of the program or crate, so override the name if another program loads the checkpoints, and to
    /// keep checkpoints when the type is renamed.
    #[must_use]
    fn type_name() -> String
    where
        Self: Sized,
    {
        std::any::type_name::<Self>().into()
    }

    /// Returns the names of the algorithm's settings that the module reads from its model config
    /// ([`ModuleContext::setting`]), such as `&["epsilon"]` under DQN. The algorithm adds the named settings to the
    /// model config of a custom module, and warns about settings that no module reads. Defaults to no settings.
    #[must_use]
    fn algorithm_settings() -> &'static [&'static str]
    where
        Self: Sized,
    {
        &[]
    }

    /// Builds the module of a checkpoint, with its parameters.
    ///
    /// `path` is the directory of the module itself, alone or inside a larger checkpoint.
    ///
    /// # Errors
    /// [`ModuleError::WrongType`](crate::ModuleError::WrongType) if the checkpoint is of another
    /// type; otherwise the errors of
    /// [`AnyRLModule::from_checkpoint`](crate::AnyRLModule::from_checkpoint).
    fn from_checkpoint(path: impl AsRef<Path>, device: &Device) -> Result<Self>
    where
        Self: Sized + Module + 'static,
    {
        crate::any::concrete_from_state(&checkpoint::read(path)?, device)
    }
}

impl<M: RLModule + Module + Sync + 'static> Erase<M> for RLModuleFamily {
    fn erase(module: M) -> Box<dyn RLModule> {
        Box::new(module)
    }
}
