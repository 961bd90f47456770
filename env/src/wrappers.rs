//! Wrappers of environments.

mod faulty;
mod order_enforcing;
mod record_episode_statistics;
mod record_video;
mod time_limit;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

pub use faulty::{Faults, Faulty};
pub use order_enforcing::OrderEnforcing;
pub use record_episode_statistics::{EpisodeStatistics, RecordEpisodeStatistics};
pub use record_video::RecordVideo;
pub use time_limit::TimeLimit;

use crate::env::{Env, load_state, save_state};
use crate::error::{EnvError, Result};

/// Fails for a limit of 0 steps.
pub(crate) fn at_least_one_step(max_episode_steps: usize) -> Result<()> {
    if max_episode_steps > 0 {
        return Ok(());
    }
    Err(EnvError::InvalidOption {
        option: "max_episode_steps".to_owned(),
        expected: "at least 1".to_owned(),
        found: "0".to_owned(),
    })
}

/// The state of a wrapper and the state of its environment.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nested<W> {
    pub(crate) wrapper: W,
    pub(crate) env: Json,
}

fn save_nested<W: Serialize>(wrapper: &W, env: &impl Env) -> Result<Option<Json>> {
    match env.state()? {
        Some(env) => save_state(&Nested { wrapper, env }),
        None => Ok(None),
    }
}

/// Passes the inner state to `env` and returns the state of the wrapper.
fn load_nested<W: DeserializeOwned>(env: &mut impl Env, state: &Json) -> Result<W> {
    let nested: Nested<W> = load_state(env.name(), state)?;
    env.set_state(&nested.env)?;
    Ok(nested.wrapper)
}
