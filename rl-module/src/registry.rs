//! Registered module types and catalogs, which checkpoints refer to by name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use burn::module::Module;
use rekindle_catalog::{Catalog, DefaultCatalog, Distribution};
use rekindle_core::ModuleId;

use crate::actor_critic::ActorCritic;
use crate::context::ModuleContext;
use crate::deterministic_actor_critic::DeterministicActorCritic;
use crate::error::{ModuleError, Result};
use crate::module::{BoxRLModule, RLModule};
use crate::q_network::QNetwork;
use crate::shared::{BoxSharedRLModule, SharedContext, SharedRLModule};
use crate::soft_actor_critic::SoftActorCritic;

/// A module and its action distribution.
type Built = (BoxRLModule, Arc<dyn Distribution>);

type Build = dyn Fn(&ModuleContext<'_>) -> Result<Built> + Send + Sync;

/// Modules that share parameters, and the action distribution of each.
type BuiltShared = (BoxSharedRLModule, BTreeMap<ModuleId, Arc<dyn Distribution>>);

/// Function that builds a module of one type.
#[derive(Clone)]
pub(crate) enum Constructor {
    Module {
        build: Arc<Build>,
        /// [`RLModule::algorithm_settings`].
        settings: &'static [&'static str],
    },
    Shared(fn(&SharedContext<'_>) -> Result<BuiltShared>),
}

impl Constructor {
    pub(crate) fn of<M: RLModule + Module + 'static>() -> Self {
        Self::from_fn(|cx| M::setup(cx))
    }

    pub(crate) fn from_fn<M, F>(setup: F) -> Self
    where
        M: RLModule + Module + 'static,
        F: Fn(&ModuleContext<'_>) -> Result<M> + Send + Sync + 'static,
    {
        let build = Arc::new(move |cx: &ModuleContext<'_>| {
            let distribution = M::action_distribution(cx)?;
            Ok((BoxRLModule::new(setup(cx)?), distribution))
        });
        Self::Module { build, settings: M::algorithm_settings() }
    }

    pub(crate) fn of_shared<M: SharedRLModule + Module + 'static>() -> Self {
        Self::Shared(|cx| {
            let distributions = cx.modules().iter().map(|(id, cx)| {
                let distribution = M::action_distribution(id, cx)?;
                Ok((id.clone(), distribution))
            });
            let distributions = distributions.collect::<Result<_>>()?;
            Ok((BoxSharedRLModule::new(M::setup(cx)?), distributions))
        })
    }

    pub(crate) fn settings(&self) -> &'static [&'static str] {
        match self {
            Self::Module { settings, .. } => settings,
            Self::Shared(_) => &[],
        }
    }

    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    pub(crate) fn build(&self, cx: &ModuleContext<'_>) -> Result<Built> {
        match self {
            Self::Module { build, .. } => build(cx),
            Self::Shared(_) => Err(ModuleError::Mismatch(format!(
                "`{}` shares parameters between modules and cannot be built alone; build the specs of all modules together with `MultiRLModuleSpec::shared`",
                cx.module
            ))),
        }
    }

    pub(crate) fn build_shared(&self, cx: &SharedContext<'_>) -> Result<BuiltShared> {
        match self {
            Self::Shared(build) => build(cx),
            Self::Module { .. } => Err(ModuleError::Mismatch(
                "the spec of a part of a shared module has the type of a single module; create it with `RLModuleSpec::of_shared`".into(),
            )),
        }
    }
}

impl fmt::Debug for Constructor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Constructor")
    }
}

type Table<T> = LazyLock<RwLock<BTreeMap<String, T>>>;

static MODULES: Table<Constructor> = LazyLock::new(|| {
    RwLock::new(BTreeMap::from([
        (ActorCritic::type_name(), Constructor::of::<ActorCritic>()),
        (QNetwork::type_name(), Constructor::of::<QNetwork>()),
        (SoftActorCritic::type_name(), Constructor::of::<SoftActorCritic>()),
        (DeterministicActorCritic::type_name(), Constructor::of::<DeterministicActorCritic>()),
    ]))
});

static CATALOGS: Table<Arc<dyn Catalog>> = LazyLock::new(|| {
    let catalog: Arc<dyn Catalog> = Arc::new(DefaultCatalog);
    RwLock::new(BTreeMap::from([(DefaultCatalog::type_name(), catalog)]))
});

/// Registers a module type under its [`RLModule::type_name`].
///
/// [`RLModuleSpec::of`](crate::RLModuleSpec::of) registers it too. Call this function in programs
/// that only load checkpoints.
pub fn register_module<M: RLModule + Module + 'static>() {
    register_constructor(M::type_name(), Constructor::of::<M>());
}

/// Registers a type of modules that share parameters under its [`SharedRLModule::type_name`].
///
/// [`MultiRLModuleSpec::shared`](crate::MultiRLModuleSpec::shared) registers it too. Call this
/// function in programs that only load checkpoints.
pub fn register_shared_module<M: SharedRLModule + Module + 'static>() {
    register_constructor(M::type_name(), Constructor::of_shared::<M>());
}

/// Registers a catalog under its [`Catalog::type_name`].
///
/// [`RLModuleSpec::catalog`](crate::RLModuleSpec::catalog) registers it too. Call this function in
/// programs that only load checkpoints.
pub fn register_catalog<C: Catalog + 'static>(catalog: C) {
    add_catalog(catalog);
}

/// Registers a catalog under its [`Catalog::type_name`] and returns it.
pub(crate) fn add_catalog<C: Catalog + 'static>(catalog: C) -> Arc<dyn Catalog> {
    let catalog: Arc<dyn Catalog> = Arc::new(catalog);
    let mut table = CATALOGS.write().unwrap_or_else(PoisonError::into_inner);
    table.insert(C::type_name(), catalog.clone());
    catalog
}

pub(crate) fn register_constructor(name: String, constructor: Constructor) {
    MODULES.write().unwrap_or_else(PoisonError::into_inner).insert(name, constructor);
}

pub(crate) fn constructor(name: &str) -> Result<Constructor> {
    find(
        &MODULES,
        name,
        "module type",
        "register_module::<YourModule>()` or `register_shared_module::<YourModule>()",
    )
}

pub(crate) fn catalog(name: &str) -> Result<Arc<dyn Catalog>> {
    find(&CATALOGS, name, "catalog", "register_catalog(YourCatalog)")
}

fn find<T: Clone>(
    table: &Table<T>,
    name: &str,
    kind: &'static str,
    register: &'static str,
) -> Result<T> {
    let table = table.read().unwrap_or_else(PoisonError::into_inner);
    table.get(name).cloned().ok_or_else(|| ModuleError::NotRegistered {
        kind,
        name: name.into(),
        register,
        known: table.keys().cloned().collect::<Vec<_>>().join(", "),
    })
}
