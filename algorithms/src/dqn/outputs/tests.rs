//! The loss of sequences, against networks that run step by step.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::prelude::*;
use rekindle_checkpoint::Array;
use rekindle_core::any_tensor::to_f32;
use rekindle_core::{Generator, HostBatch, host_batch};
use rekindle_env::{Buffer, Space};
use rekindle_env_runner::{Rollout, RolloutStates, Segment, SegmentEnd};
use rekindle_learner::replay::{
    BURN_IN_STATE, BURNED_IN, NEXT_ROWS, PrioritizedConfig, ReplayBuffer, ReplayConfig, TD_ERROR,
    TransitionSpec,
};
use rekindle_learner::{Loss, Losses, PrepareContext, TrainData};
use rekindle_rl_module::{QNetwork, RLModuleSpec};
use serde_json::json;

use super::*;
use crate::dqn::DqnLoss;

const LEN: usize = 3;

/// A network with memory whose target network differs from its main network.
fn module(device: &Device, layer: &str) -> AnyRLModule {
    let config = json!({
        "fcnet_hiddens": [4], "use_lstm": true, "lstm_cell_size": 3, "max_seq_len": LEN,
        "recurrent_layer_type": layer,
    });
    let spec = RLModuleSpec::of::<QNetwork>()
        .observation_space(Space::unbounded(&[2]).unwrap())
        .action_space(Space::discrete_with_start(3, 1).unwrap())
        .model_config(config);
    let mut module = spec.build(device).unwrap();
    let mut weights = module.state_dict().unwrap();
    for (name, weight) in &mut weights {
        if name.starts_with("target_") {
            let moved = weight.as_slice::<f32>().unwrap().iter().map(|x| x * 0.7 + 0.05);
            *weight = Array::new(weight.shape(), moved.collect::<Vec<_>>()).unwrap();
        }
    }
    module.load_state_dict(&weights).unwrap();
    module
}

/// Returns an episode of random steps, with random states before each.
fn episode(module: &AnyRLModule, number: u64, len: usize, end: SegmentEnd) -> Rollout {
    let mut rng = Generator::from_seed(number);
    let mut floats = |n: usize| (0..n).map(|_| rng.standard_normal() as f32).collect::<Vec<_>>();
    let observations = Buffer::from_f32(floats(2 * len), &[2]).unwrap();
    let final_observations = Buffer::from_f32(floats(2), &[2]).unwrap();
    let rewards = floats(len);
    let mut states = module.initial_state().unwrap().unwrap().gather(&vec![0; len + 1]).unwrap();
    for part in ["c", "h"] {
        if let Ok(part) = states.part_mut(part) {
            let values = floats(part.as_f32().unwrap().len());
            part.as_f32_mut().unwrap().copy_from_slice(&values);
        }
    }
    let (before, after) = (states.slice(0..len).unwrap(), states.slice(len..len + 1).unwrap());
    let actions = Buffer::from_i64((0..len as i64).map(|t| t % 3 + 1).collect(), &[]).unwrap();
    let segments = vec![Segment::new(0..len, end).with_episode(0, number)];
    let mut episode = Rollout::new(observations, actions, rewards, segments, final_observations);
    episode.states = Some(Arc::new(RolloutStates::new(before, after)));
    episode
}

/// Draws sequences from two ended episodes and one that continues.
fn sequences(module: &AnyRLModule, burn_in: usize) -> TrainData {
    let config = ReplayConfig::default().prioritized(PrioritizedConfig::default());
    let mut buffer = ReplayBuffer::new(config, [Columns::STATE_IN], 1);
    let ends = [SegmentEnd::Terminated, SegmentEnd::Truncated, SegmentEnd::Cut];
    for (number, end) in ends.into_iter().enumerate() {
        buffer.push(&episode(module, number as u64, 6, end)).unwrap();
    }
    buffer.set_errors(&[2, 3, 9], &[3.0, 0.2, 2.0]);
    let spec = TransitionSpec::new(0.9).n_step(1..=2).burn_in(burn_in);
    buffer.sample_sequences(12, LEN, &spec, 0, &mut Generator::from_seed(1)).unwrap()
}

