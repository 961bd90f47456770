//! A check of environments, for tests.

use crate::buffer::{Buffer, RowMut};
use crate::env::{Env, ResetOptions};
use crate::error::{EnvError, Result};
use crate::spaces::{Space, SpaceSampler};

/// The number of steps of each run.
const STEPS: usize = 200;
/// The seed of the first reset and of the random actions.
const SEED: u64 = 42;
/// The part of a Dict observation with 1 for each action that is allowed, and 0 for the others.
const ACTION_MASK: &str = "action_mask";

/// Plays random actions and fails if the environment breaks a rule of [`Env`]: Gymnasium's and
/// Stable Baselines3's `check_env`.
///
/// It checks, over several episodes, that
///
/// - every observation is an element of the observation space, with all numbers within their
///   bounds;
/// - every reward is finite;
/// - the spaces do not change;
/// - the same seed and the same actions lead to the same observations, rewards and flags;
/// - an environment that saves its [`state`](Env::state) continues exactly from it, after the state
///   has passed through JSON text;
/// - an action mask, if observations have one, allows an action in every step.
///
/// Where an observation has a part `action_mask` with a number for each action of a `Discrete` space, only actions
/// that the mask allows are played. Otherwise, all actions are.
///
/// Call it in a test of an environment. For several agents, [`MultiAgentChecker`] checks its rules
/// at every step.
///
/// ```
/// use rekindle_env::{check_env, make};
///
/// check_env(&mut make("CartPole-v1")?)?;
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
///
/// # Errors
///
/// [`EnvError::CheckFailed`] or [`EnvError::InvalidObservation`] for a broken rule, and the
/// environment's own errors.
///
/// [`MultiAgentChecker`]: crate::multi_agent::MultiAgentChecker
pub fn check_env<E: Env + ?Sized>(env: &mut E) -> Result<()> {
    let first = Run::start(env)?.play(env, STEPS)?;
    let mut second = Run::start(env)?.play(env, STEPS / 2)?;
    let state = env.state()?;
    second = second.play(env, STEPS / 2)?;
    if let Some(difference) = first.difference(&second) {
        return Err(failed(
            env,
            format!("the same seed and actions give other {difference}"),
            "restart every random stream with the seed of `reset`, and reset all fields",
        ));
    }

    let Some(state) = state else { return Ok(()) };
    let text = state.to_string();
    let state = serde_json::from_str(&text).map_err(EnvError::custom)?;
    env.set_state(&state)?;
    let half = Run::start_at(&first, STEPS / 2);
    let resumed = half.play(env, STEPS / 2)?;
    match first.difference(&resumed) {
        None => Ok(()),
        Some(difference) => Err(failed(
            env,
            format!("after `set_state`, the same actions give other {difference}"),
            "save every field that a step reads or changes",
        )),
    }
}

fn failed<E: Env + ?Sized>(env: &E, problem: String, remedy: &'static str) -> EnvError {
    EnvError::CheckFailed { env: env.name().to_owned(), problem, remedy }
}

/// Everything that an environment reported in a run, and what is needed to continue the run.
struct Run {
    spaces: [Space; 2],
    observations: Buffer,
    rewards: Vec<f64>,
    flags: Vec<[bool; 2]>,
    actions: SpaceSampler,
}

impl Run {
    /// Starts a run with a seeded reset.
    fn start<E: Env + ?Sized>(env: &mut E) -> Result<Self> {
        let spaces = [env.observation_space().clone(), env.action_space().clone()];
        let actions = spaces[1].sampler(SEED);
        let observations = Buffer::with_capacity(&spaces[0], STEPS + 1);
        let mut run = Self { spaces, observations, rewards: vec![], flags: vec![], actions };
        run.reset(env, &ResetOptions::seed(SEED))?;
        Ok(run)
    }

