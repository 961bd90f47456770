//! A built module of any type.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor};
use burn::prelude::Device;
use rekindle_catalog::Distribution;
use rekindle_checkpoint::{self as checkpoint, Checkpointable, State};
use rekindle_core::Batch;
use rekindle_core::named::below;
use rekindle_core::weights::{self, LoadReport, Weights};
use rekindle_env::Buffer;

use crate::guard::guard;
use crate::shared::SharedView;
use crate::{
    BoxRLModule, ModuleError, MultiRLModule, RLModule, RLModuleSpec, Result, SharedRLModule,
    sync_targets,
};

/// A module together with the spec it was built from and its action distribution.
///
/// What RLlib calls an `RLModule` object: it can act, train, be saved, and be restored without
/// naming its type. It is itself a Burn module. Cloning shares the parameters.
#[derive(Debug, Clone)]
pub struct AnyRLModule {
    spec: Arc<RLModuleSpec>,
    distribution: Arc<dyn Distribution>,
    module: BoxRLModule,
}

impl AnyRLModule {
    pub(crate) fn new(
        spec: RLModuleSpec,
        distribution: Arc<dyn Distribution>,
        module: BoxRLModule,
    ) -> Self {
        Self { spec: Arc::new(spec), distribution, module }
    }

    /// The spec it was built from.
    pub fn spec(&self) -> &RLModuleSpec {
        &self.spec
    }

    /// The distribution its outputs parameterise.
    pub fn distribution(&self) -> &Arc<dyn Distribution> {
        &self.distribution
    }

    /// The module itself.
    pub fn module(&self) -> &dyn RLModule {
        &*self.module
    }

    /// The module as the type it was written as, if it is of that type.
    pub fn downcast_ref<M: RLModule>(&self) -> Option<&M> {
        let module: &dyn Any = self.module();
        module.downcast_ref()
    }

    /// The whole that it shares parameters in, if it is a part of one.
    pub fn shared(&self) -> Option<&dyn SharedRLModule> {
        self.view().map(|view| &***view.shared())
    }

    pub(crate) fn view(&self) -> Option<&SharedView> {
        self.downcast_ref()
    }

    /// Lets go of the parameters: what remains to build the module on others again.
    pub(crate) fn detach(self) -> Detached {
        Detached { spec: self.spec, distribution: self.distribution }
    }

