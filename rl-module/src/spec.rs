//! Specs: type, spaces and settings of a module.

mod build;
mod data;

use std::path::PathBuf;
use std::sync::Arc;

use burn::module::Module;
use rekindle_catalog::{Catalog, DefaultCatalog};
use rekindle_env::Space;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::actor_critic::ActorCritic;
use crate::any::AnyRLModule;
use crate::context::ModuleContext;
use crate::error::Result;
use crate::module::RLModule;
use crate::multi::MultiRLModuleSpec;
use crate::registry::{self, Constructor};
use crate::shared::PartOf;
use crate::shared::SharedRLModule;

pub(crate) use build::seeded;
use data::SpecData;

/// Type, spaces and settings of a module; RLlib's `RLModuleSpec`.
///
/// An algorithm fills in missing spaces from the environment and missing settings from its
/// configuration. A spec serializes as data, with the names of the module type and the catalog.
///
/// ```
/// use rekindle_env::Space;
/// use rekindle_rl_module::RLModuleSpec;
/// use serde_json::json;
///
/// let module = RLModuleSpec::default()
///     .observation_space(Space::boxed(-1.0, 1.0, &[4])?)
///     .action_space(Space::discrete(2)?)
///     .model_config(json!({"fcnet_hiddens": [64]}))
///     .build(&burn::prelude::Device::flex())?;
/// # Ok::<(), rekindle_rl_module::ModuleError>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "SpecData", into = "SpecData")]
pub struct RLModuleSpec {
    module: String,
    constructor: Constructor,
    observation_space: Option<Space>,
    action_space: Option<Space>,
    inference_only: bool,
    learner_only: bool,
    model_config: Value,
    /// Whether the model config was filled in and is shared with other modules.
    is_config_filled: bool,
    catalog: (String, Arc<dyn Catalog>),
    load_state_path: Option<PathBuf>,
    part_of: Option<Arc<PartOf>>,
}

impl PartialEq for RLModuleSpec {
    fn eq(&self, other: &Self) -> bool {
        SpecData::from(self.clone()) == SpecData::from(other.clone())
    }
}

impl Default for RLModuleSpec {
    /// Creates the spec of an [`ActorCritic`].
    fn default() -> Self {
        Self::of::<ActorCritic>()
    }
}

