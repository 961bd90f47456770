//! Calls whose experience is lost: what metrics and connectors keep of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::prelude::Device;
use rekindle_env::{EnvError, Step};
use rekindle_env_runner::connectors::ConnectorConfig;
use rekindle_env_runner::{Amount, EnvRunnerGroup, FaultToleranceConfig};

use crate::support::{all, bin, ended, env, game, open, random, reduced};

/// How the first instance ends: with an error, or with a panic.
fn fail(panics: bool) -> rekindle_env::Result<()> {
    assert!(!panics, "told to panic");
    Err(EnvError::custom("broken"))
}

/// Environments of both kinds whose first instance pays 100 in episodes of one step and fails in its
/// third step. Later instances pay 0.
macro_rules! failing {
    ($single:literal, $several:literal, $panics:literal) => {{
        static STEPS: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];
        let single = env($single, bin(), |n, t, _, out| {
            out.write_f32(&[0.0])?;
            if n == 0 && t > 0 && STEPS[0].fetch_add(1, Ordering::Relaxed) == 2 {
                fail($panics)?;
            }
            Ok(if t > 0 { ended(if n == 0 { 100.0 } else { 0.0 }) } else { Step::running(0.0) })
        });
        let several = game($several, &["a"], bin(), all("p"), |n, t, _, out| {
            out.observe(0)?.write_f32(&[0.0])?;
            if n == 0 && t > 0 && STEPS[1].fetch_add(1, Ordering::Relaxed) == 2 {
                fail($panics)?;
            }
            if t > 0 {
                out.add_reward(0, if n == 0 { 100.0 } else { 0.0 })?;
                out.terminate_all();
            }
            Ok(())
        });
        [single, several]
    }};
}

#[test]
fn episodes_of_a_call_that_failed_are_in_no_mean() {
    for configs in [
        failing!("edges/Fails-v0", "edges/AllFail-v0", false),
        failing!("edges/Panics-v0", "edges/AllPanic-v0", true),
    ] {
        for config in configs {
            let mut group = EnvRunnerGroup::new(&config, 1, 1, &Device::flex()).unwrap();
            let experience = group.sample_episodes(4, random()).unwrap();
            assert_eq!(experience.episodes.len(), 4);
            let metrics = reduced(group.take_metrics());
            let module = if config.multi_agent.is_some() { "p" } else { "default_policy" };
            assert_eq!(metrics.get("env_runners/num_episodes"), Some(4.0));
            assert_eq!(metrics.get("env_runners/num_episodes_lifetime"), Some(4.0));
            let of_module = format!("module_episode_returns_mean/{module}");
            for key in ["episode_return_mean", "episode_return_max", &of_module] {
                assert_eq!(metrics.get(&format!("env_runners/{key}")), Some(0.0), "{key}");
            }
        }
    }
}

#[test]
fn episodes_of_a_failure_that_is_ignored_are_in_no_mean() {
    for config in failing!("edges/FailsOnce-v0", "edges/AllFailOnce-v0", false) {
        let fault_tolerance = FaultToleranceConfig::default()
            .restart_failed_env_runners(false)
            .ignore_env_runner_failures(true);
        let config = config.fault_tolerance(fault_tolerance);
        let mut group = EnvRunnerGroup::new(&config, 2, 1, &Device::flex()).unwrap();
        let experience = group.sample(Amount::Episodes(4), random()).unwrap();
        assert_eq!(experience.episodes.len(), 4);
        let metrics = reduced(group.take_metrics());
        assert_eq!(metrics.get("env_runners/num_episodes"), Some(4.0));
        assert_eq!(metrics.get("env_runners/episode_return_mean"), Some(0.0));
        // The runner that failed is used again.
        group.sample(Amount::Episodes(4), random()).unwrap();
        assert_eq!(reduced(group.take_metrics()).get("env_runners/num_episodes"), Some(8.0));
    }
}

#[test]
fn metrics_of_earlier_calls_survive_a_call_that_failed() {
    for config in failing!("edges/FailsLater-v0", "edges/AllFailLater-v0", false) {
        let mut runner = open(config);
        runner.collect(Amount::Timesteps(1), random()).unwrap();
        runner.collect(Amount::Timesteps(2), random()).unwrap_err();
        let metrics = reduced([runner.take_metrics()]);
        assert_eq!(metrics.get("env_runners/num_episodes"), Some(1.0));
        assert_eq!(metrics.get("env_runners/num_env_steps_sampled"), Some(1.0));
    }
}

/// A step that failed has no reward, so that nothing is learned from it.
#[test]
fn reward_statistics_leave_out_failed_environments() {
    let single = env("edges/Stumbles-v0", bin(), |n, t, _, out| {
        if (n, t) == (1, 2) {
            return Err(EnvError::custom("stumbled"));
        }
        out.write_f32(&[0.0])?;
        Ok(Step::running(1.0))
    });
    let several = game("edges/AllStumble-v0", &["a"], bin(), all("p"), |n, t, _, out| {
        if (n, t) == (1, 2) {
            return Err(EnvError::custom("stumbled"));
        }
        out.observe(0)?.write_f32(&[0.0])?;
        if t > 0 {
            out.add_reward(0, 1.0)?;
        }
        Ok(())
    });
    for config in [single, several] {
        let fault_tolerance = FaultToleranceConfig::default().restart_failed_sub_environments(true);
        let config = config
            .num_envs(2)
            .env_to_module(vec![ConnectorConfig::normalize_rewards()])
            .fault_tolerance(fault_tolerance);
        let mut runner = open(config);
        runner.collect(Amount::Timesteps(4), random()).unwrap();
        for state in runner.connector_states().unwrap().values() {
            assert_eq!(state["NormalizeRewards"]["current"]["count"], 3.0, "{state}");
        }
        // The episode that follows the failure begins with its own return.
        runner.collect(Amount::Timesteps(2), random()).unwrap();
        for state in runner.connector_states().unwrap().values() {
            assert_eq!(state["NormalizeRewards"]["current"]["count"], 5.0, "{state}");
        }
    }
}
