//! Errors of algorithms.

use std::path::{Path, PathBuf};

use rekindle_catalog::CatalogError;
use rekindle_checkpoint::CheckpointError;
use rekindle_core::{ConfigError, CoreError};
use rekindle_env::{EnvError, did_you_mean, suggestion};
use rekindle_env_runner::RunnerError;
use rekindle_learner::LearnerError;
use rekindle_metrics::MetricsError;
use rekindle_offline::OfflineError;
use rekindle_rl_module::ModuleError;
use thiserror::Error;

/// An error of an algorithm. Every message says what to do.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum AlgorithmError {
    /// A setting whose value is not allowed.
    #[error("config: {0}")]
    Config(#[from] ConfigError),
    /// Settings of one module that are invalid.
    #[error("config: the overrides for module `{id}` are invalid: {reason}")]
    ModuleOverrides {
        /// The module.
        id: String,
        /// The reason.
        reason: String,
    },
    /// A configuration that cannot be read: an unknown key, a missing or a wrong value.
    #[error("config: {0}")]
    ConfigFormat(#[source] serde_json::Error),
    /// Text that is not TOML, or that holds a value of a kind that no setting has.
    #[error("config: {reason}")]
    ConfigSyntax {
        /// The reason, with the line if it is known.
        reason: String,
    },
    /// A setting that does not exist in its section, although another section has one with the same name.
    #[error("config: {error}\nthe setting `{name}` is {sections}")]
    ConfigSection {
        /// The name of the setting.
        name: String,
        /// The names with their sections.
        sections: String,
        /// The original error.
        error: String,
    },
    /// An invalid settings file.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong in the file.
        source: Box<Self>,
    },
    /// An algorithm that does not exist.
    #[error("unknown algorithm `{name}`; {}", did_you_mean(name, known))]
    UnknownAlgorithm {
        /// The requested name.
        name: String,
        /// The names of all algorithms.
        known: Vec<String>,
    },
    /// A file or directory of a run that could not be written or read.
    #[error("cannot {action} `{}`: {source}", path.display())]
    RunFolder {
        /// The action that failed, such as `write`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A directory that is not the folder of a run.
    #[error("`{}` is not the folder of a run: it has no config.toml and checkpoints", path.display())]
    NotARun {
        /// The directory.
        path: PathBuf,
    },
    /// Settings of a run that another version of rekindle wrote, and that this version does not know.
    #[error(
        "{source}; the run was written by rekindle {version}, and this program is rekindle {}",
        env!("CARGO_PKG_VERSION")
    )]
    OtherVersion {
        /// The version that wrote the run.
        version: String,
        /// What this version does not know.
        source: Box<Self>,
    },
    /// A run folder that another program is writing.
    #[error(
        "{} belongs to a run that has not ended; stop that run first, or choose another folder",
        path.display()
    )]
    RunInProgress {
        /// The folder.
        path: PathBuf,
    },
    /// An execution plan that cannot learn from batches of other processes.
    #[error(
        "the execution plan `{plan}` cannot learn from batches that other processes collect; use PPO, IMPALA or APPO on the host, or train in one process"
    )]
    NotRemote {
        /// The plan.
        plan: String,
    },
    /// An execution plan whose updates cannot be shared with learners in other processes.
    #[error(
        "the execution plan `{plan}` cannot share its updates with learners in other processes, because {reason}; use one learner, or another plan"
    )]
    NotLed {
        /// The plan.
        plan: String,
        /// The reason.
        reason: &'static str,
    },
    /// Bytes of another process that are damaged, or of another kind.
    #[error("{what} of another process cannot be read: {reason}")]
    Frame {
        /// `weights` or `a batch`, for example.
        what: &'static str,
        /// The reason.
        reason: String,
    },
    /// A checkpoint that a run does not have.
    #[error("{}", no_checkpoint(run, which, available))]
    NoCheckpoint {
        /// The folder of the run.
        run: PathBuf,
        /// The requested checkpoint.
        which: String,
        /// The names of the checkpoints that the run has.
        available: Vec<String>,
    },
    /// A checkpoint of something that is not an algorithm.
    #[error(
        "this is not the checkpoint of an algorithm; pass the directory that `Algorithm::save_to_path` wrote, or restore a part of one with `Algorithm::restore_component`"
    )]
    NotAnAlgorithm,
    /// A checkpoint of a whole algorithm, to restore one component from.
    #[error(
        "this is the checkpoint of an algorithm, and `{component}` is a directory of it; pass `{}`", path.display()
    )]
    WholeAlgorithm {
        /// The component to restore.
        component: String,
        /// The directory of this component.
        path: PathBuf,
    },
    /// A checkpoint of another algorithm.
    #[error(
        "the checkpoint belongs to the algorithm `{found}`, not `{expected}`; restore it with the training settings of `{found}`, as in `Algorithm::from_checkpoint::<PpoTraining>` for `PPO`"
    )]
    WrongAlgorithm {
        /// The requested algorithm.
        expected: String,
        /// The algorithm in the file.
        found: String,
    },
    /// A checkpoint of a variant whose code was not given again.
    #[error(
        "the checkpoint belongs to `{name}`, an algorithm with code of yours, which checkpoints do not hold; give it again: `Algorithm::from_checkpoint_with(path, device, |config| config.{parts}(…))`"
    )]
    MissingCode {
        /// The name of the variant.
        name: String,
        /// The methods of the configuration that gave the code.
        parts: String,
    },
    /// A checkpoint whose environment starts another program.
    #[error(
        "the checkpoint has settings of the environment `{env}`, which starts another program with them; if you trust the checkpoint, allow it: `--allow-python` of the program `rekindle`, `allow_python=True` in Python, or in Rust `Algorithm::from_checkpoint_with(path, device, |config| config.allow_external_environments(true))`"
    )]
    ExternalEnvironment {
        /// The id of the environment.
        env: String,
    },
    /// A checkpoint of an algorithm with another execution plan.
    #[error(
        "the checkpoint was made with the execution plan `{found}`, and the configuration has `{expected}`; give the same plan again (`from_checkpoint_with(…, |config| config.with_execution_plan(…))`)"
    )]
    WrongExecutionPlan {
        /// The configured plan.
        expected: String,
        /// The plan in the file.
        found: String,
    },
    /// Recorded data of a restored run that cannot be opened.
    #[error("the run needs its recorded data, which cannot be opened: {reason}")]
    AbsentData {
        /// What is wrong.
        reason: String,
    },
    /// Recorded data that differ from those that a run began to learn from.
    #[error(
        "the run began with other data; give it the same data again, or start a new run, which may take over the weights (restore the component `learner` alone)"
    )]
    OtherData,
    /// An execution plan that cannot work with a loss.
    #[error("the execution plan `{plan}` does not fit: {source}")]
    PlanDoesNotFit {
        /// The plan.
        plan: String,
        /// What does not fit.
        source: CallbackError,
    },
    /// Recorded data of a module that the configuration does not have.
    #[error(
        "the data have steps of module `{id}`, which no agent is mapped to; the modules are {known}: name one of them in the data, or add `{id}` to `multi_agent.policies`"
    )]
    NoModuleForData {
        /// The module of the data.
        id: String,
        /// The modules that agents act with.
        known: String,
    },
    /// Recorded data whose spaces differ from those of the environment.
    #[error(
        "the data of module `{id}` have {found}, and the module has {expected}; set the environment and the connectors with which the data were recorded, or declare these spaces for the data"
    )]
    OtherSpacesInData {
        /// The id of the module.
        id: String,
        /// The spaces of the module.
        expected: String,
        /// The spaces of the data.
        found: String,
    },
    /// Recorded data that cannot be read.
    #[error(transparent)]
    Offline(#[from] OfflineError),
    /// A path that names no component.
    #[error(
        "`{0}` is not a component of an algorithm that can be restored alone: use `learner`, `learner/rl_module`, `learner/rl_module/<module_id>`, `learner/optimizer`, `learner/optimizer/<module_id>`, `learner/optimizer/<module_id>/<name>` or `env_runners`"
    )]
    UnknownComponent(String),
    /// A module whose spaces differ from those of the module to replace.
    #[error(
        "a module with the {field} {found} cannot replace `{id}`, whose {field} is {expected}; build it from the spec of `{id}` or with that space"
    )]
    OtherSpace {
        /// The id of the module to replace.
        id: String,
        /// `observation space` or `action space`.
        field: &'static str,
        /// The space of the current module.
        expected: String,
        /// The space of the new one.
        found: String,
    },
    /// A callback or a custom evaluation function that returned an error or panicked.
    #[error("the callback `{hook}` failed: {source}")]
    Callback {
        /// The hook.
        hook: &'static str,
        /// The error that it returned.
        source: CallbackError,
    },
    /// A module that agents are mapped to in evaluation and that does not exist in training.
    #[error(
        "evaluation maps agents to module `{id}`, which is not one of the policies [{known}]; map them to one of those in `evaluation_config`{}",
        suggestion(id, known)
    )]
    NoModuleToEvaluate {
        /// The module.
        id: String,
        /// The ids of the modules.
        known: String,
    },
    /// An evaluation environment with other spaces than the training environment.
    #[error(
        "in evaluation, module `{id}` would have {found}, but it was built for {expected}; evaluate in an environment with the same spaces"
    )]
    OtherSpacesInEvaluation {
        /// The module.
        id: String,
        /// Observation and action space in training.
        expected: String,
        /// Observation and action space in evaluation.
        found: String,
    },
    /// An environment on the device that evaluation cannot step on the host.
    #[error(
        "evaluation steps `{env}` on the host, where no environment has this id; register the same dynamics with `register`, or name another environment with `evaluation_config.env`"
    )]
    NoEnvOnHost {
        /// The id of the environment.
        env: String,
    },
    /// A module without agents whose spaces are unknown.
    #[error(
        "no agent plays with module `{id}`, and agents differ in their spaces; set the spaces in its spec with `rl_module_specs`"
    )]
    NoSpaces {
        /// The id of the module.
        id: String,
    },
    /// A module that no agent is mapped to.
    #[error(
        "no agent is mapped to module `{id}`; choose one of [{known}] with `policy_bundle_of`{}",
        suggestion(id, known)
    )]
    NotPlayed {
        /// The requested id.
        id: String,
        /// The ids of the modules that agents are mapped to.
        known: String,
    },
    /// An evaluation that took too long.
    #[error(
        "the evaluation did not finish within {seconds} s (`evaluation_sample_timeout_s`): {played} of {wanted} {unit}; raise the limit, lower `evaluation_duration`, or end episodes with `max_episode_steps`"
    )]
    EvaluationTimeout {
        /// The limit.
        seconds: f64,
        /// Number of completed episodes or steps.
        played: usize,
        /// Number of requested episodes or steps.
        wanted: usize,
        /// `episodes` or `environment steps`.
        unit: &'static str,
    },
    /// The learner's thread could not be started.
    #[error(
        "the thread of the learner could not be started; raise the limit on threads of this process, or use a synchronous algorithm"
    )]
    NoLearnerThread(#[source] std::io::Error),
    /// The learner failed.
    #[error(transparent)]
    Learner(#[from] LearnerError),
    /// A runner failed.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// A module failed.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A model or distribution failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A batch, tensor or device failed.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// An environment failed.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// A metric failed.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A checkpoint could not be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// The message of [`AlgorithmError::NoCheckpoint`].
fn no_checkpoint(run: &Path, which: &str, available: &[String]) -> String {
    let run = run.display();
    match available.is_empty() {
        true => format!("{run} has no checkpoint: the run ended before it saved one"),
        false => format!("{run} has no checkpoint `{which}`; it has: {}", available.join(", ")),
    }
}

/// Any error of users' code.
pub type CallbackError = Box<dyn std::error::Error + Send + Sync>;

/// A result of the algorithms crate.
pub type Result<T, E = AlgorithmError> = std::result::Result<T, E>;
