//! PPO's update on a device that already holds all rows.
//!
//! `scripts/gpu-check.d/update_torch.py` does the same in PyTorch.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use burn::prelude::*;
use burn::tensor::Int;
use rekindle::algorithms::TrainingConfig as _;
use rekindle::core::weights;
use rekindle::prelude::*;
use rekindle_benches::Outcome;
use serde_json::{Value, json};

use crate::subject_spec;

/// Measures rows per second of PPO's update and prints a line of JSON per case.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// NETWORK-ROWS of each case: `mlp` (two tanh layers of 256 each for policy and value function, 64 inputs, 4
    /// actions), `cnn`, `cnn_bf16` or `cnn_f16` (the network of DQN's Nature paper with 512 features, shared by policy
    /// and value function; 84x84x4 bytes, 6 actions; the format is that of convolutions); rows per minibatch
    #[arg(long, value_delimiter = ',')]
    #[arg(default_value = "mlp-4096,mlp-32768,cnn-256,cnn-1024,cnn_bf16-256,cnn_bf16-1024")]
    cases: Vec<Case>,
    /// Minibatches per update [default: about 131072 rows of an MLP, 4096 rows of a CNN]
    #[arg(long)]
    minibatches: Option<usize>,
    /// Seconds to measure each case, after one update that warms up
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

/// A network and the rows of its minibatches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    network: Network,
    minibatch_size: usize,
}

#[derive(Debug, Clone, Copy)]
enum Network {
    Mlp,
    /// The number format of its convolutions.
    Cnn(&'static str),
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.network {
            Network::Mlp => "mlp",
            Network::Cnn("bf16") => "cnn_bf16",
            Network::Cnn("f16") => "cnn_f16",
            Network::Cnn(_) => "cnn",
        };
        write!(f, "{name}-{}", self.minibatch_size)
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid case `{text}`: expected NETWORK-ROWS; see `--help`");
        let (network, rows) = text.split_once('-').ok_or_else(invalid)?;
        let network = match network {
            "mlp" => Network::Mlp,
            "cnn" => Network::Cnn("f32"),
            "cnn_bf16" => Network::Cnn("bf16"),
            "cnn_f16" => Network::Cnn("f16"),
            _ => return Err(invalid()),
        };
        let minibatch_size = rows.parse().ok().filter(|rows| *rows > 0).ok_or_else(invalid)?;
        Ok(Self { network, minibatch_size })
    }
}

impl Network {
    fn observation_space(self) -> Outcome<Space> {
        Ok(match self {
            Self::Mlp => Space::unbounded(&[64])?,
            Self::Cnn(_) => Space::image(&[84, 84, 4])?,
        })
    }

    fn actions(self) -> usize {
        match self {
            Self::Mlp => 4,
            Self::Cnn(_) => 6,
        }
    }

    fn model_config(self) -> Value {
        match self {
            Self::Mlp => json!({ "fcnet_hiddens": [256, 256], "vf_share_layers": false }),
            Self::Cnn(compute_dtype) => json!({
                "conv_compute_dtype": compute_dtype,
                "conv_filters": [[32, 8, 4, "valid"], [64, 4, 2, "valid"], [64, 3, 1, "valid"]],
                "head_fcnet_hiddens": [512],
                "vf_share_layers": true,
            }),
        }
    }

    /// Rows of an update, if the number of minibatches is not given.
    fn rows(self) -> usize {
        match self {
            Self::Mlp => 131_072,
            Self::Cnn(_) => 4096,
        }
    }

    /// Weights of each layer, the number of positions in a row that it is applied to, and the outputs of a row.
    fn layers(self) -> &'static [[f64; 3]] {
        match self {
            Self::Mlp => &[
                [2.0 * 64.0 * 256.0, 1.0, 512.0],
                [2.0 * 256.0 * 256.0, 1.0, 512.0],
                [1280.0, 1.0, 5.0],
            ],
            Self::Cnn(_) => &[
                [4.0 * 32.0 * 64.0, 400.0, 12_800.0],
                [32.0 * 64.0 * 16.0, 81.0, 5184.0],
                [64.0 * 64.0 * 9.0, 49.0, 3136.0],
                [2.0 * 3136.0 * 512.0, 1.0, 1024.0],
                [512.0 * 7.0, 1.0, 7.0],
            ],
        }
    }

    /// Floating-point operations per row, forward and backward. The forward pass does two per
    /// weight and position. The backward pass does the same number for each of two gradients
    /// (inputs and weights), except that the first layer has no gradient of its inputs.
    fn flops_per_row(self) -> f64 {
        let forward = |[weights, times, _]: &[f64; 3]| 2.0 * weights * times;
        let all: f64 = self.layers().iter().map(forward).sum();
        3.0 * all - self.layers().first().map_or(0.0, forward)
    }

    /// Bytes per row that no order of operations saves: each output of a layer and its gradient is written once and
    /// read once in single precision, and the observation is read once.
    fn bytes_per_row(self) -> f64 {
        let outputs: f64 = self.layers().iter().map(|[.., outputs]| outputs).sum();
        let observation = match self {
            Self::Mlp => 4.0 * 64.0,
            Self::Cnn(_) => 84.0 * 84.0 * 4.0,
        };
        16.0 * outputs + observation
    }
}

