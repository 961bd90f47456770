//! Shared parts of the learning examples: arguments, training loop, files and verdict. The example
//! `cartpole_ppo` has all of them in one file.

mod program;
#[allow(dead_code, reason = "some examples have settings of their own")]
mod settings;
#[allow(dead_code, reason = "an example uses one task")]
pub(crate) mod tasks;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, CommandFactory, FromArgMatches, Parser};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rekindle::algorithms::{AlgorithmConfig, TrainingConfig};
use rekindle::prelude::*;

#[allow(unused_imports, reason = "some examples have settings of their own")]
pub(crate) use self::settings::ppo_settings;
use self::tasks::Task;

/// The arguments of every learning example.
#[derive(Parser)]
struct Args {
    /// Seed of environments, actions, parameters and minibatches
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// Device of the learner: `auto`, `cpu`, `wgpu`, `wgpu:N`, `cuda` or `cuda:N`
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    /// Device of the environment runners [default: the learner's]
    #[arg(long)]
    env_runner_device: Option<DeviceSpec>,
    /// Directory for metrics.jsonl, learning_curve.svg and checkpoint/
    #[arg(long)]
    out: Option<PathBuf>,
}

const COLUMNS: &str = "\
Columns: environment steps and steps/s; mean, min and max return and mean length of the last 100 episodes;
losses, KL divergence and entropy (means over modules); env/inf/con/lrn %: share of time in environments,
inference, connectors and learner.";

impl Args {
    /// Parses the command line of an example with one task, or with one that an argument chooses.
    fn parse_for(tasks: &[&'static Task]) -> (&'static Task, Self) {
        let example = tasks[0].example;
        let out = "Directory for metrics.jsonl, learning_curve.svg and checkpoint/ [default: runs/";
        let mut command = Self::command().name(example).after_help(COLUMNS);
        command = match tasks {
            [task] => command.about(about(task)),
            _ => {
                let choices = tasks
                    .iter()
                    .filter_map(|task| Some(PossibleValue::new(task.choice?).help(about(task))));
                let task = Arg::new(TASK).value_name("TASK").help("The task").required(true);
                let task = task.value_parser(PossibleValuesParser::new(choices));
                command.about("Trains one of several tasks.").arg(task)
            }
        };
        let name = match tasks {
            [task] => task.name_of_run(),
            _ => format!("{example}_TASK"),
        };
        let matches = command.mut_arg("out", |arg| arg.help(format!("{out}{name}]"))).get_matches();
        let chosen = matches.try_get_one::<String>(TASK).ok().flatten();
        let task = tasks.iter().find(|task| task.choice == chosen.map(String::as_str));
        let args = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        (task.unwrap_or(&tasks[0]), args)
    }
}

/// The argument that chooses a task.
const TASK: &str = "task";

fn about(task: &Task) -> String {
    let Task { algorithm, env, threshold, .. } = task;
    let max_steps = HumanCount(task.max_steps).to_string().replace(',', " ");
    format!(
        "Trains {algorithm} on {env} until the {} reaches {threshold}, or for {max_steps} steps.",
        task.metric_in_words()
    )
}

/// A task that was chosen on the command line.
#[allow(dead_code, reason = "most examples have one task")]
pub(crate) struct Chosen {
    task: &'static Task,
    args: Args,
}

#[allow(dead_code, reason = "most examples have one task")]
impl Chosen {
    /// Parses the command line. The first argument is a [`Task::choice`].
    pub(crate) fn parse(tasks: &[&'static Task]) -> Self {
        let (task, args) = Args::parse_for(tasks);
        Self { task, args }
    }

    /// The choice.
    pub(crate) fn name(&self) -> &'static str {
        self.task.choice.unwrap_or_default()
    }

    /// Trains as [`learn`] does.
    pub(crate) fn learn<T: TrainingConfig>(
        self,
        config: AlgorithmConfig<T>,
    ) -> Result<ExitCode, MainError> {
        train(self.task, self.args, config)
    }
}

/// Trains `config` until the threshold of `task` is reached, saves the algorithm, and plays 100 greedy
/// episodes.
///
/// Fails if the threshold is not reached.
#[allow(dead_code, reason = "some examples have several tasks")]
pub(crate) fn learn(task: &'static Task, config: PpoConfig) -> Result<ExitCode, MainError> {
    let (task, args) = Args::parse_for(&[task]);
    train(task, args, config)
}

fn train<T: TrainingConfig>(
    task: &Task,
    args: Args,
    config: AlgorithmConfig<T>,
) -> Result<ExitCode, MainError> {
    program::show_warnings();
    let out = args.out.unwrap_or_else(|| ["runs", &task.name_of_run()].iter().collect());
    fs::create_dir_all(&out)
        .map_err(|error| format!("cannot create directory {}: {error}", out.display()))?;
    let config = config
        .env_runners(|e| e.device(args.env_runner_device))
        .seed(args.seed)
        .evaluation(|e| e.evaluation_duration(100));
    let bar = ProgressBar::with_draw_target(Some(task.max_steps), ProgressDrawTarget::stderr())
        .with_style(ProgressStyle::with_template(
            "{wide_bar} {human_pos}/{human_len} steps, at most {eta} left",
        )?);
    let columns = rekindle::algorithms::ppo::console_columns();
    let mut algo = config
        .build(&args.device.open()?)?
        .with_sink(ConsoleSink::new(Box::new(program::Above(bar.clone())), columns))
        .with_sink(JsonlSink::create(out.join("metrics.jsonl"))?);
    let mut curve = Vec::new();
    let mut last = f64::NAN;
    while algo.env_steps() < task.max_steps {
        let metrics = algo.train()?;
        bar.set_position(algo.env_steps().min(task.max_steps));
        last = metrics.get(task.metric).unwrap_or(f64::NAN);
        curve.push((algo.env_steps() as f64, last));
        if last >= task.threshold {
            break;
        }
    }
    bar.finish_and_clear();
    LearningCurve::new(format!("{} on {}, seed {}", task.algorithm, task.env, args.seed))
        .x_label("environment steps")
        .y_label(task.metric_in_words())
        .threshold(task.threshold)
        .series(task.algorithm, &curve)
        .save(out.join("learning_curve.svg"))?;
    algo.save_to_path(out.join("checkpoint"))?;

    let greedy = algo.evaluate()?;
    println!();
    println!("steps trained             {:>10}", algo.env_steps());
    println!("{}  {last:.2}", task.metric);
    match task.metric.strip_prefix("env_runners/module_") {
        // Print the module's return, because an episode's return sums over all players.
        Some(_) => {
            let mean = greedy.metrics.get(task.metric).unwrap_or(f64::NAN);
            println!("greedy return, mean 100   {mean:>10.2}");
        }
        None => println!(
            "greedy return, mean 100   {:>10.2}  ± {:.2}, min {:.0}, max {:.0}",
            greedy.mean_return(),
            greedy.std_return(),
            greedy.min_return(),
            greedy.max_return()
        ),
    }
    println!("run directory             {:>10}", out.display());
    if last >= task.threshold {
        println!("learned: at least {} in training", task.threshold);
        return Ok(ExitCode::SUCCESS);
    }
    println!("not learned: below {} after {} steps", task.threshold, task.max_steps);
    Ok(ExitCode::FAILURE)
}
