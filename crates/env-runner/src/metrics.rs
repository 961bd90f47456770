//! What every runner logs of episodes.

use rekindle_core::metrics::{MetricsLogger, Reducer};

use crate::{EpisodeSummary, Result};

/// Episodes over which the mean return and length are reported (RLlib's default smoothing).
pub(crate) const SMOOTHING: usize = 100;

/// Logs an episode that ended, under RLlib's names.
pub(crate) fn log_episode(metrics: &mut MetricsLogger, episode: &EpisodeSummary) -> Result<()> {
    let window = Some(SMOOTHING);
    let (value, len) = (episode.episode_return, episode.len as f64);
    for (key, value, reducer) in [
        ("episode_return_mean", value, Reducer::Mean { window }),
        ("episode_return_min", value, Reducer::Min { window }),
        ("episode_return_max", value, Reducer::Max { window }),
        ("episode_len_mean", len, Reducer::Mean { window }),
        ("num_episodes", 1.0, Reducer::Sum { window: None }),
        ("num_episodes_lifetime", 1.0, Reducer::LifetimeSum),
    ] {
        metrics.log_value(key, value, reducer)?;
    }
    Ok(())
}