impl RLModuleSpec {
    /// Creates the spec of a module type.
    #[must_use]
    pub fn of<M: RLModule + Module + 'static>() -> Self {
        let constructor = Constructor::of::<M>();
        registry::register_constructor(M::type_name(), constructor.clone());
        Self::new(M::type_name(), constructor)
    }

    /// Creates the spec of one of the modules that share parameters in an `M`.
    ///
    /// [`MultiRLModuleSpec::shared`] creates the specs of all of them. Use this one to add another
    /// module to them later.
    #[must_use]
    pub fn of_shared<M: SharedRLModule + Module + 'static>() -> Self {
        let constructor = Constructor::of_shared::<M>();
        registry::register_constructor(M::type_name(), constructor.clone());
        Self::new(M::type_name(), constructor)
    }

    /// Creates the spec of a module that a closure builds. Checkpoints record its `name`.
    ///
    /// The closure is registered under `name`, so that this program can restore checkpoints. Another
    /// program must call `from_fn` with the same name before it loads one.
    pub fn from_fn<M, F>(name: impl Into<String>, build: F) -> Self
    where
        M: RLModule + Module + 'static,
        F: Fn(&ModuleContext<'_>) -> Result<M> + Send + Sync + 'static,
    {
        let name = name.into();
        let constructor = Constructor::from_fn(build);
        registry::register_constructor(name.clone(), constructor.clone());
        Self::new(name, constructor)
    }

    /// Returns the spec of a built module.
    #[must_use]
    pub fn from_module(module: &AnyRLModule) -> Self {
        module.spec().clone()
    }

    fn new(module: String, constructor: Constructor) -> Self {
        Self {
            module,
            constructor,
            observation_space: None,
            action_space: None,
            inference_only: false,
            learner_only: false,
            model_config: Value::Null,
            is_config_filled: false,
            catalog: (DefaultCatalog::type_name(), Arc::new(DefaultCatalog)),
            load_state_path: None,
            part_of: None,
        }
    }

    /// Sets the space of the module's observations, after all connectors.
    #[must_use]
    pub fn observation_space(mut self, space: Space) -> Self {
        self.observation_space = Some(space);
        self
    }

    /// Sets the space of the actions.
    #[must_use]
    pub fn action_space(mut self, space: Space) -> Self {
        self.action_space = Some(space);
        self
    }

    /// Sets whether the module is built without the parts for training.
    #[must_use]
    pub fn inference_only(mut self, inference_only: bool) -> Self {
        self.inference_only = inference_only;
        self
    }

    /// Sets whether the module exists on learners only, and not on runners.
    #[must_use]
    pub fn learner_only(mut self, learner_only: bool) -> Self {
        self.learner_only = learner_only;
        self
    }

    /// Sets the model config: a `DefaultModelConfig`, or the type that the module's `setup` reads.
    /// Each setting must have an effect on the module.
    #[must_use]
    pub fn model_config(mut self, config: impl Serialize) -> Self {
        // A value that does not serialize becomes a string that no module accepts, so that the
        // mistake surfaces with the module's name when the module is built.
        self.model_config =
            serde_json::to_value(config).unwrap_or_else(|e| Value::String(e.to_string()));
        self.is_config_filled = false;
        self
    }

    /// Sets the model config, if none is set, to settings that are shared with other modules. A
    /// setting that has no effect with the spaces of this module is ignored if another module uses
    /// it.
    ///
    /// Algorithms fill in their `model` settings with this method.
    #[must_use]
    pub fn fill_model_config(self, config: impl Serialize) -> Self {
        if !self.model_config.is_null() {
            return self;
        }
        let mut spec = self.model_config(config);
        spec.is_config_filled = !spec.model_config.is_null();
        spec
    }

    /// Changes the fields of a model config that is set. Whether it was filled in stays as it is.
    #[must_use]
    pub fn update_model_config(mut self, change: impl FnOnce(&mut Map<String, Value>)) -> Self {
        if let Value::Object(fields) = &mut self.model_config {
            change(fields);
        }
        self
    }

    /// Returns the names of the algorithm's settings that the module reads
    /// ([`RLModule::algorithm_settings`]).
    #[must_use]
    pub fn algorithm_settings(&self) -> &'static [&'static str] {
        self.constructor.settings()
    }

    /// Sets the catalog, and registers it by its [`Catalog::type_name`].
    #[must_use]
    pub fn catalog<C: Catalog + 'static>(mut self, catalog: C) -> Self {
        self.catalog = (C::type_name(), registry::add_catalog(catalog));
        self
    }

    /// Sets a checkpoint with the initial weights of the module: the directory of a module, alone
    /// or inside a larger checkpoint. Strict, as in
    /// [`Checkpointable::set_state`](rekindle_checkpoint::Checkpointable::set_state).
    ///
    /// The spec of a built module does not have this path.
    #[must_use]
    pub fn load_state_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.load_state_path = Some(path.into());
        self
    }

    /// Returns the type name of the module.
    #[must_use]
    pub fn module(&self) -> &str {
        &self.module
    }

    /// Returns the observation space, if set.
    #[must_use]
    pub fn get_observation_space(&self) -> Option<&Space> {
        self.observation_space.as_ref()
    }

    /// Returns the action space, if set.
    #[must_use]
    pub fn get_action_space(&self) -> Option<&Space> {
        self.action_space.as_ref()
    }

    /// Returns the model config; null if none is set.
    #[must_use]
    pub fn get_model_config(&self) -> &Value {
        &self.model_config
    }

    /// Returns the checkpoint with the initial weights, if set.
    #[must_use]
    pub(crate) fn get_load_state_path(&self) -> Option<&PathBuf> {
        self.load_state_path.as_ref()
    }

    /// Whether the module is built without the parts for training.
    #[must_use]
    pub fn is_inference_only(&self) -> bool {
        self.inference_only
    }

    /// Whether the module exists on learners only.
    #[must_use]
    pub fn is_learner_only(&self) -> bool {
        self.learner_only
    }

    /// Merges the settings of `other` into this spec: all that `other` sets with
    /// `override_existing`, otherwise only those that are unset here.
    ///
    /// With `override_existing`, type, catalog and flags are taken from `other`, too. Otherwise, a
    /// missing model config is filled in as by [`fill_model_config`](Self::fill_model_config).
    pub fn update(&mut self, other: &Self, override_existing: bool) {
        fn merge<T: Clone>(mine: &mut Option<T>, theirs: &Option<T>, replace: bool) {
            if theirs.is_some() && (replace || mine.is_none()) {
                mine.clone_from(theirs);
            }
        }
        merge(&mut self.observation_space, &other.observation_space, override_existing);
        merge(&mut self.action_space, &other.action_space, override_existing);
        if !other.model_config.is_null() && (override_existing || self.model_config.is_null()) {
            self.model_config.clone_from(&other.model_config);
            self.is_config_filled = !override_existing || other.is_config_filled;
        }
        merge(&mut self.load_state_path, &other.load_state_path, override_existing);
        if override_existing {
            self.module.clone_from(&other.module);
            self.constructor = other.constructor.clone();
            self.catalog = other.catalog.clone();
            self.inference_only = other.inference_only;
            self.learner_only = other.learner_only;
            self.part_of.clone_from(&other.part_of);
        }
    }

    /// Whether the module is built together with others that share its parameters.
    pub(crate) fn is_shared_part(&self) -> bool {
        self.constructor.is_shared() && self.part_of.is_none()
    }

    /// Replaces the module type with that of another spec.
    #[must_use]
    pub fn with_type_of(self, other: &Self) -> Self {
        let (module, constructor) = (other.module.clone(), other.constructor.clone());
        Self { module, constructor, part_of: None, ..self }
    }

    pub(crate) fn constructor(&self) -> &Constructor {
        &self.constructor
    }

    /// Returns the spec without the checkpoint of the initial weights, as a built module records
    /// it.
    #[must_use]
    pub fn built(&self) -> Self {
        Self { load_state_path: None, ..self.clone() }
    }

    /// Returns the spec without the modules that share its parameters.
    pub(crate) fn alone(self) -> Self {
        Self { part_of: None, ..self }
    }

    pub(crate) fn part_of(self, part_of: PartOf) -> Self {
        Self { part_of: Some(Arc::new(part_of)), ..self }
    }

    pub(crate) fn get_part_of(&self) -> Option<&PartOf> {
        self.part_of.as_deref()
    }

    /// Returns a multi-module spec with this spec as its only entry.
    #[must_use]
    pub fn as_multi_rl_module_spec(&self) -> MultiRLModuleSpec {
        MultiRLModuleSpec::from(self.clone())
    }
}
