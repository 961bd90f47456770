//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use rekindle::core::device::DeviceSpec;
use rekindle_cli::engine::{Output, Settings};

/// Trains on several machines with MPI: `mpirun -n 4 rekindle-mpi train ppo-cartpole --num-learners 2`.
///
/// The first processes are learners, which share each update. The others are runners, which collect batches. If all are
/// learners, the first one samples by itself, which every algorithm can do.
#[derive(Debug, Parser)]
#[command(name = "rekindle-mpi", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
A run folder is that of `rekindle train`, so `rekindle resume`, `evaluate`, `plot` and `view` read it. The file DONE in
it says that the run has reached its limit. SIGUSR1 saves the state after the current iteration and ends the job.

Exit codes of the first process: 0 done; 1 failed; 2 wrong arguments or settings; 75 interrupted, and the state saved.
The exit code of mpirun may be another one: scripts/cluster/launch looks for the file DONE instead.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Trains an algorithm in an environment, or as a file of settings says
    Train(TrainArgs),
    /// Continues a run where it was saved, with any number of processes
    Resume(ResumeArgs),
}

/// The number of learners, and limits.
#[derive(Debug, Clone, clap::Args)]
pub struct JobArgs {
    /// Processes that learn; the others are runners [default: the setting learners.num_learners]
    #[arg(long, value_name = "N")]
    pub num_learners: Option<usize>,
    /// Seconds that a process waits for another one before it ends the job; longer than an evaluation or a batch takes
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// Device of each process: auto, cpu, wgpu, wgpu:N, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: DeviceSpec,
    /// How much is printed.
    #[command(flatten)]
    pub output: Output,
}

/// The arguments of `train`.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// The algorithm and its settings.
    #[command(flatten)]
    pub settings: Settings,
    /// Directory in which the folder of the run is created
    #[arg(long, default_value = "runs", value_name = "DIR")]
    pub runs: PathBuf,
    /// The job.
    #[command(flatten)]
    pub job: JobArgs,
}

/// The arguments of `resume`.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// The folder of the run
    pub run: PathBuf,
    /// Checkpoint to continue from: latest, best, or the number of an iteration
    #[arg(long, default_value = "latest")]
    pub checkpoint: String,
    /// Changes a setting from here on, as in `train`
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Environment steps to train, from the start of the run: the setting run.max_env_steps
    #[arg(long, short = 'n', value_name = "STEPS")]
    pub steps: Option<String>,
    /// Lets a run in a Python environment start Python, which then runs code that the run folder names
    #[arg(long)]
    pub allow_python: bool,
    /// The job.
    #[command(flatten)]
    pub job: JobArgs,
}

impl Command {
    /// Returns the arguments that all commands have.
    #[must_use]
    pub fn job(&self) -> &JobArgs {
        match self {
            Self::Train(args) => &args.job,
            Self::Resume(args) => &args.job,
        }
    }
}

impl JobArgs {
    /// Returns how long a process waits for another one.
    #[must_use]
    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
