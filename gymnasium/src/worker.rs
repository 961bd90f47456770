//! A worker: a process that steps several environments, and the memory that is shared with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rekindle_env::render::Frame;
use rekindle_env::{EnvConfig, EnvError};
use serde_json::{Map, Value as Json, json};

use crate::columns::{Columns, Command};
use crate::error::{GymnasiumError, Result};
use crate::interpreter::Interpreter;
use crate::layout::{Layout, MAX_INFOS};
use crate::messages::{Message, Refusal, Setup};
use crate::process::{Deadline, Process};
use crate::settings::{Check, Handover, Settings};
use crate::shared_memory::{sleep, wake};
use crate::source::Source;
use crate::spaces::{Described, Description};

/// Interval between checks whether a worker that does not answer still runs.
const LIVENESS: Duration = Duration::from_millis(20);

/// The settings that the workers of a vector share.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) id: Arc<str>,
    pub(crate) settings: Settings,
    source: Source,
    interpreter: Interpreter,
    autoreset: bool,
}

/// The spaces of the environments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spaces {
    pub(crate) observations: Described,
    pub(crate) actions: Described,
}

impl Plan {
    /// Reads an id and its options. Nothing is started.
    ///
    /// # Errors
    /// If the id or an option is invalid.
    pub(crate) fn new(
        id: &Arc<str>,
        config: &EnvConfig,
        autoreset: bool,
    ) -> Result<Self, EnvError> {
        let settings = Settings::of(config)?;
        let interpreter = Interpreter::find(settings.python.as_deref());
        let (id, source) = (Arc::clone(id), Source::parse(id)?);
        Ok(Self { id, settings, source, interpreter, autoreset })
    }

    /// Starts a worker for the environments from `first` on, without waiting for it.
    ///
    /// # Errors
    /// If the interpreter cannot be started.
    pub(crate) fn start(&self, first: usize, num_envs: usize) -> Result<Starting> {
        if cfg!(not(any(target_os = "linux", target_os = "macos"))) {
            return Err(GymnasiumError::Platform);
        }
        let deadline = Deadline::new("start", self.settings.start_timeout);
        let mut process = Process::start(&self.interpreter, self.settings.show_output)?;
        process.send(&Setup {
            source: &self.source,
            kwargs: &self.settings.kwargs,
            wrappers: &self.settings.wrappers,
            python_path: &self.settings.python_path,
            search_path: &self.interpreter.search_path,
            api: self.settings.api,
            num_envs,
            first,
            autoreset: self.autoreset,
            strict: self.settings.check == Check::Error,
            parent: std::process::id(),
            handover: self.settings.handover,
            native_vector: self.settings.native_vector,
        })?;
        Ok(Starting { process, deadline, num_envs })
    }

    /// The error of a worker that does not start.
    fn refused(&self, refusal: Refusal) -> GymnasiumError {
        let (env, python) = (self.id.to_string(), self.interpreter.name());
        match refusal {
            Refusal::Missing { package } => GymnasiumError::MissingPackage { python, package },
            Refusal::TooOld { package, found, oldest } => {
                GymnasiumError::TooOld { python, package, found, oldest }
            }
            Refusal::UnknownId { message, close } => {
                GymnasiumError::UnknownId { env, message, close }
            }
            Refusal::UnknownWrapper { name, close } => {
                GymnasiumError::UnknownWrapper { name, close }
            }
            Refusal::Dependency { message } => GymnasiumError::MissingDependency { env, message },
            Refusal::NoModule { module } => GymnasiumError::MissingModule { python, env, module },
            Refusal::NoCallable { message } => GymnasiumError::MissingCallable { env, message },
            Refusal::NoEnvironment { message } => GymnasiumError::NoEnvironment { env, message },
            Refusal::Space { role, space_kind: kind, space } => {
                GymnasiumError::UnsupportedSpace { env, role, kind, space }
            }
            Refusal::Raised { error, message, traceback } => {
                GymnasiumError::Raised { error, message, traceback }
            }
            Refusal::Memory => GymnasiumError::protocol("it found another header in its memory"),
        }
    }
}

/// A worker that makes its first environment.
#[derive(Debug)]
pub(crate) struct Starting {
    process: Process,
    deadline: Deadline,
    num_envs: usize,
}

