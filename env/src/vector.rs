//! Many environments stepped as one.

mod sync;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

pub use sync::SyncVectorEnv;

use crate::{Buffer, EnvError, Info, Result, Space};

/// What a vector of environments reports after a reset or a step, one row per environment.
///
/// It is made once and overwritten by every step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VectorStep {
    /// What the agent sees now. Where an episode ended, this is the first observation of the next.
    pub observations: Buffer,
    /// The rewards for the actions.
    pub rewards: Vec<f64>,
    /// Whether each episode ended in a terminal state.
    pub terminated: Vec<bool>,
    /// Whether each episode was cut short.
    pub truncated: Vec<bool>,
    /// The last observation of each episode that ended in this step. All other rows are stale.
    pub final_observations: Buffer,
}

impl VectorStep {
    /// Room for `num_envs` environments with this observation space.
    #[must_use]
    pub fn new(observation_space: &Space, num_envs: usize) -> Self {
        Self {
            observations: Buffer::zeros(observation_space, num_envs),
            rewards: vec![0.0; num_envs],
            terminated: vec![false; num_envs],
            truncated: vec![false; num_envs],
            final_observations: Buffer::zeros(observation_space, num_envs),
        }
    }

    /// The number of environments.
    #[must_use]
    pub fn num_envs(&self) -> usize {
        self.rewards.len()
    }

    /// Whether environment `index` finished an episode in this step.
    #[inline]
    #[must_use]
    pub fn is_done(&self, index: usize) -> bool {
        [&self.terminated, &self.truncated].iter().any(|flags| flags.get(index) == Some(&true))
    }

    fn check(&self, num_envs: usize) -> Result<()> {
        check_len("rows of `observations`", num_envs, self.observations.rows())?;
        check_len("rows of `final_observations`", num_envs, self.final_observations.rows())?;
        check_len("length of `rewards`", num_envs, self.rewards.len())?;
        check_len("length of `terminated`", num_envs, self.terminated.len())?;
        check_len("length of `truncated`", num_envs, self.truncated.len())
    }
}

/// Environments of the same spaces, reset and stepped together.
///
/// Episodes follow each other without a gap (Gymnasium's `AutoresetMode.SAME_STEP`): the step that
/// ends an episode also resets its environment. It reports the reward and the flags of the ended
/// episode, the ended episode's last observation in
/// [`final_observations`](VectorStep::final_observations), and the next episode's first observation
/// in [`observations`](VectorStep::observations).
///
/// # Errors
///
/// An environment that fails does not stop the others. [`reset`](Self::reset),
/// [`reset_with`](Self::reset_with) and [`step`](Self::step) serve every environment and then return
/// [`EnvError::SubEnv`], or [`EnvError::SubEnvs`] if several failed;
/// [`EnvError::failed_envs`] lists them. Of such a call,
///
/// - the rows of all other environments are what they would have been without the failure;
/// - a failed environment whose step failed has reward 0 and no flags, and its rows of observations
///   are unspecified: its episode is lost;
/// - a failed environment that [`is_done`](VectorStep::is_done) had ended its episode, whose reward,
///   flags and final observation are good, and failed to begin the next one.
///
/// [`reset_one`](Self::reset_one) starts a failed environment again; steps go on as if nothing had
/// happened then. [`EnvError::is_recoverable`] tells breakdowns from mistakes in a program. Any other
/// error, such as one about a wrong number of actions, comes before anything was done.
pub trait VectorEnv: Send {
    /// The number of environments.
    fn num_envs(&self) -> usize;

    /// The space of the observations of one environment.
    fn observation_space(&self) -> &Space;

    /// The space of the actions of one environment.
    fn action_space(&self) -> &Space;

    /// Starts an episode in every environment, with one seed each (see [`seeds_from`]).
    fn reset(&mut self, seeds: &[Option<u64>], out: &mut VectorStep) -> Result<()> {
        self.reset_with(seeds, &Map::new(), out)
    }

    /// Starts an episode in every environment, with one seed each and the same reset options.
    fn reset_with(
        &mut self,
        seeds: &[Option<u64>],
        options: &Map<String, Json>,
        out: &mut VectorStep,
    ) -> Result<()>;

