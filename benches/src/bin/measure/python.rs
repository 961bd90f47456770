//! Environments in Python: rekindle's side of `python-environments`, `python-bridge` and `python-ppo` in
//! `cargo xtask compare`.

use std::path::Path;

use rekindle::env::{Buffer, VectorStep, make_vec_with, seeds_from};
use rekindle::prelude::*;
use rekindle_benches::{Outcome, rate, report, training_rate};
use serde_json::json;

use crate::Timing;

const NUM_WORKERS: usize = 2;
/// Environments of each worker.
const NUM_ENVS: usize = 8;
/// Vectors of actions that are drawn before the measurement.
const DRAWN: usize = 64;
/// Steps between two looks at the clock.
const STEPS: usize = 50;

/// Steps environments of Python with random actions, and prints environment steps per second as a line of JSON.
#[derive(clap::Args)]
pub(crate) struct StepArgs {
    /// Names of environments: `cartpole`, `half-cheetah`, `pong` or `nothing`
    #[arg(long, value_delimiter = ',', default_value = "cartpole")]
    cases: Vec<String>,
    /// Count steps of the whole vector
    #[arg(long)]
    vector_steps: bool,
    #[command(flatten)]
    timing: Timing,
}

/// Trains PPO in environments of Python, and prints environment steps per second as a line of JSON.
#[derive(clap::Args)]
pub(crate) struct PpoArgs {
    /// Names of environments: `half-cheetah` or `pong`
    #[arg(long, value_delimiter = ',', default_value = "half-cheetah")]
    cases: Vec<String>,
    #[command(flatten)]
    timing: Timing,
}

/// Returns the id and the options of an environment. Frames of Pong are stacked in Python if `stacked`.
fn environment(case: &str, stacked: bool) -> Outcome<(&'static str, EnvConfig)> {
    let config = EnvConfig::new().with("num_workers", NUM_WORKERS);
    Ok(match case {
        "cartpole" => ("gymnasium:CartPole-v1", config),
        "half-cheetah" => ("gymnasium:HalfCheetah-v5", config),
        "pong" => {
            let mut wrappers = vec![json!("AtariPreprocessing")];
            if stacked {
                wrappers.push(json!({"FrameStackObservation": {"stack_size": 4}}));
            }
            ("gymnasium:ALE/Pong-v5", config.with("frameskip", 1).with("wrappers", wrappers))
        }
        "nothing" => {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask/peers");
            let path = vec![folder.display().to_string()];
            ("python:nothing:Nothing", config.with("python_path", path))
        }
        other => return Err(format!("unknown environment `{other}`").into()),
    })
}

pub(crate) fn step(args: &StepArgs) -> Outcome {
    rekindle::gymnasium::register();
    let num_envs = NUM_WORKERS * NUM_ENVS;
    for case in &args.cases {
        let (id, config) = environment(case, true)?;
        let mut env = make_vec_with(id, num_envs, &config)?;
        let mut sampler = env.action_space().sampler(args.timing.seed);
        let mut actions = vec![Buffer::zeros(env.action_space(), num_envs); DRAWN];
        for actions in &mut actions {
            for row in 0..num_envs {
                sampler.sample_into(actions.row_mut(row))?;
            }
        }
        let mut out = VectorStep::new(env.observation_space(), num_envs);
        env.reset(&seeds_from(Some(0), num_envs), &mut out)?;
        let mut actions = actions.iter().cycle();
        let mut work = || {
            for actions in actions.by_ref().take(STEPS) {
                env.step(actions, &mut out)?;
            }
            let counted = if args.vector_steps { 1 } else { num_envs };
            Ok((STEPS * counted) as u64)
        };
        work()?;
        report(case, rate(args.timing.seconds, work)?, None);
    }
    Ok(())
}

pub(crate) fn ppo(args: &PpoArgs) -> Outcome {
    for case in &args.cases {
        let (id, env_config) = environment(case, false)?;
        let config = PpoConfig::new()
            .environment(id)
            .env_config(env_config)
            .env_runners(|e| e.num_envs_per_env_runner(NUM_ENVS))
            .training(|t| {
                t.gamma(0.99)
                    .lambda_(0.95)
                    .vf_clip_param(f64::INFINITY)
                    .vf_loss_coeff(0.5)
                    .use_kl_loss(false)
                    .grad_clip(0.5)
            })
            .seed(args.timing.seed);
        let config = if case == "pong" {
            config
                .env_runners(|e| e.env_to_module_connector(ConnectorConfig::frame_stacking(4)))
                // NatureCNN, as Stable-Baselines3's `CnnPolicy` has it.
                .model("vf_share_layers", true)
                .model(
                    "conv_filters",
                    json!([[32, 8, 4, "valid"], [64, 4, 2, "valid"], [64, 3, 1, "valid"]]),
                )
                .model("conv_fcnet_hiddens", vec![512])
                .training(|t| {
                    t.lr(2.5e-4)
                        .train_batch_size(128 * NUM_ENVS)
                        .minibatch_size(256)
                        .num_epochs(4)
                        .clip_param(0.1)
                        .entropy_coeff(0.01)
                })
        } else {
            config
                .normalize_actions(false)
                .clip_actions(true)
                .env_runners(|e| {
                    e.env_to_module_connector(ConnectorConfig::mean_std_filter())
                        .env_to_module_connector(ConnectorConfig::normalize_rewards())
                })
                .model("fcnet_hiddens", vec![64, 64])
                .model("free_log_std", true)
                .training(|t| {
                    t.lr(3e-4)
                        .train_batch_size(256 * NUM_ENVS)
                        .minibatch_size(64)
                        .num_epochs(10)
                        .clip_param(0.2)
                })
        };
        let mut algo = config.build(&DeviceSpec::Cpu.open()?)?;
        let (value, mean) = training_rate(&mut algo, args.timing.seconds)?;
        report(case, value, mean);
    }
    Ok(())
}
