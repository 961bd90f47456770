//! The options of Python environments.

use std::thread;
use std::time::Duration;

use rekindle_env::{EnvConfig, EnvError};
use serde::Serialize;
use serde_json::{Map, Value as Json};

/// The options that are not keyword arguments of the environment.
const OWN: [&str; 12] = [
    "python",
    "python_path",
    "num_workers",
    "timeout_s",
    "start_timeout_s",
    "wrappers",
    "check_observations",
    "show_output",
    "handover",
    "native_vector",
    "api",
    "kwargs",
];

/// Seconds that a worker may take, unless the options say otherwise.
const TIMEOUT_S: f64 = 120.0;

/// What to do about observations that are NaN or outside their space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Off,
    Warn,
    Error,
}

/// An interface of PettingZoo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Api {
    /// All agents act at the same time.
    Parallel,
    /// Agents act in turns.
    Aec,
}

/// How this program and its workers wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Handover {
    /// On words of the shared memory, which Linux wakes.
    Futex,
    /// On lines in pipes.
    Pipe,
}

/// A wrapper and its keyword arguments.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Wrapper {
    name: String,
    kwargs: Map<String, Json>,
}

/// The options of a Python environment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) python: Option<String>,
    pub(crate) python_path: Vec<String>,
    pub(crate) num_workers: Option<usize>,
    /// How long a reset or a step may take.
    pub(crate) timeout: Duration,
    /// How long a worker may take to start.
    pub(crate) start_timeout: Duration,
    pub(crate) wrappers: Vec<Wrapper>,
    pub(crate) check: Check,
    pub(crate) show_output: bool,
    pub(crate) handover: Handover,
    /// Whether Python steps all environments of a worker as one vector.
    pub(crate) native_vector: bool,
    /// The interface of an environment with several agents. `None` chooses the interface that the module
    /// has.
    pub(crate) api: Option<Api>,
    /// Keyword arguments of the environment.
    pub(crate) kwargs: Map<String, Json>,
}

impl Settings {
    /// Reads the options of an environment.
    ///
    /// # Errors
    /// [`EnvError::InvalidOption`].
    pub(crate) fn of(config: &EnvConfig) -> Result<Self, EnvError> {
        let mut kwargs = config.without(&OWN).0;
        match config.get("kwargs") {
            None => {}
            Some(Json::Object(more)) => kwargs.extend(more.clone()),
            Some(other) => return Err(invalid("kwargs", "an object", other)),
        }
        Ok(Self {
            python: config.get_str("python")?.map(str::to_owned),
            python_path: list(config, "python_path", "a list of directories", |path| {
                path.as_str().map(str::to_owned)
            })?,
            num_workers: num_workers(config)?,
            timeout: timeout(config, "timeout_s")?,
            start_timeout: timeout(config, "start_timeout_s")?,
            wrappers: list(
                config,
                "wrappers",
                "a list of names, or of objects such as {\"TimeLimit\": {\"max_episode_steps\": 100}}",
                wrapper,
            )?,
            check: match config.get_str("check_observations")? {
                None | Some("warn") => Check::Warn,
                Some("error") => Check::Error,
                Some("off") => Check::Off,
                Some(other) => {
                    let expected = "\"warn\", \"error\" or \"off\"";
                    return Err(invalid("check_observations", expected, &other.into()));
                }
            },
            api: match config.get_str("api")? {
                None => None,
                Some("parallel") => Some(Api::Parallel),
                Some("aec") => Some(Api::Aec),
                Some(other) => {
                    return Err(invalid("api", "\"parallel\" or \"aec\"", &other.into()));
                }
            },
            show_output: config.get_bool("show_output")?.unwrap_or(true),
            handover: match config.get_str("handover")? {
                None if cfg!(target_os = "linux") => Handover::Futex,
                Some("futex") if cfg!(target_os = "linux") => Handover::Futex,
                None | Some("pipe") => Handover::Pipe,
                Some(other) => {
                    let expected = "\"pipe\", or on Linux \"futex\"";
                    return Err(invalid("handover", expected, &other.into()));
                }
            },
            native_vector: config.get_bool("native_vector")?.unwrap_or(false),
            kwargs,
        })
    }

    /// Returns the number of environments of each worker.
    pub(crate) fn shares(&self, num_envs: usize) -> Vec<usize> {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        // A native vector has threads of its own.
        let workers = if self.native_vector { 1 } else { self.num_workers.unwrap_or_else(cores) };
        let workers = workers.min(num_envs);
        (0..workers).map(|i| num_envs / workers + usize::from(i < num_envs % workers)).collect()
    }
}

