//! Callbacks of a runner on its own, without an algorithm.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::prelude::*;
use rekindle_env::EnvConfig;
use rekindle_env_runner::{
    Amount, CallbackResult, EnvRunner, EnvRunnerConfig, EnvRunnerGroup, EnvironmentEvent,
    EpisodeEvent, RunnerCallbacks, SampleEvent, SampleOptions, SharedCallbacks,
    SingleAgentEnvRunner,
};
use rekindle_metrics::{MetricsLogger, Reducer};

/// Callbacks that count calls across runners and can fail in a given step.
#[derive(Clone, Default)]
struct Counts {
    environments: Arc<AtomicUsize>,
    steps: Arc<AtomicUsize>,
    samples: Arc<AtomicUsize>,
    fails_at: Option<usize>,
}

impl RunnerCallbacks for Counts {
    fn on_environment_created(&self, event: &mut EnvironmentEvent<'_>) -> CallbackResult {
        self.environments.fetch_add(event.env.num_envs(), Ordering::Relaxed);
        Ok(())
    }

    fn on_episode_step(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        let step = 1 + self.steps.fetch_add(1, Ordering::Relaxed);
        if self.fails_at == Some(step) {
            return Err("enough".into());
        }
        Ok(event.metrics.log_value("told", 1.0, Reducer::SUM)?)
    }

    fn on_sample_end(&self, event: &mut SampleEvent<'_>) -> CallbackResult {
        self.samples.fetch_add(event.experience.env_steps, Ordering::Relaxed);
        Ok(())
    }
}

fn config(counts: &Counts) -> EnvRunnerConfig {
    EnvRunnerConfig::new("CartPole-v1").num_envs(3).callbacks(SharedCallbacks::new(counts.clone()))
}

#[test]
fn runners_on_threads_share_callbacks() {
    let counts = Counts::default();
    let mut group = EnvRunnerGroup::new(&config(&counts), 4, 4, &Device::flex()).unwrap();
    group.sample(Amount::Timesteps(30), SampleOptions::random()).unwrap();
    let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    assert_eq!(read(&counts.environments), 12);
    assert_eq!([read(&counts.steps), read(&counts.samples)], [120, 120]);
    let mut metrics = MetricsLogger::new();
    metrics.aggregate("env_runners", group.take_metrics()).unwrap();
    assert_eq!(metrics.peek("env_runners/told"), Some(120.0));

    group.set_env_config(&EnvConfig::new()).unwrap();
    assert_eq!(read(&counts.environments), 24, "recreated");
}

#[test]
fn after_an_error_of_a_callback_new_episodes_begin() {
    let counts = Counts { fails_at: Some(10), ..Counts::default() };
    let mut runner = SingleAgentEnvRunner::new(config(&counts), 0, &Device::flex()).unwrap();
    let error =
        runner.collect(Amount::Timesteps(30), SampleOptions::random()).unwrap_err().to_string();
    assert_eq!(error, "the callback `on_episode_step` failed: enough");
    let rollout = runner.sample(Amount::Timesteps(3), SampleOptions::random()).unwrap();
    assert!(rollout.segments.iter().all(|segment| segment.t_started == 0));
}
