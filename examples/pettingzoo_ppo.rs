//! PPO in a game of PettingZoo, with a policy for each agent.
//!
//! `cargo run --release --example pettingzoo_ppo -- classic.rps_v2` (see `--help`), with a Python that has
//! `pettingzoo`, `gymnasium` and the packages of the game

#[path = "common/program.rs"]
mod program;

use clap::Parser;
use rekindle::prelude::*;

/// Trains PPO in a game of PettingZoo, with a policy for each agent.
#[derive(Parser)]
struct Args {
    /// Module of the game, such as `classic.rps_v2`
    game: String,
    /// Keyword arguments and options of the game, as a JSON object
    #[arg(long, default_value = "{}")]
    env_config: String,
    /// Environment steps of training
    #[arg(long, default_value_t = 20_000)]
    steps: u64,
    /// Seed of environments, actions, parameters and minibatches
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
}

fn main() -> Result<(), MainError> {
    let args = Args::parse();
    program::show_warnings();
    let id = format!("pettingzoo:{}", args.game);
    let settings: EnvConfig = serde_json::from_str(&args.env_config)
        .map_err(|error| format!("--env-config is not a JSON object: {error}"))?;

    // Each policy has the id of its agent.
    rekindle::gymnasium::register();
    let agents: Vec<String> = rekindle::env::make_multi_agent_with(&id, &settings)?
        .possible_agents()
        .iter()
        .map(|agent| agent.id.clone())
        .collect();
    println!("agents: {}", agents.join(", "));

    let config = PpoConfig::new()
        .environment(&id)
        .env_config(settings)
        .env_runners(|e| e.num_envs_per_env_runner(2))
        .multi_agent(|m| m.policies(agents.clone()).policy_mapping(PolicyMapping::ByAgent))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| t.lr(1e-3).train_batch_size(512).minibatch_size(128).num_epochs(4))
        .seed(args.seed);
    let mut algo = config.build(&DeviceSpec::Cpu.open()?)?;
    while algo.env_steps() < args.steps {
        let result = algo.train()?;
        let length = result.get("env_runners/episode_len_mean").unwrap_or(f64::NAN);
        let returns: Vec<String> = agents
            .iter()
            .map(|agent| {
                let key = format!("env_runners/agent_episode_returns_mean/{agent}");
                format!("{agent} {:.2}", result.get(&key).unwrap_or(f64::NAN))
            })
            .collect();
        println!("{:>7} steps, length {length:.1}, {}", algo.env_steps(), returns.join(", "));
    }
    Ok(())
}
