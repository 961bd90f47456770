//! Vectors of environments that are stepped together.

mod checked;
mod final_frames;
mod sync;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

pub(crate) use checked::CheckedVectorEnv;
pub(crate) use final_frames::FinalFrames;
pub use sync::SyncVectorEnv;

use crate::buffer::Buffer;
use crate::env::Info;
use crate::error::{EnvError, Result};
use crate::render::Frame;
use crate::spaces::Space;

/// The results of a reset or a step of a [`VectorEnv`], one row per environment.
///
/// A caller creates it once; every step overwrites it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VectorStep {
    /// The current observations. Where an episode ended, this is the first one of the next episode.
    pub observations: Buffer,
    /// The rewards for the actions.
    #[serde(with = "crate::float::list")]
    pub rewards: Vec<f64>,
    /// Whether each episode ended in a terminal state.
    pub terminated: Vec<bool>,
    /// Whether each episode was cut short.
    pub truncated: Vec<bool>,
    /// The last observation of each episode that ended in this step. All other rows are stale, and
    /// need not be elements of the observation space.
    pub final_observations: Buffer,
}

impl VectorStep {
    /// Creates results for `num_envs` environments with this observation space.
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

    /// Returns the number of environments.
    #[must_use]
    pub fn num_envs(&self) -> usize {
        self.rewards.len()
    }

    /// Returns whether environment `index` ended an episode in this step.
    #[inline]
    #[must_use]
    pub fn is_done(&self, index: usize) -> bool {
        [&self.terminated, &self.truncated].iter().any(|flags| flags.get(index) == Some(&true))
    }

    /// Checks that there is a row for each of `num_envs` environments.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`] if there are more or fewer rows.
    pub fn check(&self, num_envs: usize) -> Result<()> {
        check_len("rows of `observations`", num_envs, self.observations.rows())?;
        check_len("rows of `final_observations`", num_envs, self.final_observations.rows())?;
        check_len("length of `rewards`", num_envs, self.rewards.len())?;
        check_len("length of `terminated`", num_envs, self.terminated.len())?;
        check_len("length of `truncated`", num_envs, self.truncated.len())
    }
}

/// Environments with the same spaces, reset and stepped together.
///
/// The step that ends an episode also resets its environment (Gymnasium's
/// `AutoresetMode.SAME_STEP`). It reports the reward and the flags of the ended episode, its last
/// observation in [`final_observations`](VectorStep::final_observations), its last info as
/// [`final_info`](Self::final_info), and the next episode's first observation in
/// [`observations`](VectorStep::observations).
///
/// # Errors
///
/// An environment that fails does not stop the others. [`reset`](Self::reset),
/// [`reset_with`](Self::reset_with) and [`step`](Self::step) run every environment and then return
/// [`EnvError::SubEnv`], or [`EnvError::SubEnvs`] if several failed.
/// [`EnvError::failed_envs`] lists the failures. After such a call:
///
/// - The rows of all other environments are valid.
/// - An environment whose step failed has reward 0 and no flags, and its rows of observations are
///   unspecified. Its episode is lost.
/// - A failed environment that [`is_done`](VectorStep::is_done) ended its episode, whose reward,
///   flags and final observation are valid, and then failed to start the next one.
///
/// [`reset_one`](Self::reset_one) restarts a failed environment. [`EnvError::is_recoverable`]
/// distinguishes failures of environments from mistakes in a program. Any other error, such as a
/// wrong number of actions, is returned before anything is done.
#[doc(alias = "autoreset")]
pub trait VectorEnv: Send {
    /// Returns the number of environments.
    fn num_envs(&self) -> usize;

    /// Returns the space of the observations of one environment.
    fn observation_space(&self) -> &Space;

    /// Returns the space of the actions of one environment.
    fn action_space(&self) -> &Space;

    /// Starts an episode in every environment, with one seed for each (see [`seeds_from`]).
    ///
    /// # Errors
    ///
    /// As for [`reset_with`](Self::reset_with).
    fn reset(&mut self, seeds: &[Option<u64>], out: &mut VectorStep) -> Result<()> {
        self.reset_with(seeds, &Map::new(), out)
    }

    /// Starts an episode in every environment, with one seed for each and the same reset options.
    ///
    /// # Errors
    ///
    /// As described at [`VectorEnv`]; also [`EnvError::ShapeMismatch`] if the number of seeds or the size of
    /// `out` is wrong.
    fn reset_with(
        &mut self,
        seeds: &[Option<u64>],
        options: &Map<String, Json>,
        out: &mut VectorStep,
    ) -> Result<()>;

