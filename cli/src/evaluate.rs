//! `rekindle evaluate`.

use std::path::Path;

use rekindle::algorithms::{Evaluation, evaluate_policy, saved_algorithm};
use rekindle::checkpoint;
use rekindle::env::video::{VideoFormat, VideoRecorder};
use rekindle::env_runner::{EnvRunnerConfig, PolicyBundle, SampleOptions};
use serde_json::{Value, json};

use crate::args::EvaluateArgs;
use crate::error::{CliError, NO_ENVIRONMENT, Result};
use crate::output::{self, say};
use crate::run_path::checkpoint_at;

/// Number of environments in the vector that plays the episodes of a policy bundle.
const NUM_ENVS: usize = 10;

pub(crate) fn run(args: &EvaluateArgs) -> Result<()> {
    let path = checkpoint_at(&args.path, args.best)?;
    let data = checkpoint::read_data(&path)?;
    let evaluation = match data.get("algorithm") {
        Some(_) => of_algorithm(args, &path)?,
        None if data.get("test_observations").is_some() => of_bundle(args, &path)?,
        None => {
            let message = format!(
                "`{}` is the checkpoint of a component; evaluate the checkpoint of the whole algorithm, or a policy bundle",
                path.display()
            );
            return Err(CliError::Failed(message));
        }
    };
    print(args, &evaluation)
}

/// Plays with the algorithm of a checkpoint, in the environments of its evaluations.
fn of_algorithm(args: &EvaluateArgs, path: &Path) -> Result<Evaluation> {
    let mut changes = json!({
        "evaluation": {
            "evaluation_duration": args.episodes,
            "evaluation_duration_unit": "episodes",
            "evaluation_config": {"explore": args.stochastic},
        },
    });
    if let Some(env) = &args.env {
        changes["evaluation"]["evaluation_config"]["env"] = env.as_str().into();
    }
    if let Some(seed) = args.seed {
        changes["debugging"] = json!({ "seed": seed });
    }
    if let Some(folder) = &args.video {
        changes["evaluation"]["evaluation_video"] =
            json!({ "folder": folder, "episodes": 1, "interval": 1 });
    }
    let device = args.device.open()?;
    let spec = saved_algorithm(path)?.allow_external_environments(args.allow_python);
    let mut algorithm = spec.restore(path, &changes, &device)?;
    if !algorithm.can_evaluate() || args.video.is_some() && !algorithm.can_play() {
        let message = match algorithm.can_play() {
            false => NO_ENVIRONMENT,
            true => {
                "the environment of the run exists on the device alone; name one that the host has with --env"
            }
        };
        return Err(CliError::Usage(message.into()));
    }
    Ok(algorithm.evaluate()?)
}

/// Plays with a deployed policy.
fn of_bundle(args: &EvaluateArgs, path: &Path) -> Result<Evaluation> {
    let Some(env) = &args.env else {
        let message = "a policy bundle does not know its environment; name one with --env".into();
        return Err(CliError::Usage(message));
    };
    let device = args.device.open()?;
    let policy = PolicyBundle::from_checkpoint(path, &device)?;
    let episodes = usize::try_from(args.episodes).unwrap_or(usize::MAX);
    let runner = EnvRunnerConfig::new(env.clone())
        .num_envs(episodes.min(NUM_ENVS))
        .seed(args.seed.unwrap_or_default());
    let video = args.video.as_ref().map(|folder| {
        let recorder = VideoRecorder::new(VideoFormat::Gif);
        recorder.start(folder, "policy", 1);
        recorder
    });
    let runner = runner.video(video);
    let options = SampleOptions::default().explore(args.stochastic);
    Ok(evaluate_policy(&policy, &runner, episodes, options, &device)?)
}

fn print(args: &EvaluateArgs, evaluation: &Evaluation) -> Result<()> {
    let Evaluation { returns, lengths, .. } = evaluation;
    if args.json {
        let mut value: Value = json!({
            "mean_return": evaluation.mean_return(),
            "std_return": evaluation.std_return(),
            "returns": returns,
            "lengths": lengths,
        });
        if !evaluation.estimates.is_empty() {
            value["off_policy_estimation"] = evaluation.estimates_as_data();
        }
        return output::print(&format!("{value}\n"));
    }
    say!("episodes     {}", returns.len())?;
    if !returns.is_empty() {
        say!(
            "return       {:.2} ± {:.2} (min {:.2}, max {:.2})",
            evaluation.mean_return(),
            evaluation.std_return(),
            evaluation.min_return(),
            evaluation.max_return()
        )?;
        say!("mean length  {:.1}", evaluation.mean_length())?;
    }
    estimates(evaluation).iter().try_for_each(|estimate| say!("estimate     {estimate}"))
}

/// Returns each estimate in words: `wis 21.30 [18.20, 24.10]`, with the module if there are several.
pub(crate) fn estimates(evaluation: &Evaluation) -> Vec<String> {
    let modules = &evaluation.estimates;
    let each = modules.iter().flat_map(|(id, of_module)| {
        of_module.iter().map(move |(estimator, estimate)| {
            let of = if modules.len() > 1 { format!("{id} ") } else { String::new() };
            let (name, value) = (estimator.name(), estimate.value);
            format!("{of}{name} {value:.2} [{:.2}, {:.2}]", estimate.low, estimate.high)
        })
    });
    each.collect()
}
