//! The model card of a run, in the form of the Hugging Face Hub.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::date::rfc3339;
use super::{failed, seconds_since_1970};
use crate::{Algorithm, Evaluation, Result};

const RESULTS: &str = "results.json";
const README: &str = "README.md";

/// `README.md` and `results.json`, about the last evaluation.
#[derive(Debug)]
pub(super) struct Card {
    folder: PathBuf,
    algorithm: String,
    /// The environment of evaluations; `None` for a run that learns from recordings alone.
    env: Option<String>,
    is_deterministic: bool,
}

impl Card {
    pub(super) fn new(folder: &Path, algorithm: &Algorithm) -> Self {
        let config = algorithm.config();
        let evaluation = &config.evaluation.evaluation_config;
        let env = evaluation.env.clone().or_else(|| config.environment.env.clone());
        Self {
            folder: folder.to_owned(),
            algorithm: algorithm.name().to_owned(),
            env,
            is_deterministic: !evaluation.explore,
        }
    }

    /// Replaces both files.
    pub(super) fn write(&self, evaluation: &Evaluation) -> Result<()> {
        let results = self.results(evaluation);
        for (name, text) in [(RESULTS, format!("{results:#}\n")), (README, self.readme(evaluation))]
        {
            let (path, temporary) =
                (self.folder.join(name), self.folder.join(format!("{name}.tmp")));
            fs::write(&temporary, text)
                .and_then(|()| fs::rename(&temporary, &path))
                .map_err(failed("write", &path))?;
        }
        Ok(())
    }

    fn results(&self, evaluation: &Evaluation) -> Value {
        let mut results = json!({
            "n_eval_episodes": evaluation.returns.len(),
            "eval_datetime": rfc3339(seconds_since_1970()),
        });
        if !evaluation.returns.is_empty() {
            results["mean_reward"] = evaluation.mean_return().into();
            results["std_reward"] = evaluation.std_return().into();
            results["is_deterministic"] = self.is_deterministic.into();
        }
        if !evaluation.estimates.is_empty() {
            results["off_policy_estimation"] = evaluation.estimates_as_data();
        }
        results
    }

    fn readme(&self, evaluation: &Evaluation) -> String {
        let Self { algorithm, env, .. } = self;
        let (title, tag) = match env {
            Some(env) => (format!("{algorithm} on {env}"), format!("{}, ", quoted(env))),
            None => (format!("{algorithm} from recordings"), String::new()),
        };
        let (index, outcome) = (self.model_index(evaluation), self.outcome(evaluation));
        let commands = match evaluation.returns.is_empty() {
            false => {
                "\
rekindle evaluate . --best   # plays episodes with the best policy
rekindle resume .            # continues training"
            }
            true => {
                "\
rekindle evaluate . --env ENV   # plays episodes in an environment
rekindle resume .               # continues training"
            }
        };
        format!(
            "\
---
library_name: rekindle
tags: [{tag}deep-reinforcement-learning, reinforcement-learning, rekindle]
{index}---

# {title}

Trained with [rekindle](https://github.com/rekindle-rl/rekindle). {outcome}

| file | holds |
|---|---|
| `config.toml` | the algorithm with all settings and the seed |
| `checkpoints/latest`, `checkpoints/best` | the state of training, weights as safetensors |
| `metrics.jsonl`, `progress.csv`, `events.out.tfevents.*` | the result of each iteration |
| `evaluations.jsonl`, `results.json` | the episodes of each evaluation, and the last one |

```sh
{commands}
```
"
        )
    }

    /// Returns the part of the header with the mean return; empty without one.
    fn model_index(&self, evaluation: &Evaluation) -> String {
        let (Some(env), false) = (&self.env, evaluation.returns.is_empty()) else {
            return String::new();
        };
        let [name, env, reward] = [&self.algorithm, env, &mean(evaluation)].map(|t| quoted(t));
        format!(
            "\
model-index:
- name: {name}
  results:
  - task: {{type: reinforcement-learning, name: reinforcement-learning}}
    dataset: {{name: {env}, type: {env}}}
    metrics:
    - {{type: mean_reward, value: {reward}, name: mean_reward, verified: false}}
"
        )
    }

    /// Returns sentences about the evaluation, and a table of its estimates.
    fn outcome(&self, evaluation: &Evaluation) -> String {
        let how = if self.is_deterministic { "greedy" } else { "sampled" };
        let episodes = evaluation.returns.len();
        let mut text = match episodes {
            0 => "The last evaluation played no episodes.".to_owned(),
            _ => {
                format!("The mean return of {episodes} {how} episodes is\n{}.", mean(evaluation))
            }
        };
        if !evaluation.estimates.is_empty() {
            text.push_str(
                "\n\nThe discounted return was estimated from recorded data:\n\n\
                 | module | estimator | estimate | interval |\n|---|---|---|---|\n",
            );
            for (id, of_module) in &evaluation.estimates {
                for (estimator, estimate) in of_module {
                    let (name, value) = (estimator.name(), estimate.value);
                    let (low, high) = (estimate.low, estimate.high);
                    // Writing to a string cannot fail.
                    let _ =
                        writeln!(text, "| {id} | {name} | {value:.2} | {low:.2} to {high:.2} |");
                }
            }
            text.truncate(text.trim_end().len());
        }
        text
    }
}

fn mean(evaluation: &Evaluation) -> String {
    format!("{:.2} +/- {:.2}", evaluation.mean_return(), evaluation.std_return())
}

/// Returns a name as YAML. JSON is valid YAML.
fn quoted(name: &str) -> String {
    Value::from(name).to_string()
}