impl Starting {
    /// Waits until the first environment is made, and returns the spaces.
    ///
    /// # Errors
    /// The reason why the worker does not start.
    pub(crate) fn spaces(&mut self, plan: &Plan) -> Result<Spaces> {
        let (observations, actions) = match self.process.receive(&self.deadline)? {
            Message::Ready { observation_space, action_space } => (observation_space, action_space),
            Message::Refused(refusal) => return Err(plan.refused(refusal)),
            other => return Err(unexpected(&other)),
        };
        let read = |role, space: Description| Described::new(&plan.id, role, &space);
        Ok(Spaces {
            observations: read("observation", observations)?,
            actions: read("action", actions)?,
        })
    }

    /// Waits until the first environment is made, and gives the worker its memory.
    ///
    /// # Errors
    /// [`GymnasiumError::SpacesDiffer`] if the environment has other spaces than `expected`, and the
    /// reason why the worker does not start.
    pub(crate) fn finish(mut self, plan: &Plan, expected: &Spaces) -> Result<Worker> {
        let found = self.spaces(plan)?;
        for (role, first, other) in [
            ("observation", &expected.observations, &found.observations),
            ("action", &expected.actions, &found.actions),
        ] {
            if first != other {
                let [first, other] = [first, other].map(|described| described.space.to_string());
                let env = plan.id.to_string();
                return Err(GymnasiumError::SpacesDiffer { env, role, first, other });
            }
        }
        self.map(plan, expected)
    }

    /// Gives the worker its memory.
    ///
    /// # Errors
    /// If the memory cannot be made, or the worker does not map it.
    pub(crate) fn map(mut self, plan: &Plan, spaces: &Spaces) -> Result<Worker> {
        let Spaces { observations, actions } = spaces;
        let layout = Layout::new(self.num_envs, &observations.leaves, &actions.leaves)?;
        let handover = plan.settings.handover;
        let mut columns = Columns::new(layout, handover)?;
        let (origin, layout) = (columns.memory.origin(), &columns.layout);
        self.process
            .send(&json!({"origin": origin, "size": layout.size, "layout": layout.to_json()}))?;
        match self.process.receive(&self.deadline)? {
            Message::Mapped => {}
            Message::Refused(refusal) => return Err(plan.refused(refusal)),
            other => return Err(unexpected(&other)),
        }
        columns.memory.close();
        Ok(Worker {
            process: self.process,
            columns,
            info_names: Vec::new(),
            failures: Vec::new(),
            rendered: None,
            handover,
            timeout: plan.settings.timeout,
        })
    }
}

/// A worker that waits for commands.
#[derive(Debug)]
pub(crate) struct Worker {
    process: Process,
    pub(crate) columns: Columns,
    /// The names of the infos, in the order of their columns.
    pub(crate) info_names: Vec<String>,
    /// The exceptions of the last command, by environment.
    pub(crate) failures: Vec<(usize, GymnasiumError)>,
    /// The picture of the last command, or why there is none.
    rendered: Option<Result<Frame, String>>,
    handover: Handover,
    timeout: Duration,
}

impl Worker {
    /// Returns the process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Begins a step of all environments with the actions in the memory.
    ///
    /// # Errors
    /// [`GymnasiumError::Protocol`].
    pub(crate) fn begin_step(&mut self) -> Result<Deadline> {
        self.begin(Command::Step, "step")
    }

    /// Begins the resets in the memory.
    ///
    /// # Errors
    /// [`GymnasiumError::Exited`] or [`GymnasiumError::Protocol`].
    pub(crate) fn begin_reset(&mut self, options: &Map<String, Json>) -> Result<Deadline> {
        if options.is_empty() {
            return self.begin(Command::Reset, "reset");
        }
        // The worker must be reading before the options are sent, because a pipe holds little.
        let deadline = self.begin(Command::ResetWithOptions, "reset")?;
        self.process.send(options)?;
        Ok(deadline)
    }

    fn begin(&mut self, command: Command, task: &'static str) -> Result<Deadline> {
        let request = self.columns.hand_over(command)?;
        match self.handover {
            Handover::Futex => wake(request),
            Handover::Pipe => self.process.wake()?,
        }
        Ok(Deadline::new(task, self.timeout))
    }

