//! Vectors of environments on one thread.

use serde_json::{Map, Value as Json};

use super::{FinalFrames, VectorEnv, VectorStep, check_len, no_env};
use crate::buffer::Buffer;
use crate::env::{Env, Info, ResetOptions, Step, load_state};
use crate::error::{EnvError, Result};
use crate::render::Frame;
use crate::spaces::Space;

/// A vector of environments that are stepped one after the other on the calling thread.
///
/// With a concrete `E`, steps are direct calls; [`make_vec`](crate::make_vec) builds such a vector,
/// with each environment wrapped in [`OrderEnforcing`](crate::wrappers::OrderEnforcing). Wrap the
/// environments that you pass to [`new`](Self::new) as well: the vector itself checks no order of
/// calls and no observations.
#[derive(Debug)]
pub struct SyncVectorEnv<E = Box<dyn Env>> {
    envs: Vec<E>,
    observation_space: Space,
    action_space: Space,
    /// The info of each environment's last step of an episode, taken before its reset.
    final_infos: Vec<Info>,
    final_frames: FinalFrames,
}

impl<E: Env> SyncVectorEnv<E> {
    /// Creates a vector of one or more environments with the same spaces.
    ///
    /// # Errors
    ///
    /// [`EnvError::ShapeMismatch`] without environments, [`EnvError::InvalidSpace`] if their spaces
    /// differ.
    pub fn new(envs: Vec<E>) -> Result<Self> {
        let Some(first) = envs.first() else {
            return Err(EnvError::length("environments in a vector", 1, 0));
        };
        let (observation_space, action_space) =
            (first.observation_space().clone(), first.action_space().clone());
        for (index, env) in envs.iter().enumerate() {
            for (expected, found) in
                [(&observation_space, env.observation_space()), (&action_space, env.action_space())]
            {
                if expected != found {
                    let reason = format!(
                        "environment {index} of a vector has the space {found}, \
                         environment 0 has {expected}"
                    );
                    return Err(EnvError::invalid_space(reason));
                }
            }
        }
        let final_infos = vec![Info::new(); envs.len()];
        Ok(Self {
            envs,
            observation_space,
            action_space,
            final_infos,
            final_frames: FinalFrames::default(),
        })
    }

    /// Returns the environments.
    #[must_use]
    pub fn envs(&self) -> &[E] {
        &self.envs
    }
}

impl<E: Env> VectorEnv for SyncVectorEnv<E> {
    fn num_envs(&self) -> usize {
        self.envs.len()
    }

    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        &self.action_space
    }

    fn reset_with(
        &mut self,
        seeds: &[Option<u64>],
        options: &Map<String, Json>,
        out: &mut VectorStep,
    ) -> Result<()> {
        check_len("seeds", self.envs.len(), seeds.len())?;
        out.check(self.envs.len())?;
        let mut options = ResetOptions { seed: None, options: options.clone() };
        let mut failures = Vec::new();
        for (i, (env, &seed)) in self.envs.iter_mut().zip(seeds).enumerate() {
            options.seed = seed;
            if let Err(error) = env.reset(&options, out.observations.row_mut(i)) {
                fail(&mut failures, i, error);
            }
        }
        out.rewards.fill(0.0);
        out.terminated.fill(false);
        out.truncated.fill(false);
        EnvError::check_failures(failures)
    }

    fn reset_one(&mut self, index: usize, seed: Option<u64>, out: &mut VectorStep) -> Result<()> {
        let num_envs = self.envs.len();
        out.check(num_envs)?;
        let env = self.envs.get_mut(index).ok_or_else(|| no_env(index, num_envs))?;
        for flags in [&mut out.terminated, &mut out.truncated] {
            flags[index] = false;
        }
        out.rewards[index] = 0.0;
        let options = ResetOptions { seed, ..ResetOptions::new() };
        env.reset(&options, out.observations.row_mut(index)).map_err(EnvError::at(index))
    }

    fn step(&mut self, actions: &Buffer, out: &mut VectorStep) -> Result<()> {
        check_len("rows of `actions`", self.envs.len(), actions.rows())?;
        out.check(self.envs.len())?;
        // Allocates nothing until an environment fails.
        let mut failures = Vec::new();
        let options = ResetOptions::new();
        let results = out.rewards.iter_mut().zip(&mut out.terminated).zip(&mut out.truncated);
        for (i, (env, ((reward, terminated), truncated))) in
            self.envs.iter_mut().zip(results).enumerate()
        {
            let step = match env.step(actions.row(i), out.observations.row_mut(i)) {
                Ok(step) => step,
                Err(error) => {
                    fail(&mut failures, i, error);
                    Step::running(0.0)
                }
            };
            (*reward, *terminated, *truncated) = (step.reward, step.terminated, step.truncated);
            if step.is_done() {
                out.final_observations.copy_row(i, &out.observations, i)?;
                self.final_infos[i] = env.info();
                self.final_frames.ended(i, || env.render());
                if let Err(error) = env.reset(&options, out.observations.row_mut(i)) {
                    fail(&mut failures, i, error);
                }
            }
        }
        EnvError::check_failures(failures)
    }

    fn info(&self, index: usize) -> Info {
        self.envs.get(index).map(Env::info).unwrap_or_default()
    }

    fn final_info(&self, index: usize) -> Info {
        self.final_infos.get(index).cloned().unwrap_or_default()
    }

    fn render(&mut self, index: usize) -> Result<Frame> {
        let num_envs = self.envs.len();
        let env = self.envs.get_mut(index).ok_or_else(|| no_env(index, num_envs))?;
        env.render().map_err(EnvError::at(index))
    }

    fn keep_final_frame(&mut self, index: usize, keep: bool) {
        self.final_frames.keep(index, keep);
    }

    fn final_frame(&mut self, index: usize) -> Option<Frame> {
        self.final_frames.take(index)
    }

    fn state(&self) -> Result<Option<Json>> {
        let states = self.envs.iter().map(|env| env.state().transpose());
        Ok(states.collect::<Option<Result<_>>>().transpose()?.map(Json::Array))
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        let name = self.envs.first().map_or("SyncVectorEnv", |env| env.name());
        let states: Vec<Json> = load_state(name, state)?;
        check_len("states", self.envs.len(), states.len())?;
        for (i, (env, state)) in self.envs.iter_mut().zip(&states).enumerate() {
            env.set_state(state).map_err(EnvError::at(i))?;
        }
        Ok(())
    }
}

/// Records a failure. A separate function keeps the loop over the environments small.
#[cold]
fn fail(failures: &mut Vec<EnvError>, index: usize, error: EnvError) {
    failures.push(EnvError::at(index)(error));
}
