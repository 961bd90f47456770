//! `compute_actions(explore=…)`: the exploration or the inference pass, and the distribution of the
//! module.
//!
//! A `PolicyBundle` does this behind the connectors of its environment, with recurrent state and random
//! streams. This example uses a bare module.

use std::error::Error;

use burn::prelude::*;
use rekindle::core::any_tensor::to_f32;
use rekindle::core::host_batch::upload;
use rekindle::prelude::*;

// ANCHOR: function
/// Returns an action for each observation: sampled with `explore`, otherwise from the deterministic
/// twin.
pub(crate) fn compute_actions(
    module: &AnyRLModule,
    observations: &Buffer,
    mut explore: Option<&mut Generator>,
    device: &Device,
) -> Result<Buffer, Box<dyn Error>> {
    let batch = Batch::new().with(Columns::OBS, upload(observations, device)?);
    let outputs = match &mut explore {
        Some(rng) => {
            let mut cx = ExplorationContext::from_seed(rng.next_u64());
            module.forward_exploration(&batch, &mut cx)?
        }
        None => module.forward_inference(&batch)?,
    };
    let inputs = to_f32(outputs.float::<2>(Columns::ACTION_DIST_INPUTS)?)?;
    let distribution = module.distribution();
    let space = module.spec().get_action_space().ok_or("a built module has an action space")?;
    let mut actions = Buffer::zeros(space, observations.rows());
    for (row, inputs) in inputs.chunks(distribution.required_input_dim()).enumerate() {
        match explore.as_deref_mut() {
            Some(rng) => distribution.sample(inputs, rng, actions.row_mut(row))?,
            None => distribution.deterministic(inputs, actions.row_mut(row))?,
        }
    }
    Ok(actions)
}
// ANCHOR_END: function

/// Builds a module for two numbers and three actions.
pub(crate) fn a_module(device: &Device) -> Result<AnyRLModule, Box<dyn Error>> {
    Ok(RLModuleSpec::default()
        .observation_space(Space::boxed(-1.0, 1.0, &[2])?)
        .action_space(Space::discrete(3)?)
        .build(device)?)
}

/// Acts with and without exploration.
pub(crate) fn with_and_without_exploration() -> Result<(), Box<dyn Error>> {
    let device = DeviceSpec::Cpu.open()?;
    let module = a_module(&device)?;
    let observations = Buffer::zeros(&Space::boxed(-1.0, 1.0, &[2])?, 200);
    let greedy = compute_actions(&module, &observations, None, &device)?;
    let first = greedy.as_i64()?[0];
    assert!(greedy.as_i64()?.iter().all(|action| *action == first));

    let mut rng = Generator::from_seed(0);
    let explored = compute_actions(&module, &observations, Some(&mut rng), &device)?;
    assert!((0..3).all(|action| explored.as_i64().is_ok_and(|all| all.contains(&action))));
    Ok(())
}
