//! The evaluations of a run.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{failed, seconds_since_1970};
use crate::{Algorithm, Evaluation, Result};

/// The file with one line per evaluation: the returns and lengths of its episodes, and its estimates.
#[derive(Debug)]
pub(super) struct Evaluations {
    path: PathBuf,
    /// The best mean return so far.
    best: Option<f64>,
}

impl Evaluations {
    /// Continues a file after an iteration. Lines of later iterations are dropped.
    pub(super) fn resume(path: PathBuf, iteration: u64) -> Result<Self> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let (mut kept, mut best) = (0, None::<f64>);
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let value: Value = serde_json::from_str(line).unwrap_or_default();
            if value["training_iteration"].as_u64().is_some_and(|number| number > iteration) {
                break;
            }
            kept += line.len();
            if let Some(mean) = value["episode_return_mean"].as_f64() {
                best = Some(best.map_or(mean, |best| best.max(mean)));
            }
        }
        if kept < text.len() {
            let cut = File::options().write(true).open(&path);
            cut.and_then(|file| file.set_len(kept as u64)).map_err(failed("shorten", &path))?;
        }
        Ok(Self { path, best })
    }

    pub(super) fn write(&self, algorithm: &Algorithm, evaluation: &Evaluation) -> Result<()> {
        let mut value = json!({
            "training_iteration": algorithm.iteration(),
            "num_env_steps_sampled_lifetime": algorithm.env_steps(),
            "episode_return_mean": evaluation.mean_return(),
            "episode_return_std": evaluation.std_return(),
            "episode_len_mean": evaluation.mean_length(),
            "episode_returns": evaluation.returns,
            "episode_lengths": evaluation.lengths,
            "time": seconds_since_1970(),
        });
        if !evaluation.estimates.is_empty() {
            value["off_policy_estimation"] = evaluation.estimates_as_data();
        }
        let line = format!("{value}\n");
        let written = File::options().append(true).create(true).open(&self.path).and_then(|file| {
            let before = file.metadata()?.len();
            // Remove a partly written line, for example on a full disk.
            (&file).write_all(line.as_bytes()).inspect_err(|_| drop(file.set_len(before)))
        });
        written.map_err(failed("write", &self.path))
    }

    /// Returns whether the mean return is higher than in all earlier evaluations, and remembers it.
    pub(super) fn is_best(&mut self, evaluation: &Evaluation) -> bool {
        let mean = evaluation.mean_return();
        let is_best = mean.is_finite() && self.best.is_none_or(|best| mean > best);
        if is_best {
            self.best = Some(mean);
        }
        is_best
    }
}