    /// [`RLModule::forward_train`].
    ///
    /// # Errors
    /// [`ModuleError::InferenceOnly`] if it was built for inference only, or the module's error.
    pub fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        if self.spec.is_inference_only() {
            return Err(ModuleError::InferenceOnly { module: self.spec.module().into() });
        }
        self.guard("forward_train", || self.module.forward_train(batch))
    }

    /// [`RLModule::forward_exploration`].
    ///
    /// # Errors
    /// The module's error.
    pub fn forward_exploration(&self, batch: &Batch) -> Result<Batch> {
        self.guard("forward_exploration", || self.module.forward_exploration(batch))
    }

    /// [`RLModule::forward_inference`].
    ///
    /// # Errors
    /// The module's error.
    pub fn forward_inference(&self, batch: &Batch) -> Result<Batch> {
        self.guard("forward_inference", || self.module.forward_inference(batch))
    }

    /// [`guard()`] for a method of this module.
    pub(crate) fn guard<T>(
        &self,
        method: &'static str,
        run: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        guard(self.spec.module(), method, run)
    }

    /// [`RLModule::initial_state`].
    ///
    /// # Errors
    /// The module's error.
    pub fn initial_state(&self) -> Result<Option<Buffer>> {
        self.module.initial_state()
    }

    /// [`RLModule::max_seq_len`].
    pub fn max_seq_len(&self) -> usize {
        self.module.max_seq_len()
    }

    /// The module as the only one of a multi-module, sharing its parameters.
    ///
    /// # Errors
    /// None in practice: the default id is valid.
    pub fn as_multi_rl_module(&self) -> Result<MultiRLModule> {
        let mut multi = MultiRLModule::new();
        multi.add_module(rekindle_core::DEFAULT_MODULE_ID, self.clone(), false)?;
        Ok(multi)
    }

    /// The parameters by name, in PyTorch's layout.
    ///
    /// # Errors
    /// If two parameters share a name or the device fails.
    pub fn state_dict(&self) -> Result<Weights> {
        Ok(weights::state_dict(&self.module)?)
    }

    /// The parameters that an inference-only module of the same spec has.
    ///
    /// # Errors
    /// As [`AnyRLModule::state_dict`].
    pub fn inference_state_dict(&self) -> Result<Weights> {
        let mut weights = self.state_dict()?;
        self.keep_inference(&mut weights);
        Ok(weights)
    }

    /// Replaces all parameters. Strict; an inference-only module skips the parameters that only
    /// the full module has.
    ///
    /// # Errors
    /// If names or shapes do not match; the module is then unchanged.
    pub fn load_state_dict(&mut self, weights: &Weights) -> Result<()> {
        self.module = if self.spec.is_inference_only() {
            let mut weights = weights.clone();
            self.keep_inference(&mut weights);
            weights::load_state_dict(&self.module, &weights)?
        } else {
            weights::load_state_dict(&self.module, weights)?
        };
        Ok(())
    }

    /// Replaces the parameters that `weights` has a fitting value for, and reports the others.
    ///
    /// # Errors
    /// If two parameters of the module share a name.
    pub fn load_matching(&mut self, weights: &Weights) -> Result<LoadReport> {
        let (module, report) = weights::load_matching(&self.module, weights)?;
        self.module = module;
        Ok(report)
    }

    /// Moves target networks towards their main networks by `tau`; see [`sync_targets`]. A module
    /// without the role is left as it is.
    ///
    /// # Errors
    /// As [`sync_targets`]; the module is then unchanged.
    pub fn sync_targets(&mut self, tau: f64) -> Result<()> {
        if let Some(role) = self.module.as_target_network() {
            self.module = sync_targets(&self.module, role.target_network_pairs(), tau)?;
        }
        Ok(())
    }

    fn keep_inference(&self, weights: &mut Weights) {
        let training_only = self.module.non_inference_attributes();
        weights.retain(|name, _| !training_only.iter().any(|prefix| below(name, prefix).is_some()));
    }

    /// Builds the module that a checkpoint describes and gives it the checkpoint's parameters.
    ///
    /// `path` is the directory of the module itself, alone or inside a larger checkpoint.
    ///
    /// # Errors
    /// [`ModuleError::NotRegistered`] if this program does not know the module's type or catalog;
    /// otherwise if the checkpoint is damaged or does not fit.
    pub fn from_checkpoint(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::from_state(&checkpoint::read(path)?, device)
    }

    /// Builds the module that a state describes.
    ///
    /// # Errors
    /// As [`AnyRLModule::from_checkpoint`].
    pub fn from_state(state: &State, device: &Device) -> Result<Self> {
        let mut module = RLModuleSpec::from_state(state)?.build(device)?;
        module.load_state_dict(&state.tensors)?;
        Ok(module)
    }
}

/// A module without its parameters.
#[derive(Debug)]
pub(crate) struct Detached {
    spec: Arc<RLModuleSpec>,
    distribution: Arc<dyn Distribution>,
}

impl Detached {
    pub(crate) fn attach(self, module: BoxRLModule) -> AnyRLModule {
        AnyRLModule { spec: self.spec, distribution: self.distribution, module }
    }
}

pub(crate) fn concrete_from_state<M: RLModule + Module + 'static>(
    state: &State,
    device: &Device,
) -> Result<M> {
    let name = state.data.get("module").and_then(|name| name.as_str());
    let name = name.ok_or(ModuleError::NotAModule)?;
    if name != M::type_name() {
        let (expected, found) = (M::type_name(), name.into());
        return Err(ModuleError::WrongType { expected, found });
    }
    crate::register_module::<M>();
    let module: M = RLModuleSpec::from_state(state)?.build_concrete(device)?;
    Ok(weights::load_state_dict(&module, &state.tensors)?)
}

impl Checkpointable for AnyRLModule {
    type Error = ModuleError;

    fn get_state(&self) -> Result<State> {
        let mut state = State::from_data(&*self.spec)?;
        state.tensors = self.state_dict()?;
        Ok(state)
    }

    fn set_state(&mut self, state: &State) -> Result<()> {
        self.load_state_dict(&state.tensors)
    }
}

impl Module for AnyRLModule {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.module.collect_devices(devices)
    }
    fn fork(self, device: &Device) -> Self {
        Self { module: self.module.fork(device), ..self }
    }
    fn to_device(self, device: &Device) -> Self {
        Self { module: self.module.to_device(device), ..self }
    }
    fn train(self) -> Self {
        Self { module: self.module.train(), ..self }
    }
    fn valid(&self) -> Self {
        Self {
            spec: self.spec.clone(),
            distribution: self.distribution.clone(),
            module: self.module.valid(),
        }
    }
    fn materialize(self) -> Self {
        Self { module: self.module.materialize(), ..self }
    }
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.module.visit(visitor);
    }
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        Self { module: self.module.map(mapper), ..self }
    }
}
