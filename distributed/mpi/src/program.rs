//! The program `rekindle-mpi`.
#![expect(
    clippy::result_large_err,
    reason = "errors end the program, so their size does not matter"
)]

use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rekindle::algorithms::{Algorithm, RunConfig, SavedRun};
use rekindle::metrics::Metrics;
use rekindle_cli::BoxError;
use rekindle_cli::engine::{
    CliError, Engine, Output, change, new_experiment, nothing_to_do, show_warnings, train,
};

use crate::args::{Cli, Command, JobArgs, ResumeArgs, TrainArgs};
use crate::caps::Caps;
use crate::engine::{Communicator, Followers, MpiCollective, MpiTransport, World, abort, follow};
use crate::error::{EngineError, is_in_update};
use crate::frame::{Frame, Kind};
use crate::runner::{RunnerOptions, collect};
use crate::runners::Runners;
use crate::settings::Start;
use crate::signals::Signals;
use crate::topology::{Role, Topology};

/// The exit code of the first process after a signal. It asks a scheduler to start the job again.
const INTERRUPTED: u8 = 75;

/// The file in a run folder that says that the run has reached its limit.
const DONE: &str = "DONE";

/// How long processes wait for each other if the command line says nothing.
const LIMIT: Duration = Duration::from_secs(600);

/// Runs the program with the arguments of the process. `register` is called first, in all processes. It registers custom
/// environments, modules and algorithms.
///
/// Returns the exit code, which has a meaning in the first process only. If another process or MPI fails, the whole job
/// ends here.
pub fn run(register: impl FnOnce() -> Result<(), BoxError>) -> ExitCode {
    let parsed = Cli::try_parse();
    let limit = parsed.as_ref().map_or(LIMIT, |cli| cli.command.job().limit());
    let world = match World::initialize(limit) {
        Ok(world) => world,
        Err(fault) => abort(&fault.to_string()),
    };
    let is_first = world.communicator().rank() == 0;
    let code = match parsed {
        Ok(cli) => {
            show_warnings();
            process(&world, &cli.command, register)
        }
        Err(error) => {
            if is_first {
                // Nobody is left to be told about a closed pipe.
                let _ = error.print();
            }
            u8::try_from(error.exit_code()).unwrap_or(1)
        }
    };
    if let Err(fault) = world.finalize() {
        abort(&fault.to_string());
    }
    // `mpirun` ends the job when a process returns another code than 0, so only one does.
    ExitCode::from(if is_first { code } else { 0 })
}

/// Does the part of this process. Returns the exit code. Ends the job if something fails while others wait.
fn process(
    world: &World,
    command: &Command,
    register: impl FnOnce() -> Result<(), BoxError>,
) -> u8 {
    let ready = Signals::listen()
        .map_err(|error| CliError::Failed(format!("cannot listen to signals: {error}")));
    let ready = ready.and_then(|signals| {
        register().map_err(CliError::Register)?;
        Ok(signals)
    });
    let outcome = match world.communicator().rank() {
        0 => first(world, command, ready),
        _ => ready.and_then(|signals| Ok(other(world, command, &signals).map(|()| 0)?)),
    };
    outcome.unwrap_or_else(|error| abort(&message(error)))
}

fn message(error: CliError) -> String {
    error.message().unwrap_or_default()
}

