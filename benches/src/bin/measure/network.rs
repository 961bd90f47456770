//! PPO's update and the acting pass of a network, over recorded rows: rekindle's side of `cnn-update`, `cnn-acting`,
//! `recurrent-update` and `recurrent-acting` in `cargo xtask compare`.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::ValueEnum;
use rekindle::algorithms::TrainingConfig as _;
use rekindle::core::host_batch;
use rekindle::env_runner::SegmentEnd;
use rekindle::learner::Sequences;
use rekindle::prelude::*;
use rekindle_benches::{Outcome, rate, report};
use serde_json::{Value, json};

use crate::Timing;

/// Steps of a training sequence of a recurrent network.
const STEPS: usize = 20;

/// Actions of the policy.
const ACTIONS: usize = 6;

/// Measures PPO's update or acting passes of a network and prints rows per second as JSON.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure
    #[arg(long, default_value = "update")]
    what: What,
    /// NETWORK-ROWS of each case: `nature` (84x84x4 bytes), `small` (10x10x4 bytes), `lstm64`, `lstm256`, `gru64` or
    /// `gru256`; rows per minibatch or acting pass
    #[arg(long, value_delimiter = ',', default_value = "nature-32,nature-256,small-32,small-256")]
    cases: Vec<String>,
    #[command(flatten)]
    timing: Timing,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Epochs of PPO's update over 8 minibatches
    Update,
    /// Acting passes of the policy, as runners make them; the host writes observations and reads logits
    Acting,
    /// The same with tensors, as runners make them for modules without a pass over host memory
    ActingWithTensors,
}

/// A network, its observations and its heads.
struct Network {
    observations: Space,
    model: Value,
    is_recurrent: bool,
}

impl Network {
    fn of(name: &str) -> Outcome<Self> {
        let image = |side: usize, filters: Value, hidden: usize| {
            let model = json!({
                "conv_filters": filters, "head_fcnet_hiddens": [hidden], "vf_share_layers": true,
            });
            let observations = Space::image(&[side, side, 4])?;
            Ok(Self { observations, model, is_recurrent: false })
        };
        let recurrent = |layer: &str, hidden: usize| {
            let model = json!({
                "fcnet_hiddens": [hidden], "use_lstm": true, "recurrent_layer_type": layer,
                "lstm_cell_size": hidden, "max_seq_len": STEPS, "vf_share_layers": true,
            });
            let observations = Space::unbounded(&[16])?;
            Ok(Self { observations, model, is_recurrent: true })
        };
        match name {
            "nature" => image(
                84,
                json!([[32, 8, 4, "valid"], [64, 4, 2, "valid"], [64, 3, 1, "valid"]]),
                512,
            ),
            "small" => image(10, json!([[16, 3, 1, "valid"], [32, 3, 1, "valid"]]), 128),
            "lstm64" => recurrent("lstm", 64),
            "lstm256" => recurrent("lstm", 256),
            "gru64" => recurrent("gru", 64),
            "gru256" => recurrent("gru", 256),
            _ => Err(format!("unknown network `{name}`").into()),
        }
    }

