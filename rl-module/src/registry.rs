//! Module types and catalogs by name, so that checkpoints can name them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use burn::module::Module;
use rekindle_catalog::{Catalog, DefaultCatalog, Distribution};
use rekindle_core::ModuleId;

use crate::{
    ActorCritic, BoxRLModule, BoxSharedRLModule, ModuleContext, ModuleError, RLModule, Result,
    SharedContext, SharedRLModule,
};

/// A module and the distribution that its outputs parameterise.
type Built = (BoxRLModule, Arc<dyn Distribution>);

type Build = dyn Fn(&ModuleContext<'_>) -> Result<Built> + Send + Sync;

/// Modules that share parameters and the distribution of each.
type BuiltShared = (BoxSharedRLModule, BTreeMap<ModuleId, Arc<dyn Distribution>>);

/// Creates a module of one type.
#[derive(Clone)]
pub(crate) enum Constructor {
    Module(Arc<Build>),
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
        Self::Module(Arc::new(move |cx| {
            let distribution = M::action_distribution(cx)?;
            Ok((BoxRLModule::new(setup(cx)?), distribution))
        }))
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

    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    pub(crate) fn build(&self, cx: &ModuleContext<'_>) -> Result<Built> {
        match self {
            Self::Module(build) => build(cx),
            Self::Shared(_) => Err(ModuleError::Mismatch(format!(
                "`{}` shares parameters between modules and is not built alone; build the specs of all modules together with `MultiRLModuleSpec::shared`",
                cx.module
            ))),
        }
    }

    pub(crate) fn build_shared(&self, cx: &SharedContext<'_>) -> Result<BuiltShared> {
        match self {
            Self::Shared(build) => build(cx),
            Self::Module(_) => Err(ModuleError::Mismatch(
                "the spec of a part of a shared module has the type of a module that stands alone; make it with `RLModuleSpec::of_shared`".into(),
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
    let constructor = Constructor::of::<ActorCritic>();
    RwLock::new(BTreeMap::from([(ActorCritic::type_name(), constructor)]))
});

static CATALOGS: Table<Arc<dyn Catalog>> = LazyLock::new(|| {
    let catalog: Arc<dyn Catalog> = Arc::new(DefaultCatalog);
    RwLock::new(BTreeMap::from([(catalog_name::<DefaultCatalog>(), catalog)]))
});

/// The name that checkpoints record a catalog under.
pub(crate) fn catalog_name<C: Catalog>() -> String {
    std::any::type_name::<C>().into()
}

/// Makes a module type known by its [`RLModule::type_name`].
///
/// `RLModuleSpec::of` does this by itself; call it in programs that only load checkpoints.
pub fn register_module<M: RLModule + Module + 'static>() {
    register_constructor(M::type_name(), Constructor::of::<M>());
}

/// Makes a type of modules that share parameters known by its [`SharedRLModule::type_name`].
///
/// `MultiRLModuleSpec::shared` does this by itself; call it in programs that only load checkpoints.
pub fn register_shared_module<M: SharedRLModule + Module + 'static>() {
    register_constructor(M::type_name(), Constructor::of_shared::<M>());
}

/// Makes a catalog known by its type name.
///
/// `RLModuleSpec::catalog` does this by itself; call it in programs that only load checkpoints.
pub fn register_catalog<C: Catalog + 'static>(catalog: C) -> Arc<dyn Catalog> {
    let catalog: Arc<dyn Catalog> = Arc::new(catalog);
    let mut table = CATALOGS.write().unwrap_or_else(PoisonError::into_inner);
    table.insert(catalog_name::<C>(), catalog.clone());
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
