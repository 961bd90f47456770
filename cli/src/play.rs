//! `rekindle play`: episodes of trained policies, drawn in the terminal or as a video.

mod game;
mod multi_agent;
mod screen;
mod shown;
mod single_agent;

use std::path::Path;

use rekindle::algorithms::saved_algorithm;
use rekindle::checkpoint;
use rekindle::core::DEFAULT_MODULE_ID;
use rekindle::env::{EnvConfig, EnvError, make_multi_agent_with, make_with, multi_agent_spec};
use rekindle::env_runner::{PolicyBundle, PolicyMapping, is_external};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::game::{Game, Played};
use self::multi_agent::MultiAgentGame;
use self::shown::Shown;
use self::single_agent::SingleAgentGame;
use crate::args::PlayArgs;
use crate::error::{CliError, NO_ENVIRONMENT, Result};
use crate::interrupt::Interrupt;
use crate::output::say;
use crate::run_path::checkpoint_at;

/// Returns the policy of a module.
type Policies = Box<dyn Fn(&str) -> Result<PolicyBundle>>;

pub(crate) fn run(args: &PlayArgs) -> Result<()> {
    let mut shown = Shown::new(args)?;
    let path = checkpoint_at(&args.path, args.best)?;
    let mut game = load(args, &path)?;
    let interrupt = Interrupt::listen()?;
    let episodes = play(args, &mut *game, &mut shown, &interrupt)?;
    shown.finish()?;
    for (number, Played { reward, steps, details }) in episodes.iter().enumerate() {
        say!("episode {}: return {reward:.2} in {steps} steps{details}", number + 1)?;
    }
    if let Some(out) = &args.out {
        say!("{}", out.display())?;
    }
    if interrupt.is_set() { Err(CliError::Interrupted) } else { Ok(()) }
}

/// Returns the policies in the environment that they play in.
fn load(args: &PlayArgs, path: &Path) -> Result<Box<dyn Game>> {
    let device = args.device.open()?;
    let data = checkpoint::read_data(path)?;
    let (policies, of_run): (Policies, &Value) = match data.get("test_observations") {
        Some(_) => {
            let policy = PolicyBundle::from_checkpoint(path, &device)?;
            (Box::new(move |_| Ok(policy.clone())), &Value::Null)
        }
        None => {
            let spec = saved_algorithm(path)?.allow_external_environments(args.allow_python);
            let algorithm = spec.restore(path, &json!({}), &device)?;
            (Box::new(move |module| Ok(algorithm.policy_bundle_of(module)?)), &data["config"])
        }
    };
    // An evaluation may have other environments than training.
    let of_evaluation = &of_run["evaluation"]["evaluation_config"];
    let given = args.env.as_deref();
    let saved = of_evaluation["env"].as_str().or_else(|| of_run["environment"]["env"].as_str());
    let Some(id) = given.or(saved) else {
        let message = match of_run {
            Value::Null => "a policy bundle does not know its environment; name one with --env",
            _ => NO_ENVIRONMENT,
        };
        return Err(CliError::Usage(message.into()));
    };
    let settings = match (given, &of_evaluation["env_config"]) {
        (Some(_), _) => &Value::Null,
        (None, Value::Null) => &of_run["environment"]["env_config"],
        (None, settings) => settings,
    };
    let mut settings: EnvConfig = read("the settings of the environment", settings)?;
    // Also registers the environments of Python.
    let is_external = is_external(id);
    if is_external && (id.starts_with("gymnasium:") || id.starts_with("pettingzoo:")) {
        settings = settings.with("render_mode", "rgb_array");
    }
    let failed = |error: EnvError| CliError::Failed(error.to_string());
    if multi_agent_spec(id).is_err() {
        let env = make_with(id, &settings).map_err(failed)?;
        let policy = policies(args.module.as_deref().unwrap_or(DEFAULT_MODULE_ID))?;
        return Ok(Box::new(SingleAgentGame::new(policy, env, args.seed)));
    }
    let mapping = match (&args.module, &of_evaluation["policy_mapping"]) {
        (Some(module), _) => PolicyMapping::All(module.clone()),
        (None, Value::Null) => {
            read("the mapping of the agents", &of_run["multi_agent"]["policy_mapping"])?
        }
        (None, mapping) => read("the mapping of the agents", mapping)?,
    };
    let env = make_multi_agent_with(id, &settings).map_err(failed)?;
    Ok(Box::new(MultiAgentGame::new(policies, mapping, env, args.seed)))
}

/// Reads a setting of a run, with its default for null.
fn read<T: DeserializeOwned + Default>(what: &str, value: &Value) -> Result<T> {
    let read: Option<T> = serde_json::from_value(value.clone())
        .map_err(|error| CliError::Failed(format!("{what}: {error}")))?;
    Ok(read.unwrap_or_default())
}

/// Plays episodes, and shows every frame.
fn play(
    args: &PlayArgs,
    game: &mut dyn Game,
    shown: &mut Shown,
    interrupt: &Interrupt,
) -> Result<Vec<Played>> {
    let mut episodes = Vec::new();
    while episodes.len() < args.episodes && !interrupt.is_set() {
        // Only the first episode has the seed; later ones continue the random stream of the environment.
        game.reset(episodes.is_empty().then_some(args.seed))?;
        let (mut reward, mut steps, mut is_over) = (0.0, 0, false);
        let about = |steps: u64, reward: f64, details: &str| {
            let episode = episodes.len() + 1;
            format!(
                "episode {episode}/{}  step {steps}  return {reward:.2}{details}",
                args.episodes
            )
        };
        shown.show(&game.render()?, &about(steps, reward, ""))?;
        while !is_over && !interrupt.is_set() {
            let step = game.step(args.stochastic)?;
            (reward, steps, is_over) = (reward + step.reward, steps + 1, step.is_over);
            shown.show(&game.render()?, &about(steps, reward, &game.details()))?;
        }
        if is_over {
            episodes.push(Played { reward, steps, details: game.details() });
        }
    }
    Ok(episodes)
}
