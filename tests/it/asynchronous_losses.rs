//! V-trace along sequences and the losses of IMPALA and APPO, against plain loops in double precision.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use rekindle::algorithms::appo::AppoLoss;
use rekindle::algorithms::impala::{ImpalaLoss, LossReduction};
use rekindle::algorithms::{AppoTraining, ImpalaTraining};
use rekindle::core::any_tensor::to_f32;
use rekindle::core::host_batch::upload;
use rekindle::env::Parts;
use rekindle::env_runner::{RolloutStates, SegmentEnd};
use rekindle::learner::LearnerError;
use rekindle::learner::ops::VTraceConfig;
use rekindle::prelude::*;
use serde_json::json;

use crate::support::device;

/// The longest sequence.
const LEN: usize = 3;
const INPUTS: usize = 4;
const ACTIONS: usize = 3;

const VTRACE: VTraceConfig = VTraceConfig {
    gamma: 0.9,
    lambda_: 0.8,
    clip_rho_threshold: 1.2,
    clip_pg_rho_threshold: 0.9,
    leak_alpha: 1.0,
};

fn module(seed: u64, stateful: bool) -> AnyRLModule {
    let settings = match stateful {
        true => {
            json!({"fcnet_hiddens": [8], "use_lstm": true, "lstm_cell_size": 5, "max_seq_len": LEN})
        }
        false => json!({"fcnet_hiddens": [8]}),
    };
    let spec = RLModuleSpec::default()
        .observation_space(Space::boxed(-1.0, 1.0, &[INPUTS]).unwrap())
        .action_space(Space::discrete(ACTIONS).unwrap())
        .model_config(settings);
    spec.build_seeded(&device().autodiff(), Generator::from_seed(seed)).unwrap()
}