fn invalid(option: &str, expected: &str, found: &Json) -> EnvError {
    let (option, expected) = (option.to_owned(), expected.to_owned());
    EnvError::InvalidOption { option, expected, found: found.to_string() }
}

fn num_workers(config: &EnvConfig) -> Result<Option<usize>, EnvError> {
    let Some(number) = config.get("num_workers") else { return Ok(None) };
    let positive = number.as_u64().and_then(|number| usize::try_from(number).ok());
    match positive.filter(|&number| number > 0) {
        Some(number) => Ok(Some(number)),
        None => Err(invalid("num_workers", "a whole number of at least 1", number)),
    }
}

fn timeout(config: &EnvConfig, option: &str) -> Result<Duration, EnvError> {
    let seconds = config.get_f64(option)?.unwrap_or(TIMEOUT_S);
    match Duration::try_from_secs_f64(seconds) {
        Ok(timeout) if !timeout.is_zero() => Ok(timeout),
        _ => Err(invalid(option, "a positive number of seconds", &seconds.into())),
    }
}

fn list<T>(
    config: &EnvConfig,
    option: &str,
    expected: &str,
    read: impl Fn(&Json) -> Option<T>,
) -> Result<Vec<T>, EnvError> {
    let Some(value) = config.get(option) else { return Ok(Vec::new()) };
    let entries = value.as_array().and_then(|entries| entries.iter().map(read).collect());
    entries.ok_or_else(|| invalid(option, expected, value))
}

/// Reads `"name"` or `{"name": {..}}`.
fn wrapper(entry: &Json) -> Option<Wrapper> {
    match entry {
        Json::String(name) => Some(Wrapper { name: name.clone(), kwargs: Map::new() }),
        Json::Object(entry) if entry.len() == 1 => {
            let (name, kwargs) = entry.iter().next()?;
            Some(Wrapper { name: name.clone(), kwargs: kwargs.as_object()?.clone() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(options: Json) -> Result<Settings, EnvError> {
        Settings::of(&serde_json::from_value(options).unwrap())
    }

    #[test]
    fn other_options_are_keyword_arguments() {
        let found = settings(json!({
            "frame_skip": 5, "num_workers": 2, "timeout_s": 0.5, "kwargs": {"python": "snake"},
            "wrappers": ["FlattenObservation", {"TimeLimit": {"max_episode_steps": 9}}],
        }));
        let found = found.unwrap();
        assert_eq!(Json::Object(found.kwargs), json!({"frame_skip": 5, "python": "snake"}));
        assert_eq!((found.python, found.num_workers), (None, Some(2)));
        assert_eq!(found.timeout, Duration::from_millis(500));
        let names: Vec<_> = found.wrappers.iter().map(|wrapper| wrapper.name.as_str()).collect();
        assert_eq!(names, ["FlattenObservation", "TimeLimit"]);
        assert_eq!(found.wrappers[1].kwargs["max_episode_steps"], 9);
    }

    #[test]
    fn invalid_options_are_refused_with_what_is_expected() {
        for (options, expected) in [
            (json!({"num_workers": 0}), "a whole number of at least 1"),
            (json!({"num_workers": 1.5}), "a whole number of at least 1"),
            (json!({"timeout_s": -1}), "a positive number of seconds"),
            (json!({"start_timeout_s": 1e300}), "a positive number of seconds"),
            (json!({"wrappers": [{"A": {}, "B": {}}]}), "TimeLimit"),
            (json!({"wrappers": "TimeLimit"}), "TimeLimit"),
            (json!({"python_path": "."}), "a list of directories"),
            (json!({"check_observations": "maybe"}), "\"warn\", \"error\" or \"off\""),
            (json!({"kwargs": []}), "an object"),
            (json!({"api": "turns"}), "\"parallel\" or \"aec\""),
            (json!({"handover": "mail"}), "\"pipe\""),
            (json!({"python": 3}), "a string"),
        ] {
            let message = settings(options).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn environments_are_split_evenly_and_no_worker_is_idle() {
        let workers = |number| settings(json!({"num_workers": number})).unwrap();
        assert_eq!(workers(2).shares(16), [8, 8]);
        assert_eq!(workers(3).shares(8), [3, 3, 2]);
        assert_eq!(workers(4).shares(2), [1, 1]);
        assert_eq!(settings(json!({"native_vector": true})).unwrap().shares(5), [5]);
        assert_eq!(settings(json!({})).unwrap().shares(5).iter().sum::<usize>(), 5);
    }
}