    /// Repeats the first `steps` steps of another run, without an environment.
    fn start_at(other: &Self, steps: usize) -> Self {
        let mut actions = other.spaces[1].sampler(SEED);
        (0..steps).for_each(|_| drop(actions.sample()));
        let ends = other.flags.iter().take(steps).filter(|flags| flags.contains(&true)).count();
        let mut observations = other.observations.clone();
        observations.truncate(1 + steps + ends);
        Self {
            spaces: other.spaces.clone(),
            observations,
            rewards: other.rewards.iter().copied().take(steps).collect(),
            flags: other.flags.iter().copied().take(steps).collect(),
            actions,
        }
    }

    fn reset<E: Env + ?Sized>(&mut self, env: &mut E, options: &ResetOptions) -> Result<()> {
        let row = self.observations.rows();
        self.observations.extend_zeros(1);
        env.reset(options, self.observations.row_mut(row))?;
        self.check_observation(env)
    }

    /// Performs `steps` random actions and starts the next episode after each end.
    fn play<E: Env + ?Sized>(mut self, env: &mut E, steps: usize) -> Result<Self> {
        let mut action = Buffer::zeros(&self.spaces[1], 1);
        for _ in 0..steps {
            self.actions.sample_into(action.row_mut(0))?;
            self.obey_mask(env, action.row_mut(0))?;
            let row = self.observations.rows();
            self.observations.extend_zeros(1);
            let step = env.step(action.row(0), self.observations.row_mut(row))?;
            self.check_observation(env)?;
            if !step.reward.is_finite() {
                let problem = format!("step {} has the reward {}", self.rewards.len(), step.reward);
                return Err(failed(env, problem, "return a finite reward"));
            }
            self.rewards.push(step.reward);
            self.flags.push([step.terminated, step.truncated]);
            if step.is_done() {
                self.reset(env, &ResetOptions::new())?;
            }
        }
        Ok(self)
    }

    /// Replaces an action that the mask of the last observation forbids with the next one that it allows.
    fn obey_mask<E: Env + ?Sized>(&self, env: &E, mut action: RowMut<'_>) -> Result<()> {
        let Space::Discrete(choices) = &self.spaces[1] else { return Ok(()) };
        let observation = self.observations.row(self.observations.rows() - 1);
        let Ok(mask) = observation.get(ACTION_MASK) else { return Ok(()) };
        let allowed: Vec<bool> = match (mask.as_u8(), mask.as_f32()) {
            (Ok(bits), _) => bits.iter().map(|bit| *bit != 0).collect(),
            (_, Ok(numbers)) => numbers.iter().map(|number| *number != 0.0).collect(),
            _ => return Ok(()),
        };
        let n = choices.n();
        if allowed.len() != n {
            // It is no mask.
            return Ok(());
        }
        let drawn = (action.as_row().as_discrete()? - choices.start()) as usize;
        match (0..n).map(|offset| (drawn + offset) % n).find(|index| allowed[*index]) {
            Some(index) => action.write_discrete(choices.start() + index as i64),
            None => {
                let problem =
                    format!("before step {}, all {n} actions are masked", self.rewards.len());
                Err(failed(env, problem, "end the episode instead"))
            }
        }
    }

    /// Checks the last observation and the spaces.
    fn check_observation<E: Env + ?Sized>(&self, env: &E) -> Result<()> {
        if [env.observation_space(), env.action_space()] != [&self.spaces[0], &self.spaces[1]] {
            let problem = "its spaces changed after a reset or a step".to_owned();
            return Err(failed(env, problem, "decide them in the constructor"));
        }
        let row = self.observations.row(self.observations.rows() - 1);
        if self.spaces[0].contains_row(row) {
            return Ok(());
        }
        Err(EnvError::invalid_observation(env.name(), &self.spaces[0], row))
    }

    fn difference(&self, other: &Self) -> Option<&'static str> {
        if self.flags != other.flags {
            Some("flags")
        } else if self.rewards != other.rewards {
            Some("rewards")
        } else if self.observations != other.observations {
            Some("observations")
        } else {
            None
        }
    }
}
