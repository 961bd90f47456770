//! `rekindle play`: episodes of a trained policy, drawn in the terminal or as a video.

mod terminal;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rekindle::algorithms::saved_algorithm;
use rekindle::checkpoint;
use rekindle::env::render::Frame;
use rekindle::env::video::{VideoFormat, VideoWriter};
use rekindle::env::{EnvConfig, VectorEnv, VectorStep, make_vec_with};
use rekindle::env_runner::{PolicyBundle, is_external};
use serde_json::{Value, json};

use self::terminal::Screen;
use crate::args::PlayArgs;
use crate::error::{CliError, Result};
use crate::interrupt::Interrupt;
use crate::run_path::checkpoint_at;

pub(crate) fn run(args: &PlayArgs) -> Result<()> {
    let mut shown = Shown::new(args)?;
    let path = checkpoint_at(&args.path, args.best)?;
    let (mut policy, mut envs) = load(args, &path)?;
    policy.set_seed(args.seed);
    let interrupt = Interrupt::listen()?;
    let returns = play(args, &mut policy, &mut *envs, &mut shown, &interrupt)?;
    shown.finish()?;
    for (episode, (reward, steps)) in returns.iter().enumerate() {
        println!("episode {}: return {reward:.2} in {steps} steps", episode + 1);
    }
    if let Some(out) = &args.out {
        println!("{}", out.display());
    }
    if interrupt.is_set() { Err(CliError::Interrupted) } else { Ok(()) }
}

/// Returns the policy, and the environment that it plays in.
fn load(args: &PlayArgs, path: &Path) -> Result<(PolicyBundle, Box<dyn VectorEnv>)> {
    let device = args.device.open()?;
    let data = checkpoint::read_data(path)?;
    let is_bundle = data.get("test_observations").is_some();
    let (policy, of_run) = match is_bundle {
        true => (PolicyBundle::from_checkpoint(path, &device)?, &Value::Null),
        false => {
            let spec = saved_algorithm(path)?.allow_external_environments(args.allow_python);
            let algorithm = spec.restore(path, &json!({}), &device)?;
            (algorithm.policy_bundle_of(&args.module)?, &data["config"])
        }
    };
    // An evaluation may have other environments than training.
    let of_evaluation = &of_run["evaluation"]["evaluation_config"];
    let given = args.env.as_deref();
    let saved = of_evaluation["env"].as_str().or_else(|| of_run["environment"]["env"].as_str());
    let Some(id) = given.or(saved) else {
        let message = "a policy bundle does not know its environment; name one with --env".into();
        return Err(CliError::Usage(message));
    };
    let settings = match (given, &of_evaluation["env_config"]) {
        (Some(_), _) => Value::Null,
        (None, Value::Null) => of_run["environment"]["env_config"].clone(),
        (None, settings) => settings.clone(),
    };
    let settings: Option<EnvConfig> = serde_json::from_value(settings)
        .map_err(|error| CliError::Failed(format!("the settings of the environment: {error}")))?;
    let mut settings = settings.unwrap_or_default();
    // Also registers environments of Gymnasium.
    if is_external(id) && id.starts_with("gymnasium:") {
        settings = settings.with("render_mode", "rgb_array");
    }
    let envs = make_vec_with(id, 1, &settings).map_err(|error| {
        CliError::Failed(format!("{error}; `play` shows environments of one agent"))
    })?;
    Ok((policy, envs))
}

/// Plays episodes, and returns the return and length of each.
fn play(
    args: &PlayArgs,
    policy: &mut PolicyBundle,
    envs: &mut dyn VectorEnv,
    shown: &mut Shown,
    interrupt: &Interrupt,
) -> Result<Vec<(f64, u64)>> {
    let failed = |error: rekindle::env::EnvError| CliError::Failed(error.to_string());
    let mut step = VectorStep::new(envs.observation_space(), 1);
    envs.keep_final_frame(0, true);
    envs.reset(&[Some(args.seed)], &mut step).map_err(failed)?;
    let (mut returns, mut reward, mut steps) = (Vec::new(), 0.0, 0);
    shown.show(&envs.render(0).map_err(failed)?, "")?;
    while returns.len() < args.episodes && !interrupt.is_set() {
        let actions = policy.compute_actions(&step.observations, args.stochastic)?.clone();
        envs.step(&actions, &mut step).map_err(failed)?;
        policy.set_rewards(&step.rewards);
        reward += step.rewards.first().copied().unwrap_or_default();
        steps += 1;
        let episode = returns.len() + 1;
        let about =
            format!("episode {episode}/{}  step {steps}  return {reward:.2}", args.episodes);
        if step.is_done(0) {
            if let Some(last) = envs.final_frame(0) {
                shown.show(&last, &about)?;
            }
            policy.reset_row(0);
            returns.push((reward, steps));
            (reward, steps) = (0.0, 0);
            if returns.len() == args.episodes {
                break;
            }
        }
        shown.show(&envs.render(0).map_err(failed)?, &about)?;
    }
    Ok(returns)
}

/// Where frames go.
enum Shown {
    Terminal { screen: Screen, pause: Option<f64>, next: Instant },
    Video(VideoWriter),
}

impl Shown {
    fn new(args: &PlayArgs) -> Result<Self> {
        if let Some(out) = &args.out {
            let kind = out.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
            let format = match kind.to_ascii_lowercase().as_str() {
                "gif" => VideoFormat::Gif,
                "mp4" => VideoFormat::Mp4,
                _ => {
                    let message = format!("{} is neither a .gif nor an .mp4 file", out.display());
                    return Err(CliError::Usage(message));
                }
            };
            return Ok(Self::Video(VideoWriter::new(out, format)));
        }
        if !io::stdout().is_terminal() {
            let message = "`play` draws in a terminal; write a video with --out FILE.gif instead";
            return Err(CliError::Usage(message.into()));
        }
        let screen = Screen::new(args.width);
        Ok(Self::Terminal { screen, pause: args.fps, next: Instant::now() })
    }

    /// Shows a frame, at the speed of the environment in a terminal.
    fn show(&mut self, frame: &Frame, about: &str) -> Result<()> {
        let failed = |error: io::Error| CliError::Failed(format!("cannot draw: {error}"));
        match self {
            Self::Video(video) => {
                video.push(frame).map_err(|error| CliError::Failed(error.to_string()))
            }
            Self::Terminal { screen, pause, next } => {
                thread::sleep(next.saturating_duration_since(Instant::now()));
                *next =
                    Instant::now() + Duration::from_secs_f64(1.0 / pause.unwrap_or(frame.fps()));
                let mut out = io::stdout().lock();
                out.write_all(screen.draw(frame, about).as_bytes())
                    .and_then(|()| out.flush())
                    .map_err(failed)
            }
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Video(video) => {
                video.finish().map_err(|error| CliError::Failed(error.to_string()))
            }
            Self::Terminal { screen, .. } => {
                print!("{}", screen.end());
                Ok(())
            }
        }
    }
}
