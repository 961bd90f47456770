//! The messages between workers and this program, as JSON lines.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::settings::{Api, Handover, Wrapper};
use crate::source::Source;
use crate::spaces::Description;

/// The first message to a worker: the environments to make.
#[derive(Debug, Serialize)]
pub(crate) struct Setup<'a> {
    pub(crate) source: &'a Source,
    pub(crate) kwargs: &'a Map<String, Json>,
    pub(crate) wrappers: &'a [Wrapper],
    pub(crate) python_path: &'a [String],
    /// Directories in which Python looks for modules last.
    pub(crate) search_path: &'a [String],
    pub(crate) api: Option<Api>,
    pub(crate) num_envs: usize,
    /// The index of the worker's first environment in the vector.
    pub(crate) first: usize,
    /// Whether the step that ends an episode resets its environment.
    pub(crate) autoreset: bool,
    /// Whether an observation of another type than its space is an error.
    pub(crate) strict: bool,
    /// The process id of this program.
    pub(crate) parent: u32,
    pub(crate) handover: Handover,
    /// Whether to make one vector of all environments.
    pub(crate) native_vector: bool,
}

/// A message of a worker.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Message {
    /// An environment was made.
    Ready { observation_space: Description, action_space: Description },
    /// The worker cannot start.
    Refused(Refusal),
    /// The shared memory is mapped, so that commands can follow.
    Mapped,
    /// The next column of infos has this name.
    Info { name: String },
    /// A picture. Its bytes follow the line.
    Frame {
        height: usize,
        width: usize,
        fps: f64,
        #[serde(skip)]
        pixels: Vec<u8>,
    },
    /// An environment could not be rendered.
    NotRendered { reason: String },
    /// The command is done; only with pipes.
    Done,
    /// An environment raised an exception.
    Failed { index: usize, error: String, message: String, traceback: String },
}

/// Why a worker does not start.
#[derive(Debug, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub(crate) enum Refusal {
    Missing { package: String },
    TooOld { package: String, found: String, oldest: String },
    UnknownId { message: String, close: Vec<String> },
    UnknownWrapper { name: String, close: Vec<String> },
    Dependency { message: String },
    NoModule { module: String },
    NoCallable { message: String },
    NoEnvironment { message: String },
    Space { role: String, space_kind: String, space: String },
    Raised { error: String, message: String, traceback: String },
    Memory,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_by_kind_and_reason() {
        let read = |text: &str| serde_json::from_str::<Message>(text);
        assert!(matches!(read(r#"{"kind":"mapped"}"#), Ok(Message::Mapped)));
        let missing = r#"{"kind":"refused","reason":"missing","package":"numpy"}"#;
        let Ok(Message::Refused(Refusal::Missing { package })) = read(missing) else { panic!() };
        assert_eq!(package, "numpy");
        for invalid in ["{}", r#"{"kind":"cheers"}"#, r#"{"kind":"info"}"#, "[]", "3"] {
            assert!(read(invalid).is_err(), "{invalid}");
        }
    }
}
