//! Writing a run folder during training.

use std::path::{Path, PathBuf};

use rekindle_metrics::{CsvSink, JsonlSink, TensorBoardSink};

use super::Algorithm;
use crate::run_folder::{METRICS, PROGRESS};
use crate::{Evaluation, Result, RunConfig, RunFolder};

impl Algorithm {
    /// Writes settings, metrics, evaluations and checkpoints into a new directory
    /// `<root>/<algorithm>/<env>__<seed>__<time>`. Checkpoints are written at the interval of `config`.
    /// [`save_run`](Self::save_run) saves the state at the end.
    ///
    /// ```no_run
    /// use burn::prelude::Device;
    /// use rekindle_algorithms::{PpoConfig, RunConfig};
    ///
    /// let config = PpoConfig::new().environment("CartPole-v1");
    /// let run = RunConfig::default().max_env_steps(100_000);
    /// let mut algo = config.build(&Device::flex())?.with_run_folder("runs", run.clone())?;
    /// loop {
    ///     let result = algo.train()?;
    ///     if run.is_over(&algo, &result).is_some() {
    ///         break;
    ///     }
    /// }
    /// algo.save_run()?;
    /// # Ok::<(), rekindle_algorithms::AlgorithmError>(())
    /// ```
    ///
    /// # Errors
    /// [`AlgorithmError::RunFolder`](crate::AlgorithmError::RunFolder) if the directory cannot be created or written;
    /// [`AlgorithmError::Config`](crate::AlgorithmError::Config) for settings out of range.
    pub fn with_run_folder(self, root: impl AsRef<Path>, config: RunConfig) -> Result<Self> {
        let folder = RunFolder::create(root.as_ref(), config, &self)?;
        let path = folder.path().to_owned();
        let tensorboard = folder.config().tensorboard;
        let mut algorithm = self
            .with_sink(JsonlSink::create(path.join(METRICS))?)
            .with_sink(CsvSink::create(path.join(PROGRESS))?);
        if let Some(names) = tensorboard {
            algorithm = algorithm.with_sink(TensorBoardSink::create(&path)?.names(names));
        }
        algorithm.run_folder = Some(folder);
        Ok(algorithm)
    }

    /// Continues to write the run folder from which this algorithm was restored. Results of later iterations in the
    /// folder are dropped, because the run repeats these iterations.
    ///
    /// # Errors
    /// [`AlgorithmError::RunInProgress`](crate::AlgorithmError::RunInProgress) if another program writes the
    /// directory; otherwise as [`with_run_folder`](Self::with_run_folder).
    pub fn with_existing_run_folder(
        self,
        path: impl AsRef<Path>,
        config: RunConfig,
    ) -> Result<Self> {
        config.validate()?;
        let folder = RunFolder::open(path.as_ref().to_owned(), config, &self)?;
        let (path, iteration, steps) =
            (folder.path().to_owned(), self.iteration(), self.env_steps());
        let tensorboard = folder.config().tensorboard;
        let mut algorithm = self
            .with_sink(JsonlSink::resume(path.join(METRICS), iteration)?)
            .with_sink(CsvSink::resume(path.join(PROGRESS), iteration)?);
        if let Some(names) = tensorboard {
            algorithm = algorithm.with_sink(TensorBoardSink::resume(&path, steps)?.names(names));
        }
        algorithm.run_folder = Some(folder);
        Ok(algorithm)
    }

    /// Returns the directory of the run, if there is one.
    #[must_use]
    pub fn run_folder(&self) -> Option<&RunFolder> {
        self.run_folder.as_ref()
    }

    /// Saves the state as the latest checkpoint of the [run's directory](Self::with_run_folder). Returns the path of
    /// the checkpoint, or `None` without such a directory.
    ///
    /// # Errors
    /// If the state cannot be saved. Earlier checkpoints stay.
    pub fn save_run(&mut self) -> Result<Option<PathBuf>> {
        let Some(folder) = self.run_folder.take() else { return Ok(None) };
        let saved = folder.save(self);
        self.run_folder = Some(folder);
        saved.map(Some)
    }

    /// Evaluates the current weights ([`evaluate`](Self::evaluate)), and records the evaluation in the
    /// [run's directory](Self::with_run_folder) if there is one.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate). A failed write is only a warning.
    pub fn evaluate_run(&mut self) -> Result<Evaluation> {
        let evaluation = self.evaluate()?;
        if let Some(mut folder) = self.run_folder.take() {
            folder.record_evaluation(self, &evaluation);
            self.run_folder = Some(folder);
        }
        Ok(evaluation)
    }

    /// Records an iteration in the run's directory.
    pub(super) fn record_run(&mut self, evaluation: Option<&Evaluation>) {
        if let Some(mut folder) = self.run_folder.take() {
            folder.record(self, evaluation);
            self.run_folder = Some(folder);
        }
    }
}
