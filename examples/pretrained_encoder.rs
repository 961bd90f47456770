//! A pretrained encoder: a small convolutional network learns to classify signs, is saved, and is loaded
//! into an actor-critic by the names of its weights, frozen or not.
//!
//! `cargo run --release --example pretrained_encoder`

#[path = "common/program.rs"]
mod program;

use std::path::Path;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::prelude::*;
use burn::tensor::activation::relu;
use rekindle::catalog::Result;
use rekindle::core::weights::{Weights, load_state_dict, state_dict};
use rekindle::env::Result as EnvResult;
use rekindle::learner::{Gradients, Optimizer};
use rekindle::prelude::*;

/// Height and width of the images.
const SIDE: usize = 16;
/// Number of kinds of signs.
const SIGNS: usize = 4;
/// Features per image.
const FEATURES: usize = 32;

/// A depthwise separable convolution: 3 × 3 per channel, then 1 × 1 across channels.
#[derive(Module, Debug)]
struct Separable {
    depthwise: Conv2d,
    pointwise: Conv2d,
}

impl Separable {
    fn new(channels: [usize; 2], device: &Device) -> Self {
        let [channels_in, _] = channels;
        let depthwise = convolution([channels_in; 2]).with_groups(channels_in).with_stride([2, 2]);
        let pointwise = Conv2dConfig::new(channels, [1, 1]);
        Self { depthwise: depthwise.init(device), pointwise: pointwise.init(device) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        relu(self.pointwise.forward(relu(self.depthwise.forward(x))))
    }
}

fn convolution(channels: [usize; 2]) -> Conv2dConfig {
    Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Same)
}

/// A convolution, two depthwise separable ones, and the maximum of each feature over the image.
#[derive(Module, Debug)]
struct MobileNet {
    stem: Conv2d,
    blocks: Vec<Separable>,
}

impl MobileNet {
    fn new(device: &Device) -> Self {
        let blocks = [[16, 32], [32, FEATURES]].map(|channels| Separable::new(channels, device));
        Self { stem: convolution([1, 16]).init(device), blocks: blocks.into() }
    }

    /// Images `[B, SIDE, SIDE, 1]` to features `[B, FEATURES]`.
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let x = relu(self.stem.forward(images.permute([0, 3, 1, 2])));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        x.max_dim(3).max_dim(2).flatten(1, 3)
    }
}

impl Encoder for MobileNet {
    fn forward(&self, observations: &Column) -> Result<Tensor<2>> {
        Ok(self.features(observations.tensor()?.float::<4>()?))
    }

    fn output_dim(&self) -> usize {
        FEATURES
    }
}

/// Encodes images by a network with the given weights; everything else unchanged.
#[derive(Debug)]
struct PretrainedCatalog {
    weights: Weights,
    frozen: bool,
}

impl Catalog for PretrainedCatalog {
    fn build_encoder(&self, cx: CatalogContext<'_>, space: &Space) -> Result<BoxEncoder> {
        match space {
            Space::Box(b) if b.shape() == [SIDE, SIDE, 1] => {
                let net = load_state_dict(&MobileNet::new(cx.builder.device()), &self.weights)?;
                Ok(BoxEncoder::new(if self.frozen { net.no_grad() } else { net }))
            }
            _ => self.default_encoder(cx, space),
        }
    }
}

/// The classifier trained on labeled images: the network and a layer that the policy does not use.
#[derive(Module, Debug)]
struct Classifier {
    backbone: MobileNet,
    classifier: Linear,
}

/// Trains a classifier and saves its weights as safetensors, like `safetensors.torch.save_file`.
#[expect(clippy::disallowed_methods, reason = "no other thread draws")]
fn pretrain(folder: &Path) -> std::result::Result<(), MainError> {
    let device = DeviceSpec::Cpu.open()?.autodiff();
    device.seed(0);
    let mut rng = Generator::from_seed(0);
    let classifier = LinearConfig::new(FEATURES, SIGNS).init(&device);
    let mut net = Classifier { backbone: MobileNet::new(&device), classifier };
    let mut optimizer = Optimizer::new(OptimizerConfig::default());
    let cross_entropy = CrossEntropyLossConfig::new().init(&device);
    for step in 0..200 {
        let mut images = vec![0.0; 64 * SIDE * SIDE];
        let draw = |image: &mut [f32]| draw_sign(&mut rng, image);
        let labels: Vec<i64> = images.chunks_mut(SIDE * SIDE).map(draw).collect();
        let images = TensorData::new(images, [64, SIDE, SIDE, 1]);
        let features = net.backbone.features(Tensor::from_data(images, &device));
        let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [64]), &device);
        let loss = cross_entropy.forward(net.classifier.forward(features), labels);
        if step % 50 == 49 {
            println!(
                "pretraining, step {:>3}: loss {:.3}",
                step + 1,
                loss.clone().into_scalar::<f32>()
            );
        }
        let gradients = Gradients::take(&net, &mut loss.backward());
        let (stepped, outcome) = optimizer.step(3e-3, None, net, gradients);
        net = stepped;
        outcome?;
    }
    let state = State { tensors: state_dict(&net)?, ..State::new() };
    Ok(rekindle::checkpoint::write(folder, &state)?)
}

