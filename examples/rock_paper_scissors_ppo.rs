//! Rock, paper, scissors against a heuristic that plays the move that beats its opponent's last one. A
//! recurrent policy learns to predict and beat it.
//!
//! `cargo run --release --example rock_paper_scissors_ppo` (see `--help`)

mod common;

use std::process::ExitCode;

use burn::module::Module;
use common::tasks;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

// ANCHOR: multi_agent
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
// ANCHOR_END: multi_agent

fn main() -> Result<ExitCode, MainError> {
    let players = [("player1", "learned"), ("player2", "heuristic")];
    let players = players.map(|(agent, module)| (agent.into(), module.into()));
    let heuristic = MultiRLModuleSpec::new([("heuristic", RLModuleSpec::of::<BeatLast>())]);
    let config = PpoConfig::new()
        .environment("RockPaperScissors-v0")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .multi_agent(|m| {
            m.policies(["learned", "heuristic"])
                .policy_mapping(PolicyMapping::Table(players.into()))
                .policies_to_train(["learned"])
                .rl_module_specs(heuristic)
        })
        .model("fcnet_hiddens", vec![16])
        .model("use_lstm", true)
        .model("lstm_cell_size", 16)
        .training(|t| {
            t.lr(5e-3)
                .gamma(0.9)
                .train_batch_size(640)
                .minibatch_size(160)
                .num_epochs(6)
                .use_kl_loss(false)
        });
    common::learn(&tasks::ROCK_PAPER_SCISSORS, config)
}
