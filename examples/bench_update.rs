//! How many rows a second PPO's update learns from, with all rows on the device before it begins.
//!
//! `cargo run --release --example bench_update -- --network mlp --minibatch-size 4096`; prints one
//! line of JSON. `scripts/gpu-check.d/update_torch.py` is the same in eager PyTorch.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use burn::prelude::*;
use burn::tensor::Int;
use clap::{Parser, ValueEnum};
use rekindle::algorithms::TrainingConfig as _;
use rekindle::core::weights;
use rekindle::prelude::*;
use serde_json::{Value, json};

/// Measures updates and prints one line of JSON.
#[derive(Parser)]
struct Args {
    /// `auto`, `cpu`, `wgpu`, `wgpu:N`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    /// What learns.
    #[arg(long, default_value = "mlp")]
    network: Network,
    /// What the convolutions compute in.
    #[arg(long, default_value = "f32")]
    compute_dtype: ComputeDType,
    /// Rows of a minibatch.
    #[arg(long, default_value_t = 4096)]
    minibatch_size: usize,
    /// Minibatches of an update.
    #[arg(long, default_value_t = 32)]
    minibatches: usize,
    /// Updates that are measured, after one that warms up.
    #[arg(long, default_value_t = 3)]
    updates: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Network {
    /// Policy and value function with two tanh layers of 256 each, 64 numbers in, 4 actions.
    Mlp,
    /// 84x84x4 bytes through the network of DQN's Nature paper and 512 features, shared by policy
    /// and value function, 6 actions.
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
    fn observation_space(self) -> Result<Space, Box<dyn Error>> {
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

    /// Floating-point operations of one row, forward and backward: twice that of the forward pass
    /// for each of the two gradients, of which the first layer needs one. Two a weight and position.
    fn flops_per_row(self) -> f64 {
        let layers: &[(f64, f64)] = match self {
            // Weights, and how often each is applied to a row.
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

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let device = args.device.open().map_err(|error| error.to_string())?;
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
    let objective = training.objective(BTreeMap::new());
    let module = module.as_multi_rl_module()?;
    let mut learner = Learner::new(training.learner(0), objective, module, &device)?;
    let batches = BTreeMap::from([(DEFAULT_MODULE_ID.to_owned(), batch(network, rows, &device))]);

    learner.update_from_batches(&batches, 0)?;
    let started = Instant::now();
    for _ in 0..args.updates {
        // Every update ends with a read of its metrics.
        learner.update_from_batches(&batches, 0)?;
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
            // Weights, gradients and Adam's two moments are read, and all but the gradients written.
            "optimizer_bytes_per_row": 28.0 * parameters as f64 / args.minibatch_size as f64,
        })
    );
    Ok(())
}

/// Rows of random numbers.
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
        .with(Columns::ACTION_LOGP, Tensor::<1>::zeros([rows], device) - network.actions_ln());
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

impl Network {
    fn actions_ln(self) -> f32 {
        (self.actions() as f32).ln()
    }
}
