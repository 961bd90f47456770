//! From a spec to a module.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

use burn::module::Module;
use burn::prelude::Device;
use rekindle_catalog::ModelBuilder;
use rekindle_checkpoint as checkpoint;
use rekindle_core::Generator;

use super::RLModuleSpec;
use crate::guard::guard;
use crate::{AnyRLModule, ModuleContext, ModuleError, RLModule, Result};

/// Burn's own initialisers draw from a generator that the whole process shares: modules that use
/// them are built one at a time, right after it was seeded.
static BURN_INIT: Mutex<()> = Mutex::new(());

/// Runs `build` alone, on a freshly seeded device.
pub(crate) fn seeded<T>(builder: &ModelBuilder, build: impl FnOnce() -> Result<T>) -> Result<T> {
    let _one_at_a_time = BURN_INIT.lock().unwrap_or_else(PoisonError::into_inner);
    builder.device().seed(builder.next_seed());
    build()
}

impl RLModuleSpec {
    /// Builds the module with parameters drawn from a fresh random stream.
    ///
    /// # Errors
    /// [`ModuleError::MissingSpace`], [`ModuleError::UnusedModelConfig`], what `setup` returns, or
    /// [`ModuleError::LoadState`] if the weights at `load_state_path` do not fit.
    pub fn build(&self, device: &Device) -> Result<AnyRLModule> {
        self.build_seeded(device, Generator::from_entropy())
    }

    /// Builds the module with parameters drawn from `rng`: the same stream gives the same module.
    /// Target networks begin as copies of their main networks.
    ///
    /// # Errors
    /// As [`RLModuleSpec::build`].
    pub fn build_seeded(&self, device: &Device, rng: Generator) -> Result<AnyRLModule> {
        let mut module = match self.get_part_of() {
            Some(part_of) => part_of.build(self, device, rng)?,
            None => {
                let builder = ModelBuilder::new(device, rng);
                let (module, distribution) =
                    self.with_context(&builder, |cx| self.constructor.build(cx))?;
                let mut module = AnyRLModule::new(self.built(), distribution, module.materialize());
                module.sync_targets(1.0)?;
                module
            }
        };
        if let Some(path) = &self.load_state_path {
            let load = checkpoint::read(path).map_err(ModuleError::from);
            load.and_then(|state| module.load_state_dict(&state.tensors))
                .map_err(|source| ModuleError::load_state(path, source))?;
        }
        Ok(module)
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
            inference_only: self.inference_only,
            catalog: &*self.catalog.1,
            builder,
            config_read: Cell::new(false),
        })
    }

    fn with_context<T>(
        &self,
        builder: &ModelBuilder,
        build: impl FnOnce(&ModuleContext<'_>) -> Result<T>,
    ) -> Result<T> {
        let cx = self.context(builder)?;
        let built = seeded(builder, || guard(&self.module, "setup", || build(&cx)))?;
        if !self.model_config.is_null() && !cx.config_read.get() {
            return Err(ModuleError::UnusedModelConfig { module: self.module.clone() });
        }
        Ok(built)
    }
}