/// Returns a buffer like `like` with `rows` random rows.
fn random(like: Buffer, rows: usize, rng: &mut Generator) -> Buffer {
    match like.into_parts() {
        Parts::Float(_, shape) => {
            let count = rows * shape.iter().product::<usize>();
            let data = (0..count).map(|_| rng.uniform(-1.0, 1.0) as f32).collect();
            Buffer::from_f32(data, &shape).unwrap()
        }
        Parts::Dict(parts) => {
            let parts = parts.into_iter().map(|(key, part)| (key, random(part, rows, rng)));
            Buffer::from_dict(parts.collect::<Vec<_>>()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

/// Segments of different lengths with all kinds of ends.
fn experience(module: &AnyRLModule) -> Rollout {
    use SegmentEnd::{Cut, Terminated, Truncated};
    let mut rng = Generator::from_seed(8);
    let mut segments = Vec::new();
    let mut start = 0;
    for (len, end) in
        [(7, Terminated), (1, Truncated), (4, Cut), (3, Terminated), (6, Cut), (2, Truncated)]
    {
        let episode = segments.len() as u64;
        segments.push(Segment::new(start..start + len, end).with_episode(0, episode));
        start += len;
    }
    let (rows, count) = (start, segments.len());
    let mut draw = |n: usize, low: f64, high: f64| -> Vec<f32> {
        (0..n).map(|_| rng.uniform(low, high) as f32).collect()
    };
    let observations = Buffer::from_f32(draw(rows * INPUTS, -1.0, 1.0), &[INPUTS]).unwrap();
    let final_observations = Buffer::from_f32(draw(count * INPUTS, -1.0, 1.0), &[INPUTS]).unwrap();
    let (rewards, logp) = (draw(rows, -1.0, 1.0), draw(rows, -2.5, -0.2));
    let actions = (0..rows as i64).map(|i| (i * i) % ACTIONS as i64).collect();
    let states = module.initial_state().unwrap().map(|initial| {
        let state_in = random(initial.clone(), rows, &mut rng);
        RolloutStates::new(state_in, random(initial, count, &mut rng))
    });
    let actions = Buffer::from_i64(actions, &[]).unwrap();
    let mut rollout = Rollout::new(observations, actions, rewards, segments, final_observations);
    rollout.extras.insert(Columns::ACTION_LOGP.into(), Buffer::from_f32(logp, &[]).unwrap());
    rollout.states = states.map(Arc::new);
    rollout
}

/// A step as the loops see it.
struct Step {
    /// Log-probabilities of all actions, under the module and under the target policy.
    all: Vec<f64>,
    all_of_target: Vec<f64>,
    action: usize,
    acted_logp: f64,
    reward: f64,
    value: f64,
}

impl Step {
    fn logp(&self) -> f64 {
        self.all[self.action]
    }

    fn target_logp(&self) -> f64 {
        self.all_of_target[self.action]
    }

    fn entropy(&self) -> f64 {
        -self.all.iter().map(|logp| logp.exp() * logp).sum::<f64>()
    }

    /// The divergence of the policy from the target policy, `KL(target ‖ policy)`.
    fn kl(&self) -> f64 {
        self.all_of_target.iter().zip(&self.all).map(|(old, new)| old.exp() * (old - new)).sum()
    }
}

/// Steps that follow one another, and the value of the observation after them: 0 if it was terminated.
struct Sequence {
    steps: Vec<Step>,
    bootstrap: f64,
}

fn batch_of(observations: &Buffer, state: Option<Buffer>) -> Batch {
    let batch = Batch::new().with(Columns::OBS, upload(observations, &device()).unwrap());
    match state {
        Some(state) => batch.with(Columns::STATE_IN, upload(&state, &device()).unwrap()),
        None => batch,
    }
}

fn log_probabilities(module: &AnyRLModule, batch: &Batch) -> Vec<Vec<f64>> {
    let out = module.valid().forward_train(batch).unwrap();
    let logits = to_f32(out.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap()).unwrap();
    let rows = logits.chunks(ACTIONS).map(|logits| {
        let logits: Vec<f64> = logits.iter().map(|x| f64::from(*x)).collect();
        let sum = logits.iter().map(|x| x.exp()).sum::<f64>().ln();
        logits.into_iter().map(|x| x - sum).collect()
    });
    rows.collect()
}

fn values(module: &AnyRLModule, batch: &Batch) -> Vec<f64> {
    let values = to_f32(module.valid().compute_values(batch, None).unwrap()).unwrap();
    values.into_iter().map(f64::from).collect()
}

/// Cuts segments into sequences, each passed through the modules alone and without padding.
fn sequences(rollout: &Rollout, module: &AnyRLModule, target: &AnyRLModule) -> Vec<Sequence> {
    let mut all = Vec::new();
    let state =
        |row: usize| rollout.states.as_ref().map(|s| s.state_in.slice(row..row + 1).unwrap());
    let logp = rollout.extras[Columns::ACTION_LOGP].as_f32().unwrap();
    let actions = rollout.actions.as_i64().unwrap();
    for (index, segment) in rollout.segments.iter().enumerate() {
        let (mut start, end) = (segment.start, segment.start + segment.len);
        while start < end {
            let next = end.min(start + LEN);
            let batch = batch_of(&rollout.observations.slice(start..next).unwrap(), state(start));
            let of_policy = log_probabilities(module, &batch);
            let of_target = log_probabilities(target, &batch);
            let steps =
                values(module, &batch).into_iter().zip(of_policy.into_iter().zip(of_target));
            let steps = steps.zip(start..next).map(|((value, (all, all_of_target)), row)| Step {
                all,
                all_of_target,
                action: actions[row] as usize,
                acted_logp: f64::from(logp[row]),
                reward: f64::from(rollout.rewards[row]),
                value,
            });
            let steps = steps.collect();
            let after = match next == end {
                true => {
                    let states = rollout.states.as_ref();
                    let last = states.map(|s| s.final_states.slice(index..index + 1).unwrap());
                    batch_of(&rollout.final_observations.slice(index..index + 1).unwrap(), last)
                }
                false => {
                    batch_of(&rollout.observations.slice(next..next + 1).unwrap(), state(next))
                }
            };
            let terminated = next == end && segment.end == SegmentEnd::Terminated;
            let bootstrap = if terminated { 0.0 } else { values(module, &after)[0] };
            all.push(Sequence { steps, bootstrap });
            start = next;
        }
    }
    all
}

impl Sequence {
    /// V-trace as sums of products: `vs_t = V_t + Σ_k γ^k (Π_{i<k} c_i) δ_{t+k}`.
    fn vtrace(&self, ratio: impl Fn(&Step) -> f64, config: &VTraceConfig) -> Vec<(f64, f64)> {
        let VTraceConfig { gamma, lambda_, clip_rho_threshold, clip_pg_rho_threshold, .. } =
            *config;
        let [gamma, lambda, rho, pg_rho] =
            [gamma, lambda_, clip_rho_threshold, clip_pg_rho_threshold].map(f64::from);
        let count = self.steps.len();
        let value = |t: usize| self.steps.get(t).map_or(self.bootstrap, |step| step.value);
        let target = |t: usize| {
            let terms = (t..count).map(|k| {
                let traces: f64 =
                    (t..k).map(|i| gamma * lambda * ratio(&self.steps[i]).min(1.0)).product();
                let step = &self.steps[k];
                traces * ratio(step).min(rho) * (step.reward + gamma * value(k + 1) - step.value)
            });
            value(t) + terms.sum::<f64>()
        };
        let advantage = |t: usize| {
            let next = match t + 1 < count {
                true => lambda * target(t + 1) + (1.0 - lambda) * value(t + 1),
                false => self.bootstrap,
            };
            let step = &self.steps[t];
            ratio(step).min(pg_rho) * (step.reward + gamma * next - step.value)
        };
        (0..count).map(|t| (target(t), advantage(t))).collect()
    }
}

/// Prepares experience and computes a loss on all of it.
fn try_compute(
    loss: &mut dyn Loss,
    module: &AnyRLModule,
    rollout: &Rollout,
) -> Result<Losses, LearnerError> {
    let (plain, host) = (module.valid(), device());
    let cx = PrepareContext::new(DEFAULT_MODULE_ID, &plain, &host);
    let data =
        TrainData::from_rollouts(std::slice::from_ref(rollout), module.max_seq_len()).unwrap();
    let data = loss.prepare(&cx, data).unwrap();
    let units: Vec<usize> = (0..data.sequences.as_ref().unwrap().rows.len()).collect();
    let device = device().autodiff();
    let batch = data.minibatch(&units, &device).unwrap();
    let (scalars, mut rng) = (BTreeMap::new(), Generator::from_seed(0));
    let at = PrepareContext::new(DEFAULT_MODULE_ID, module, &device);
    loss.compute(&LossContext::new(at, &batch, &scalars, &mut rng))
}

/// The numbers of a loss on all of some experience.
fn compute(
    loss: &mut dyn Loss,
    module: &AnyRLModule,
    rollout: &Rollout,
) -> BTreeMap<&'static str, f64> {
    let losses = try_compute(loss, module, rollout).unwrap();
    let number = |tensor: Tensor<1>| f64::from(to_f32(tensor.inner()).unwrap()[0]);
    let mut all: BTreeMap<_, _> =
        losses.metrics.into_iter().map(|(name, value)| (name, number(value))).collect();
    all.insert("total", number(losses.total));
    all
}

fn close(found: &BTreeMap<&'static str, f64>, expected: &[(&str, f64)]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (name, value) in expected {
        let error = (found[name] - value).abs();
        assert!(error < 1e-5 * (1.0 + value.abs()), "{name}: {} for {value}", found[name]);
    }
}

/// Computes V-trace of all rows, with the mask, through a loss context.
#[derive(Debug)]
struct Probe {
    found: Vec<[f32; 3]>,
}

impl Loss for Probe {
    fn name(&self) -> &str {
        "probe"
    }

    fn prepare(
        &mut self,
        _: &PrepareContext<'_>,
        mut data: TrainData,
    ) -> Result<TrainData, LearnerError> {
        data.add_sequence_ends(LEN)?;
        Ok(data)
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses, LearnerError> {
        let ratios = cx.logp()? - cx.batch().float::<1>(Columns::ACTION_LOGP)?;
        let [targets, advantages] = cx.vtrace(ratios, cx.values()?, &VTRACE)?;
        let mask = cx.mask()?.unwrap();
        let [targets, advantages, mask] = [targets, advantages, mask].map(|t| to_f32(t).unwrap());
        let rows = targets.into_iter().zip(advantages).zip(mask);
        self.found = rows.map(|((target, advantage), mask)| [target, advantage, mask]).collect();
        Ok(cx.mean(cx.logp()?)?.into())
    }

    fn get_state(&self) -> Result<State, LearnerError> {
        Ok(State::new())
    }
}

#[test]
fn vtrace_of_padded_sequences_equals_the_sum_of_products_of_each() {
    for stateful in [false, true] {
        let module = module(1, stateful);
        let rollout = experience(&module);
        let mut probe = Probe { found: Vec::new() };
        compute(&mut probe, &module, &rollout);
        let mut expected = Vec::new();
        for sequence in sequences(&rollout, &module, &module) {
            let of = sequence.vtrace(|step| (step.logp() - step.acted_logp).exp(), &VTRACE);
            let padding = vec![[0.0; 3]; LEN - of.len()];
            expected.extend(of.into_iter().map(|(target, advantage)| [target, advantage, 1.0]));
            expected.extend(padding);
        }
        assert_eq!(probe.found.len(), expected.len());
        for (row, (found, expected)) in probe.found.iter().zip(&expected).enumerate() {
            for (found, expected) in found.iter().zip(expected) {
                let error = (f64::from(*found) - expected).abs();
                assert!(error < 1e-5, "stateful {stateful}, row {row}: {found} for {expected}");
            }
        }
    }
}

#[test]
fn the_loss_of_impala_equals_plain_loops() {
    for (stateful, reduction) in
        [(false, LossReduction::Mean), (false, LossReduction::Sum), (true, LossReduction::Mean)]
    {
        let module = module(2, stateful);
        let rollout = experience(&module);
        let config = ImpalaTraining::default()
            .gamma(0.9)
            .lambda_(0.8)
            .vtrace_clip_rho_threshold(1.2)
            .vtrace_clip_pg_rho_threshold(0.9)
            .vf_loss_coeff(0.3)
            .entropy_coeff(0.05)
            .loss_reduction(reduction)
            .fragment_length(LEN);
        let found = compute(&mut ImpalaLoss::new(config), &module, &rollout);
        let (mut policy, mut vf, mut entropy, mut rows) = (0.0, 0.0, 0.0, 0.0);
        for sequence in sequences(&rollout, &module, &module) {
            let of = sequence.vtrace(|step| (step.logp() - step.acted_logp).exp(), &VTRACE);
            for (step, (target, advantage)) in sequence.steps.iter().zip(of) {
                policy -= step.logp() * advantage;
                vf += 0.5 * (step.value - target).powi(2);
                entropy += step.entropy();
                rows += 1.0;
            }
        }
        assert_eq!(rows, 23.0);
        let scale = if reduction == LossReduction::Sum { 1.0 } else { rows };
        close(
            &found,
            &[
                ("policy_loss", policy / scale),
                ("vf_loss", vf / scale),
                ("entropy", entropy / rows),
                ("total", (policy + 0.3 * vf - 0.05 * entropy) / scale),
            ],
        );
    }
}

#[test]
fn the_loss_of_appo_equals_plain_loops() {
    for (stateful, use_kl_loss) in [(false, false), (false, true), (true, true)] {
        let (target, module) = (module(3, stateful), module(4, stateful));
        let rollout = experience(&module);
        let config = AppoTraining::default()
            .gamma(0.9)
            .lambda_(0.8)
            .vtrace_clip_rho_threshold(1.2)
            .vtrace_clip_pg_rho_threshold(0.9)
            .vf_loss_coeff(0.3)
            .entropy_coeff(0.05)
            .clip_param(0.2)
            .target_worker_clipping(1.5)
            .use_kl_loss(use_kl_loss)
            .kl_coeff(0.7)
            .fragment_length(LEN);
        let mut loss = AppoLoss::new(config);
        // The target policy is the module of the first update.
        compute(&mut loss, &target, &rollout);
        let found = compute(&mut loss, &module, &rollout);
        let [mut policy, mut vf, mut entropy, mut kl, mut rows, mut bounded] = [0.0; 6];
        for sequence in sequences(&rollout, &module, &target) {
            let ratio = |step: &Step| (step.target_logp() - step.acted_logp).exp();
            for (step, (target, advantage)) in
                sequence.steps.iter().zip(sequence.vtrace(ratio, &VTRACE))
            {
                let acted_to_target = 1.0 / ratio(step);
                if acted_to_target > 1.5 {
                    bounded += 1.0;
                }
                let ratio = acted_to_target.min(1.5) * (step.logp() - step.acted_logp).exp();
                policy -= (ratio * advantage).min(ratio.clamp(0.8, 1.2) * advantage);
                vf += 0.5 * (step.value - target).powi(2);
                entropy += step.entropy();
                kl += step.kl();
                rows += 1.0;
            }
        }
        assert!(bounded > 2.0 && bounded < rows - 2.0, "{bounded} of {rows} are at the bound");
        let mut total = policy + 0.3 * vf - 0.05 * entropy;
        let mut expected = vec![
            ("policy_loss", policy / rows),
            ("vf_loss", vf / rows),
            ("entropy", entropy / rows),
        ];
        if use_kl_loss {
            total += 0.7 * kl;
            expected.push(("mean_kl_loss", kl / rows));
        }
        expected.push(("total", total / rows));
        close(&found, &expected);
    }
}

#[test]
fn a_restored_target_that_does_not_fit_the_module_is_an_error_and_is_kept() {
    let (target, other) = (module(3, false), module(4, true));
    let rollout = experience(&target);
    let config = || AppoTraining::default().fragment_length(LEN);
    let mut loss = AppoLoss::new(config());
    let expected = compute(&mut loss, &target, &rollout);
    let state = loss.get_state().unwrap();
    let mut restored = AppoLoss::new(config());
    restored.set_state(&state).unwrap();
    for _ in 0..2 {
        assert!(try_compute(&mut restored, &other, &experience(&other)).is_err());
        assert_eq!(restored.get_state().unwrap(), state);
    }
    assert_eq!(compute(&mut restored, &target, &rollout), expected);
}
