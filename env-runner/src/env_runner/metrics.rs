//! Metrics that all runners log, under RLlib's names.

use std::time::Duration;

use rekindle_metrics::{MetricsLogger, Reducer};

use crate::error::Result;
use crate::experience::EpisodeSummary;

/// The name of the agent in single-agent environments.
pub(crate) const DEFAULT_AGENT_ID: &str = "default_agent";

/// Logs an episode that ended. `window` is the number of episodes that the statistics cover; `duration` is
/// unknown on the device.
pub(crate) fn log_episode(
    metrics: &mut MetricsLogger,
    episode: &EpisodeSummary,
    duration: impl Into<Option<Duration>>,
    window: Option<usize>,
) -> Result<()> {
    let (value, len) = (episode.episode_return, episode.len as f64);
    for (key, value, reducer) in [
        ("episode_return_mean", value, Reducer::Mean { window }),
        ("episode_return_min", value, Reducer::Min { window }),
        ("episode_return_max", value, Reducer::Max { window }),
        ("episode_len_mean", len, Reducer::Mean { window }),
        ("episode_len_min", len, Reducer::Min { window }),
        ("episode_len_max", len, Reducer::Max { window }),
        ("num_episodes", 1.0, Reducer::SUM),
        ("num_episodes_lifetime", 1.0, Reducer::LifetimeSum),
    ] {
        metrics.log_value(key, value, reducer)?;
    }
    if let Some(duration) = duration.into() {
        let seconds = duration.as_secs_f64();
        metrics.log_value("episode_duration_sec_mean", seconds, Reducer::Mean { window })?;
    }
    Ok(())
}

/// Logs the return of one agent in an episode that ended.
pub(crate) fn log_agent_return(
    metrics: &mut MetricsLogger,
    agent: &str,
    value: f64,
    window: Option<usize>,
) -> Result<()> {
    let key = format!("agent_episode_returns_mean/{agent}");
    Ok(metrics.log_value(&key, value, Reducer::Mean { window })?)
}

/// Logs the return of one module in an episode that ended: the sum over its agents.
pub(crate) fn log_module_return(
    metrics: &mut MetricsLogger,
    module: &str,
    value: f64,
    window: Option<usize>,
) -> Result<()> {
    let key = format!("module_episode_returns_mean/{module}");
    Ok(metrics.log_value(&key, value, Reducer::Mean { window })?)
}

/// Logs steps of environments.
pub(crate) fn log_env_steps(metrics: &mut MetricsLogger, steps: usize) -> Result<()> {
    log_steps(metrics, "num_env_steps_sampled", "", steps)
}

/// Logs steps of an agent, which also count for its module.
pub(crate) fn log_agent_steps(
    metrics: &mut MetricsLogger,
    agent: &str,
    module: &str,
    steps: usize,
) -> Result<()> {
    log_steps(metrics, "num_agent_steps_sampled", &format!("/{agent}"), steps)?;
    log_steps(metrics, "num_module_steps_sampled", &format!("/{module}"), steps)
}

fn log_steps(metrics: &mut MetricsLogger, name: &str, of: &str, steps: usize) -> Result<()> {
    metrics.log_value(&format!("{name}{of}"), steps as f64, Reducer::SUM)?;
    Ok(metrics.log_value(&format!("{name}_lifetime{of}"), steps as f64, Reducer::LifetimeSum)?)
}
