//! A single module's view of modules that share parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor};
use burn::prelude::Device;
use rekindle_catalog::ModelBuilder;
use rekindle_core::{Batch, Generator, ModuleId, initialize};
use rekindle_env::Buffer;
use rekindle_onnx::{Graph, PolicyOutputs, Values};
use serde::{Deserialize, Serialize};

use super::{BoxSharedRLModule, SharedContext};
use crate::any::AnyRLModule;
use crate::config_use::ConfigUse;
use crate::context::ModuleContext;
use crate::error::{ModuleError, Result};
use crate::exploration::ExplorationContext;
use crate::guard::guard;
use crate::module::{BoxRLModule, RLModule};
use crate::roles::{
    ActionCritic, DeterministicPolicy, DistributionalQNet, QNet, StochasticPolicy, TargetNetwork,
    ValueFunction, sync_targets,
};
use crate::spec::RLModuleSpec;
use crate::spec::seeded;

/// A module that forwards every call to a shared module with its id. Its parameters are all
/// parameters of the shared module.
#[derive(Debug, Clone)]
pub(crate) struct SharedView {
    module_id: ModuleId,
    shared: Arc<BoxSharedRLModule>,
}

impl SharedView {
    pub(crate) fn new(module_id: ModuleId, shared: Arc<BoxSharedRLModule>) -> Self {
        Self { module_id, shared }
    }

    pub(crate) fn module_id(&self) -> &ModuleId {
        &self.module_id
    }

    pub(crate) fn shared(&self) -> &Arc<BoxSharedRLModule> {
        &self.shared
    }

    /// Changes the shared module, without a copy if no other view holds it.
    fn change(self, f: impl FnOnce(BoxSharedRLModule) -> BoxSharedRLModule) -> Self {
        Self { shared: Arc::new(f(Arc::unwrap_or_clone(self.shared))), ..self }
    }
}

impl RLModule for SharedView {
    fn setup(_: &ModuleContext<'_>) -> Result<Self> {
        let message = "a part of a shared module is not built alone; build all parts with `MultiRLModuleSpec::shared`";
        Err(ModuleError::Mismatch(message.into()))
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        self.shared.forward_train(&self.module_id, batch)
    }

    fn forward_exploration(&self, batch: &Batch, cx: &mut ExplorationContext) -> Result<Batch> {
        self.shared.forward_exploration(&self.module_id, batch, cx)
    }

    fn forward_inference(&self, batch: &Batch) -> Result<Batch> {
        self.shared.forward_inference(&self.module_id, batch)
    }

    fn initial_state(&self) -> Result<Option<Buffer>> {
        self.shared.initial_state(&self.module_id)
    }

    fn export_onnx(&self, graph: &mut Graph, observations: &Values) -> Result<PolicyOutputs> {
        self.shared.export_onnx(&self.module_id, graph, observations)
    }

    fn max_seq_len(&self) -> usize {
        self.shared.max_seq_len(&self.module_id)
    }

    fn noise_dim(&self) -> usize {
        self.shared.noise_dim(&self.module_id)
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        self.shared.as_value_function().is_some().then_some(self)
    }

    fn as_q_net(&self) -> Option<&dyn QNet> {
        self.shared.as_q_net().is_some().then_some(self)
    }

    fn as_distributional_q_net(&self) -> Option<&dyn DistributionalQNet> {
        self.shared.as_distributional_q_net().is_some().then_some(self)
    }

    fn as_action_critic(&self) -> Option<&dyn ActionCritic> {
        self.shared.as_action_critic().is_some().then_some(self)
    }

    fn as_stochastic_policy(&self) -> Option<&dyn StochasticPolicy> {
        self.shared.as_stochastic_policy().is_some().then_some(self)
    }

