//! Trials, one after the other.

use std::fs;
use std::path::{Path, PathBuf};

use rekindle::algorithms::Experiment;
use rekindle::core::Generator;
use rekindle::core::device::DeviceSpec;
use serde::{Deserialize, Serialize};

use super::journal::{Journal, Trial, TrialState};
use super::pruner::is_below_median;
use super::sampler::{self, Observed};
use super::space::Space;
use super::trial::{self, Outcome};
use crate::args::SamplerKind;
use crate::error::{CliError, Result};
use crate::interrupt::Interrupt;
use crate::output::{say, tell};

/// Trials that fail one after the other before the study fails.
const MAX_FAILURES: usize = 20;

/// The settings of a study, which stay the same when it continues.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StudySettings {
    /// Number of trials that complete or are pruned.
    pub(super) trials: usize,
    /// Environment steps of each run.
    pub(super) steps: u64,
    /// Runs of each trial.
    pub(super) seeds: u64,
    /// Evaluations during each run.
    pub(super) evaluations: usize,
    /// Trials that are drawn from the whole space and are not pruned.
    pub(super) startup_trials: usize,
    pub(super) sampler: SamplerKind,
    pub(super) prune: bool,
    pub(super) seed: u64,
}

/// A search that is under way.
#[derive(Debug)]
pub(super) struct Study {
    folder: PathBuf,
    experiment: Experiment,
    space: Space,
    settings: StudySettings,
    journal: Journal,
}

impl Study {
    pub(super) fn open(
        folder: &Path,
        experiment: Experiment,
        space: Space,
        settings: StudySettings,
    ) -> Result<Self> {
        let name = folder.file_name().map_or_else(|| "study".into(), |name| name.to_string_lossy());
        let journal = Journal::open(&folder.join("journal.log"), &name)?;
        Ok(Self { folder: folder.to_owned(), experiment, space, settings, journal })
    }

    /// Runs trials until enough have ended.
    pub(super) fn run(
        mut self,
        device: &DeviceSpec,
        interrupt: &Interrupt,
        quiet: bool,
    ) -> Result<()> {
        if !quiet {
            interrupt.announce(|| tell!("stopping after this iteration of a trial"))?;
        }
        let mut failures = 0;
        while self.ended() < self.settings.trials {
            let values = self.next_values();
            let mut experiment = self.experiment.clone();
            for (dimension, value) in self.space.0.iter().zip(&values) {
                dimension.apply(*value, &mut experiment)?;
            }
            let number = self.journal.start(&self.space, &values)?;
            let outcome = self.train(number, &experiment, device, interrupt);
            let mut failure = None;
            match outcome {
                Ok(Outcome::Complete(value)) if value.is_finite() => {
                    self.journal.finish(number, TrialState::Complete, value)?;
                    failures = 0;
                }
                Ok(Outcome::Pruned(value)) => {
                    self.journal.finish(number, TrialState::Pruned, value)?;
                    failures = 0;
                }
                Ok(Outcome::Interrupted) => {
                    self.journal.interrupt(number)?;
                    tell!(
                        "interrupted: {} of {} trials have ended; `rekindle tune {}` continues",
                        self.ended(),
                        self.settings.trials,
                        self.folder.display()
                    );
                    say!("{}", self.folder.display())?;
                    return Err(CliError::Interrupted);
                }
                Ok(Outcome::Complete(value)) => {
                    failure = Some(format!("the mean return is {value}"));
                }
                Err(error) => failure = Some(error.message().unwrap_or_default()),
            }
            if let Some(reason) = &failure {
                self.journal.fail(number, reason)?;
                failures += 1;
            }
            if !quiet {
                self.print(number, failure.as_deref())?;
            }
            if let Some(reason) = failure.filter(|_| failures >= MAX_FAILURES) {
                let message =
                    format!("{failures} trials failed one after the other; the last one: {reason}");
                return Err(CliError::Failed(message));
            }
            if self.journal.best().is_some_and(|(best, _)| best == number) {
                self.write_best(&experiment)?;
            }
        }
        if let (false, Some((number, trial))) = (quiet, self.journal.best()) {
            let value = trial.value.unwrap_or(f64::NAN);
            say!(
                "best: trial {number} with {value:.2}; `rekindle train {}` uses its settings",
                self.best_path().display()
            )?;
        }
        say!("{}", self.folder.display())?;
        Ok(())
    }

    /// Returns the number of trials that count.
    fn ended(&self) -> usize {
        self.journal.trials.iter().filter(|trial| trial.objective().is_some()).count()
    }

    /// Returns the values of the next trial. They depend on the trials before it, and not on interruptions.
    fn next_values(&self) -> Vec<f64> {
        let tried = self.journal.trials.iter().filter(|trial| !trial.was_interrupted);
        let observed: Vec<Observed> =
            tried.clone().filter_map(|trial| self.observed(trial)).collect();
        let mut rng = Generator::from_key(&[self.settings.seed, tried.count() as u64]);
        let StudySettings { sampler, startup_trials, .. } = self.settings;
        sampler::next(sampler, &self.space, &observed, startup_trials, &mut rng)
    }

    /// Returns what a trial says about the space; `None` for one without an objective or with other parameters.
    fn observed(&self, trial: &Trial) -> Option<Observed> {
        let names = self.space.0.iter().map(|dimension| trial.params.get(&dimension.name).copied());
        Some(Observed { values: names.collect::<Option<_>>()?, objective: trial.objective()? })
    }

    fn train(
        &mut self,
        number: usize,
        experiment: &Experiment,
        device: &DeviceSpec,
        interrupt: &Interrupt,
    ) -> Result<Outcome> {
        let Self { settings, journal, .. } = self;
        let mut own = Vec::new();
        let mut report = |step: usize, value: f64| {
            if value.is_finite() {
                journal.report(number, step, value)?;
            }
            own.push(value);
            let prune = settings.prune && step < settings.evaluations;
            Ok(prune && is_below_median(&journal.trials, &own, step, settings.startup_trials))
        };
        trial::run(experiment, settings, device, interrupt, &mut report)
    }

    fn print(&self, number: usize, failure: Option<&str>) -> Result<()> {
        let trial = &self.journal.trials[number];
        let outcome = match (trial.state, trial.objective()) {
            (TrialState::Complete, Some(value)) => format!("{value:>10.2}         "),
            (TrialState::Pruned, Some(value)) => format!("{value:>10.2}  pruned "),
            _ => "    failed         ".to_owned(),
        };
        if let Some(reason) = failure {
            say!("trial {number:>4} {}  {}", outcome.trim_end(), reason)?;
            return Ok(());
        }
        let values = self.space.0.iter().map(|dimension| {
            let value = trial.params.get(&dimension.name).copied().unwrap_or_default();
            format!("{}={}", dimension.label(), dimension.rounded(value))
        });
        let best = self.journal.best().map_or(String::new(), |(best, trial)| {
            format!("best {:.2} of trial {best}  ", trial.value.unwrap_or(f64::NAN))
        });
        say!("trial {number:>4} {outcome}{best}{}", values.collect::<Vec<_>>().join(" "))
    }

    fn best_path(&self) -> PathBuf {
        self.folder.join("best.toml")
    }

    /// Writes the best settings as a file for `train`.
    fn write_best(&self, experiment: &Experiment) -> Result<()> {
        let (path, temporary) = (self.best_path(), self.folder.join("best.toml.tmp"));
        fs::write(&temporary, experiment.to_toml()?)
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(CliError::io("write", &path))
    }
}
