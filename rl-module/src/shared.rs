//! Modules that share parameters.

mod context;
mod per_module;
mod roles;
mod view;
mod view_roles;

use std::sync::Arc;

use burn::module::Module;
use rekindle_catalog::Distribution;
use rekindle_core::{Batch, Erase, Erased, ErasedModule, Family};
use rekindle_env::Buffer;
use rekindle_onnx::{Graph, OnnxError, PolicyOutputs, Values};

use crate::context::ModuleContext;
use crate::error::Result;
use crate::exploration::ExplorationContext;

pub use context::SharedContext;
pub use per_module::PerModule;
pub use roles::{
    SharedActionCritic, SharedDeterministicPolicy, SharedDistributionalQNet, SharedQNet,
    SharedStochasticPolicy, SharedTargetNetwork, SharedValueFunction,
};
pub(crate) use view::{PartOf, SharedView, build_views};

/// Marker of erased modules that share parameters for [`Erased`].
#[derive(Debug, Clone, Copy)]
pub enum SharedFamily {}

impl Family for SharedFamily {
    type Dyn = dyn SharedRLModule;
}

/// A boxed shared module of any type. It is itself a Burn module.
pub type BoxSharedRLModule = Erased<SharedFamily>;

/// Several modules that share parameters, such as a common encoder or a centralized critic.
///
/// RLlib's counterpart is an override of `MultiRLModule.setup()`. Here, one struct owns every part
/// once, and each pass takes the id of its module. A shared part therefore has one copy, one
/// gradient (the sum over the modules) and one optimizer state.
///
/// [`MultiRLModuleSpec::shared`](crate::MultiRLModuleSpec::shared) builds it. Runners and learners
/// see an ordinary [`AnyRLModule`](crate::AnyRLModule) per id.
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
    /// If the module does not support a space or setting.
    fn setup(cx: &SharedContext<'_>) -> Result<Self>
    where
        Self: Sized;

    /// Runs [`RLModule::forward_train`](crate::RLModule::forward_train) of one module.
    ///
    /// # Errors
    /// If a column is missing or has the wrong kind or shape.
    fn forward_train(&self, module_id: &str, batch: &Batch) -> Result<Batch>;

    /// Runs [`RLModule::forward_exploration`](crate::RLModule::forward_exploration) of one module.
    ///
    /// # Errors
    /// The errors of [`SharedRLModule::forward_train`].
    fn forward_exploration(
        &self,
        module_id: &str,
        batch: &Batch,
        _cx: &mut ExplorationContext,
    ) -> Result<Batch> {
        self.forward_train(module_id, batch)
    }

    /// Runs [`RLModule::forward_inference`](crate::RLModule::forward_inference) of one module.
    ///
    /// # Errors
    /// The errors of [`SharedRLModule::forward_train`].
    fn forward_inference(&self, module_id: &str, batch: &Batch) -> Result<Batch> {
        self.forward_exploration(module_id, batch, &mut ExplorationContext::of_inference())
    }

    /// Returns [`RLModule::initial_state`](crate::RLModule::initial_state) of one module.
    ///
    /// # Errors
    /// If the state cannot be created.
    fn initial_state(&self, _module_id: &str) -> Result<Option<Buffer>> {
        Ok(None)
    }

    /// Runs [`RLModule::export_onnx`](crate::RLModule::export_onnx) of one module.
    ///
    /// # Errors
    /// [`OnnxError::NotExportable`] unless the module implements it.
    fn export_onnx(
        &self,
        _module_id: &str,
        _graph: &mut Graph,
        _observations: &Values,
    ) -> Result<PolicyOutputs> {
        let (name, method) = (std::any::type_name::<Self>(), "SharedRLModule::export_onnx");
        Err(OnnxError::not_implemented("shared module", name, method).into())
    }

    /// Returns [`RLModule::max_seq_len`](crate::RLModule::max_seq_len) of one module.
    fn max_seq_len(&self, _module_id: &str) -> usize {
        20
    }

    /// Returns [`RLModule::noise_dim`](crate::RLModule::noise_dim) of one module.
    fn noise_dim(&self, _module_id: &str) -> usize {
        0
    }

    /// Returns the modules as value functions, if they are.
    fn as_value_function(&self) -> Option<&dyn SharedValueFunction> {
        None
    }

    /// Returns the modules as networks of action values, if they are.
    fn as_q_net(&self) -> Option<&dyn SharedQNet> {
        None
    }

    /// Returns the modules as networks of distributions of action values, if they are.
    fn as_distributional_q_net(&self) -> Option<&dyn SharedDistributionalQNet> {
        None
    }

    /// Returns the modules as critics of actions, if they have them.
    fn as_action_critic(&self) -> Option<&dyn SharedActionCritic> {
        None
    }

    /// Returns the modules as policies that draw actions with gradients, if they are.
    fn as_stochastic_policy(&self) -> Option<&dyn SharedStochasticPolicy> {
        None
    }

    /// Returns the modules as deterministic policies, if they are.
    fn as_deterministic_policy(&self) -> Option<&dyn SharedDeterministicPolicy> {
        None
    }

    /// Returns the modules as ones with target networks, if they have them.
    fn as_target_network(&self) -> Option<&dyn SharedTargetNetwork> {
        None
    }

    /// Returns prefixes of the names of the parameters that an inference-only module lacks.
    fn non_inference_attributes(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the action distribution of one module, by default the catalog's.
    ///
    /// # Errors
    /// The errors of [`Catalog::action_distribution`](rekindle_catalog::Catalog::action_distribution).
    fn action_distribution(
        _module_id: &str,
        cx: &ModuleContext<'_>,
    ) -> Result<Arc<dyn Distribution>>
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
}

impl<M: SharedRLModule + Module + Sync + 'static> Erase<M> for SharedFamily {
    fn erase(module: M) -> Box<dyn SharedRLModule> {
        Box::new(module)
    }
}
