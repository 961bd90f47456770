//! The journal of a study, in the format of Optuna's `JournalFileBackend`: a line of JSON for each operation.
//!
//! `optuna-dashboard journal.log` shows the study while trials run. Lines that other programs append, such as notes of
//! the dashboard, are kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rekindle::core::lock::try_lock;
use serde_json::{Value, json};

use super::space::Space;
use crate::error::{CliError, Result};

const CREATE_STUDY: u64 = 0;
const CREATE_TRIAL: u64 = 4;
const SET_PARAM: u64 = 5;
const SET_STATE: u64 = 6;
const SET_INTERMEDIATE: u64 = 7;
const SET_TRIAL_ATTRIBUTE: u64 = 8;

/// The direction of studies: the objective is to be large.
const MAXIMIZE: u64 = 2;
/// The attribute that says why a trial failed.
const REASON: &str = "reason";
/// The reason of trials that ended with the program.
const INTERRUPTED: &str = "interrupted";

/// The state of a trial, by its number in journals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum TrialState {
    #[default]
    Running = 0,
    Complete = 1,
    Pruned = 2,
    Failed = 3,
}

/// A trial of a study.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Trial {
    pub(super) state: TrialState,
    /// Values of the parameters by name, as dimensions count them.
    pub(super) params: BTreeMap<String, f64>,
    /// Objectives after each part of the training, from 1.
    pub(super) intermediate: BTreeMap<usize, f64>,
    pub(super) value: Option<f64>,
    pub(super) was_interrupted: bool,
}

impl Trial {
    pub(super) fn is_complete(&self) -> bool {
        self.state == TrialState::Complete
    }

    /// Returns the objective, or the last intermediate value of a pruned trial.
    pub(super) fn objective(&self) -> Option<f64> {
        match self.state {
            TrialState::Complete => self.value,
            TrialState::Pruned => self.intermediate.values().next_back().copied(),
            TrialState::Running | TrialState::Failed => None,
        }
    }
}

/// A journal that this program writes. The file is locked.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    worker: String,
    has_study: bool,
    pub(super) trials: Vec<Trial>,
}

impl Journal {
    /// Opens a journal, and marks trials as failed that ended with their program. A line that a crash cut off is
    /// removed.
    pub(super) fn open(path: &Path, study: &str) -> Result<Self> {
        let failed = |action| CliError::io(action, path);
        let file = File::options().create(true).truncate(false).read(true).write(true).open(path);
        let mut file = file.map_err(failed("open"))?;
        if !try_lock(&file, path).map_err(failed("lock"))? {
            return Err(CliError::Failed(format!(
                "another program writes `{}`; wait until its study ends, or stop it",
                path.display()
            )));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("read"))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        file.set_len(whole as u64)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(failed("write"))?;
        let worker = format!("rekindle-{}-{}", std::process::id(), nanoseconds());
        let mut journal =
            Self { path: path.to_owned(), file, worker, has_study: false, trials: Vec::new() };
        for (index, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate() {
            if !line.is_empty() {
                let operation = serde_json::from_slice(line).map_err(|error| {
                    let (path, line) = (path.display(), index + 1);
                    CliError::Failed(format!(
                        "{path}, line {line}: not an operation of a journal: {error}"
                    ))
                })?;
                journal.apply(&operation);
            }
        }
        if !journal.has_study {
            let study = json!({ "study_name": study, "directions": [MAXIMIZE] });
            journal.write(CREATE_STUDY, study)?;
        }
        for number in 0..journal.trials.len() {
            if journal.trials[number].state == TrialState::Running {
                journal.fail(number, INTERRUPTED)?;
            }
        }
        Ok(journal)
    }

    /// Reads an operation. Operations on other studies, and unknown ones, are ignored.
    fn apply(&mut self, operation: &Value) {
        let code = operation["op_code"].as_u64();
        let number = operation["trial_id"].as_u64().and_then(|id| usize::try_from(id).ok());
        let mut trial = number.and_then(|number| self.trials.get_mut(number));
        match (code, &mut trial) {
            (Some(CREATE_STUDY), _) => self.has_study = true,
            (Some(CREATE_TRIAL), _) => self.trials.push(Trial::default()),
            (Some(SET_PARAM), Some(trial)) => {
                let (name, value) = (&operation["param_name"], &operation["param_value_internal"]);
                if let (Some(name), Some(value)) = (name.as_str(), value.as_f64()) {
                    trial.params.insert(name.to_owned(), value);
                }
            }
            (Some(SET_STATE), Some(trial)) => {
                trial.state = match operation["state"].as_u64() {
                    Some(1) => TrialState::Complete,
                    Some(2) => TrialState::Pruned,
                    Some(3) => TrialState::Failed,
                    _ => TrialState::Running,
                };
                trial.value = operation["values"][0].as_f64();
            }
            (Some(SET_INTERMEDIATE), Some(trial)) => {
                let (step, value) = (&operation["step"], &operation["intermediate_value"]);
                if let (Some(step), Some(value)) = (step.as_u64(), value.as_f64()) {
                    trial.intermediate.insert(step as usize, value);
                }
            }
            (Some(SET_TRIAL_ATTRIBUTE), Some(trial)) => {
                trial.was_interrupted |= operation["user_attr"][REASON] == INTERRUPTED;
            }
            _ => {}
        }
    }

    /// Appends an operation, and applies it.
    fn write(&mut self, code: u64, mut operation: Value) -> Result<()> {
        operation["op_code"] = code.into();
        operation["worker_id"] = self.worker.as_str().into();
        self.file
            .write_all(format!("{operation}\n").as_bytes())
            .map_err(CliError::io("write", &self.path))?;
        self.apply(&operation);
        Ok(())
    }

    /// Starts a trial with values for the dimensions of the space, and returns its number.
    pub(super) fn start(&mut self, space: &Space, values: &[f64]) -> Result<usize> {
        let number = self.trials.len();
        self.write(CREATE_TRIAL, json!({ "study_id": 0, "datetime_start": now() }))?;
        for (dimension, value) in space.0.iter().zip(values) {
            let operation = json!({
                "trial_id": number,
                "param_name": dimension.name,
                "param_value_internal": value,
                "distribution": dimension.distribution().to_string(),
            });
            self.write(SET_PARAM, operation)?;
        }
        Ok(number)
    }

    /// Records the objective after a part of the training.
    pub(super) fn report(&mut self, number: usize, step: usize, value: f64) -> Result<()> {
        let operation = json!({ "trial_id": number, "step": step, "intermediate_value": value });
        self.write(SET_INTERMEDIATE, operation)
    }

    /// Ends a trial with its objective.
    pub(super) fn finish(&mut self, number: usize, state: TrialState, value: f64) -> Result<()> {
        self.end(number, state, json!([value]))
    }

    /// Ends a trial without an objective.
    pub(super) fn fail(&mut self, number: usize, reason: &str) -> Result<()> {
        let attribute = json!({ "trial_id": number, "user_attr": { REASON: reason } });
        self.write(SET_TRIAL_ATTRIBUTE, attribute)?;
        self.end(number, TrialState::Failed, Value::Null)
    }

    /// Ends a trial that the user interrupted.
    pub(super) fn interrupt(&mut self, number: usize) -> Result<()> {
        self.fail(number, INTERRUPTED)
    }

    fn end(&mut self, number: usize, state: TrialState, values: Value) -> Result<()> {
        let operation = json!({
            "trial_id": number,
            "state": state as u64,
            "values": values,
            "datetime_complete": now(),
        });
        self.write(SET_STATE, operation)
    }

    /// Returns the complete trial with the largest objective.
    pub(super) fn best(&self) -> Option<(usize, &Trial)> {
        let complete = self.trials.iter().enumerate().filter(|(_, trial)| trial.is_complete());
        let value = |trial: &Trial| trial.value.unwrap_or(f64::NEG_INFINITY);
        // Of equal ones, the first.
        complete.reduce(|best, other| if value(other.1) > value(best.1) { other } else { best })
    }
}

/// Returns the time, in the form of ISO 8601 that Python reads, in UTC.
fn now() -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    iso(time.as_secs(), time.subsec_micros())
}

