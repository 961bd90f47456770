//! Losses of recorded segments of episodes.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::Module;
use rekindle::env_runner::{RolloutStates, SegmentEnd};
use rekindle::prelude::*;

use crate::support::{Recorded, cpu};

/// Returns the recorded segments as a runner hands them over.
fn rollout(recorded: &Recorded) -> Rollout {
    let numbers = |name: &str| recorded.0[name].as_slice::<i64>().unwrap();
    let floats = |name: &str, shape: &[usize]| {
        Buffer::from_f32(recorded.0[name].as_slice::<f32>().unwrap().to_vec(), shape).unwrap()
    };
    let mut segments: Vec<Segment> = Vec::new();
    for (len, end) in numbers("lengths").iter().zip(numbers("ends")) {
        let end = match end {
            0 => SegmentEnd::Cut,
            1 => SegmentEnd::Terminated,
            2 => SegmentEnd::Truncated,
            other => panic!("{other}"),
        };
        let start = segments.last().map_or(0, |segment| segment.range().end);
        let rows = start..start + usize::try_from(*len).unwrap();
        segments.push(Segment::new(rows, end).with_episode(0, segments.len() as u64));
    }
    let states = |name: &str, rows: usize| {
        let parts = recorded.part(name).into_iter();
        let parts = parts.map(|(key, part)| {
            assert_eq!(part.shape()[0], rows);
            let data = part.as_slice::<f32>().unwrap().to_vec();
            (key, Buffer::from_f32(data, &part.shape()[1..]).unwrap())
        });
        Buffer::from_dict(parts.collect::<Vec<_>>()).unwrap()
    };
    let rows = recorded.0["rewards"].shape()[0];
    let stateful = !recorded.part(Columns::STATE_IN).is_empty();
    let logp = recorded.0.contains_key(Columns::ACTION_LOGP);
    let logp = logp.then(|| (Columns::ACTION_LOGP.to_owned(), floats(Columns::ACTION_LOGP, &[])));
    let states = stateful.then(|| {
        let finals = states(Columns::FINAL_STATE, segments.len());
        Arc::new(RolloutStates::new(states(Columns::STATE_IN, rows), finals))
    });
    let actions = Buffer::from_i64(numbers("actions").to_vec(), &[]).unwrap();
    let rewards = recorded.0["rewards"].as_slice::<f32>().unwrap().to_vec();
    let [observations, finals] = ["obs", "final_obs"].map(|name| floats(name, &[4]));
    let mut rollout = Rollout::new(observations, actions, rewards, segments, finals);
    rollout.extras.extend(logp);
    rollout.states = states;
    rollout
}

/// Prepares the recorded segments for a loss, and computes it on all sequences.
pub(crate) fn compute(loss: &mut dyn Loss, module: &AnyRLModule, recorded: &Recorded) -> Losses {
    let (plain, host, device) = (module.valid(), cpu(), cpu().autodiff());
    let data = TrainData::from_rollouts(&[rollout(recorded)], module.max_seq_len()).unwrap();
    let data = loss.prepare(&PrepareContext::new(DEFAULT_MODULE_ID, &plain, &host), data).unwrap();
    let sequences: Vec<usize> = (0..data.units(None).count).collect();
    let batch = data.minibatch(&sequences, &device).unwrap();
    let (scalars, mut rng) = (BTreeMap::new(), Generator::from_seed(0));
    let at = PrepareContext::new(DEFAULT_MODULE_ID, module, &device);
    loss.compute(&LossContext::new(at, &batch, &scalars, &mut rng)).unwrap()
}
