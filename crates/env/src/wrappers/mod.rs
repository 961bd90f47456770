//! Environments around environments.

mod order_enforcing;
mod record_episode_statistics;
mod time_limit;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

pub use order_enforcing::OrderEnforcing;
pub use record_episode_statistics::{EpisodeStatistics, RecordEpisodeStatistics};
pub use time_limit::TimeLimit;

use crate::{Env, Result, load_state, save_state};

/// The state of a wrapper around the state of its environment.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nested<W> {
    wrapper: W,
    env: Json,
}

fn save_nested<W: Serialize>(wrapper: &W, env: &impl Env) -> Result<Option<Json>> {
    match env.state()? {
        Some(env) => save_state(&Nested { wrapper, env }),
        None => Ok(None),
    }
}

/// Hands the inner state to `env` and returns the wrapper's own.
fn load_nested<W: DeserializeOwned>(env: &mut impl Env, state: &Json) -> Result<W> {
    let nested: Nested<W> = load_state(env.name(), state)?;
    env.set_state(&nested.env)?;
    Ok(nested.wrapper)
}
