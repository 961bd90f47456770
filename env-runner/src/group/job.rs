//! The work of one runner in a call.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rekindle_core::panics;

use crate::env_runner::{Amount, EnvRunner, SampleOptions};
use crate::error::{Result, RunnerError};
use crate::experience::Experience;

/// A runner with the amount that it must collect.
#[derive(Debug)]
pub(super) struct Job {
    /// The number of the call.
    pub(super) call: u64,
    /// Index of the runner in the group.
    pub(super) worker: usize,
    pub(super) runner: Box<dyn EnvRunner>,
    pub(super) amount: Amount,
    pub(super) options: SampleOptions,
    /// Whether the runner was started individually.
    pub(super) started: bool,
    /// Work on the experience, on the same thread.
    pub(super) then: Option<Work>,
}

/// Work on the experience of a runner, on its thread.
pub(super) struct Work(Box<dyn FnOnce(&Experience) -> Output + Send>);

/// What work on the experience returned.
pub(super) type Output = Box<dyn Any + Send>;

impl Work {
    pub(super) fn new<T: Any + Send>(work: impl FnOnce(&Experience) -> T + Send + 'static) -> Self {
        Self(Box::new(move |experience| Box::new(work(experience))))
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Work")
    }
}

/// A runner with its result.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) call: u64,
    pub(super) worker: usize,
    pub(super) runner: Box<dyn EnvRunner>,
    pub(super) amount: Amount,
    /// Whether the runner was started individually.
    pub(super) started: bool,
    pub(super) result: Result<Experience>,
    /// What the work on the experience returned, or the error of its panic.
    pub(super) output: Option<Result<Output>>,
}

impl Job {
    /// Collects on the calling thread. Converts a panic into an error of this runner.
    pub(super) fn run(self) -> Done {
        let Self { call, worker, mut runner, amount, options, started, then } = self;
        let collect = AssertUnwindSafe(|| runner.collect(amount, options));
        let result = catch_unwind(collect).unwrap_or_else(|panic| {
            // The running episodes are in an unknown state.
            runner.reset_episodes();
            let message = panics::message(&*panic).into();
            Err(RunnerError::Panicked { runner: worker, message })
        });
        let output = result.as_ref().ok().zip(then).map(|(experience, Work(work))| {
            // The runner is not to blame: it has done its part.
            catch_unwind(AssertUnwindSafe(|| work(experience))).map_err(|panic| {
                let message = panics::message(&*panic).into();
                RunnerError::WorkPanicked { runner: worker, message }
            })
        });
        Done { call, worker, runner, amount, started, result, output }
    }
}