fn loss(module: &AnyRLModule, data: &TrainData, config: DqnTraining, device: &Device) -> Losses {
    let units: Vec<usize> = (0..data.units(None).count).collect();
    let batch = data.minibatch(&units, device).unwrap();
    let (scalars, mut rng) = (BTreeMap::new(), Generator::from_seed(0));
    let at = PrepareContext::new("a", module, device);
    let cx = LossContext::new(at, &batch, &scalars, &mut rng);
    DqnLoss::new(config).compute(&cx).unwrap()
}

/// Runs a network over some rows, one at a time.
fn step_by_step(
    forward: &dyn Fn(&Batch) -> Batch,
    observations: &Buffer,
    rows: std::ops::Range<usize>,
    state: &mut Column,
) -> Vec<Vec<f32>> {
    let device = Device::flex();
    let steps = rows.map(|row| {
        let observation = host_batch::upload(&observations.slice(row..row + 1).unwrap(), &device);
        let batch = Batch::new()
            .with(Columns::OBS, observation.unwrap())
            .with(Columns::STATE_IN, state.clone());
        let outputs = forward(&batch);
        *state = outputs.column(Columns::STATE_OUT).unwrap().clone();
        to_f32(outputs.float::<2>(Columns::QF_PREDS).unwrap()).unwrap()
    });
    steps.collect()
}

