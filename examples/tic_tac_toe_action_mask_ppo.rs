//! Tic-tac-toe against a player that marks free cells at random. A custom module masks taken cells, so
//! no illegal move is ever made.
//!
//! `cargo run --release --example tic_tac_toe_action_mask_ppo` (see `--help`)

mod common;

use std::process::ExitCode;

use burn::module::Module;
use burn::prelude::*;
use common::tasks;
use rekindle::catalog::mask_logits;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

/// A policy and a value function over the cells. The policy masks the cells that are taken.
#[derive(Module, Debug)]
struct MaskedPolicy {
    pi: Mlp,
    vf: Mlp,
}

/// The cells as the player sees them, one-hot encoded: `[B, 9]` to `[B, 27]`.
fn cells(batch: &Batch) -> ModuleResult<Tensor<2>> {
    let cells = batch.nested(Columns::OBS)?.int::<2>("observations")?;
    let states = (0..3).map(|state| cells.clone().equal_elem(state).float());
    Ok(Tensor::cat(states.collect(), 1))
}

impl RLModule for MaskedPolicy {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let cells = cx.action_space().as_discrete()?.n();
        Ok(Self { pi: cx.mlp(3 * cells, &[64, 64], cells), vf: cx.mlp(3 * cells, &[64, 64], 1) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let mask = batch.nested(Columns::OBS)?.float::<2>("action_mask")?;
        let logits = mask_logits(self.pi.forward(cells(batch)?), mask);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn as_value_function(&self) -> Option<&dyn ValueFunction> {
        Some(self)
    }
}

impl ValueFunction for MaskedPolicy {
    fn compute_values(&self, batch: &Batch, _: Option<Tensor<2>>) -> ModuleResult<Tensor<1>> {
        Ok(self.vf.forward(cells(batch)?).squeeze_dim(1))
    }
}

/// Marks a random free cell, each with equal probability.
#[derive(Module, Debug)]
struct RandomPlayer {
    cells: usize,
}

impl RLModule for RandomPlayer {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { cells: cx.action_space().as_discrete()?.n() })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let mask = batch.nested(Columns::OBS)?.float::<2>("action_mask")?;
        let logits = mask_logits(mask.zeros_like(), mask);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

fn main() -> Result<ExitCode, MainError> {
    let specs = MultiRLModuleSpec::new([
        ("learned", RLModuleSpec::of::<MaskedPolicy>()),
        ("random", RLModuleSpec::of::<RandomPlayer>()),
    ]);
    let players = [("player1", "learned"), ("player2", "random")];
    let players = players.map(|(agent, module)| (agent.into(), module.into()));
    let config = PpoConfig::new()
        .environment("TicTacToe-v0")
        .env_config(EnvConfig::new().with("action_mask", true))
        .env_runners(|e| e.num_envs_per_env_runner(16))
        .multi_agent(|m| {
            m.policies(["learned", "random"])
                .policy_mapping(PolicyMapping::Table(players.into()))
                .policies_to_train(["learned"])
                .rl_module_specs(specs)
        })
        .training(|t| {
            t.lr(1e-3)
                .lambda_(0.95)
                .train_batch_size(2048)
                .minibatch_size(256)
                .num_epochs(6)
                .clip_param(0.2)
                .entropy_coeff(0.01)
                .use_kl_loss(false)
        });
    common::learn(&tasks::TIC_TAC_TOE, config)
}
