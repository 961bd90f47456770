//! What the benchmarks share.

use std::error::Error;

use rekindle::prelude::*;
use serde_json::json;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Benchmarks that belong together.
pub(crate) type Group<C> = fn(&mut C) -> Outcome;

/// Runs the groups of a file; one that cannot be set up says why, and the others still run.
pub(crate) fn run<C>(criterion: &mut C, groups: &[(&str, Group<C>)]) {
    for (name, group) in groups {
        if let Err(error) = group(criterion) {
            eprintln!("{name} could not run: {error}");
        }
    }
}

/// A runner of CartPole-v1 whose default module has two tanh layers of a width.
#[allow(dead_code, reason = "some benchmarks have no runner")]
pub(crate) fn cartpole(
    num_envs: usize,
    hidden: usize,
) -> Outcome<(SingleAgentEnvRunner, AnyRLModule)> {
    let device = DeviceSpec::Cpu.open()?;
    let config = EnvRunnerConfig { num_envs, ..EnvRunnerConfig::new("CartPole-v1") };
    let mut runner = SingleAgentEnvRunner::new(config, 0, &device)?;
    let module = RLModuleSpec::default()
        .observation_space(runner.observation_space().clone())
        .action_space(runner.action_space().clone())
        .model_config(json!({"fcnet_hiddens": [hidden, hidden], "vf_share_layers": false}))
        .build(&device)?;
    runner.set_module(&module, 0)?;
    Ok((runner, module))
}