    /// Starts an episode in environment `index` alone, after it failed or for any other reason.
    ///
    /// Writes its first observation into row `index` of [`observations`](VectorStep::observations)
    /// and clears its reward and flags; the other rows and environments stay as they are.
    ///
    /// # Errors
    ///
    /// [`EnvError::SubEnv`] if the environment fails again, [`EnvError::RowOutOfRange`] if there is
    /// none at `index`, [`EnvError::Unsupported`] if this kind of vector cannot do it.
    fn reset_one(
        &mut self,
        _index: usize,
        _seed: Option<u64>,
        _out: &mut VectorStep,
    ) -> Result<()> {
        Err(unsupported::<Self>("reset_one"))
    }

    /// Performs one action in every environment: row `i` of `actions` in environment `i`.
    fn step(&mut self, actions: &Buffer, out: &mut VectorStep) -> Result<()>;

    /// Returns the info of environment `index`; see [`Env::info`](crate::Env::info).
    ///
    /// If the last step ended an episode, the environment has been reset since, and this describes
    /// the new episode. The info of the step that ended the old one is
    /// [`final_info`](Self::final_info).
    fn info(&self, _index: usize) -> Info {
        Info::new()
    }

    /// Returns the info of the step that ended an episode of environment `index`, such as
    /// `is_success`: Gymnasium's `infos["final_info"]`.
    ///
    /// It belongs to the same episode as row `index` of
    /// [`final_observations`](VectorStep::final_observations), and is only meaningful if that
    /// environment [`is_done`](VectorStep::is_done). A vector without infos returns an empty one.
    fn final_info(&self, _index: usize) -> Info {
        Info::new()
    }

    /// Everything needed to go on exactly from here, or `None` where an environment cannot tell.
    fn state(&self) -> Result<Option<Json>> {
        Ok(None)
    }

    /// Goes on from a state that [`state`](Self::state) returned.
    fn set_state(&mut self, _state: &Json) -> Result<()> {
        Err(unsupported::<Self>("set_state"))
    }
}

impl fmt::Debug for dyn VectorEnv + '_ {
    /// Shows the number of environments and their spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VectorEnv")
            .field("num_envs", &self.num_envs())
            .field("observation_space", &format_args!("{}", self.observation_space()))
            .field("action_space", &format_args!("{}", self.action_space()))
            .finish_non_exhaustive()
    }
}

impl<V: VectorEnv + ?Sized> VectorEnv for Box<V> {
    fn num_envs(&self) -> usize {
        (**self).num_envs()
    }

    fn observation_space(&self) -> &Space {
        (**self).observation_space()
    }

    fn action_space(&self) -> &Space {
        (**self).action_space()
    }

    fn reset_with(
        &mut self,
        seeds: &[Option<u64>],
        options: &Map<String, Json>,
        out: &mut VectorStep,
    ) -> Result<()> {
        (**self).reset_with(seeds, options, out)
    }

    fn reset_one(&mut self, index: usize, seed: Option<u64>, out: &mut VectorStep) -> Result<()> {
        (**self).reset_one(index, seed, out)
    }

    fn step(&mut self, actions: &Buffer, out: &mut VectorStep) -> Result<()> {
        (**self).step(actions, out)
    }

    fn info(&self, index: usize) -> Info {
        (**self).info(index)
    }

    fn final_info(&self, index: usize) -> Info {
        (**self).final_info(index)
    }

    fn state(&self) -> Result<Option<Json>> {
        (**self).state()
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        (**self).set_state(state)
    }
}

/// The seeds of `n` environments as Gymnasium chooses them: `seed`, `seed + 1`, ...
///
/// ```
/// assert_eq!(rekindle_env::seeds_from(Some(7), 2), [Some(7), Some(8)]);
/// assert_eq!(rekindle_env::seeds_from(None, 2), [None, None]);
/// ```
#[must_use]
pub fn seeds_from(seed: Option<u64>, n: usize) -> Vec<Option<u64>> {
    (0..n as u64).map(|i| seed.map(|seed| seed.wrapping_add(i))).collect()
}

/// What the vector `V` cannot do.
pub(crate) fn unsupported<V: ?Sized>(what: &str) -> EnvError {
    EnvError::Unsupported { env: std::any::type_name::<V>().to_owned(), what: what.to_owned() }
}

/// There is no environment `index` in a vector of `num_envs`.
pub(crate) fn no_env(index: usize, num_envs: usize) -> EnvError {
    EnvError::RowOutOfRange { row: index, rows: num_envs }
}

pub(crate) fn check_len(what: &'static str, expected: usize, found: usize) -> Result<()> {
    if found == expected { Ok(()) } else { Err(EnvError::length(what, expected, found)) }
}