    fn as_deterministic_policy(&self) -> Option<&dyn DeterministicPolicy> {
        self.shared.as_deterministic_policy().is_some().then_some(self)
    }

    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        self.shared.as_target_network().is_some().then_some(self)
    }

    fn non_inference_attributes(&self) -> &'static [&'static str] {
        self.shared.non_inference_attributes()
    }
}

impl Module for SharedView {
    fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
        self.shared.collect_devices(devices)
    }
    fn fork(self, device: &Device) -> Self {
        self.change(|shared| shared.fork(device))
    }
    fn to_device(self, device: &Device) -> Self {
        self.change(|shared| shared.to_device(device))
    }
    fn train(self) -> Self {
        self.change(BoxSharedRLModule::train)
    }
    fn valid(&self) -> Self {
        Self { module_id: self.module_id.clone(), shared: Arc::new(self.shared.valid()) }
    }
    fn materialize(self) -> Self {
        self.change(BoxSharedRLModule::materialize)
    }
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.shared.visit(visitor);
    }
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        self.change(|shared| shared.map(mapper))
    }
}

/// The shared module of a view. A spec records it, so that the view can be rebuilt alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartOf {
    pub(crate) module_id: ModuleId,
    /// The specs of all modules.
    pub(crate) rl_module_specs: BTreeMap<ModuleId, RLModuleSpec>,
}

impl PartOf {
    /// Builds the shared module, and returns the view that `spec` describes.
    pub(crate) fn build(
        &self,
        spec: &RLModuleSpec,
        device: &Device,
        rng: Generator,
    ) -> Result<AnyRLModule> {
        let mut specs = self.rl_module_specs.clone();
        specs.insert(self.module_id.clone(), spec.clone().alone());
        if spec.is_inference_only() {
            specs = specs.into_iter().map(|(id, s)| (id, s.inference_only(true))).collect();
        }
        let (mut views, _) = build_views(&specs, device, rng)?;
        views
            .remove(&self.module_id)
            .ok_or_else(|| ModuleError::unknown(&self.module_id, views.keys()))
    }
}

/// Builds a shared module and returns its views, and the uses of the model configs that were filled
/// in. All specs have the same type.
pub(crate) fn build_views(
    specs: &BTreeMap<ModuleId, RLModuleSpec>,
    device: &Device,
    rng: Generator,
) -> Result<(BTreeMap<ModuleId, AnyRLModule>, Vec<ConfigUse>)> {
    let Some(first) = specs.values().next() else { return Ok((BTreeMap::new(), Vec::new())) };
    let builder = ModelBuilder::new(device, rng);
    let contexts = specs.iter().map(|(id, spec)| Ok((id.clone(), spec.context(&builder)?)));
    let cx = SharedContext { modules: contexts.collect::<Result<_>>()?, builder: &builder };
    let (shared, distributions) = seeded(&builder, || {
        guard(first.module(), "setup", || {
            let built = first.constructor().build_shared(&cx)?;
            initialize(&built.0)?;
            Ok(built)
        })
    })?;
    let uses = cx.config_uses()?;
    let shared = shared.materialize();
    let targets = shared.as_target_network().map(|targets| targets.target_network_pairs());
    let shared = Arc::new(match targets {
        Some(pairs) => sync_targets(&shared, pairs, 1.0)?,
        None => shared,
    });
    let rl_module_specs: BTreeMap<ModuleId, RLModuleSpec> =
        specs.iter().map(|(id, spec)| (id.clone(), spec.recorded(uses.get(id)))).collect();
    let recorded = rl_module_specs.values();
    let views = distributions.into_iter().zip(recorded).map(|((id, distribution), spec)| {
        let (module_id, rl_module_specs) = (id.clone(), rl_module_specs.clone());
        let spec = spec.clone().part_of(PartOf { module_id, rl_module_specs });
        let view = SharedView::new(id.clone(), shared.clone());
        (id, AnyRLModule::new(spec, distribution, BoxRLModule::new(view)))
    });
    Ok((views.collect(), uses.into_values().collect()))
}
