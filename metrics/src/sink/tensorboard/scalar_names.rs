//! The names of metrics in TensorBoard.

use serde::{Deserialize, Serialize};

use crate::results::Metrics;

/// The names of scalars in TensorBoard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScalarNames {
    /// RLlib's names, which are the paths of the metrics.
    #[default]
    Rllib,
    /// Stable-Baselines3's names, such as `rollout/ep_rew_mean`, for dashboards that expect these names. Metrics of a
    /// module have the prefix `train/`. Metrics that Stable-Baselines3 does not have are left out.
    Sb3,
}

/// Metrics and their names in Stable-Baselines3.
const SB3: [(&str, &str); 10] = [
    ("env_runners/episode_return_mean", "rollout/ep_rew_mean"),
    ("env_runners/episode_len_mean", "rollout/ep_len_mean"),
    ("evaluation/env_runners/episode_return_mean", "eval/mean_reward"),
    ("evaluation/env_runners/episode_len_mean", "eval/mean_ep_length"),
    ("env_runners/num_env_steps_sampled_lifetime", "time/total_timesteps"),
    ("env_runners/num_env_steps_sampled_lifetime_throughput", "time/fps"),
    ("env_runners/num_episodes_lifetime", "time/episodes"),
    ("training_iteration", "time/iterations"),
    ("time_total_s", "time/time_elapsed"),
    ("learners/__all_modules__/num_updates_lifetime", "train/n_updates"),
];

/// Metrics of a module and their names in Stable-Baselines3, with the factor between them.
const SB3_OF_MODULES: [(&str, &str, f64); 11] = [
    ("policy_loss", "policy_gradient_loss", 1.0),
    ("vf_loss", "value_loss", 1.0),
    // A loss: the negative of the entropy.
    ("entropy", "entropy_loss", -1.0),
    ("mean_kl_loss", "approx_kl", 1.0),
    ("total_loss", "loss", 1.0),
    ("vf_explained_var", "explained_variance", 1.0),
    ("default_optimizer_learning_rate", "learning_rate", 1.0),
    ("actor_loss", "actor_loss", 1.0),
    ("critic_loss", "critic_loss", 1.0),
    ("alpha", "ent_coef", 1.0),
    ("alpha_loss", "ent_coef_loss", 1.0),
];

impl ScalarNames {
    /// Returns names and values of the scalars of a result.
    pub(super) fn of(self, metrics: &Metrics) -> Vec<(String, f64)> {
        metrics
            .iter()
            .filter_map(|(key, value)| match self {
                Self::Rllib => Some((key.to_owned(), value)),
                Self::Sb3 => sb3(key).map(|(name, factor)| (name, factor * value)),
            })
            .collect()
    }
}

/// Returns the name of a metric in Stable-Baselines3, and the factor of its value.
fn sb3(key: &str) -> Option<(String, f64)> {
    if let Some((_, name)) = SB3.iter().find(|(ours, _)| *ours == key) {
        return Some(((*name).to_owned(), 1.0));
    }
    let (module, metric) = key.strip_prefix("learners/")?.split_once('/')?;
    let (_, name, factor) = SB3_OF_MODULES.iter().find(|(ours, ..)| *ours == metric)?;
    Some(match module {
        "default_policy" => (format!("train/{name}"), *factor),
        // With several modules, each module has its own group.
        _ => (format!("train/{module}/{name}"), *factor),
    })
}
