//! The trait that users implement.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::prelude::Device;
use rekindle_catalog::Distribution;
use rekindle_checkpoint as checkpoint;
use rekindle_core::{Batch, Erase, Erased, ErasedModule, Family};
use rekindle_env::Buffer;

use crate::{ModuleContext, QNet, Result, SelfSupervisedLoss, TargetNetwork, ValueFunction};

/// The family of erased RL modules.
#[derive(Debug, Clone, Copy)]
pub enum RLModuleFamily {}

impl Family for RLModuleFamily {
    type Dyn = dyn RLModule;
}

/// A boxed RL module; itself a Burn module.
pub type BoxRLModule = Erased<RLModuleFamily>;

/// A neural network with a pass for training, one for exploration and one for inference.
///
/// Derive [`Module`] on a plain struct and implement [`setup`](Self::setup) and
/// [`forward_train`](Self::forward_train). The two acting passes must put out
/// [`Columns::ACTION_DIST_INPUTS`](rekindle_core::Columns::ACTION_DIST_INPUTS),
/// [`Columns::ACTIONS`](rekindle_core::Columns::ACTIONS), or both: actions are used as they are,
/// otherwise they are sampled (exploration) or taken from the deterministic twin (inference).
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
    /// # Errors
    /// If a space or setting does not fit.
    fn setup(cx: &ModuleContext<'_>) -> Result<Self>
    where
        Self: Sized;

    /// The pass that losses are computed from; gradients flow through it.
    ///
    /// # Errors
    /// If a column is missing or of another shape than the module was built for.
    fn forward_train(&self, batch: &Batch) -> Result<Batch>;

    /// The pass that collects experience; called without gradients.
    ///
    /// # Errors
    /// As [`RLModule::forward_train`].
    fn forward_exploration(&self, batch: &Batch) -> Result<Batch> {
        self.forward_train(batch)
    }

    /// The pass of a deployed policy; called without gradients.
    ///
    /// # Errors
    /// As [`RLModule::forward_train`].
    fn forward_inference(&self, batch: &Batch) -> Result<Batch> {
        self.forward_exploration(batch)
    }

    /// The state of the module's memory before the first step of an episode, one row; `None` for a
    /// module without memory. RLlib's `get_initial_state`.
    ///
    /// A module with memory is *stateful*. Every pass then reads the column
    /// [`Columns::STATE_IN`](rekindle_core::Columns::STATE_IN), `[S, …]` in the layout of this
    /// state, beside `S·T` rows of observations: `S` sequences of `T` steps, one after the other,
    /// each starting from its row of the state (`T` is 1 while acting). The acting passes put out
    /// [`Columns::STATE_OUT`](rekindle_core::Columns::STATE_OUT), the state after the last step of
    /// each sequence. All other columns have `S·T` rows, so that heads and losses need not know.
    ///
    /// # Errors
    /// If the state cannot be made.
    fn initial_state(&self) -> Result<Option<Buffer>> {
        Ok(None)
    }

    /// The longest sequence, in steps, that a stateful module is trained on.
    fn max_seq_len(&self) -> usize {
        20
    }

    /// The module as a value function, if it is one.
    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        None
    }

    /// The module as a network of action values, if it is one.
    fn as_q_net(&self) -> Option<&dyn QNet> {
        None
    }

    /// The module as one with target networks, if it has them.
    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        None
    }

    /// The module as one with a loss of its own, if it has one.
    fn as_self_supervised_loss(&self) -> Option<&dyn SelfSupervisedLoss> {
        None
    }

    /// Prefixes of the names of the parameters that an inference-only module lacks, dots between
    /// levels: `["vf", "critic_encoder"]`. RLlib's `get_non_inference_attributes`.
    fn non_inference_attributes(&self) -> &'static [&'static str] {
        &[]
    }

    /// The distribution that actions are drawn from; the catalog's choice by default.
    ///
    /// # Errors
    /// If the action space has no default distribution.
    fn action_distribution(cx: &ModuleContext<'_>) -> Result<Arc<dyn Distribution>>
    where
        Self: Sized,
    {
        Ok(cx.catalog().action_distribution(cx.action_space())?)
    }

    /// The name that checkpoints record the type under. Override it to survive a renamed type.
    fn type_name() -> String
    where
        Self: Sized,
    {
        std::any::type_name::<Self>().into()
    }

    /// Builds the module that a checkpoint describes and gives it the checkpoint's parameters.
    ///
    /// `path` is the directory of the module itself, alone or inside a larger checkpoint.
    ///
    /// # Errors
    /// If the checkpoint is damaged, holds another type, or does not fit.
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
