//! How a module is built: type, spaces and settings.

mod build;
mod data;

use std::path::PathBuf;
use std::sync::Arc;

use burn::module::Module;
use rekindle_catalog::{Catalog, DefaultCatalog};
use rekindle_env::Space;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::registry::{self, Constructor, catalog_name};
use crate::shared::PartOf;
use crate::{
    ActorCritic, AnyRLModule, ModuleContext, MultiRLModuleSpec, RLModule, Result, SharedRLModule,
};

pub(crate) use build::seeded;
use data::SpecData;

/// What a module is built from: RLlib's `RLModuleSpec`.
///
/// Spaces may be left out when the spec goes into an algorithm: they are filled from the
/// environment. Serialises as data; the module type and the catalog are recorded by name.
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
    /// The default [`ActorCritic`].
    fn default() -> Self {
        Self::of::<ActorCritic>()
    }
}

impl RLModuleSpec {
    /// The spec of a module type.
    pub fn of<M: RLModule + Module + 'static>() -> Self {
        let constructor = Constructor::of::<M>();
        registry::register_constructor(M::type_name(), constructor.clone());
        Self::new(M::type_name(), constructor)
    }

    /// The spec of one of the modules that share parameters in a `M`.
    ///
    /// [`MultiRLModuleSpec::shared`] makes specs of this type; this is for one that is added to
    /// them later.
    pub fn of_shared<M: SharedRLModule + Module + 'static>() -> Self {
        let constructor = Constructor::of_shared::<M>();
        registry::register_constructor(M::type_name(), constructor.clone());
        Self::new(M::type_name(), constructor)
    }

    /// The spec of a module that a closure builds; `name` is what checkpoints record.
    ///
    /// The closure is registered under `name` in this program, so that checkpoints restore here.
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

    /// The spec of a module that was built.
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
            catalog: (catalog_name::<DefaultCatalog>(), Arc::new(DefaultCatalog)),
            load_state_path: None,
            part_of: None,
        }
    }

    /// Sets the space of the observations as the module sees them.
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

    /// Builds the module without the parts that only training needs.
    #[must_use]
    pub fn inference_only(mut self, inference_only: bool) -> Self {
        self.inference_only = inference_only;
        self
    }

    /// Keeps the module on learners and away from runners.
    #[must_use]
    pub fn learner_only(mut self, learner_only: bool) -> Self {
        self.learner_only = learner_only;
        self
    }

    /// Sets the model config: a `DefaultModelConfig`, or whatever the module's `setup` reads.
    #[must_use]
    pub fn model_config(mut self, config: impl Serialize) -> Self {
        // A value that does not serialise becomes a string that no module config accepts, so the
        // mistake surfaces with the module's name when the module is built.
        self.model_config =
            serde_json::to_value(config).unwrap_or_else(|e| Value::String(e.to_string()));
        self
    }

    /// Sets the catalog, and registers it by its type name.
    #[must_use]
    pub fn catalog<C: Catalog + 'static>(mut self, catalog: C) -> Self {
        self.catalog = (catalog_name::<C>(), registry::register_catalog(catalog));
        self
    }

    /// Builds the module with the weights of a checkpoint: that of a module, alone or inside a
    /// larger one. Strict, as [`AnyRLModule::load_state_dict`].
    ///
    /// The spec of a built module has no such path: its weights are its own from then on.
    #[must_use]
    pub fn load_state_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.load_state_path = Some(path.into());
        self
    }

    /// The type name of the module.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The observation space, if set.
    pub fn get_observation_space(&self) -> Option<&Space> {
        self.observation_space.as_ref()
    }

    /// The action space, if set.
    pub fn get_action_space(&self) -> Option<&Space> {
        self.action_space.as_ref()
    }

    /// The model config; null if none was set.
    pub fn get_model_config(&self) -> &Value {
        &self.model_config
    }

    /// Where the first weights come from, if not from a random stream.
    pub fn get_load_state_path(&self) -> Option<&PathBuf> {
        self.load_state_path.as_ref()
    }

    /// Whether the module is built without the parts that only training needs.
    pub fn is_inference_only(&self) -> bool {
        self.inference_only
    }

    /// Whether the module is kept away from runners.
    pub fn is_learner_only(&self) -> bool {
        self.learner_only
    }

    /// Takes from `other` what it sets (`override_existing`), or only what is unset here.
    ///
    /// With `override_existing` the type, the catalog and the flags are `other`'s too.
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

    /// Whether it is built together with others that share its parameters.
    pub(crate) fn is_shared_part(&self) -> bool {
        self.constructor.is_shared() && self.part_of.is_none()
    }

    /// Gives it the type of another spec.
    pub(crate) fn with_type_of(self, other: &Self) -> Self {
        let (module, constructor) = (other.module.clone(), other.constructor.clone());
        Self { module, constructor, part_of: None, ..self }
    }

    pub(crate) fn constructor(&self) -> &Constructor {
        &self.constructor
    }

    /// The spec as a built module records it.
    #[must_use]
    pub fn built(&self) -> Self {
        Self { load_state_path: None, ..self.clone() }
    }

    /// The spec without the modules that share its parameters.
    pub(crate) fn alone(self) -> Self {
        Self { part_of: None, ..self }
    }

    pub(crate) fn part_of(self, part_of: PartOf) -> Self {
        Self { part_of: Some(Arc::new(part_of)), ..self }
    }

    pub(crate) fn get_part_of(&self) -> Option<&PartOf> {
        self.part_of.as_deref()
    }

    /// The spec as the only entry of a multi-module spec.
    pub fn as_multi_rl_module_spec(&self) -> MultiRLModuleSpec {
        MultiRLModuleSpec::from(self.clone())
    }
}
