//! The losses of policies and critics with memory, against networks that run step by step.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use burn::module::Module;
use rekindle_checkpoint::Array;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{Column, Generator, HostBatch, host_batch};
use rekindle_env::{Buffer, Space};
use rekindle_env_runner::{Rollout, RolloutStates, Segment, SegmentEnd};
use rekindle_learner::replay::{
    BURN_IN_STATE, BURNED_IN, NEXT_ROWS, ReplayBuffer, TD_ERROR, TransitionSpec,
};
use rekindle_learner::{Loss, Losses, TrainData};
use rekindle_rl_module::{
    AnyRLModule, DeterministicActorCritic, RLModule, RLModuleSpec, SoftActorCritic,
};
use serde_json::json;

use super::*;
use crate::sac::{SacLoss, SacTraining};
use crate::td3::{Td3Loss, Td3Training};

const LEN: usize = 3;
const GAMMA: f64 = 0.9;

/// A module with memory whose targets differ from its main networks.
fn module<M: RLModule + Module + Sync + 'static>(
    actions: Space,
    layer: &str,
    device: &Device,
) -> AnyRLModule {
    let config = json!({
        "fcnet_hiddens": [4], "head_fcnet_hiddens": [5], "use_lstm": true, "lstm_cell_size": 3,
        "max_seq_len": LEN, "recurrent_layer_type": layer,
    });
    let spec = RLModuleSpec::of::<M>()
        .observation_space(Space::unbounded(&[2]).unwrap())
        .action_space(actions)
        .model_config(config);
    let mut module = spec.build(device).unwrap();
    let mut weights = module.state_dict().unwrap();
    for (_, weight) in weights.iter_mut().filter(|(name, _)| name.starts_with("target_")) {
        let moved = weight.as_slice::<f32>().unwrap().iter().map(|x| x * 0.7 + 0.05);
        *weight = Array::new(weight.shape(), moved.collect::<Vec<_>>()).unwrap();
    }
    module.load_state_dict(&weights).unwrap();
    module
}

/// Replaces all numbers by random ones.
fn random(buffer: &mut Buffer, rng: &mut Generator) {
    let keys: Vec<String> = match buffer.as_dict() {
        Ok(parts) => parts.keys().cloned().collect(),
        Err(_) => {
            let numbers = buffer.as_f32_mut().unwrap();
            numbers.iter_mut().for_each(|x| *x = rng.standard_normal() as f32);
            return;
        }
    };
    for key in keys {
        random(buffer.part_mut(&key).unwrap(), rng);
    }
}

/// Draws sequences from two ended episodes and one that continues.
fn sequences(module: &AnyRLModule, burn_in: usize) -> TrainData {
    const STEPS: usize = 6;
    let mut buffer = ReplayBuffer::new(ReplayConfig::default(), [Columns::STATE_IN], 1);
    let ends = [SegmentEnd::Terminated, SegmentEnd::Truncated, SegmentEnd::Cut];
    let rng = &mut Generator::from_seed(3);
    for (number, end) in ends.into_iter().enumerate() {
        let space = module.spec().get_action_space().unwrap();
        let mut actions = Buffer::zeros(space, STEPS);
        (0..STEPS).for_each(|row| space.sample_into(rng, actions.row_mut(row)).unwrap());
        let mut observations = Buffer::from_f32(vec![0.0; 2 * STEPS + 2], &[2]).unwrap();
        random(&mut observations, rng);
        let initial = module.initial_state().unwrap().unwrap();
        let mut states = initial.gather(&[0; STEPS + 1]).unwrap();
        random(&mut states, rng);
        let rewards = (0..STEPS).map(|_| rng.standard_normal() as f32).collect();
        let segments = vec![Segment::new(0..STEPS, end).with_episode(0, number as u64)];
        let last = STEPS..STEPS + 1;
        let finals = observations.slice(last.clone()).unwrap();
        observations.truncate(STEPS);
        let mut episode = Rollout::new(observations, actions, rewards, segments, finals);
        let (before, after) = (states.slice(0..STEPS).unwrap(), states.slice(last).unwrap());
        episode.states = Some(Arc::new(RolloutStates::new(before, after)));
        buffer.push(&episode).unwrap();
    }
    let spec = TransitionSpec::new(GAMMA).n_step(1..=2).burn_in(burn_in);
    buffer.sample_sequences(12, LEN, &spec, 0, rng).unwrap()
}