fn tell(text: impl Display) {
    // Nobody is left to be told about an error.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Everything of the first process before training.
struct Prepared {
    algorithm: Algorithm,
    run: RunConfig,
    topology: Topology,
    start: Start,
}

/// The part of the first learner. Returns the exit code; an error ends the job.
fn first(
    world: &World,
    command: &Command,
    ready: Result<Signals, CliError>,
) -> Result<u8, CliError> {
    let control = world.communicator().duplicate().map_err(EngineError::from)?;
    let processes = control.size();
    let prepared = ready.and_then(|signals| {
        let prepared = match command {
            Command::Train(args) => prepare_new(args, processes).map(Some)?,
            Command::Resume(args) => prepare_saved(args, processes)?,
        };
        Ok(prepared.map(|prepared| (signals, prepared)))
    });
    // Until here nothing was begun, so the job ends in order after a wrong setting.
    let (signals, Prepared { algorithm, run, topology, start }) = match prepared {
        Ok(Some(prepared)) => prepared,
        outcome => {
            let end = Frame::new(Kind::End, Vec::new());
            control.broadcast(&end).map_err(EngineError::from)?;
            let Err(error) = outcome else { return Ok(0) };
            let code = error.exit_code();
            tell(format_args!("error: {}", message(error)));
            return Ok(code);
        }
    };
    control.broadcast(&start.to_frame()).map_err(EngineError::from)?;
    let folder = algorithm.run_folder().map(|folder| folder.path().to_owned());
    let groups = Groups::divide(world, topology)?;
    let JobArgs { output, .. } = *command.job();
    match lead(algorithm, &run, output, signals, groups) {
        Ok(()) => {}
        Err(CliError::Interrupted) => return Ok(INTERRUPTED),
        Err(error) => return Err(error),
    }
    if let Some(folder) = folder {
        let path = folder.join(DONE);
        fs::write(&path, "").map_err(|error| {
            CliError::Failed(format!("cannot write `{}`: {error}", path.display()))
        })?;
    }
    Ok(0)
}

/// Groups of processes, each for one purpose.
struct Groups {
    /// The learners, for updates and answers, for sums, and for agreement: this process is a learner.
    learners: Option<[Communicator; 3]>,
    /// All processes, for frames between the first learner and runners.
    frames: Communicator,
    topology: Topology,
}

impl Groups {
    /// Divides the processes. All call it.
    fn divide(world: &World, topology: Topology) -> Result<Self, EngineError> {
        let world = world.communicator();
        let is_learner = world.rank() < topology.learners();
        let frames = world.duplicate()?;
        let learners = match world.subgroup(is_learner)? {
            None => None,
            Some(control) => {
                let (sums, agreement) = (control.duplicate()?, control.duplicate()?);
                Some([control, sums, agreement])
            }
        };
        Ok(Self { learners, frames, topology })
    }
}

/// Trains in the first process, and ends the others unless something has failed.
fn lead(
    mut algorithm: Algorithm,
    run: &RunConfig,
    output: Output,
    signals: Signals,
    Groups { learners, frames, topology }: Groups,
) -> Result<(), CliError> {
    let limit = frames.limit();
    let mut engine = MpiEngine { others: None, runners: None, signals };
    if topology.learners() > 1
        && let Some([control, sums, agreement]) = learners
    {
        let remote = Followers::new(control.clone());
        algorithm.lead(Box::new(MpiCollective::new(sums)), Box::new(remote))?;
        engine.others = Some((Followers::new(control), MpiCollective::new(agreement)));
    }
    if topology.runners() > 0 {
        let transport = start_transport(frames, topology)?;
        engine.runners = Some(Runners::start(&algorithm, Box::new(transport), limit)?);
    }
    match train(algorithm, run, output, &mut engine) {
        outcome @ (Ok(()) | Err(CliError::Interrupted)) => {
            engine.end()?;
            outcome
        }
        failed => failed,
    }
}

fn start_transport(frames: Communicator, topology: Topology) -> Result<MpiTransport, CliError> {
    let transport = MpiTransport::start(frames, topology.learners());
    transport.map_err(|error| CliError::Failed(format!("cannot start a thread: {error}")))
}

/// The part of all other processes.
fn other(world: &World, command: &Command, signals: &Signals) -> Result<(), EngineError> {
    let control = world.communicator().duplicate()?;
    let frame = control.receive_broadcast(0)?;
    if frame.kind == Kind::End {
        return Ok(());
    }
    let start = Start::from_frame(frame)?;
    let rank = control.rank();
    let topology = Topology::new(control.size(), start.num_learners())
        .map_err(rekindle::algorithms::AlgorithmError::from)?;
    let Groups { learners, frames, .. } = Groups::divide(world, topology)?;
    let device = &command.job().device;
    let open = || device.open().map_err(rekindle::algorithms::AlgorithmError::from);
    match (topology.role(rank), learners) {
        (Role::Runner(number), _) => {
            let mut algorithm = start.of_runner(number)?.build(&open()?)?;
            let limit = frames.limit();
            let transport = start_transport(frames, topology);
            let mut transport = transport
                .map_err(|error| EngineError::Runner { number, message: error.to_string() })?;
            let batches_in_flight = start.batches_in_flight();
            let options = RunnerOptions { batches_in_flight, limit };
            collect(&mut algorithm, &mut transport, options, || signals.flag())
        }
        (_, Some([control, sums, agreement])) => {
            let mut learner = start.of_learner()?.build(&open()?)?;
            learner.join(Box::new(MpiCollective::new(sums)))?;
            let mut agreement = MpiCollective::new(agreement);
            Ok(follow(&mut learner, &control, &mut agreement, || signals.flag())?)
        }
        (_, None) => Ok(()),
    }
}

/// Builds the algorithm of a new run.
fn prepare_new(args: &TrainArgs, processes: usize) -> Result<Prepared, CliError> {
    let mut experiment = new_experiment(&args.settings)?;
    let num_learners = args.job.num_learners.map_or_else(
        || {
            let settings = experiment.settings()?;
            let number = settings["learners"]["num_learners"].as_u64().unwrap_or(1);
            Ok::<_, CliError>(usize::try_from(number).unwrap_or(usize::MAX))
        },
        Ok,
    )?;
    let topology = Topology::new(processes, num_learners).map_err(about_settings)?;
    Caps::MPI.check(&mut experiment, topology)?;
    // The plan and the losses must allow several learners. Each of them is a process.
    experiment.set(&format!("learners.num_learners={num_learners}"))?;
    experiment.validate()?;
    experiment.set("learners.num_learners=1")?;
    let device = args.job.device.open()?;
    let run = experiment.run()?;
    let algorithm = experiment.build(&device).map_err(CliError::Build)?;
    check_remote(&algorithm, topology)?;
    let start = Start::new(&experiment, num_learners, 0, batches_in_flight(&algorithm))?;
    let algorithm = algorithm.with_run_folder(&args.runs, run.clone())?;
    Ok(Prepared { algorithm, run, topology, start })
}

/// Restores the algorithm of a run. `None` if there is nothing to do.
fn prepare_saved(args: &ResumeArgs, processes: usize) -> Result<Option<Prepared>, CliError> {
    let saved = SavedRun::open(&args.run, &args.checkpoint)?;
    let mut saved = saved.allow_external_environments(args.allow_python);
    if !args.set.is_empty() || args.steps.is_some() {
        saved.change(|experiment| change(experiment, &args.set, args.steps.as_deref()))?;
    }
    let settings = saved.checkpoint_experiment().settings()?;
    let recorded = settings["learners"]["num_learners"].as_u64().unwrap_or(1);
    let recorded = usize::try_from(recorded).unwrap_or(usize::MAX);
    let num_learners = args.job.num_learners.unwrap_or(recorded);
    let topology = Topology::new(processes, num_learners).map_err(about_settings)?;
    let mut experiment = saved.checkpoint_experiment().clone();
    Caps::MPI.check(&mut experiment, topology)?;
    experiment.set(&format!("learners.num_learners={num_learners}"))?;
    experiment.validate()?;
    if recorded != 1 {
        saved.change(|experiment| experiment.set("learners.num_learners=1"))?;
    }
    let experiment = saved.checkpoint_experiment().clone();
    let device = args.job.device.open()?;
    let resumed = saved.resume(&device)?;
    if let Some(stop) = resumed.stop {
        nothing_to_do(&args.run, &resumed, stop)?;
        return Ok(None);
    }
    let algorithm = resumed.algorithm;
    check_remote(&algorithm, topology)?;
    remove_marker(&args.run)?;
    let batches = batches_in_flight(&algorithm);
    let start = Start::new(&experiment, num_learners, algorithm.env_steps(), batches)?;
    Ok(Some(Prepared { algorithm, run: resumed.config, topology, start }))
}

fn about_settings(error: rekindle::core::ConfigError) -> CliError {
    CliError::Algorithm(error.into())
}

/// Checks that the plan can learn from batches of other processes if there are runners.
fn check_remote(algorithm: &Algorithm, topology: Topology) -> Result<(), CliError> {
    match topology.runners() {
        0 => Ok(()),
        runners => algorithm.publication().map(drop).map_err(|error| {
            CliError::Usage(format!(
                "{error}; the job has {runners} processes that are no learners: start as many processes as learners (`mpirun -n` equal to --num-learners)"
            ))
        }),
    }
}

/// Returns how many batches a runner may collect before the learner has learned from the first of them: with a
/// synchronous plan one, so that the weights that collect are the newest.
fn batches_in_flight(algorithm: &Algorithm) -> usize {
    match algorithm.execution_plan().name() {
        "Synchronous" => 1,
        _ => 2,
    }
}

/// Removes the marker of a run that continues.
fn remove_marker(run: &Path) -> Result<(), CliError> {
    let path: PathBuf = run.join(DONE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CliError::Failed(format!("cannot remove `{}`: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Training with processes of MPI.
struct MpiEngine {
    /// The other learners, and the collective in which all agree on whether to stop.
    others: Option<(Followers, MpiCollective)>,
    runners: Option<Runners>,
    signals: Signals,
}

impl MpiEngine {
    /// Ends all other processes.
    fn end(self) -> Result<(), EngineError> {
        if let Some((others, _)) = self.others {
            others.end()?;
        }
        self.runners.map_or(Ok(()), Runners::end)
    }
}

impl Engine for MpiEngine {
    fn train(&mut self, algorithm: &mut Algorithm) -> Result<Metrics, CliError> {
        match &mut self.runners {
            Some(runners) => Ok(runners.train(algorithm)?),
            None => Ok(algorithm.train()?),
        }
    }

    fn is_interrupted(&mut self) -> Result<bool, CliError> {
        let of_runners = self.runners.as_ref().map_or(0, Runners::flag);
        let flag = self.signals.flag().max(of_runners);
        let flag = match &mut self.others {
            Some((others, agreement)) => {
                others.agree(agreement, flag).map_err(EngineError::from)?
            }
            None => flag,
        };
        Ok(flag != 0)
    }

    fn has_whole_state(&self, error: &CliError) -> bool {
        !is_in_update(error)
    }

    fn resume_command(&self) -> &str {
        "mpirun … rekindle-mpi resume"
    }
}
