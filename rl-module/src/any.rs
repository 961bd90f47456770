//! Built modules of any type.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor};
use burn::prelude::Device;
use rekindle_catalog::Distribution;
use rekindle_checkpoint::{self as checkpoint, Checkpointable, State};
use rekindle_core::named::below;
use rekindle_core::weights::{self, LoadReport, Weights};
use rekindle_core::{Batch, Result as CoreResult};
use rekindle_env::Buffer;
use rekindle_onnx::{Graph, PolicyOutputs, Values};

use crate::compatible::SavedSpaces;
use crate::error::{ModuleError, Result};
use crate::exploration::ExplorationContext;
use crate::guard::guard;
use crate::module::{BoxRLModule, RLModule};
use crate::multi::MultiRLModule;
use crate::own_weights;
use crate::policy_pass::PolicyPass;
use crate::roles::{follow, move_targets, sync_targets};
use crate::shared::SharedRLModule;
use crate::shared::SharedView;
use crate::spec::RLModuleSpec;

/// A built module of any type, with its spec and its action distribution.
///
/// It corresponds to an `RLModule` object in RLlib: it acts, trains, and is saved and restored
/// without naming its type. It is itself a Burn module. Clones share the parameters.
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

    /// Returns the spec it was built from.
    #[must_use]
    pub fn spec(&self) -> &RLModuleSpec {
        &self.spec
    }

    /// Returns the action distribution. The module's outputs are its parameters.
    #[must_use]
    pub fn distribution(&self) -> &Arc<dyn Distribution> {
        &self.distribution
    }

    /// Returns the module itself.
    #[must_use]
    pub fn module(&self) -> &dyn RLModule {
        &*self.module
    }

    pub(crate) fn module_mut(&mut self) -> &mut dyn RLModule {
        &mut *self.module
    }

    /// Returns the module as its concrete type, if it is of type `M`.
    #[must_use]
    pub fn downcast_ref<M: RLModule>(&self) -> Option<&M> {
        let module: &dyn Any = self.module();
        module.downcast_ref()
    }

    /// Returns the shared module, if this module is a part of one.
    #[must_use]
    pub fn shared(&self) -> Option<&dyn SharedRLModule> {
        self.view().map(|view| &***view.shared())
    }

    pub(crate) fn view(&self) -> Option<&SharedView> {
        self.downcast_ref()
    }

    /// Splits off the parameters and returns what is needed to rebuild the module.
    pub(crate) fn detach(self) -> Detached {
        Detached { spec: self.spec, distribution: self.distribution }
    }

    /// Runs [`RLModule::forward_train`].
    ///
    /// # Errors
    /// [`ModuleError::InferenceOnly`] if the module was built for inference only;
    /// [`ModuleError::Panicked`]; the module's error.
    pub fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        if self.spec.is_inference_only() {
            return Err(ModuleError::InferenceOnly { module: self.spec.module().into() });
        }
        self.guard("forward_train", || self.module.forward_train(batch))
    }

    /// Runs [`RLModule::forward_exploration`].
    ///
    /// # Errors
    /// [`ModuleError::Panicked`]; the module's error.
    pub fn forward_exploration(&self, batch: &Batch, cx: &mut ExplorationContext) -> Result<Batch> {
        self.guard("forward_exploration", || self.module.forward_exploration(batch, cx))
    }

    /// Runs [`RLModule::forward_inference`].
    ///
    /// # Errors
    /// [`ModuleError::Panicked`]; the module's error.
    pub fn forward_inference(&self, batch: &Batch) -> Result<Batch> {
        self.guard("forward_inference", || self.module.forward_inference(batch))
    }

    /// Runs [`RLModule::export_onnx`].
    ///
    /// # Errors
    /// [`ModuleError::Panicked`]; the module's error.
    pub fn export_onnx(&self, graph: &mut Graph, observations: &Values) -> Result<PolicyOutputs> {
        self.guard("export_onnx", || self.module.export_onnx(graph, observations))
    }

    /// Returns [`RLModule::policy_pass`].
    ///
    /// # Errors
    /// [`ModuleError::Panicked`].
    pub fn policy_pass(&self) -> Result<Option<PolicyPass>> {
        self.guard("policy_pass", || Ok(self.module.policy_pass()))
    }

    /// Runs a method of this module under [`guard()`].
    pub(crate) fn guard<T>(
        &self,
        method: &'static str,
        run: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        guard(self.spec.module(), method, run)
    }

    /// Returns [`RLModule::initial_state`].
    ///
    /// # Errors
    /// [`ModuleError::Panicked`]; the module's error.
    pub fn initial_state(&self) -> Result<Option<Buffer>> {
        self.guard("initial_state", || self.module.initial_state())
    }

    /// Returns [`RLModule::max_seq_len`].
    #[must_use]
    pub fn max_seq_len(&self) -> usize {
        self.module.max_seq_len()
    }

    /// Returns [`RLModule::noise_dim`].
    #[must_use]
    pub fn noise_dim(&self) -> usize {
        self.module.noise_dim()
    }

    /// Returns a multi-module with this module as its only one. They share the parameters.
    ///
    /// # Errors
    /// None in practice: the default id is valid.
    pub fn as_multi_rl_module(&self) -> Result<MultiRLModule> {
        let mut multi = MultiRLModule::new();
        multi.add_module(rekindle_core::DEFAULT_MODULE_ID, self.clone(), false)?;
        Ok(multi)
    }

    /// Returns the parameters by name, in PyTorch's layout, and the weights of a module that learns from a
    /// batch by itself ([`LearnOnBatch::get_weights`](crate::LearnOnBatch::get_weights)).
    ///
    /// # Errors
    /// A [`CoreError`](rekindle_core::CoreError) if two parameters have the same name or the device
    /// fails; the errors of `get_weights`.
    pub fn state_dict(&self) -> Result<Weights> {
        let mut weights = weights::state_dict(&self.module)?;
        weights.extend(own_weights::get(self.spec.module(), self.module())?);
        Ok(weights)
    }

    /// Checks the roles of a newly built module.
    pub(crate) fn check_roles(&mut self) -> Result<()> {
        if self.module.as_learn_on_batch().is_none()
            && self.module.as_learn_on_batch_mut().is_none()
        {
            return Ok(());
        }
        let parameters = weights::state_dict(&self.module)?;
        own_weights::check(self.spec.module(), &mut *self.module, &parameters)
    }

    /// Returns the parameters of an inference-only module of the same spec.
    ///
    /// # Errors
    /// The errors of [`AnyRLModule::state_dict`].
    pub fn inference_state_dict(&self) -> Result<Weights> {
        let mut weights = self.state_dict()?;
        self.keep_inference(&mut weights);
        Ok(weights)
    }

    /// Replaces all parameters, and the weights of a module that learns from a batch by itself. Names and
    /// shapes must match exactly, except that an inference-only module skips the parameters of the full
    /// module.
    ///
    /// # Errors
    /// A [`CoreError`](rekindle_core::CoreError) if names or shapes do not match; the error of
    /// [`LearnOnBatch::set_weights`](crate::LearnOnBatch::set_weights). The module is then unchanged.
    pub fn load_state_dict(&mut self, weights: &Weights) -> Result<()> {
        self.load_with(weights, weights::load_state_dict)
    }

    /// Replaces all parameters with saved ones, which need not be finite.
    pub(crate) fn restore_state_dict(&mut self, weights: &Weights) -> Result<()> {
        self.load_with(weights, weights::restore_state_dict)
    }

    fn load_with(
        &mut self,
        weights: &Weights,
        load: fn(&BoxRLModule, &Weights) -> CoreResult<BoxRLModule>,
    ) -> Result<()> {
        let mut kept;
        let weights = match self.spec.is_inference_only() {
            true => {
                kept = weights.clone();
                self.keep_inference(&mut kept);
                &kept
            }
            false => weights,
        };
        self.module = match self.module.as_learn_on_batch() {
            None => load(&self.module, weights)?,
            Some(_) => {
                let name = self.spec.module();
                let (own, parameters) = own_weights::divide(name, &*self.module, weights)?;
                let mut module = load(&self.module, &parameters)?;
                own_weights::set(name, &mut *module, &own)?;
                module
            }
        };
        Ok(())
    }

    /// Replaces the parameters whose names and shapes are in `weights`, and reports the others.
    ///
    /// # Errors
    /// A [`CoreError`](rekindle_core::CoreError) if two parameters of the module have the same name.
    pub fn load_matching(&mut self, weights: &Weights) -> Result<LoadReport> {
        let (mut module, mut report) = weights::load_matching(&self.module, weights)?;
        own_weights::set_matching(self.spec.module(), &mut *module, weights, &mut report)?;
        self.module = module;
        Ok(report)
    }

    /// Moves target networks towards their main networks by `tau`; see [`sync_targets`]. Does
    /// nothing for a module without target networks.
    ///
    /// # Errors
    /// The errors of [`sync_targets`]. The module is then unchanged.
    pub fn sync_targets(&mut self, tau: f64) -> Result<()> {
        if let Some(role) = self.module.as_target_network() {
            self.module = sync_targets(&self.module, role.target_network_pairs(), tau)?;
        }
        Ok(())
    }

    /// As [`sync_targets`](Self::sync_targets), in place where no other module has the targets.
    pub(crate) fn move_targets(mut self, tau: f64) -> (Self, Result<()>) {
        let pairs = self.module.as_target_network().map(|role| role.target_network_pairs());
        let Some(pairs) = pairs else { return (self, Ok(())) };
        let moved;
        (self.module, moved) = move_targets(self.module, pairs, tau);
        (self, moved)
    }

    /// Moves the parameters towards those of a module of the same type: `θ ← τ·θ_main + (1 − τ)·θ`. For
    /// losses that keep a slow copy of their module.
    ///
    /// # Errors
    /// [`ModuleError::InvalidTau`] unless `tau` is between 0 and 1; [`ModuleError::WrongType`] for a module
    /// of another type.
    pub fn follow(&mut self, main: &Self, tau: f64) -> Result<()> {
        if !(0.0..=1.0).contains(&tau) {
            return Err(ModuleError::InvalidTau(tau));
        }
        let (expected, found) = (self.spec.module(), main.spec.module());
        if expected != found {
            let (expected, found) = (expected.into(), found.into());
            return Err(ModuleError::WrongType { expected, found });
        }
        self.module = follow(&self.module, &main.module, tau);
        Ok(())
    }

    fn keep_inference(&self, weights: &mut Weights) {
        let training_only = self.module.non_inference_attributes();
        weights.retain(|name, _| !training_only.iter().any(|prefix| below(name, prefix).is_some()));
    }

    /// Builds the module of a checkpoint, with its parameters.
    ///
    /// `path` is the directory of the module itself, alone or inside a larger checkpoint.
    ///
    /// # Errors
    /// [`ModuleError::NotRegistered`] if this program does not know the module's type or catalog;
    /// [`ModuleError::NotAModule`] for a checkpoint of something else; a checkpoint error if it is
    /// damaged; the errors of [`RLModuleSpec::build`] and [`AnyRLModule::load_state_dict`].
    pub fn from_checkpoint(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::from_state(&checkpoint::read(path)?, device)
    }

    /// Builds the module of a state, with its parameters.
    ///
    /// # Errors
    /// The errors of [`AnyRLModule::from_checkpoint`].
    pub fn from_state(state: &State, device: &Device) -> Result<Self> {
        let mut module = RLModuleSpec::from_state(state)?.build(device)?;
        module.restore_state_dict(&state.tensors)?;
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
    let (own, parameters) = own_weights::divide(name, &module, &state.tensors)?;
    let mut module = weights::restore_state_dict(&module, &parameters)?;
    own_weights::set(name, &mut module, &own)?;
    Ok(module)
}

impl Checkpointable for AnyRLModule {
    type Error = ModuleError;

    fn get_state(&self) -> Result<State> {
        let mut state = State::from_data(&*self.spec)?;
        state.tensors = self.state_dict()?;
        Ok(state)
    }

    /// Replaces all parameters with those of a module for the same spaces. On an error, nothing
    /// changes.
    ///
    /// The parameters of a saved module need not be finite. Weights without a spec must be.
    fn set_state(&mut self, state: &State) -> Result<()> {
        SavedSpaces::of_state(state)?.check(&self.spec)?;
        match state.data.is_null() {
            true => self.load_state_dict(&state.tensors),
            false => self.restore_state_dict(&state.tensors),
        }
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