fn phase(
    module: &AnyRLModule,
    data: &TrainData,
    loss: &mut dyn Loss,
    phase: usize,
    device: &Device,
) -> Losses {
    let units: Vec<usize> = (0..data.units(None).count).collect();
    let batch = data.minibatch(&units, device).unwrap();
    let (scalars, mut rng) = (BTreeMap::new(), Generator::from_seed(0));
    let at = PrepareContext::new("a", module, device);
    let mut cx = LossContext::new(at, &batch, &scalars, &mut rng);
    cx.phase = phase;
    loss.compute(&cx).unwrap()
}

/// What the networks compute for one row.
#[derive(Debug, Default, Clone)]
struct Step {
    /// Values of the stored action by each critic, or of all actions, one critic after the other.
    q: Vec<f32>,
    /// Values of the policy's action by each critic, or probabilities of all actions.
    pi: Vec<f32>,
    /// The value of the observation by the targets.
    value: f32,
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    to_f32(tensor).unwrap()
}

/// Computes the steps of each sequence, one row at a time.
fn step_by_step(module: &AnyRLModule, data: &TrainData, burn_in: usize) -> Vec<Vec<Step>> {
    let (host, sequences) = (data.host().unwrap(), data.sequences.as_ref().unwrap());
    let upload = |columns: &HostBatch, name: &str, row: usize| {
        let row = columns.column(name).unwrap().slice(row..row + 1).unwrap();
        host_batch::upload(&row, &Device::flex()).unwrap()
    };
    let is_discrete = module.spec().get_action_space().unwrap().as_discrete().is_ok();
    let inputs = |row: usize, state: &Column| {
        Batch::new()
            .with(Columns::OBS, upload(host, Columns::OBS, row))
            .with(Columns::ACTIONS, upload(host, Columns::ACTIONS, row))
            .with(Columns::STATE_IN, state.clone())
    };
    let after = |outputs: &Batch| outputs.column(Columns::STATE_OUT).unwrap().clone();
    let of_sequence = |(index, rows): (usize, &Range<usize>)| {
        let columns = &*sequences.columns;
        let burns = columns.contains(BURNED_IN) && columns.as_f32(BURNED_IN).unwrap()[index] > 0.0;
        let first = rows.start + burn_in;
        let name = if burns { BURN_IN_STATE } else { Columns::STATE_IN };
        let mut main = upload(columns, name, index);
        let mut target = main.clone();
        for row in (rows.start..first).filter(|_| burns) {
            main = after(&module.forward_train(&inputs(row, &main)).unwrap());
            target = after(&module.forward_target(&inputs(row, &target)).unwrap());
        }
        let steps = (first..rows.end).map(|row| {
            let (of_main, of_target) = (inputs(row, &main), inputs(row, &target));
            let q = floats(module.compute_action_values(&of_main).unwrap());
            let step = match is_discrete {
                true => {
                    let outputs = module.forward_train(&of_main).unwrap();
                    let logits = outputs.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap();
                    let exp: Vec<f32> = floats(logits).iter().map(|x| x.exp()).collect();
                    let pi: Vec<f32> = exp.iter().map(|x| x / exp.iter().sum::<f32>()).collect();
                    let outputs = module.forward_target(&of_target).unwrap();
                    let q_target = floats(outputs.float::<3>(Columns::QF_PREDS).unwrap());
                    let (first, second) = q_target.split_at(pi.len());
                    let soft = first.iter().zip(second).zip(&pi);
                    let value = soft.map(|((a, b), p)| p * (a.min(*b) - p.ln())).sum();
                    Step { q, pi, value }
                }
                false => {
                    let actions = module.compute_actions(&of_main).unwrap();
                    let of_policy = of_main.clone().with(Columns::ACTIONS, actions);
                    let pi = floats(module.compute_action_values(&of_policy).unwrap());
                    let actions = module.compute_target_actions(&of_target).unwrap();
                    let of_policy = of_target.clone().with(Columns::ACTIONS, actions);
                    let outputs = module.forward_target(&of_policy).unwrap();
                    let values = floats(outputs.float::<3>(Columns::QF_PREDS).unwrap());
                    Step { q, pi, value: values.iter().copied().fold(f32::INFINITY, f32::min) }
                }
            };
            main = after(&module.forward_train(&of_main).unwrap());
            target = after(&module.forward_target(&of_target).unwrap());
            step
        });
        steps.collect()
    };
    sequences.rows.iter().enumerate().map(of_sequence).collect()
}

