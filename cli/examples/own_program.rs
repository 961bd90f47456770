//! A program with the commands of `rekindle`, and with a custom environment, connector, module, catalog and loss.
//!
//! ```sh
//! cargo run -p rekindle-cli --example own_program -- train CarefulPPO Lab/ShortCartPole-v0 --steps 20000
//! cargo run -p rekindle-cli --example own_program -- train PPO CartPole-v1 --set 'rl_module_spec={module="lab.TwoMlps"}'
//! ```

use std::process::ExitCode;

use burn::module::Module;
use burn::prelude::*;
use rekindle::algorithms::AlgorithmConfig;
use rekindle::catalog;
use rekindle::env::classic_control::CartPole;
use rekindle::prelude::*;
use rekindle::rl_module::Result;
use rekindle_cli::BoxError;

fn main() -> ExitCode {
    rekindle_cli::run(register_all)
}

/// Registers the parts of this program, so that settings and checkpoints can name them.
pub(crate) fn register_all() -> std::result::Result<(), BoxError> {
    // Environments are named in `environment.env`.
    register(EnvSpec::new("Lab/ShortCartPole-v0", CartPole::new).with_max_episode_steps(100))?;
    // Connectors are named in `env_runners.env_to_module_connector`: {type = "Custom", name = "lab.half"}.
    register_connector("lab.half", |_, actions| ConnectorConfig::scale_rewards(0.5).build(actions));
    // Modules and catalogs are named in `rl_module_spec`: {module = "lab.TwoMlps"}, or
    // {module = "rekindle.ActorCritic", catalog = "lab.WideCatalog"}.
    register_module::<TwoMlps>();
    register_catalog(WideCatalog);
    // A variant of PPO with other defaults and an additional metric.
    let careful = PpoConfig::new()
        .with_name("CarefulPPO")
        .model("fcnet_hiddens", vec![32, 32])
        .training(|t| t.lr(1e-3).clip_param(0.1).train_batch_size(512).minibatch_size(128))
        .callbacks(Patience);
    register_algorithm(careful);
    // An algorithm from a loss: policy gradients on the rewards that follow.
    let gradients = AlgorithmConfig::from_loss("LabPG", |cx, batch| {
        Ok((cx.logp()? * batch.float::<1>(Columns::RETURNS_TO_GO)?).mean().neg())
    })
    .with_postprocess(|trajectory| trajectory.add_returns_to_go(0.99))
    .with_defaults(|config| {
        config
            .env_runners(|e| e.batch_mode(BatchMode::CompleteEpisodes))
            .training(|t| t.lr(2e-3).train_batch_size(512))
    });
    register_algorithm(gradients);
    Ok(())
}

/// Adds the mean episode length as a fraction of the time limit.
struct Patience;

impl Callbacks for Patience {
    fn on_train_result(&self, _: &mut Algorithm, result: &mut Metrics) -> CallbackResult {
        if let Some(length) = result.get("env_runners/episode_len_mean") {
            result.insert("patience", length / 100.0);
        }
        Ok(())
    }
}

/// A policy and a value function without shared layers.
#[derive(Module, Debug)]
struct TwoMlps {
    policy: Mlp,
    value: Mlp,
}

impl RLModule for TwoMlps {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let observations = cx.observation_space().flat_dim();
        let actions = cx.action_space().as_discrete()?.n();
        Ok(Self {
            policy: cx.mlp(observations, &[32], actions),
            value: cx.mlp(observations, &[32], 1),
        })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }

    // Its name in settings and checkpoints. The default includes the name of the program.
    fn type_name() -> String {
        "lab.TwoMlps".into()
    }
}

impl ValueFunction for TwoMlps {
    fn compute_values(&self, batch: &Batch, _: Option<Tensor<2>>) -> Result<Tensor<1>> {
        Ok(self.value.forward(batch.float::<2>(Columns::OBS)?).squeeze_dim(1))
    }
}

/// One wide layer for vectors, and the default encoders for all other observations.
#[derive(Debug)]
struct WideCatalog;

impl Catalog for WideCatalog {
    fn build_encoder(&self, cx: CatalogContext<'_>, space: &Space) -> catalog::Result<BoxEncoder> {
        match space {
            Space::Box(vector) if vector.shape().len() == 1 => {
                let mlp = MlpConfig::new(vector.shape()[0], &[], Some(256)).build(cx.builder);
                Ok(BoxEncoder::new(WideEncoder { mlp, features: 256 }))
            }
            _ => self.default_encoder(cx, space),
        }
    }

    fn type_name() -> String {
        "lab.WideCatalog".into()
    }
}

#[derive(Module, Debug)]
struct WideEncoder {
    mlp: Mlp,
    features: usize,
}

impl Encoder for WideEncoder {
    fn forward(&self, observations: &Column) -> catalog::Result<Tensor<2>> {
        Ok(self.mlp.forward(observations.tensor()?.float::<2>()?).tanh())
    }

    fn output_dim(&self) -> usize {
        self.features
    }
}
