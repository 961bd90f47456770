//! Metrics that all runners log, under RLlib's names.

use std::time::Duration;

use rekindle_core::DEFAULT_MODULE_ID;
use rekindle_metrics::{MetricsLogger, Reducer};

use crate::error::Result;
use crate::experience::EpisodeSummary;

/// The name of the agent in single-agent environments.
pub(crate) const DEFAULT_AGENT_ID: &str = "default_agent";

/// Logs episodes that ended, in order. `window` is the number of episodes that the statistics cover.
/// `durations` is empty on the device, where they are unknown.
pub(crate) fn log_episodes(
    metrics: &mut MetricsLogger,
    episodes: &[EpisodeSummary],
    durations: &[Duration],
    window: Option<usize>,
) -> Result<()> {
    type Of = fn(&EpisodeSummary) -> f64;
    if episodes.is_empty() {
        return Ok(());
    }
    let (value, len, one): (Of, Of, Of) = (|e| e.episode_return, |e| e.len as f64, |_| 1.0);
    for (key, of, reducer) in [
        ("episode_return_mean", value, Reducer::Mean { window }),
        ("episode_return_min", value, Reducer::Min { window }),
        ("episode_return_max", value, Reducer::Max { window }),
        ("episode_len_mean", len, Reducer::Mean { window }),
        ("episode_len_min", len, Reducer::Min { window }),
        ("episode_len_max", len, Reducer::Max { window }),
        ("num_episodes", one, Reducer::SUM),
        ("num_episodes_lifetime", one, Reducer::LifetimeSum),
    ] {
        metrics.log_values(key, episodes.iter().map(of), reducer)?;
    }
    if !durations.is_empty() {
        let seconds = durations.iter().map(Duration::as_secs_f64);
        metrics.log_values("episode_duration_sec_mean", seconds, Reducer::Mean { window })?;
    }
    Ok(())
}

/// Logs the returns of episodes as those of the only agent and its module.
pub(crate) fn log_default_returns(
    metrics: &mut MetricsLogger,
    episodes: &[EpisodeSummary],
    window: Option<usize>,
) -> Result<()> {
    for episode in episodes {
        log_agent_return(metrics, DEFAULT_AGENT_ID, episode.episode_return, window)?;
        log_module_return(metrics, DEFAULT_MODULE_ID, episode.episode_return, window)?;
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
