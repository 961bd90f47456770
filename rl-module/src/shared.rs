//! Several modules with common parts in one struct.

mod context;
mod per_module;
mod view;

use std::sync::Arc;

use burn::module::Module;
use burn::prelude::Tensor;
use rekindle_catalog::Distribution;
use rekindle_core::{Batch, Erase, Erased, ErasedModule, Family};
use rekindle_env::Buffer;

use crate::{ModuleContext, Result};

pub use context::SharedContext;
pub use per_module::PerModule;
pub(crate) use view::{PartOf, SharedView, build_views};

/// The family of erased modules that share parameters.
#[derive(Debug, Clone, Copy)]
pub enum SharedFamily {}

impl Family for SharedFamily {
    type Dyn = dyn SharedRLModule;
}

/// A boxed module that shares parameters; itself a Burn module.
pub type BoxSharedRLModule = Erased<SharedFamily>;

/// Several modules that share parameters: a common encoder, a centralised critic.
///
/// RLlib's way to this is to override `MultiRLModule.setup()`. Here one struct owns every part
/// once, and each pass is told for which module it runs. So a shared part has one copy, one
/// gradient (the sum over the modules) and one optimizer state, by construction.
///
/// [`MultiRLModuleSpec::shared`](crate::MultiRLModuleSpec::shared) builds it; runners and
/// objectives see an ordinary [`AnyRLModule`](crate::AnyRLModule) per id.
///
/// ```
/// use burn::module::Module;
/// use rekindle_catalog::Mlp;
/// use rekindle_core::{Batch, Columns};
/// use rekindle_rl_module::{PerModule, Result, SharedContext, SharedRLModule};
///
/// #[derive(Module, Debug)]
/// struct SharedEncoder {
///     encoder: Mlp,
///     heads: PerModule<Mlp>,
/// }
///
/// impl SharedRLModule for SharedEncoder {
///     fn setup(cx: &SharedContext<'_>) -> Result<Self> {
///         let heads = PerModule::build(cx, |cx| {
///             Ok(cx.mlp(64, &[], cx.action_space().as_discrete()?.n()))
///         })?;
///         Ok(Self { encoder: cx.first()?.mlp(4, &[64], 64), heads })
///     }
///
///     fn forward_train(&self, module_id: &str, batch: &Batch) -> Result<Batch> {
///         let features = self.encoder.forward(batch.float::<2>(Columns::OBS)?);
///         let logits = self.heads.get(module_id)?.forward(features);
///         Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
///     }
/// }
/// ```
pub trait SharedRLModule: ErasedModule<SharedFamily> {
    /// Builds all parts for the modules of the context.
    ///
    /// # Errors
    /// If a space or setting does not fit.
    fn setup(cx: &SharedContext<'_>) -> Result<Self>
    where
        Self: Sized;

    /// [`RLModule::forward_train`](crate::RLModule::forward_train) of one module.
    ///
    /// # Errors
    /// If a column is missing or of another shape than the module was built for.
    fn forward_train(&self, module_id: &str, batch: &Batch) -> Result<Batch>;

    /// [`RLModule::forward_exploration`](crate::RLModule::forward_exploration) of one module.
    ///
    /// # Errors
    /// As [`SharedRLModule::forward_train`].
    fn forward_exploration(&self, module_id: &str, batch: &Batch) -> Result<Batch> {
        self.forward_train(module_id, batch)
    }

    /// [`RLModule::forward_inference`](crate::RLModule::forward_inference) of one module.
    ///
    /// # Errors
    /// As [`SharedRLModule::forward_train`].
    fn forward_inference(&self, module_id: &str, batch: &Batch) -> Result<Batch> {
        self.forward_exploration(module_id, batch)
    }

    /// [`RLModule::initial_state`](crate::RLModule::initial_state) of one module.
    ///
    /// # Errors
    /// If the state cannot be made.
    fn initial_state(&self, _module_id: &str) -> Result<Option<Buffer>> {
        Ok(None)
    }

    /// [`RLModule::max_seq_len`](crate::RLModule::max_seq_len) of one module.
    fn max_seq_len(&self, _module_id: &str) -> usize {
        20
    }

    /// The modules as value functions, if they are.
    fn as_value_function(&self) -> Option<&dyn SharedValueFunction> {
        None
    }

    /// Prefixes of the names of the parameters that an inference-only module lacks.
    fn non_inference_attributes(&self) -> &'static [&'static str] {
        &[]
    }

    /// The distribution that the actions of one module are drawn from; the catalog's by default.
    ///
    /// # Errors
    /// If the action space has no default distribution.
    fn action_distribution(
        _module_id: &str,
        cx: &ModuleContext<'_>,
    ) -> Result<Arc<dyn Distribution>>
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
}

/// Modules that share parameters and estimate state values.
///
/// A centralised critic is one network that reads the part of the observations that every module
/// has; separate ones are a [`PerModule`].
pub trait SharedValueFunction {
    /// [`ValueFunction::compute_values`](crate::ValueFunction::compute_values) of one module.
    ///
    /// # Shapes
    /// Observations `[B, …]`; embeddings `[B, features]`; result `[B]`.
    ///
    /// # Errors
    /// If a column is missing or of another shape than the module was built for.
    fn compute_values(
        &self,
        module_id: &str,
        batch: &Batch,
        embeddings: Option<Tensor<2>>,
    ) -> Result<Tensor<1>>;
}

impl<M: SharedRLModule + Module + Sync + 'static> Erase<M> for SharedFamily {
    fn erase(module: M) -> Box<dyn SharedRLModule> {
        Box::new(module)
    }
}