/// Draws a line at a random place over noise. Returns its direction, one of four.
fn draw_sign(rng: &mut Generator, image: &mut [f32]) -> i64 {
    image.iter_mut().for_each(|pixel| *pixel = rng.uniform(0.0, 0.4) as f32);
    let (sign, length) = (rng.integers(0, SIGNS as i64), 8);
    let mut place = || rng.integers(0, (SIDE - length) as i64) as usize;
    let (top, left) = (place(), place());
    for i in 0..length {
        let (row, column) = match sign {
            0 => (length / 2, i),
            1 => (i, length / 2),
            2 => (i, i),
            _ => (i, length - 1 - i),
        };
        image[(top + row) * SIDE + left + column] = 1.0;
    }
    sign
}

/// Shows one sign after the other. Obeying a sign pays 1.
struct Signs {
    observations: Space,
    actions: Space,
    rng: Generator,
    sign: i64,
}

impl Signs {
    fn new() -> EnvResult<Self> {
        let observations = Space::boxed(0.0, 1.0, &[SIDE, SIDE, 1])?;
        let actions = Space::discrete(SIGNS)?;
        Ok(Self { observations, actions, rng: Generator::from_entropy(), sign: 0 })
    }
}

impl Env for Signs {
    fn observation_space(&self) -> &Space {
        &self.observations
    }

    fn action_space(&self) -> &Space {
        &self.actions
    }

    fn reset(&mut self, options: &ResetOptions, image: RowMut<'_>) -> EnvResult<()> {
        self.rng.reseed(options.seed);
        self.sign = draw_sign(&mut self.rng, image.as_f32_mut()?);
        Ok(())
    }

    fn step(&mut self, action: Row<'_>, image: RowMut<'_>) -> EnvResult<Step> {
        let reward = f64::from(action.as_discrete()? == self.sign);
        self.sign = draw_sign(&mut self.rng, image.as_f32_mut()?);
        Ok(Step { reward, terminated: true, truncated: false })
    }
}

/// Trains a classifier, then PPO with its network for `steps` environment steps. Returns the pretrained
/// weights, the algorithm, and the share of signs obeyed at the end.
pub(crate) fn train(
    folder: &Path,
    frozen: bool,
    steps: u64,
) -> std::result::Result<(Weights, Algorithm, f64), MainError> {
    pretrain(folder)?;
    let file = read_safetensors(folder.join("tensors.safetensors"))?;
    // A weight that no rule covers is an error, so nothing is lost silently.
    let names = NameMap::new()
        .rename("backbone.stem", "stem")
        .rename("backbone.blocks", "blocks")
        .ignore("classifier");
    let weights = names.apply(&file)?;

    let catalog = PretrainedCatalog { weights: weights.clone(), frozen };
    let mut algo = PpoConfig::new()
        .environment("Example/Signs-v0")
        .env_runners(|e| e.num_envs_per_env_runner(16))
        .rl_module(RLModuleSpec::default().catalog(catalog))
        .model("vf_share_layers", true)
        .training(|t| {
            let t = t.train_batch_size(1024).minibatch_size(128).num_epochs(10);
            t.lr(3e-3).clip_param(0.2).use_kl_loss(false).entropy_coeff(0.1)
        })
        .seed(0)
        .build(&DeviceSpec::Cpu.open()?)?;
    let mut mean = f64::NAN;
    while algo.env_steps() < steps {
        mean = algo.train()?.get("env_runners/episode_return_mean").unwrap_or(mean);
        println!("{:>5} steps: {:.0} % of the signs", algo.env_steps(), 100.0 * mean);
    }
    Ok((weights, algo, mean))
}

/// Registers the environment.
pub(crate) fn register_signs() -> EnvResult<()> {
    register(EnvSpec::new("Example/Signs-v0", |_: &EnvConfig| Signs::new()))
}

#[allow(dead_code, reason = "a test calls `train` instead")]
fn main() -> std::result::Result<(), MainError> {
    program::no_arguments(
        "pretrained_encoder",
        "Trains PPO with a pretrained encoder, which it saves to runs/pretrained_encoder.",
    );
    program::show_warnings();
    register_signs()?;
    train(Path::new("runs/pretrained_encoder"), true, 10_240)?;
    Ok(())
}