fn largest(values: &[f32]) -> usize {
    (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap()
}

/// The absolute TD errors of all rows, and the loss.
fn reference(
    module: &AnyRLModule,
    data: &TrainData,
    burn_in: usize,
    double_q: bool,
) -> (Vec<f32>, f32) {
    let (host, sequences) = (data.host().unwrap(), data.sequences.as_ref().unwrap());
    let column = |name: &str| host.as_f32(name).unwrap();
    let ints = |name: &str| host.column(name).unwrap().as_i64().unwrap();
    let observations = host.column(Columns::OBS).unwrap();
    let state = |columns: &HostBatch, name: &str, index: usize| {
        let state = columns.column(name).unwrap().slice(index..index + 1).unwrap();
        host_batch::upload(&state, &Device::flex()).unwrap()
    };
    let networks: [&dyn Fn(&Batch) -> Batch; 2] =
        [&|batch| module.compute_q_values(batch).unwrap(), &|batch| {
            module.forward_target(batch).unwrap()
        }];
    let mut errors = vec![0.0; data.rows()];
    let (mut sum, mut count) = (0.0, 0.0);
    for (index, rows) in sequences.rows.iter().enumerate() {
        let columns = &*sequences.columns;
        let burns = columns.contains(BURNED_IN) && columns.as_f32(BURNED_IN).unwrap()[index] > 0.0;
        let first = rows.start + burn_in;
        let [main, target] = networks.map(|network| {
            let name = if burns { BURN_IN_STATE } else { Columns::STATE_IN };
            let mut state = state(columns, name, index);
            if burns {
                step_by_step(network, observations, rows.start..first, &mut state);
            }
            step_by_step(network, observations, first..rows.end, &mut state)
        });
        for row in rows.clone().filter(|row| column(Columns::LOSS_MASK)[*row] > 0.0) {
            let next = ints(NEXT_ROWS)[row] as usize;
            let chosen = if double_q { largest(&main[next]) } else { largest(&target[next]) };
            let value = column(Columns::REWARDS)[row]
                + column(Columns::DISCOUNTS)[row] * target[next][chosen];
            let action = (ints(Columns::ACTIONS)[row] - 1) as usize;
            let error = (main[row - first][action] - value).abs();
            let huber = if error > 1.0 { error - 0.5 } else { 0.5 * error * error };
            errors[row] = error;
            sum += huber * column(Columns::WEIGHTS)[row];
            count += 1.0;
        }
    }
    (errors, sum / count)
}

#[test]
fn the_loss_of_sequences_equals_networks_that_run_step_by_step() {
    for (layer, burn_in, double_q) in
        [("lstm", 0, true), ("lstm", 2, true), ("gru", 2, false), ("lstm", 9, false)]
    {
        let device = Device::flex().autodiff();
        let module = module(&device, layer);
        let data = sequences(&module, burn_in);
        let mask = data.as_f32(Columns::LOSS_MASK).unwrap();
        assert!(mask.iter().sum::<f32>() < (12 * LEN) as f32, "no sequence ends with its episode");
        let config = DqnTraining::default().burn_in_len(burn_in).double_q(double_q);
        let losses = loss(&module, &data, config, &device);
        let (errors, total) = reference(&module.valid(), &data, burn_in, double_q);
        let found = to_f32(losses.total.inner()).unwrap()[0];
        assert!((found - total).abs() < 1e-5, "{layer} {burn_in}: {found} {total}");
        let (name, values) = &losses.row_values[0];
        assert_eq!(*name, TD_ERROR);
        let values = to_f32(values.clone().inner()).unwrap();
        for (row, _) in mask.iter().enumerate().filter(|(_, mask)| **mask > 0.0) {
            assert!((values[row] - errors[row]).abs() < 1e-5, "{layer} {burn_in}, row {row}");
        }
    }
}

/// With the same weights in both networks, a burn-in gives the gradients of sequences that begin with the state
/// after it as a constant.
#[test]
fn gradients_do_not_reach_into_the_burn_in() {
    let device = Device::flex().autodiff();
    let mut module = module(&device, "lstm");
    module.sync_targets(1.0).unwrap();
    let burned = sequences(&module, 2);
    let mut plain = sequences(&module, 0);
    let (of_burned, of_plain) =
        (burned.sequences.as_ref().unwrap(), plain.sequences.as_mut().unwrap());
    let flags = of_burned.columns.as_f32(BURNED_IN).unwrap().to_vec();
    assert!(flags.contains(&1.0) && flags.contains(&0.0));
    let valid = module.valid();
    let mut states = of_plain.columns.column(Columns::STATE_IN).unwrap().clone();
    for (index, _) in flags.iter().enumerate().filter(|(_, flag)| **flag > 0.0) {
        let start =
            of_burned.columns.column(BURN_IN_STATE).unwrap().slice(index..index + 1).unwrap();
        let mut state = host_batch::upload(&start, &Device::flex()).unwrap();
        let first = of_burned.rows[index].start;
        let forward = |batch: &Batch| valid.compute_q_values(batch).unwrap();
        let observations = burned.host().unwrap().column(Columns::OBS).unwrap();
        step_by_step(&forward, observations, first..first + 2, &mut state);
        states.copy_row(index, &host_batch::download(&state).unwrap(), 0).unwrap();
    }
    let mut columns = HostBatch::new();
    columns.insert(Columns::STATE_IN, states).unwrap();
    of_plain.columns = Arc::new(columns);
    let gradients = |data: &TrainData, burn_in: usize| {
        let config = DqnTraining::default().burn_in_len(burn_in);
        let total = loss(&module, data, config, &device).total;
        let network = module.downcast_ref::<QNetwork>().unwrap();
        let grads = burn::optim::GradientsParams::from_grads(total.backward(), network);
        let mut collected = Vec::new();
        network.visit(&mut Collect { grads: &grads, into: &mut collected });
        collected
    };
    let [a, b] = [gradients(&burned, 2), gradients(&plain, 0)];
    assert!(a.len() == b.len() && a.iter().any(|gradient| gradient.abs() > 1e-4));
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6));
}

/// Collects the gradients of all parameters.
struct Collect<'a> {
    grads: &'a burn::optim::GradientsParams,
    into: &'a mut Vec<f32>,
}

impl burn::module::ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
        if let Some(gradient) = self.grads.get::<D>(param.id) {
            self.into.extend(to_f32(gradient.reshape([-1]) as Tensor<1>).unwrap());
        }
    }
}
