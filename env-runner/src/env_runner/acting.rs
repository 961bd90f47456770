//! A module that acts.

use burn::module::Module;
use burn::prelude::Device;
use rekindle_core::{Batch, Columns, host_batch};
use rekindle_env::Buffer;
use rekindle_kernels::eager;
use rekindle_rl_module::{AnyRLModule, ExplorationContext, PolicyPass};

use crate::connectors::ActionSampler;
use crate::error::Result;

/// Returns a module without gradients, on a device.
pub(crate) fn on_device(module: &AnyRLModule, device: &Device) -> AnyRLModule {
    let module = module.valid();
    let moves = module.devices().iter().any(|other| other != device);
    if moves { module.to_device(device) } else { module }
}

/// A module that acts: without gradients, on the runner's device.
#[derive(Debug, Clone)]
pub(crate) struct ActingModule {
    pub(crate) module: AnyRLModule,
    /// Its passes over host memory, if it has them.
    pass: Option<PolicyPass>,
    device: Device,
}

impl ActingModule {
    /// Prepares a module for acting. Parameters on another device are moved.
    ///
    /// # Errors
    /// If the module panics.
    pub(crate) fn new(module: &AnyRLModule, device: &Device) -> Result<Self> {
        let module = on_device(module, device);
        Ok(Self { pass: module.policy_pass()?, module, device: device.clone() })
    }

    /// Runs the exploration pass if its context is given, otherwise the inference pass. `states` are the states of a stateful module, before
    /// and after the step. Returns the outputs, or `None` if they are the inputs of the action distribution alone,
    /// which are then in the sampler.
    ///
    /// # Errors
    /// If the pass fails, or a state that it returns does not fit.
    pub(crate) fn forward(
        &mut self,
        observations: &Buffer,
        mut states: Option<(&Buffer, &mut Buffer)>,
        exploration: Option<&mut ExplorationContext>,
        sampler: &mut ActionSampler,
    ) -> Result<Option<Batch>> {
        if let Some(pass) = self.pass.as_mut().filter(|_| !eager::is_eager()) {
            let states = states.as_mut().map(|(before, after)| (&**before, &mut **after));
            if pass.run(observations, states, exploration.is_some(), &mut sampler.inputs) {
                return Ok(None);
            }
        }
        let device = &self.device;
        let mut batch = Batch::new().with(Columns::OBS, host_batch::upload(observations, device)?);
        if let Some((before, _)) = &states {
            batch.insert(Columns::STATE_IN, host_batch::upload(before, device)?);
        }
        let outputs = match exploration {
            Some(cx) => self.module.forward_exploration(&batch, cx)?,
            None => self.module.forward_inference(&batch)?,
        };
        if let Some((_, after)) = states {
            host_batch::download_into(outputs.column(Columns::STATE_OUT)?, after)?;
        }
        Ok(Some(outputs))
    }
}
