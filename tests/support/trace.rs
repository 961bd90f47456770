//! Callbacks that record their calls.

use std::sync::{Arc, Mutex};

use rekindle::prelude::*;

/// One line per call of a hook, shared by all clones.
#[derive(Clone, Default)]
pub(crate) struct Trace {
    pub(crate) name: &'static str,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Trace {
    /// Returns callbacks that record to the same lines under another name.
    pub(crate) fn named(&self, name: &'static str) -> Self {
        Self { name, ..self.clone() }
    }

    /// Returns the lines recorded since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }

    fn write(&self, in_evaluation: bool, line: String) -> CallbackResult {
        let eval = if in_evaluation { "eval " } else { "" };
        self.lines.lock().unwrap().push(format!("{}{eval}{line}", self.name));
        Ok(())
    }

    fn episode(&self, hook: &str, event: &EpisodeEvent<'_>) -> CallbackResult {
        let EpisodeEvent { runner, env_index, episode, step, episode_return, .. } = event;
        let mut line = format!("{hook} {runner}/{env_index}/{episode} at {step}: {episode_return}");
        for agent in event.agents {
            let id = agent.agent.map_or("", |id| id.as_str());
            let module = agent.module.unwrap_or("nobody");
            let (acted, reward) = (agent.action.is_some(), agent.reward);
            line += &format!(", {id}/{module} acted {acted} for {reward}");
            if let Some(row) = agent.observation {
                match row.as_f32() {
                    Ok(observation) => line += &format!(" sees {observation:?}"),
                    Err(_) => line += &format!(" sees {}", row.as_discrete()?),
                }
            }
        }
        line += if event.terminated { " terminated" } else { "" };
        line += if event.truncated { " truncated" } else { "" };
        self.write(event.in_evaluation, line)
    }
}

impl Callbacks for Trace {
    fn on_algorithm_init(&self, algorithm: &mut Algorithm) -> CallbackResult {
        self.write(false, format!("algorithm_init {}", algorithm.name()))
    }

    fn on_environment_created(&self, event: &mut EnvironmentEvent<'_>) -> CallbackResult {
        let (runner, envs) = (event.runner, event.env.num_envs());
        let config = serde_json::to_string(event.env_config)?;
        self.write(event.in_evaluation, format!("environment_created {runner}: {envs} {config}"))
    }

    fn on_episode_created(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        self.episode("episode_created", event)
    }

    fn on_episode_start(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        self.episode("episode_start", event)
    }

    fn on_episode_step(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        self.episode("episode_step", event)
    }

    fn on_episode_end(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        self.episode("episode_end", event)
    }

    fn on_sample_end(&self, event: &mut SampleEvent<'_>) -> CallbackResult {
        let line = format!("sample_end {}: {}", event.runner, event.experience.env_steps);
        self.write(event.in_evaluation, line)
    }

    fn on_evaluate_start(&self, algorithm: &mut Algorithm) -> CallbackResult {
        self.write(false, format!("evaluate_start {}", algorithm.iteration()))
    }

    fn on_evaluate_end(&self, _: &mut Algorithm, metrics: &mut Metrics) -> CallbackResult {
        let mean = metrics.get("env_runners/episode_return_mean");
        self.write(false, format!("evaluate_end {mean:?}"))
    }

    fn on_train_result(&self, _: &mut Algorithm, result: &mut Metrics) -> CallbackResult {
        self.write(false, format!("train_result {:?}", result.get("training_iteration")))
    }

    fn on_env_runners_recreated(
        &self,
        _: &mut Algorithm,
        env_runner_indices: &[usize],
        is_evaluation: bool,
    ) -> CallbackResult {
        self.write(is_evaluation, format!("env_runners_recreated {env_runner_indices:?}"))
    }

    fn on_checkpoint_loaded(&self, algorithm: &mut Algorithm) -> CallbackResult {
        self.write(false, format!("checkpoint_loaded {}", algorithm.iteration()))
    }
}
