//! Shared parts of the benchmarks and of rekindle's programs in `cargo xtask compare`: timing, the
//! JSON lines that `xtask` reads, and a runner of CartPole.
//!
//! `src/bin` holds the programs, `benches` the Criterion benchmarks.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "programs report on the standard output")]

pub mod replay;

use std::error::Error;
use std::time::Instant;

use burn::module::Module;
use mimalloc::MiMalloc;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;
use serde_json::json;

/// A program may choose its allocator, a library should not. This one makes PPO on small networks
/// some 8 % faster (docs/performance.md).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The result of a step of a benchmark.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Repeats `work` for at least `seconds` and returns the amount of work done per second.
///
/// `work` returns the amount that one call did. It is called at least once.
///
/// # Errors
/// The error of `work`.
pub fn rate(seconds: f64, mut work: impl FnMut() -> Outcome<u64>) -> Outcome<f64> {
    let (mut done, started) = (0, Instant::now());
    loop {
        done += work()?;
        let elapsed = started.elapsed().as_secs_f64();
        if elapsed >= seconds {
            return Ok(done as f64 / elapsed);
        }
    }
}

/// Trains for at least `seconds`, after an iteration that warms up caches. Returns environment steps per
/// second and the mean return of the last training episodes.
///
/// # Errors
/// If training fails.
pub fn training_rate(algo: &mut Algorithm, seconds: f64) -> Outcome<(f64, Option<f64>)> {
    algo.train()?;
    let mut mean = None;
    let value = rate(seconds, || {
        let before = algo.env_steps();
        mean = algo.train()?.get("env_runners/episode_return_mean");
        Ok(algo.env_steps() - before)
    })?;
    Ok((value, mean))
}

/// Reads the numbers of a case: `8x128x64` is 8, 128 and 64.
///
/// # Errors
/// If `case` is not `N` whole numbers separated by `x`.
pub fn sizes<const N: usize>(case: &str) -> Outcome<[usize; N]> {
    let sizes: Result<Vec<usize>, _> = case.split('x').map(str::parse).collect();
    sizes.ok().and_then(|sizes| sizes.try_into().ok()).ok_or_else(|| {
        format!("invalid case `{case}`: expected {N} whole numbers separated by `x`").into()
    })
}

/// Prints one measurement as a line of JSON, the form that `cargo xtask compare` reads.
pub fn report(case: &str, value: f64, episode_return_mean: Option<f64>) {
    let line = json!({
        "case": case,
        "system": "rekindle",
        "version": env!("CARGO_PKG_VERSION"),
        "value": value,
        "episode_return_mean": episode_return_mean,
    });
    println!("{line}");
}

/// Builds a runner of `num_envs` CartPole environments and the default module it acts with: separate
/// policy and value networks, each with two tanh layers of width `hidden`.
///
/// # Errors
/// If the device, the environment or the module cannot be built.
pub fn cartpole(
    num_envs: usize,
    hidden: usize,
    seed: u64,
) -> Outcome<(SingleAgentEnvRunner, AnyRLModule)> {
    cartpole_with(RLModuleSpec::default(), num_envs, hidden, seed)
}

/// The default actor-critic without a pass over host memory, so that it acts with tensors.
#[derive(Module, Debug)]
pub struct WithTensors {
    module: ActorCritic,
}

impl RLModule for WithTensors {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { module: ActorCritic::setup(cx)? })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        self.module.forward_train(batch)
    }

    fn forward_inference(&self, batch: &Batch) -> ModuleResult<Batch> {
        self.module.forward_inference(batch)
    }

    fn forward_exploration(
        &self,
        batch: &Batch,
        cx: &mut ExplorationContext,
    ) -> ModuleResult<Batch> {
        self.module.forward_exploration(batch, cx)
    }
}

/// As [`cartpole`], with a module of this spec.
///
/// # Errors
/// As for [`cartpole`].
pub fn cartpole_with(
    spec: RLModuleSpec,
    num_envs: usize,
    hidden: usize,
    seed: u64,
) -> Outcome<(SingleAgentEnvRunner, AnyRLModule)> {
    let device = DeviceSpec::Cpu.open()?;
    let config = EnvRunnerConfig::new("CartPole-v1").num_envs(num_envs).seed(seed);
    let mut runner = SingleAgentEnvRunner::new(config, 0, &device)?;
    let module = spec
        .observation_space(runner.observation_space().clone())
        .action_space(runner.action_space().clone())
        .model_config(json!({"fcnet_hiddens": [hidden, hidden], "vf_share_layers": false}))
        .build(&device)?;
    runner.set_module(&module, PublishedAt::default())?;
    Ok((runner, module))
}

/// A benchmark of one file: sets itself up and measures with `C`, Criterion's driver.
pub type Group<C> = fn(&mut C) -> Outcome;

/// Runs the benchmarks of a file. One that cannot be set up prints its error, and the others run.
pub fn run<C>(criterion: &mut C, groups: &[(&str, Group<C>)]) {
    for (name, group) in groups {
        if let Err(error) = group(criterion) {
            eprintln!("benchmark `{name}` could not run: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_numbers_separated_by_x() {
        assert_eq!(sizes("8x128x64").ok(), Some([8, 128, 64]));
        for wrong in ["8x128", "8x128x64x1", "8x128xwide", ""] {
            let error = sizes::<3>(wrong).err().map(|error| error.to_string());
            let expected =
                format!("invalid case `{wrong}`: expected 3 whole numbers separated by `x`");
            assert_eq!(error, Some(expected));
        }
    }

    #[test]
    fn work_runs_at_least_once_and_its_error_ends_the_measurement() {
        let mut calls = 0;
        let mut work = || {
            calls += 1;
            Ok(7)
        };
        assert!(rate(0.0, &mut work).is_ok_and(|rate| rate > 0.0));
        assert_eq!(calls, 1);
        assert!(rate(1e9, || Err("broken".into())).is_err());
    }
}
