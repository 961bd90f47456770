//! How a module is built: type, spaces and settings.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::Module;
use burn::prelude::Device;
use rekindle_catalog::{Catalog, DefaultCatalog, ModelBuilder};
use rekindle_core::{Generator, State};
use rekindle_env::Space;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::guard::guard;
use crate::registry::{self, Constructor, catalog_name};
use crate::{
    ActorCritic, AnyRLModule, ModuleContext, ModuleError, MultiRLModuleSpec, RLModule, Result,
};

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
}

/// The serialised form of a spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpecData {
    module: String,
    observation_space: Option<Space>,
    action_space: Option<Space>,
    #[serde(default)]
    inference_only: bool,
    #[serde(default)]
    learner_only: bool,
    #[serde(default)]
    model_config: Value,
    catalog: String,
}

impl From<RLModuleSpec> for SpecData {
    fn from(spec: RLModuleSpec) -> Self {
        Self {
            module: spec.module,
            observation_space: spec.observation_space,
            action_space: spec.action_space,
            inference_only: spec.inference_only,
            learner_only: spec.learner_only,
            model_config: spec.model_config,
            catalog: spec.catalog.0,
        }
    }
}

impl TryFrom<SpecData> for RLModuleSpec {
    type Error = ModuleError;

    fn try_from(data: SpecData) -> Result<Self> {
        Ok(Self {
            constructor: registry::constructor(&data.module)?,
            catalog: (data.catalog.clone(), registry::catalog(&data.catalog)?),
            module: data.module,
            observation_space: data.observation_space,
            action_space: data.action_space,
            inference_only: data.inference_only,
            learner_only: data.learner_only,
            model_config: data.model_config,
        })
    }
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

/// Burn's own initialisers draw from a generator that the whole process shares: modules that use
/// them are built one at a time, right after it was seeded.
static BURN_INIT: Mutex<()> = Mutex::new(());

impl RLModuleSpec {
    /// The spec of a module type.
    pub fn of<M: RLModule + Module + 'static>() -> Self {
        let constructor = Constructor::of::<M>();
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
        if override_existing {
            self.module.clone_from(&other.module);
            self.constructor = other.constructor.clone();
            self.catalog = other.catalog.clone();
            self.inference_only = other.inference_only;
            self.learner_only = other.learner_only;
        }
    }

    /// The spec as the only entry of a multi-module spec.
    pub fn as_multi_rl_module_spec(&self) -> MultiRLModuleSpec {
        MultiRLModuleSpec::from(self.clone())
    }

    /// Builds the module with parameters drawn from a fresh random stream.
    ///
    /// # Errors
    /// [`ModuleError::MissingSpace`], [`ModuleError::UnusedModelConfig`], or what `setup` returns.
    pub fn build(&self, device: &Device) -> Result<AnyRLModule> {
        self.build_seeded(device, Generator::from_entropy())
    }

    /// Builds the module with parameters drawn from `rng`: the same stream gives the same module.
    ///
    /// # Errors
    /// As [`RLModuleSpec::build`].
    pub fn build_seeded(&self, device: &Device, rng: Generator) -> Result<AnyRLModule> {
        let builder = ModelBuilder::new(device, rng);
        let (module, distribution) =
            self.with_context(&builder, |cx| self.constructor.build(cx))?;
        Ok(AnyRLModule::new(self.clone(), distribution, module.materialize()))
    }

    /// The spec that the state of a module holds.
    pub(crate) fn from_state(state: &State) -> Result<Self> {
        if state.data.get("module").is_none() {
            return Err(ModuleError::NotAModule);
        }
        // In two steps, so that an unknown type is not taken for malformed data.
        Self::try_from(state.data_as::<SpecData>()?)
    }

    /// Builds a module of a type known at compile time.
    pub(crate) fn build_concrete<M: RLModule + Module>(&self, device: &Device) -> Result<M> {
        if self.module != M::type_name() {
            return Err(ModuleError::WrongType {
                expected: M::type_name(),
                found: self.module.clone(),
            });
        }
        let builder = ModelBuilder::new(device, Generator::from_seed(0));
        self.with_context(&builder, |cx| M::setup(cx))
    }

    fn with_context<T>(
        &self,
        builder: &ModelBuilder,
        build: impl FnOnce(&ModuleContext<'_>) -> Result<T>,
    ) -> Result<T> {
        let missing = |field| ModuleError::MissingSpace { module: self.module.clone(), field };
        let cx = ModuleContext {
            module: &self.module,
            observation_space: self
                .observation_space
                .as_ref()
                .ok_or_else(|| missing("observation_space"))?,
            action_space: self.action_space.as_ref().ok_or_else(|| missing("action_space"))?,
            model_config: &self.model_config,
            inference_only: self.inference_only,
            catalog: &*self.catalog.1,
            builder,
            config_read: Cell::new(false),
        };
        let _one_at_a_time = BURN_INIT.lock().unwrap_or_else(PoisonError::into_inner);
        builder.device().seed(builder.next_seed());
        let built = guard(&self.module, "setup", || build(&cx))?;
        if !self.model_config.is_null() && !cx.config_read.get() {
            return Err(ModuleError::UnusedModelConfig { module: self.module.clone() });
        }
        Ok(built)
    }
}