/// A learner, and rows on its device.
pub(crate) struct Update {
    learner: Learner,
    data: BTreeMap<String, TrainData>,
    parameters: usize,
}

impl Update {
    pub(crate) fn new(case: Case, minibatches: usize, device: &Device) -> Outcome<Self> {
        let Case { network, minibatch_size } = case;
        let rows = minibatch_size * minibatches;
        let training = PpoTraining::default()
            .lr(3e-4)
            .train_batch_size(rows)
            .minibatch_size(minibatch_size)
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
            .model_config(network.model_config())
            .build_seeded(device, Generator::from_seed(0))?;
        let sizes = weights::state_dict(&module)?;
        let parameters = sizes.values().map(|w| w.shape().iter().product::<usize>()).sum();
        let module = module.as_multi_rl_module()?;
        let settings = training.learner();
        let learner = Learner::new(settings, move |_| training.loss(), module, device)?;
        let data = TrainData::from(batch(network, rows, device)?);
        let data = BTreeMap::from([(DEFAULT_MODULE_ID.to_owned(), data)]);
        Ok(Self { learner, data, parameters })
    }

    /// Runs one update. It ends with a read of its metrics, which waits for the device.
    pub(crate) fn run(&mut self) -> Outcome {
        self.learner.learn(self.data.clone(), 0)?;
        Ok(())
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    let device = subject_spec().open()?;
    for case in &args.cases {
        match measure(*case, args, &device) {
            Ok(line) => println!("{line}"),
            // A number format that the device lacks, for example. The other cases run.
            Err(error) => {
                println!("{}", json!({"case": case.to_string(), "message": error.to_string()}));
            }
        }
    }
    Ok(())
}

fn measure(case: Case, args: &Args, device: &Device) -> Outcome<Value> {
    let Case { network, minibatch_size } = case;
    let default = (network.rows() / minibatch_size).max(1);
    let minibatches = args.minibatches.unwrap_or(default);
    let mut update = Update::new(case, minibatches, device)?;
    update.run()?;
    let (started, mut updates) = (Instant::now(), 0);
    while updates == 0 || started.elapsed() < Duration::from_secs_f64(args.seconds) {
        update.run()?;
        updates += 1;
    }
    let rows = (minibatch_size * minibatches * updates) as f64;
    // Weights, gradients and Adam's two moments are read; all but the gradients are written.
    let of_optimizer = 28.0 * update.parameters as f64 / minibatch_size as f64;
    Ok(json!({
        "case": case.to_string(), "system": "rekindle",
        "value": rows / started.elapsed().as_secs_f64(), "unit": "rows/s",
        "parameters": update.parameters, "minibatches": minibatches,
        "flops_per_row": network.flops_per_row(),
        "bytes_per_row": network.bytes_per_row() + of_optimizer,
    }))
}

/// Builds a batch of random rows.
fn batch(network: Network, rows: usize, device: &Device) -> Outcome<Batch> {
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
    let observations = match network {
        Network::Mlp => {
            let values = (0..rows * 64).map(|_| rng.standard_normal() as f32).collect();
            Buffer::from_f32(values, &[64])?
        }
        Network::Cnn(_) => {
            let bytes = (0..rows * 84 * 84 * 4).map(|i| (i * 31 % 251) as u8).collect();
            Buffer::from_u8(bytes, &[84, 84, 4])?
        }
    };
    let observations = rekindle::core::host_batch::upload(&observations, device)?;
    Ok(batch.with(Columns::ACTIONS, actions).with(Columns::OBS, observations))
}
