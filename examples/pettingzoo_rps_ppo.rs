//! Rock, paper, scissors of PettingZoo against a heuristic that plays the move that beats its opponent's last one. A
//! recurrent policy learns to predict and beat it.
//!
//! `cargo run --release --example pettingzoo_rps_ppo` (see `--help`), with a Python that has `pettingzoo`, `pygame` and
//! `gymnasium`

mod common;

use std::process::ExitCode;

use burn::module::Module;
use common::tasks;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

/// The heuristic: a module without parameters that returns actions.
#[derive(Module, Debug)]
struct BeatLast {
    moves: usize,
}

impl RLModule for BeatLast {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { moves: cx.action_space().as_discrete()?.n() })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        // The observation is the opponent's last move, or the number of moves in the first round.
        let last = batch.int::<1>(Columns::OBS)?;
        let first_round = last.clone().equal_elem(self.moves as i64);
        let answer = (last + 1).remainder_scalar(self.moves as i64);
        Ok(Batch::new().with(Columns::ACTIONS, answer.mask_fill(first_round, 0)))
    }
}

fn main() -> Result<ExitCode, MainError> {
    let players = [("player_0", "learned"), ("player_1", "heuristic")];
    let players = players.map(|(agent, module)| (agent.into(), module.into()));
    let heuristic = MultiRLModuleSpec::new([("heuristic", RLModuleSpec::of::<BeatLast>())]);
    let config = PpoConfig::new()
        .environment("pettingzoo:classic.rps_v2")
        // The game itself plays 15 rounds.
        .env_config(EnvConfig::new().with("api", "parallel"))
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .multi_agent(|m| {
            m.policies(["learned", "heuristic"])
                .policy_mapping(PolicyMapping::Table(players.into()))
                .policies_to_train(["learned"])
                .rl_module_specs(heuristic)
        })
        .model("fcnet_hiddens", vec![16])
        .model("use_lstm", true)
        .model("lstm_cell_size", 32)
        .training(|t| {
            t.lr(3e-3)
                .entropy_coeff([(0, 0.1), (60_000, 0.0)])
                .gamma(0.9)
                .train_batch_size(600)
                .minibatch_size(150)
                .num_epochs(6)
                .use_kl_loss(false)
        })
        .evaluation(|e| e.evaluation_config(|c| c.num_envs_per_env_runner(4)));
    common::learn(&tasks::PETTINGZOO_RPS, config)
}