    /// Waits until the command is done, and reads the messages about it.
    ///
    /// # Errors
    /// [`GymnasiumError::Exited`], [`GymnasiumError::TimedOut`] or [`GymnasiumError::Protocol`]. The
    /// worker cannot be used after an error.
    pub(crate) fn finish(&mut self, deadline: &Deadline) -> Result<()> {
        self.failures.clear();
        self.rendered = None;
        let early = match self.handover {
            Handover::Futex => {
                self.sleep_until_done(deadline)?;
                Vec::new()
            }
            Handover::Pipe => self.messages_until_done(deadline)?,
        };
        let sent = self.columns.check()?;
        if self.handover == Handover::Pipe && early.len() != sent {
            let reason = format!("it announces {sent} messages and sent {}", early.len());
            return Err(GymnasiumError::Protocol { reason });
        }
        let mut early = early.into_iter();
        for _ in 0..sent {
            let message = match early.next() {
                Some(message) => message,
                None => self.process.receive(deadline)?,
            };
            self.note(message)?;
        }
        Ok(())
    }

    /// Notes a message about the command.
    fn note(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Info { name } if self.info_names.len() < MAX_INFOS => {
                self.info_names.push(name);
            }
            Message::Failed { index, error, message, traceback } => {
                let error = GymnasiumError::Raised { error, message, traceback };
                self.failures.push((index, error));
            }
            Message::Frame { height, width, fps, pixels } => {
                let frame = Frame::new(height, width, pixels)?;
                self.rendered = Some(Ok(frame.with_fps(fps)));
            }
            Message::NotRendered { reason } => self.rendered = Some(Err(reason)),
            other => return Err(unexpected(&other)),
        }
        Ok(())
    }

    /// Receives messages until the command is done.
    fn messages_until_done(&mut self, deadline: &Deadline) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        loop {
            match self.process.receive(deadline)? {
                Message::Done => break,
                message => messages.push(message),
            }
        }
        match self.columns.poll()? {
            None => Ok(messages),
            Some(_) => Err(GymnasiumError::protocol("its counter does not say that it is done")),
        }
    }

    /// Sleeps until the command is done.
    fn sleep_until_done(&mut self, deadline: &Deadline) -> Result<()> {
        while let Some((counter, value)) = self.columns.poll()? {
            let left = deadline.left();
            if left.is_zero() {
                return Err(self.process.timed_out(deadline));
            }
            sleep(counter, value, left.min(LIVENESS));
            // A worker may answer and then end, so look for an answer once more after its end.
            let has_ended = self.columns.poll()?.is_some() && self.process.has_ended();
            if has_ended && self.columns.poll()?.is_some() {
                return Err(self.process.ended());
            }
        }
        Ok(())
    }

    /// Draws an environment, or returns the last picture of its last episode. The inner error says why there is no
    /// picture.
    ///
    /// # Errors
    /// As for [`finish`](Self::finish).
    pub(crate) fn render(&mut self, env: usize, is_final: bool) -> Result<Result<Frame, String>> {
        self.columns.write_rendered(env)?;
        let command = if is_final { Command::RenderFinal } else { Command::Render };
        let deadline = self.begin(command, "render")?;
        self.finish(&deadline)?;
        self.rendered.take().ok_or_else(|| GymnasiumError::protocol("it sent no picture"))
    }

    /// Returns the exception of an environment in the last command.
    pub(crate) fn take_failure(&mut self, env: usize) -> GymnasiumError {
        let at = self.failures.iter().position(|(index, _)| *index == env);
        let unexplained = || GymnasiumError::protocol("an environment failed without a report");
        at.map_or_else(unexplained, |at| self.failures.swap_remove(at).1)
    }

    /// Asks the worker to close its environments and to end.
    pub(crate) fn begin_close(&mut self) {
        // A worker that does not end is killed.
        let _ = self.begin(Command::Close, "close");
    }

    /// Waits until the worker has ended, but not beyond `end`.
    pub(crate) fn wait_until(&mut self, end: Instant) {
        self.process.wait_until(end);
    }
}

fn unexpected(message: &Message) -> GymnasiumError {
    GymnasiumError::protocol(format!("it sent {message:?} at the wrong time"))
}