fn iso(seconds: u64, micros: u32) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 1 March of the year 0 in cycles of 400 years, so that a leap day ends a year (Hinnant,
    // "chrono-Compatible Low-Level Date Algorithms").
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}")
}

fn nanoseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn space() -> Space {
        let text = "\"training.lr\" = { low = 1e-5, high = 1e-3, log = true }\n\"training.gamma\" = [0.9, 0.99]";
        Space::from_toml(text, "space").unwrap()
    }

    #[test]
    fn a_journal_is_read_back_and_interrupted_trials_have_failed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.log");
        let mut journal = Journal::open(&path, "study").unwrap();
        let first = journal.start(&space(), &[1.0, 2e-4]).unwrap();
        journal.report(first, 1, 10.0).unwrap();
        journal.finish(first, TrialState::Complete, 12.5).unwrap();
        let second = journal.start(&space(), &[0.0, 3e-4]).unwrap();
        journal.report(second, 1, -1.0).unwrap();
        journal.finish(second, TrialState::Pruned, -1.0).unwrap();
        let third = journal.start(&space(), &[0.0, 3e-4]).unwrap();
        journal.fail(third, "no settings").unwrap();
        journal.start(&space(), &[0.0, 4e-4]).unwrap();
        let refused = Journal::open(&path, "study").unwrap_err().to_string();
        assert!(refused.contains("another program writes"), "{refused}");
        let written = journal.trials.clone();
        drop(journal);
        // A crash cuts off a line.
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"op_code\": 5, \"tri");
        fs::write(&path, text).unwrap();

        let again = Journal::open(&path, "study").unwrap();
        assert_eq!(again.trials[..3], written[..3]);
        assert_eq!(again.trials[0].params["training.lr"], 2e-4);
        assert_eq!(again.trials[0].objective(), Some(12.5));
        assert_eq!(again.trials[1].objective(), Some(-1.0));
        assert!(!again.trials[2].was_interrupted && again.trials[3].was_interrupted);
        assert_eq!(again.trials[3].state, TrialState::Failed);
        assert_eq!(again.best().map(|(number, _)| number), Some(0));
        let lines = fs::read_to_string(&path).unwrap();
        assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{lines}");
        assert_eq!(lines.matches("study_name").count(), 1);
    }

    #[test]
    fn a_file_of_something_else_is_refused_with_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.log");
        fs::write(&path, "{}\nhello\n").unwrap();
        let error = Journal::open(&path, "study").unwrap_err().to_string();
        assert!(error.contains("line 2: not an operation"), "{error}");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(iso(0, 0), "1970-01-01T00:00:00.000000");
        assert_eq!(iso(951_827_696, 7), "2000-02-29T12:34:56.000007");
        assert_eq!(iso(1_796_083_199, 999_999), "2026-11-30T23:59:59.999999");
    }
}
