//! Making environments by id, including environments of other programs.

use std::borrow::Cow;

use rekindle_env::video::VideoRecorder;
use rekindle_env::wrappers::RecordVideo;
use rekindle_env::{EnvConfig, MultiAgentVectorEnv, VectorEnv};

use super::checks::of_env;
use crate::error::Result;

/// Returns whether making the environment `id` starts another program, such as a Python interpreter.
#[must_use]
pub fn is_external(id: &str) -> bool {
    rekindle_gymnasium::register();
    rekindle_env::is_external(id)
}

/// Makes a vector of `num_envs` environments, and records their videos.
pub(crate) fn make_vec(
    id: &str,
    num_envs: usize,
    config: &EnvConfig,
    video: Option<&VideoRecorder>,
) -> Result<Box<dyn VectorEnv>> {
    rekindle_gymnasium::register();
    let config = rendered(id, config, video.is_some());
    let env = rekindle_env::make_vec_with(id, num_envs, &config).map_err(of_env(id))?;
    Ok(match video {
        Some(video) => Box::new(RecordVideo::with_num_envs(env, num_envs, video.clone())),
        None => env,
    })
}

/// Makes a vector of `num_envs` multi-agent environments, and records their videos.
pub(crate) fn make_multi_agent_vec(
    id: &str,
    num_envs: usize,
    config: &EnvConfig,
    video: Option<&VideoRecorder>,
) -> Result<Box<dyn MultiAgentVectorEnv>> {
    rekindle_gymnasium::register();
    let config = rendered(id, config, video.is_some());
    let env = rekindle_env::make_multi_agent_vec_with(id, num_envs, &config).map_err(of_env(id))?;
    Ok(match video {
        Some(video) => Box::new(RecordVideo::with_num_envs(env, num_envs, video.clone())),
        None => env,
    })
}

/// Returns the settings with which environments can be rendered. Those of Gymnasium and PettingZoo decide when they are
/// made. A class of the user may not have the option, so it must be set for such a class.
fn rendered<'a>(id: &str, config: &'a EnvConfig, is_recorded: bool) -> Cow<'a, EnvConfig> {
    let decides = id.starts_with("gymnasium:") || id.starts_with("pettingzoo:");
    if is_recorded && decides && config.get("render_mode").is_none() {
        return Cow::Owned(config.clone().with("render_mode", "rgb_array"));
    }
    Cow::Borrowed(config)
}
