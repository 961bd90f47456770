//! `compute_log_likelihoods`: the distribution of the module on the outputs of a pass.
//!
//! A `PolicyBundle` does this behind the connectors of its environment. This example uses a bare
//! module.

use std::error::Error;

use burn::prelude::*;
use rekindle::core::any_tensor::to_f32;
use rekindle::core::host_batch::upload;
use rekindle::prelude::*;

use super::compute_actions::{a_module, compute_actions};

// ANCHOR: function
/// Returns the log-probability of each action at its observation.
fn compute_log_likelihoods(
    module: &AnyRLModule,
    observations: &Buffer,
    actions: &Buffer,
    device: &Device,
) -> Result<Vec<f32>, Box<dyn Error>> {
    let batch = Batch::new().with(Columns::OBS, upload(observations, device)?);
    let outputs = module.forward_exploration(&batch, &mut ExplorationContext::default())?;
    let inputs = outputs.float::<2>(Columns::ACTION_DIST_INPUTS)?;
    let logp = module.distribution().logp(inputs, &upload(actions, device)?)?;
    Ok(to_f32(logp)?)
}
// ANCHOR_END: function

/// Compares the likelihoods of explored actions with their frequencies.
pub(crate) fn of_given_actions() -> Result<(), Box<dyn Error>> {
    let device = DeviceSpec::Cpu.open()?;
    let module = a_module(&device)?;
    let observations = Buffer::zeros(&Space::boxed(-1.0, 1.0, &[2])?, 4000);
    let mut rng = Generator::from_seed(1);
    let actions = compute_actions(&module, &observations, Some(&mut rng), &device)?;
    let logp = compute_log_likelihoods(&module, &observations, &actions, &device)?;
    let all = actions.as_i64()?;
    for (action, logp) in all.iter().zip(logp).take(50) {
        let frequency = all.iter().filter(|other| *other == action).count() as f32 / 4000.0;
        assert!((logp.exp() - frequency).abs() < 0.03, "{action}: {logp}, {frequency}");
    }
    Ok(())
}
