//! Two agents balance one pole each, with their own heads on one shared encoder. There is one copy of
//! the encoder, and it learns from the observations of both.
//!
//! `cargo run --release --example shared_encoder_cartpole_ppo` (see `--help`)

mod common;

use std::process::ExitCode;

use burn::module::Module;
use burn::prelude::*;
use common::{ppo_settings, tasks};
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

/// One encoder for all agents, and a policy and a value head for each.
#[derive(Module, Debug)]
struct SharedEncoder {
    encoder: Mlp,
    pi: PerModule<Mlp>,
    vf: PerModule<Mlp>,
}

const FEATURES: usize = 64;

impl SharedEncoder {
    fn features(&self, batch: &Batch) -> ModuleResult<Tensor<2>> {
        Ok(self.encoder.forward(batch.float::<2>(Columns::OBS)?))
    }
}

impl SharedRLModule for SharedEncoder {
    fn setup(cx: &SharedContext<'_>) -> ModuleResult<Self> {
        let first = cx.first()?;
        let inputs = first.observation_space().flat_dim();
        Ok(Self {
            encoder: first.mlp(inputs, &[64], FEATURES),
            pi: PerModule::build(cx, |cx| {
                Ok(cx.mlp(FEATURES, &[64], cx.action_space().as_discrete()?.n()))
            })?,
            vf: PerModule::build(cx, |cx| Ok(cx.mlp(FEATURES, &[64], 1)))?,
        })
    }

    fn forward_train(&self, module_id: &str, batch: &Batch) -> ModuleResult<Batch> {
        let features = self.features(batch)?;
        let logits = self.pi.get(module_id)?.forward(features.clone());
        Ok(Batch::new()
            .with(Columns::ACTION_DIST_INPUTS, logits)
            .with(Columns::EMBEDDINGS, features))
    }

    fn as_value_function(&self) -> Option<&dyn SharedValueFunction> {
        Some(self)
    }
}

impl SharedValueFunction for SharedEncoder {
    fn compute_values(
        &self,
        module_id: &str,
        batch: &Batch,
        embeddings: Option<Tensor<2>>,
    ) -> ModuleResult<Tensor<1>> {
        let features = match embeddings {
            Some(features) => features,
            None => self.features(batch)?,
        };
        Ok(self.vf.get(module_id)?.forward(features).squeeze_dim(1))
    }
}

fn main() -> Result<ExitCode, MainError> {
    let agents = ["0", "1"];
    let specs =
        MultiRLModuleSpec::shared::<SharedEncoder>(agents.map(|id| (id, RLModuleSpec::default())));
    let config = PpoConfig::new()
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .multi_agent(|m| {
            m.policies(agents).policy_mapping(PolicyMapping::ByAgent).rl_module_specs(specs)
        })
        .training(|t| {
            ppo_settings(t)
                .lr(1e-3)
                .train_batch_size(1024)
                .minibatch_size(256)
                .num_epochs(10)
                .vf_clip_param(10_000.0)
                .vf_loss_coeff(0.01)
        });
    common::learn(&tasks::SHARED_ENCODER, config)
}