/// Compares both phases of a loss with those of networks that run step by step. `critic` and `actor` return the loss
/// of a row from its step and its target; the former also the error.
fn check(
    name: &str,
    (module, device): (&AnyRLModule, &Device),
    burn_in: usize,
    loss: &mut dyn Loss,
    critic: fn(&Step, i64, f32) -> [f32; 2],
    actor: fn(&Step) -> f32,
) {
    let data = sequences(module, burn_in);
    let steps = step_by_step(&module.valid(), &data, burn_in);
    let host = data.host().unwrap();
    let column = |name: &str| host.as_f32(name).unwrap();
    let next = host.column(NEXT_ROWS).unwrap().as_i64().unwrap();
    let actions = host.column(Columns::ACTIONS).unwrap();
    let mut errors = BTreeMap::new();
    let mut sums = [0.0; 2];
    for (rows, steps) in data.sequences.as_ref().unwrap().rows.iter().zip(&steps) {
        for row in rows.clone().filter(|row| column(Columns::LOSS_MASK)[*row] > 0.0) {
            let step = &steps[row - rows.start - burn_in];
            let value = steps[next[row] as usize].value;
            let target = column(Columns::REWARDS)[row] + column(Columns::DISCOUNTS)[row] * value;
            let action = actions.as_i64().map_or(0, |actions| actions[row]);
            let [term, error] = critic(step, action, target);
            errors.insert(row, error);
            sums = [sums[0] + term, sums[1] + actor(step)];
        }
    }
    assert!(errors.len() < 12 * LEN && errors.len() > 12, "{name}: {} rows", errors.len());
    for (index, sum) in sums.into_iter().enumerate() {
        let losses = phase(module, &data, loss, index, device);
        let (found, expected) = (floats(losses.total.inner())[0], sum / errors.len() as f32);
        assert!((found - expected).abs() < 1e-4, "{name}, phase {index}: {found} {expected}");
        for (kind, values) in &losses.row_values {
            assert_eq!(*kind, TD_ERROR);
            let values = floats(values.clone().inner());
            for (row, error) in &errors {
                assert!((values[*row] - error).abs() < 1e-4, "{name}, row {row}");
            }
        }
    }
}

#[test]
fn the_losses_of_td3_over_sequences_equal_networks_that_run_step_by_step() {
    for (layer, burn_in) in [("lstm", 0), ("lstm", 2), ("gru", 2), ("lstm", 9)] {
        let device = Device::flex().autodiff();
        let space = Space::boxed(-1.0, 1.0, &[1]).unwrap();
        let module = module::<DeterministicActorCritic>(space, layer, &device);
        let config = Td3Training::default().target_noise(0.0).burn_in_len(burn_in);
        check(
            &format!("{layer}, {burn_in}"),
            (&module, &device),
            burn_in,
            &mut Td3Loss::new(config),
            |step, _, target| {
                let errors = step.q.iter().map(|q| q - target);
                [
                    errors.clone().map(|error| error * error).sum(),
                    errors.map(f32::abs).sum::<f32>() / step.q.len() as f32,
                ]
            },
            |step| -step.pi[0],
        );
    }
}

#[test]
fn the_losses_of_discrete_sac_over_sequences_equal_networks_that_run_step_by_step() {
    for (layer, burn_in) in [("lstm", 0), ("lstm", 2), ("gru", 2), ("lstm", 9)] {
        let device = Device::flex().autodiff();
        let space = Space::discrete(3).unwrap();
        let module = module::<SoftActorCritic>(space, layer, &device);
        let config = SacTraining::default().learn_alpha(false).burn_in_len(burn_in);
        check(
            &format!("{layer}, {burn_in}"),
            (&module, &device),
            burn_in,
            &mut SacLoss::new(config),
            |step, action, target| {
                let taken = [step.q[action as usize], step.q[3 + action as usize]];
                let errors = taken.map(|q| q - target);
                [
                    errors.iter().map(|error| 0.5 * error * error).sum(),
                    errors.iter().map(|error| error.abs()).sum::<f32>() / 2.0,
                ]
            },
            |step| {
                let (first, second) = step.q.split_at(3);
                let soft = first.iter().zip(second).zip(&step.pi);
                -soft.map(|((a, b), p)| p * (a.min(*b) - p.ln())).sum::<f32>()
            },
        );
    }
}

#[test]
fn what_follows_a_terminated_step_is_0_and_anything_else_stays() {
    let device = Device::flex();
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let following = Tensor::from_floats([[inf, nan], [1.0, inf], [-inf, 2.0]], &device);
    let discounts = Tensor::from_floats([[0.0], [0.9], [0.0]], &device);
    let found = to_f32(of_continued(following, discounts)).unwrap();
    assert_eq!(found, [0.0, 0.0, 1.0, inf, 0.0, 0.0]);
}
