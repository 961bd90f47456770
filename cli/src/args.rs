//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rekindle::core::device::DeviceSpec;
use serde::{Deserialize, Serialize};

/// Trains, evaluates and inspects reinforcement learning agents.
#[derive(Parser)]
#[command(name = "rekindle", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
A run leaves everything in one folder, runs/<algorithm>/<environment>__<seed>__<time>/: settings, metrics
(JSON lines, CSV, TensorBoard), evaluations and checkpoints.

Exit codes: 0 done; 1 failed; 2 wrong arguments or settings; 130 interrupted, and the state saved.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Trains an algorithm in an environment, or as a file of settings says
    Train(TrainArgs),
    /// Continues a run exactly where it was saved
    Resume(ResumeArgs),
    /// Plays episodes with a trained policy, and prints their returns and the estimates of the run
    Evaluate(EvaluateArgs),
    /// Prints settings as TOML, with all defaults: the start of a file for `train`
    Config(ConfigArgs),
    /// Lists algorithms, environments, connectors, devices and tuned configurations
    List(ListArgs),
    /// Shows what a checkpoint or a run holds
    Inspect(InspectArgs),
    /// Writes a policy for deployment: weights, filters and action transform, without the training stack
    Export(ExportArgs),
    /// Plots the learning curves of runs as SVG
    Plot(PlotArgs),
    /// Shows all runs and their live learning curves in a browser
    View(ViewArgs),
    /// Draws episodes of a trained policy in the terminal, or writes a video
    Play(PlayArgs),
    /// Searches for settings, or continues the search in a folder: tune FOLDER
    Tune(TuneArgs),
}

/// The choice of an algorithm with its settings.
#[derive(Args, Debug, Clone)]
pub struct Settings {
    /// A file of settings (CONFIG.toml), the name of a tuned configuration, or an algorithm
    #[arg(value_name = "CONFIG|ALGORITHM")]
    pub source: String,
    /// The environment, if an algorithm is given
    pub environment: Option<String>,
    /// Changes to settings, each as NAME=VALUE.
    #[arg(
        long,
        short,
        value_name = "NAME=VALUE",
        help = "Changes a setting: training.lr=3e-4, run.max_env_steps=1e6, model_config.fcnet_hiddens=[64,64]"
    )]
    pub set: Vec<String>,
    /// Seed of environments, actions, parameters and minibatches [default: drawn]
    #[arg(long, allow_negative_numbers = true, value_parser = seed)]
    pub seed: Option<u64>,
    /// Environment steps to train: the setting run.max_env_steps
    #[arg(long, short = 'n', value_name = "STEPS")]
    pub steps: Option<String>,
}

#[derive(Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Device: auto, cpu, wgpu, wgpu:N, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceSpec,
    /// Directory in which the folder of the run is created
    #[arg(long, default_value = "runs", value_name = "DIR")]
    pub(crate) runs: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// How much is printed.
#[derive(Args, Debug, Clone, Copy)]
pub struct Output {
    /// Prints nothing but the folder of the run
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Prints every iteration, also to a file or pipe
    #[arg(long, short)]
    pub verbose: bool,
}

#[derive(Args)]
pub(crate) struct ResumeArgs {
    /// The folder of the run
    pub(crate) run: PathBuf,
    /// Checkpoint to continue from: latest, best, or the number of an iteration
    #[arg(long, default_value = "latest")]
    pub(crate) checkpoint: String,
    /// Changes a setting from here on, as in `train`
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Lets a run in a Python environment start Python, which then runs code that the run folder names
    #[arg(long)]
    pub(crate) allow_python: bool,
    /// Environment steps to train, from the start of the run: the setting run.max_env_steps
    #[arg(long, short = 'n', value_name = "STEPS")]
    pub(crate) steps: Option<String>,
    /// Device: auto, cpu, wgpu, wgpu:N, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceSpec,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct EvaluateArgs {
    /// The folder of a run, a checkpoint, or a policy bundle
    pub(crate) path: PathBuf,
    /// Takes the checkpoint with the best evaluation instead of the latest
    #[arg(long)]
    pub(crate) best: bool,
    /// Number of episodes
    #[arg(long, short = 'n', default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) episodes: u64,
    /// Samples actions instead of taking the best ones
    #[arg(long)]
    pub(crate) stochastic: bool,
    /// Environment; a policy bundle needs one [default: that of the run's evaluations]
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// Seed of the episodes [default: that of the run's evaluations]
    #[arg(long, allow_negative_numbers = true, value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Device: auto, cpu, wgpu, wgpu:N, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceSpec,
    /// Lets a run in a Python environment start Python, which then runs code that the run folder names
    #[arg(long)]
    pub(crate) allow_python: bool,
    /// Records the first episode as a GIF in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) video: Option<PathBuf>,
    /// Prints JSON, with the return and length of each episode
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct PlayArgs {
    /// The folder of a run, a checkpoint, or a policy bundle
    pub(crate) path: PathBuf,
    /// Takes the checkpoint with the best evaluation instead of the latest
    #[arg(long)]
    pub(crate) best: bool,
    /// Number of episodes
    #[arg(long, short = 'n', default_value_t = 1, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) episodes: usize,
    /// Samples actions instead of taking the best ones
    #[arg(long)]
    pub(crate) stochastic: bool,
    /// Environment; a policy bundle needs one [default: that of the run's evaluations]
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// Seed of the episodes
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = seed)]
    pub(crate) seed: u64,
    /// Module with which all agents act [default: that of each agent in the run]
    #[arg(long)]
    pub(crate) module: Option<String>,
    /// Video to write instead of drawing in the terminal: a .gif, or an .mp4 by the program ffmpeg
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Characters in a line [default: those of the terminal]
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1000))]
    pub(crate) width: Option<usize>,
    /// Frames per second in the terminal [default: those of the environment]
    #[arg(long, value_parser = frames_per_second)]
    pub(crate) fps: Option<f64>,
    /// Lets a run in a Python environment start Python, which then runs code that the run folder names
    #[arg(long)]
    pub(crate) allow_python: bool,
    /// Device: auto, cpu, wgpu, wgpu:N, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceSpec,
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("it must be a whole number from 0 to {}", u64::MAX))
}

