//! Measures PPO's update on a device that already holds all rows.
//!
//! `cargo run --release -p rekindle-benches -- update-on-device --minibatch-size 4096` prints one
//! line of JSON. `scripts/gpu-check.d/update_torch.py` does the same in eager PyTorch.

use std::collections::BTreeMap;
use std::time::Instant;

use burn::prelude::*;
use burn::tensor::Int;
use clap::ValueEnum;
use rekindle::algorithms::TrainingConfig as _;
use rekindle::core::weights;
use rekindle::prelude::*;
use rekindle_benches::Outcome;
use serde_json::{Value, json};

/// Measures rows per second of PPO's update and prints one line of JSON.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Device: `auto`, `cpu`, `wgpu`, `wgpu:N`, `cuda` or `cuda:N`
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    /// Networks of policy and value function
    #[arg(long, default_value = "mlp")]
    network: Network,
    /// Number format in which convolutions compute
    #[arg(long, default_value = "f32")]
    compute_dtype: ComputeDType,
    /// Rows per minibatch
    #[arg(long, default_value_t = 4096)]
    minibatch_size: usize,
    /// Minibatches per update
    #[arg(long, default_value_t = 32)]
    minibatches: usize,
    /// Updates to measure, after one that warms up
    #[arg(long, default_value_t = 3)]
    updates: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Network {
    /// Two tanh layers of 256 each for policy and value function; 64 inputs, 4 actions
    Mlp,
    /// The network of DQN's Nature paper with 512 features, shared by policy and value function;
    /// 84x84x4 bytes, 6 actions
    Cnn,
}

#[derive(Clone, Copy, ValueEnum)]
enum ComputeDType {
    F32,
    Bf16,
    F16,
}

impl ComputeDType {
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

impl Network {
    fn observation_space(self) -> Outcome<Space> {
        Ok(match self {
            Self::Mlp => Space::unbounded(&[64])?,
            Self::Cnn => Space::image(&[84, 84, 4])?,
        })
    }

    fn actions(self) -> usize {
        match self {
            Self::Mlp => 4,
            Self::Cnn => 6,
        }
    }

    fn model_config(self, compute_dtype: ComputeDType) -> Value {
        match self {
            Self::Mlp => json!({ "fcnet_hiddens": [256, 256], "vf_share_layers": false }),
            Self::Cnn => json!({
                "conv_compute_dtype": compute_dtype.name(),
                "conv_filters": [[32, 8, 4, "valid"], [64, 4, 2, "valid"], [64, 3, 1, "valid"]],
                "head_fcnet_hiddens": [512],
                "vf_share_layers": true,
            }),
        }
    }

    /// Floating-point operations per row, forward and backward. The forward pass does two per
    /// weight and position. The backward pass does the same number for each of two gradients
    /// (inputs and weights), except that the first layer has no gradient of its inputs.
    fn flops_per_row(self) -> f64 {
        let layers: &[(f64, f64)] = match self {
            // Weights of a layer, and the number of positions in a row that it is applied to.
            Self::Mlp => &[(2.0 * 64.0 * 256.0, 1.0), (2.0 * 256.0 * 256.0, 1.0), (1280.0, 1.0)],
            Self::Cnn => &[
                (4.0 * 32.0 * 64.0, 400.0),
                (32.0 * 64.0 * 16.0, 81.0),
                (64.0 * 64.0 * 9.0, 49.0),
                (2.0 * 3136.0 * 512.0, 1.0),
                (512.0 * 7.0, 1.0),
            ],
        };
        let forward = |(weights, times): &(f64, f64)| 2.0 * weights * times;
        let all: f64 = layers.iter().map(forward).sum();
        3.0 * all - layers.first().map_or(0.0, forward)
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    let device = args.device.open()?;
    let network = args.network;
    let rows = args.minibatch_size * args.minibatches;
    let training = PpoTraining::default()
        .lr(3e-4)
        .train_batch_size(rows)
        .minibatch_size(args.minibatch_size)
        .num_epochs(1)
        .clip_param(0.2)
        .vf_clip_param(f64::INFINITY)
        .vf_loss_coeff(0.5)
        .entropy_coeff(0.01)
        .use_kl_loss(false)
        .grad_clip(0.5);
    training.validate()?;
    let module = RLModuleSpec::default()
        .observation_space(network.observation_space()?)
        .action_space(Space::discrete(network.actions())?)
        .model_config(network.model_config(args.compute_dtype))
        .build_seeded(&device, Generator::from_seed(0))?;
    let parameters: usize =
        weights::state_dict(&module)?.values().map(|w| w.shape().iter().product::<usize>()).sum();
    let module = module.as_multi_rl_module()?;
    let mut learner = Learner::new(training.learner(), move |_| training.loss(), module, &device)?;
    let data = TrainData::from(batch(network, rows, &device));
    let data = BTreeMap::from([(DEFAULT_MODULE_ID.to_owned(), data)]);

    learner.learn(data.clone(), 0)?;
    let started = Instant::now();
    for _ in 0..args.updates {
        // Every update ends with a read of its metrics.
        learner.learn(data.clone(), 0)?;
    }
    let rate = rows as f64 * args.updates as f64 / started.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({
            "workload": match network { Network::Mlp => "update-mlp", Network::Cnn => "update-cnn" },
            "system": "rekindle",
            "device": args.device.to_string(),
            "compute_dtype": args.compute_dtype.name(),
            "minibatch_size": args.minibatch_size,
            "parameters": parameters,
            "rows_per_s": rate,
            "flops_per_row": network.flops_per_row(),
            "tflop_per_s": rate * network.flops_per_row() / 1e12,
            // Weights, gradients and Adam's two moments are read; all but the gradients are written.
            "optimizer_bytes_per_row": 28.0 * parameters as f64 / args.minibatch_size as f64,
        })
    );
    Ok(())
}

/// Builds a batch of random rows.
fn batch(network: Network, rows: usize, device: &Device) -> Batch {
    let mut rng = Generator::from_seed(1);
    let mut floats = |columns: usize| {
        let values: Vec<f32> = (0..rows * columns).map(|_| rng.standard_normal() as f32).collect();
        Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), device)
    };
    let [advantages, targets] = [0, 1].map(|_| floats(1).squeeze_dim::<1>(1));
    let inputs = floats(network.actions()) * 0.01;
    let batch = Batch::new()
        .with(Columns::ADVANTAGES, advantages)
        .with(Columns::VALUE_TARGETS, targets)
        .with(Columns::ACTION_DIST_INPUTS, inputs)
        .with(
            Columns::ACTION_LOGP,
            Tensor::<1>::zeros([rows], device) - (network.actions() as f32).ln(),
        );
    let actions: Vec<i32> =
        (0..rows).map(|_| rng.integers(0, network.actions() as i64) as i32).collect();
    let actions = Tensor::<1, Int>::from_data(TensorData::new(actions, [rows]), device);
    let observations: Column = match network {
        Network::Mlp => {
            let values: Vec<f32> = (0..rows * 64).map(|_| rng.standard_normal() as f32).collect();
            Tensor::<2>::from_data(TensorData::new(values, [rows, 64]), device).into()
        }
        Network::Cnn => {
            let pixels = 84 * 84 * 4;
            // Bytes are uploaded as floats; see `host_batch::upload`.
            let bytes: Vec<f32> = (0..rows * pixels).map(|i| (i * 31 % 251) as f32).collect();
            Tensor::<4>::from_data(TensorData::new(bytes, [rows, 84, 84, 4]), device).into()
        }
    };
    batch.with(Columns::ACTIONS, actions).with(Columns::OBS, observations)
}
