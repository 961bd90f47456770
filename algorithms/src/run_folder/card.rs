//! The model card of a run, in the form of the Hugging Face Hub.

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
    env: String,
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
            env: env.unwrap_or_default(),
            is_deterministic: !evaluation.explore,
        }
    }

    /// Replaces both files.
    pub(super) fn write(&self, evaluation: &Evaluation) -> Result<()> {
        let results = json!({
            "mean_reward": evaluation.mean_return(),
            "std_reward": evaluation.std_return(),
            "is_deterministic": self.is_deterministic,
            "n_eval_episodes": evaluation.returns.len(),
            "eval_datetime": rfc3339(seconds_since_1970()),
        });
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

    fn readme(&self, evaluation: &Evaluation) -> String {
        let Self { algorithm, env, .. } = self;
        let reward = format!("{:.2} +/- {:.2}", evaluation.mean_return(), evaluation.std_return());
        // JSON is YAML, and quotes every name.
        let text = |name: &str| Value::from(name).to_string();
        let [name, quoted_env, quoted_reward] = [algorithm, env, &reward].map(|t| text(t));
        let how = if self.is_deterministic { "greedy" } else { "sampled" };
        let episodes = evaluation.returns.len();
        format!(
            "\
---
library_name: rekindle
tags: [{quoted_env}, deep-reinforcement-learning, reinforcement-learning, rekindle]
model-index:
- name: {name}
  results:
  - task: {{type: reinforcement-learning, name: reinforcement-learning}}
    dataset: {{name: {quoted_env}, type: {quoted_env}}}
    metrics:
    - {{type: mean_reward, value: {quoted_reward}, name: mean_reward, verified: false}}
---

# {algorithm} on {env}

Trained with [rekindle](https://github.com/rekindle-rl/rekindle). The mean return of {episodes} {how} episodes is
{reward}.

| file | holds |
|---|---|
| `config.toml` | the algorithm with all settings and the seed |
| `checkpoints/latest`, `checkpoints/best` | the state of training, weights as safetensors |
| `metrics.jsonl`, `progress.csv`, `events.out.tfevents.*` | the result of each iteration |
| `evaluations.jsonl`, `results.json` | the episodes of each evaluation, and the last one |

```sh
rekindle evaluate . --best   # plays episodes with the best policy
rekindle resume .            # continues training
```
"
        )
    }
}