    /// Starts an episode in environment `index` only, for example after a failure.
    ///
    /// Writes its first observation into row `index` of [`observations`](VectorStep::observations)
    /// and clears its reward and flags. Other rows and environments are unchanged.
    ///
    /// # Errors
    ///
    /// [`EnvError::SubEnv`] if the environment fails, [`EnvError::RowOutOfRange`] if `index` is not
    /// below [`num_envs`](Self::num_envs), [`EnvError::Unsupported`] if the vector cannot reset
    /// environments one by one.
    fn reset_one(
        &mut self,
        _index: usize,
        _seed: Option<u64>,
        _out: &mut VectorStep,
    ) -> Result<()> {
        Err(unsupported::<Self>("reset_one"))
    }

    /// Performs one action in every environment: row `i` of `actions` in environment `i`.
    ///
    /// # Errors
    ///
    /// As described at [`VectorEnv`]; also [`EnvError::ShapeMismatch`] if the number of actions or the size of
    /// `out` is wrong.
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

    /// Returns a picture of environment `index`; see [`Env::render`](crate::Env::render).
    ///
    /// # Errors
    ///
    /// [`EnvError::SubEnv`] with an [`EnvError::CannotRender`] if the environment draws nothing, and
    /// [`EnvError::RowOutOfRange`] if `index` is not below [`num_envs`](Self::num_envs).
    fn render(&mut self, index: usize) -> Result<Frame> {
        let error = EnvError::cannot_render(std::any::type_name::<Self>());
        Err(EnvError::at(index)(error))
    }

    /// Sets whether the last picture of each episode of environment `index` is kept for
    /// [`final_frame`](Self::final_frame). Off by default.
    fn keep_final_frame(&mut self, _index: usize, _keep: bool) {}

    /// Returns the picture after the step that ended an episode of environment `index`, before its reset. It belongs to
    /// the same step as [`final_info`](Self::final_info). `None` if it was not
    /// [kept](Self::keep_final_frame).
    fn final_frame(&mut self, _index: usize) -> Option<Frame> {
        None
    }

    /// Returns everything needed to continue exactly from here, or `None` if an environment does
    /// not support that.
    ///
    /// # Errors
    ///
    /// The errors of its environments.
    fn state(&self) -> Result<Option<Json>> {
        Ok(None)
    }

    /// Continues from a state that [`state`](Self::state) returned.
    ///
    /// # Errors
    ///
    /// [`EnvError::Unsupported`] if the vector does not save its state, [`EnvError::InvalidState`]
    /// or [`EnvError::ShapeMismatch`] if the state is not one of this vector, and the errors of its
    /// environments.
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

    fn render(&mut self, index: usize) -> Result<Frame> {
        (**self).render(index)
    }

    fn keep_final_frame(&mut self, index: usize, keep: bool) {
        (**self).keep_final_frame(index, keep);
    }

    fn final_frame(&mut self, index: usize) -> Option<Frame> {
        (**self).final_frame(index)
    }

    fn state(&self) -> Result<Option<Json>> {
        (**self).state()
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        (**self).set_state(state)
    }
}

/// Returns the seeds of `n` environments as Gymnasium chooses them: `seed`, `seed + 1`, and so on,
/// or `None` for each without a `seed`.
///
/// ```
/// assert_eq!(rekindle_env::seeds_from(Some(7), 2), [Some(7), Some(8)]);
/// assert_eq!(rekindle_env::seeds_from(None, 2), [None, None]);
/// ```
#[must_use]
pub fn seeds_from(seed: Option<u64>, n: usize) -> Vec<Option<u64>> {
    (0..n as u64).map(|i| seed.map(|seed| seed.wrapping_add(i))).collect()
}

/// The error for an operation that the type `V` does not support.
pub(crate) fn unsupported<V: ?Sized>(what: &str) -> EnvError {
    EnvError::Unsupported { env: std::any::type_name::<V>().to_owned(), what: what.to_owned() }
}

/// The error for a missing environment `index` in a vector of `num_envs`.
pub(crate) fn no_env(index: usize, num_envs: usize) -> EnvError {
    EnvError::RowOutOfRange { row: index, rows: num_envs }
}

pub(crate) fn check_len(what: &'static str, expected: usize, found: usize) -> Result<()> {
    if found == expected { Ok(()) } else { Err(EnvError::length(what, expected, found)) }
}