fn frames_per_second(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.1..=1000.0).contains(&number) => Ok(number),
        _ => Err("it must be a number from 0.1 to 1000".into()),
    }
}

#[derive(Args)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// What to list [default: everything]
    pub(crate) what: Option<Listed>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Listed {
    /// Algorithms, for `train`
    Algorithms,
    /// Environments, with the limit and the threshold of their episodes
    Environments,
    /// Connectors, for env_runners.env_to_module_connector
    Connectors,
    /// Devices, and whether they can be used
    Devices,
    /// Tuned configurations, for `train`
    Configs,
}

#[derive(Args)]
pub(crate) struct InspectArgs {
    /// A checkpoint, one of its components, or the folder of a run
    pub(crate) path: PathBuf,
    /// Lists every tensor
    #[arg(long)]
    pub(crate) tensors: bool,
}

#[derive(Args)]
pub(crate) struct ExportArgs {
    /// The folder of a run, the checkpoint of an algorithm, or a policy bundle
    pub(crate) path: PathBuf,
    /// Directory to write for a bundle, or file for ONNX
    #[arg(long, short, value_name = "PATH")]
    pub(crate) out: PathBuf,
    /// Form of the policy
    #[arg(long, value_enum, default_value_t = ExportFormat::Bundle)]
    pub(crate) format: ExportFormat,
    /// Takes the checkpoint with the best evaluation instead of the latest
    #[arg(long)]
    pub(crate) best: bool,
    /// Lets a run in a Python environment start Python, which then runs code that the run folder names
    #[arg(long)]
    pub(crate) allow_python: bool,
    /// Module, if several agents act with different ones
    #[arg(long, default_value = "default_policy")]
    pub(crate) module: String,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A policy bundle: safetensors and JSON, for `evaluate` and programs with rekindle
    Bundle,
    /// One ONNX file of the greedy policy, for any ONNX runtime
    Onnx,
}

#[derive(Args)]
pub(crate) struct PlotArgs {
    /// Folders of runs, each with a metrics.jsonl
    #[arg(required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// SVG file to write
    #[arg(long, short, default_value = "learning_curves.svg")]
    pub(crate) out: PathBuf,
    /// Metric to plot: a key of metrics.jsonl
    #[arg(long, default_value = "env_runners/episode_return_mean")]
    pub(crate) metric: String,
    /// Metric of the horizontal axis
    #[arg(long, default_value = "env_runners/num_env_steps_sampled_lifetime")]
    pub(crate) x: String,
    /// Title of the plot
    #[arg(long, default_value = "Learning curves")]
    pub(crate) title: String,
    /// Value at which the task counts as solved, drawn as a line
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) threshold: Option<f64>,
}

#[derive(Args)]
pub(crate) struct TuneArgs {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// File with the settings to search [default: that of the algorithm]
    #[arg(long, value_name = "FILE")]
    pub(crate) space: Option<PathBuf>,
    /// Trials that complete or are pruned, with those of an earlier call [default: 100]
    #[arg(long, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) trials: Option<usize>,
    /// Runs of each trial, with different seeds
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) seeds: u64,
    /// Evaluations during each run, after which a trial may be pruned
    #[arg(long, default_value_t = 4, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) evaluations: usize,
    /// How settings are chosen
    #[arg(long, value_enum, default_value_t = SamplerKind::Tpe)]
    pub(crate) sampler: SamplerKind,
    /// First trials, which are random and are not pruned
    #[arg(long, default_value_t = 10)]
    pub(crate) startup_trials: usize,
    /// Completes every trial; otherwise trials below the median end early
    #[arg(long)]
    pub(crate) no_pruning: bool,
    /// Directory to create for the study [default: tune/<algorithm>/<environment>__<time>]
    #[arg(long, short, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Device: auto, cpu, wgpu, wgpu:N, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceSpec,
    /// Prints nothing but the folder of the study
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SamplerKind {
    /// Tree-structured Parzen estimator: near good trials
    Tpe,
    /// Random search
    Random,
}

#[derive(Args)]
pub(crate) struct ViewArgs {
    /// Directory with folders of runs, at any depth
    #[arg(default_value = "runs")]
    pub(crate) runs: PathBuf,
    /// Port; 0 takes a free one
    #[arg(long, default_value_t = 8265)]
    pub(crate) port: u16,
    /// Address to listen on. Any other than a loopback address lets other machines read the runs
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
