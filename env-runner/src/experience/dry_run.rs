//! Experience for the dry run of losses, before there is any.

use std::sync::Arc;

use burn::module::Module;
use burn::prelude::Device;
use rekindle_catalog::CatalogError;
use rekindle_core::{Batch, Columns, Generator, host_batch};
use rekindle_env::{Buffer, Space};
use rekindle_rl_module::{AnyRLModule, ExplorationContext, ModuleError};

use super::{Rollout, RolloutStates, Segment, SegmentEnd};
use crate::connectors::{ActionSampler, ConnectorPipeline};
use crate::env_runner::outputs::Outputs;
use crate::error::{Result, RunnerError};

/// Steps of each segment.
const STEPS: usize = 4;
/// Draws after which there may be no observation that the module acts on, such as one whose mask allows an
/// action.
const TRIES: usize = 32;

/// Returns a rollout for the dry run of a loss: two segments with observations drawn from the module's
/// space, the actions and outputs of its exploration pass, and random rewards. Returns `None` if the module
/// does not act on these observations, since those of its environment may obey further rules.
///
/// The first segment ends in a terminated step, the second as `end` says. A module without parameters runs
/// on `device`. Only `rng` is drawn from.
///
/// # Errors
/// If the columns do not fit together.
pub fn dry_run_rollout(
    module: &AnyRLModule,
    end: SegmentEnd,
    device: &Device,
    rng: &mut Generator,
) -> Result<Option<Rollout>> {
    let spec = module.spec();
    let (Some(observations), Some(actions)) =
        (spec.get_observation_space(), spec.get_action_space())
    else {
        return Ok(None);
    };
    for _ in 0..TRIES {
        match draw(module, [observations, actions], end, device, rng) {
            Ok(rollout) => return Ok(Some(rollout)),
            Err(RunnerError::CannotAct { source, .. })
                if matches!(*source, CatalogError::AllMasked { .. }) => {}
            Err(RunnerError::Module(ModuleError::AllMasked { .. })) => {}
            // Observations of the environment may obey rules that those of the space do not.
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

fn draw(
    module: &AnyRLModule,
    [observations, action_space]: [&Space; 2],
    end: SegmentEnd,
    device: &Device,
    rng: &mut Generator,
) -> Result<Rollout> {
    let rows = 2 * STEPS;
    let mut seen = Buffer::zeros(observations, rows + 2);
    for row in 0..rows + 2 {
        observations.sample_into(rng, seen.row_mut(row))?;
    }
    let module = module.valid();
    let device = module.devices().into_iter().next().unwrap_or_else(|| device.clone().inner());
    let column = host_batch::upload(&seen.slice(0..rows)?, &device)?;
    let mut batch = Batch::new().with(Columns::OBS, column);
    let initial = module.initial_state()?;
    let states = match &initial {
        Some(initial) => {
            let states = initial.gather(&vec![0; rows])?;
            batch.insert(Columns::STATE_IN, host_batch::upload(&states, &device)?);
            let final_states = initial.gather(&[0, 0])?;
            Some(Arc::new(RolloutStates { state_in: states, final_states }))
        }
        None => None,
    };
    let mut cx = ExplorationContext::from_seed(rng.next_u64());
    let outputs = module.forward_exploration(&batch, &mut cx)?;
    let mut sampler = ActionSampler::new(&ConnectorPipeline::new(action_space.clone()), rows);
    let mut rngs: Vec<_> = (0..rows).map(|_| Generator::from_seed(rng.next_u64())).collect();
    sampler.sample(&module, Some(&outputs), Some(&mut rngs))?;
    let ActionSampler { actions, inputs, logp, .. } = sampler;
    let extras = Outputs::of(&module, &outputs, rows)?.into_extras(inputs, logp, rows)?;
    let segment = |index: usize, end| Segment {
        env: index,
        agent: None,
        episode: index as u64,
        runner: 0,
        start: index * STEPS,
        stride: 1,
        len: STEPS,
        t_started: 0,
        end,
    };
    Ok(Rollout {
        observations: seen.slice(0..rows)?,
        actions,
        rewards: (0..rows).map(|_| rng.random() as f32).collect(),
        extras,
        segments: vec![segment(0, SegmentEnd::Terminated), segment(1, end)],
        final_observations: seen.slice(rows..rows + 2)?,
        infos: None,
        states,
        runner: 0,
        weights_seq_no: 0,
    })
}