    fn module(&self, seed: u64) -> Outcome<AnyRLModule> {
        let device = DeviceSpec::Cpu.open()?;
        Ok(RLModuleSpec::default()
            .observation_space(self.observations.clone())
            .action_space(Space::discrete(ACTIONS)?)
            .model_config(self.model.clone())
            .build_seeded(&device, Generator::from_seed(seed))?)
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    for case in &args.cases {
        let (name, rows) = case.split_once('-').ok_or("a case is NETWORK-ROWS")?;
        let (network, rows) = (Network::of(name)?, rows.parse()?);
        let value = match args.what {
            What::Update => update(&network, rows, &args.timing)?,
            What::Acting => act(&network, rows, &args.timing)?,
            What::ActingWithTensors => act_with_tensors(&network, rows, &args.timing)?,
        };
        report(case, value, None);
    }
    Ok(())
}

fn update(network: &Network, minibatch: usize, timing: &Timing) -> Outcome<f64> {
    let rows = 8 * minibatch;
    let training = PpoTraining::default()
        .lr(1e-4)
        .train_batch_size(rows)
        .minibatch_size(minibatch)
        .num_epochs(1)
        .clip_param(0.2)
        .vf_clip_param(f64::INFINITY)
        .vf_loss_coeff(0.5)
        .entropy_coeff(0.01)
        .use_kl_loss(false)
        .grad_clip(0.5);
    training.validate()?;
    let device = DeviceSpec::Cpu.open()?;
    let module = network.module(timing.seed)?;
    let data = data(network, rows, &module)?;
    let module = module.as_multi_rl_module()?;
    let mut learner = Learner::new(training.learner(), move |_| training.loss(), module, &device)?;
    let data = BTreeMap::from([(DEFAULT_MODULE_ID.to_owned(), data)]);
    let mut update = || {
        learner.learn(data.clone(), 0)?;
        Ok(rows as u64)
    };
    update()?;
    rate(timing.seconds, update)
}

/// Random rows, in host memory.
fn data(network: &Network, rows: usize, module: &AnyRLModule) -> Outcome<TrainData> {
    let mut rng = Generator::from_seed(1);
    let mut normal = |len: usize, scale: f32| -> Vec<f32> {
        (0..len).map(|_| scale * rng.standard_normal() as f32).collect()
    };
    let mut batch = HostBatch::new();
    batch.insert_f32(Columns::ADVANTAGES, normal(rows, 1.0))?;
    batch.insert_f32(Columns::VALUE_TARGETS, normal(rows, 1.0))?;
    batch.insert_f32(Columns::ACTION_LOGP, vec![-(ACTIONS as f32).ln(); rows])?;
    let inputs = Buffer::from_f32(normal(rows * ACTIONS, 0.01), &[ACTIONS])?;
    batch.insert(Columns::ACTION_DIST_INPUTS, inputs)?;
    let actions = (0..rows).map(|_| rng.integers(0, ACTIONS as i64)).collect();
    batch.insert(Columns::ACTIONS, Buffer::from_i64(actions, &[])?)?;
    batch.insert(Columns::OBS, observations(network, rows)?)?;
    let mut data = TrainData::from(batch);
    if let Some(initial) = module.initial_state()? {
        let segments = (0..rows).step_by(STEPS);
        let segments: Vec<_> =
            segments.map(|start| Segment::new(start..start + STEPS, SegmentEnd::Cut)).collect();
        let mut sequences = Sequences::cut(&segments, STEPS);
        let mut columns = HostBatch::new();
        columns.insert(Columns::STATE_IN, initial.gather(&vec![0; segments.len()])?)?;
        sequences.columns = Arc::new(columns);
        data.segments = Arc::new(segments);
        data.sequences = Some(sequences);
    }
    Ok(data)
}

fn observations(network: &Network, rows: usize) -> Outcome<Buffer> {
    let mut buffer = Buffer::zeros(&network.observations, rows);
    let mut rng = Generator::from_seed(2);
    if network.is_recurrent {
        buffer.as_f32_mut()?.iter_mut().for_each(|x| *x = rng.standard_normal() as f32);
    } else {
        buffer.as_u8_mut()?.iter_mut().for_each(|x| *x = rng.integers(0, 256) as u8);
    }
    Ok(buffer)
}

fn act(network: &Network, rows: usize, timing: &Timing) -> Outcome<f64> {
    let module = network.module(timing.seed)?;
    let observations = observations(network, rows)?;
    let mut state =
        module.initial_state()?.map(|state| state.gather(&vec![0; rows])).transpose()?;
    let mut after = state.clone();
    let mut pass = module.policy_pass()?.ok_or("the module has no pass over host memory")?;
    let mut logits = Vec::new();
    let mut act = || {
        let states = state.as_ref().zip(after.as_mut());
        if !pass.run(&observations, states, false, &mut logits) {
            return Err("the pass does not read the observations".into());
        }
        std::mem::swap(&mut state, &mut after);
        Ok(rows as u64)
    };
    rate(timing.seconds.min(0.2), &mut act)?;
    rate(timing.seconds, act)
}

fn act_with_tensors(network: &Network, rows: usize, timing: &Timing) -> Outcome<f64> {
    let device = DeviceSpec::Cpu.open()?;
    let module = network.module(timing.seed)?;
    let observations = observations(network, rows)?;
    let mut state =
        module.initial_state()?.map(|state| state.gather(&vec![0; rows])).transpose()?;
    let mut act = || {
        let seen = host_batch::upload(&observations, &device)?;
        let mut batch = Batch::new().with(Columns::OBS, seen);
        if let Some(state) = &state {
            batch.insert(Columns::STATE_IN, host_batch::upload(state, &device)?);
        }
        let outputs = module.forward_inference(&batch)?;
        let _logits = outputs.float::<2>(Columns::ACTION_DIST_INPUTS)?.into_data();
        if let Some(state) = &mut state {
            host_batch::download_into(outputs.column(Columns::STATE_OUT)?, state)?;
        }
        Ok(rows as u64)
    };
    rate(timing.seconds.min(0.2), &mut act)?;
    rate(timing.seconds, act)
}
