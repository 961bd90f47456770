//! What the learning examples share: arguments, the loop, files, and the verdict. The example
//! `cartpole_ppo` has all of it in one file, to be read from top to bottom.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rekindle::prelude::*;

/// The arguments of every learning example.
#[derive(Parser)]
struct Args {
    /// Seeds environments, actions, parameters and minibatches.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// `auto`, `cpu`, `wgpu`, `wgpu:N`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    /// Where the runners act, if not on that device.
    #[arg(long)]
    env_runner_device: Option<DeviceSpec>,
    /// The folder for metrics.jsonl, learning_curve.svg and checkpoint/ [default: runs/NAME].
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What is to be learnt.
pub(crate) struct Experiment {
    /// The name of the example.
    pub(crate) name: &'static str,
    /// What is measured; `env_runners/episode_return_mean` is the mean return of the last 100
    /// training episodes, summed over agents.
    pub(crate) metric: &'static str,
    /// The value from which it counts as learnt.
    pub(crate) target: f64,
    /// When to give up, in environment steps.
    pub(crate) max_steps: u64,
}

/// The mean return of the last 100 training episodes.
#[allow(dead_code, reason = "a zero-sum game has none to speak of")]
pub(crate) const EPISODE_RETURN: &str = "env_runners/episode_return_mean";

impl Experiment {
    /// Trains until the target is reached, saves, and plays 100 greedy episodes.
    pub(crate) fn run(&self, config: PpoConfig) -> Result<ExitCode, Box<dyn Error>> {
        let args = Args::parse();
        let out = args.out.unwrap_or_else(|| ["runs", self.name].iter().collect());
        fs::create_dir_all(&out)?;
        let config = config
            .env_runners(|e| e.device(args.env_runner_device))
            .seed(args.seed)
            .evaluation(|e| e.evaluation_duration(100));
        let mut algo = config.build(&args.device.open().map_err(|error| error.to_string())?)?;

        let mut console =
            ConsoleSink::stdout().columns(rekindle::algorithms::ppo::console_columns());
        let mut jsonl = JsonlSink::create(out.join("metrics.jsonl"))?;
        let bar = ProgressBar::with_draw_target(Some(self.max_steps), ProgressDrawTarget::stderr())
            .with_style(ProgressStyle::with_template(
                "{wide_bar} {human_pos}/{human_len} steps, {eta} left at most",
            )?);
        let mut curve = Vec::new();
        let mut last = f64::NAN;
        while algo.env_steps() < self.max_steps {
            let metrics = algo.train()?;
            bar.suspend(|| console.write(algo.iteration(), &metrics))?;
            jsonl.write(algo.iteration(), &metrics)?;
            bar.set_position(algo.env_steps().min(self.max_steps));
            last = metrics.get(self.metric).unwrap_or(f64::NAN);
            curve.push((algo.env_steps() as f64, last));
            if last >= self.target {
                break;
            }
        }
        bar.finish_and_clear();
        LearningCurve::new(format!("{}, seed {}", self.name, args.seed))
            .x_label("environment steps")
            .y_label(self.metric)
            .threshold(self.target)
            .series("PPO", &curve)
            .save(out.join("learning_curve.svg"))?;
        algo.save_to_path(out.join("checkpoint"))?;

        let greedy = algo.evaluate()?;
        println!();
        println!("steps trained             {:>10}", algo.env_steps());
        println!("{}  {last:.2}", self.metric);
        match self.metric.strip_prefix("env_runners/module_") {
            // What one module got; the episode's return is that of all.
            Some(_) => {
                let mean = greedy.metrics.get(self.metric).unwrap_or(f64::NAN);
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
        println!("run folder                {:>10}", out.display());
        if last >= self.target {
            println!("learnt: at least {} in training", self.target);
            return Ok(ExitCode::SUCCESS);
        }
        println!("not learnt: {} was not reached within {} steps", self.target, self.max_steps);
        Ok(ExitCode::FAILURE)
    }
}
