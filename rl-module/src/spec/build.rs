//! Building modules from specs.

use std::cell::{Cell, RefCell};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::Module;
use burn::prelude::Device;
use rekindle_catalog::ModelBuilder;
use rekindle_checkpoint::{self as checkpoint, Checkpointable};
use rekindle_core::{Generator, initialize};

use super::RLModuleSpec;
use crate::any::AnyRLModule;
use crate::config_use::ConfigUse;
use crate::context::ModuleContext;
use crate::error::{ModuleError, Result};
use crate::guard::guard;
use crate::module::RLModule;

/// Serializes the use of Burn's own initializers. They draw from a generator that the whole process
/// shares, so modules are built one at a time, each right after seeding it.
static BURN_INIT: Mutex<()> = Mutex::new(());

thread_local! {
    /// The builds that run on this thread, the innermost one last: the device and a stream of seeds of each.
    /// There are several if the `setup` of a module builds or loads another one, such as a teacher.
    static BUILDS: RefCell<Vec<(Device, Generator)>> = const { RefCell::new(Vec::new()) };
}

/// Runs `build` on a freshly seeded device, while no other thread builds.
///
/// A build inside another one has its own seed. Afterwards the outer one continues with a new seed from its
/// own stream, so that its parameters depend neither on the inner build nor repeat themselves.
pub(crate) fn seeded<T>(builder: &ModelBuilder, build: impl FnOnce() -> Result<T>) -> Result<T> {
    let _build = Build::begin(builder);
    build()
}

/// A build that runs on this thread.
struct Build {
    /// Held by the outermost build.
    _alone: Option<MutexGuard<'static, ()>>,
}

impl Build {
    fn begin(builder: &ModelBuilder) -> Self {
        let is_outermost = BUILDS.with_borrow(Vec::is_empty);
        let alone = is_outermost.then(|| BURN_INIT.lock().unwrap_or_else(PoisonError::into_inner));
        let (device, seed) = (builder.device().clone(), builder.next_seed());
        seed_device(&device, seed);
        BUILDS.with_borrow_mut(|builds| builds.push((device, Generator::from_seed(seed))));
        Self { _alone: alone }
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        BUILDS.with_borrow_mut(|builds| {
            builds.pop();
            if let Some((device, seeds)) = builds.last_mut() {
                seed_device(device, seeds.next_u64());
            }
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "BURN_INIT is held")]
fn seed_device(device: &Device, seed: u64) {
    device.seed(seed);
}

impl RLModuleSpec {
    /// Builds the module with parameters from a fresh random stream.
    ///
    /// # Errors
    /// [`ModuleError::MissingSpace`] if a space is not set; [`ModuleError::UnusedModelConfig`] or
    /// [`CatalogError::Inapplicable`](rekindle_catalog::CatalogError::Inapplicable) if settings have
    /// no effect; the error of `setup`; a [`CoreError`](rekindle_core::CoreError) for a parameter with more
    /// than 6 dimensions; [`ModuleError::LoadState`] if the weights at
    /// `load_state_path` do not match.
    pub fn build(&self, device: &Device) -> Result<AnyRLModule> {
        self.build_seeded(device, Generator::from_entropy())
    }

    /// Builds the module with parameters drawn from `rng`. The same stream gives the same module.
    /// Target networks start as copies of their main networks.
    ///
    /// # Errors
    /// The errors of [`RLModuleSpec::build`].
    pub fn build_seeded(&self, device: &Device, rng: Generator) -> Result<AnyRLModule> {
        let (module, config_use) = self.build_one_of_several(device, rng)?;
        ConfigUse::check(config_use.as_slice())?;
        Ok(module)
    }

    /// Builds the module. Returns the use of its model config if that was filled in, for
    /// [`ConfigUse::check`] over all modules.
    pub(crate) fn build_one_of_several(
        &self,
        device: &Device,
        rng: Generator,
    ) -> Result<(AnyRLModule, Option<ConfigUse>)> {
        let (mut module, config_use) = match self.get_part_of() {
            Some(part_of) => (part_of.build(self, device, rng)?, None),
            None => {
                let builder = ModelBuilder::new(device, rng);
                let ((module, distribution), config_use) = self.with_context(&builder, |cx| {
                    let built = self.constructor.build(cx)?;
                    initialize(&built.0)?;
                    Ok(built)
                })?;
                let spec = self.recorded(config_use.as_ref());
                let mut module = AnyRLModule::new(spec, distribution, module.materialize());
                module.check_roles()?;
                module.sync_targets(1.0)?;
                (module, config_use)
            }
        };
        if let Some(path) = &self.load_state_path {
            let load = checkpoint::read(path).map_err(ModuleError::from);
            load.and_then(|state| module.set_state(&state))
                .map_err(|source| ModuleError::load_state(path, source))?;
        }
        Ok((module, config_use))
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
        let (module, _) = self.with_context(&builder, |cx| {
            let module = M::setup(cx)?;
            initialize(&module)?;
            Ok(module)
        })?;
        Ok(module)
    }

    pub(crate) fn context<'a>(&'a self, builder: &'a ModelBuilder) -> Result<ModuleContext<'a>> {
        let missing = |field| ModuleError::MissingSpace { module: self.module.clone(), field };
        Ok(ModuleContext {
            module: &self.module,
            observation_space: self
                .observation_space
                .as_ref()
                .ok_or_else(|| missing("observation_space"))?,
            action_space: self.action_space.as_ref().ok_or_else(|| missing("action_space"))?,
            model_config: &self.model_config,
            is_config_filled: self.is_config_filled,
            inference_only: self.inference_only,
            catalog: &*self.catalog.1,
            builder,
            config_read: Cell::new(false),
            unused: RefCell::default(),
        })
    }

    /// The spec as a built module records it, with the settings that the module uses.
    pub(crate) fn recorded(&self, config_use: Option<&ConfigUse>) -> Self {
        let mut spec = self.built();
        if let Some(config_use) = config_use {
            spec.model_config = config_use.used(&self.model_config);
            spec.is_config_filled = false;
        }
        spec
    }

    fn with_context<T>(
        &self,
        builder: &ModelBuilder,
        build: impl FnOnce(&ModuleContext<'_>) -> Result<T>,
    ) -> Result<(T, Option<ConfigUse>)> {
        let cx = self.context(builder)?;
        let built = seeded(builder, || guard(&self.module, "setup", || build(&cx)))?;
        let config_use = cx.config_use(cx.config_read.get())?;
        Ok((built, config_use))
    }
}
