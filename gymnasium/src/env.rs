//! A single Python environment.

use std::sync::Arc;

use rekindle_env::render::Frame;
use rekindle_env::{
    Buffer, Env, EnvConfig, EnvError, Info, ResetOptions, Row, RowMut, Space, Step, VectorEnv,
    VectorStep,
};

use crate::vector::GymnasiumVectorEnv;

/// One Python environment in a worker process of its own.
///
/// For training, use [`GymnasiumVectorEnv`], which steps several environments per worker.
#[derive(Debug)]
pub struct GymnasiumEnv {
    id: Arc<str>,
    env: GymnasiumVectorEnv,
    action: Buffer,
    out: VectorStep,
}

impl GymnasiumEnv {
    /// Starts a worker with the environment `id`.
    ///
    /// # Errors
    /// As for [`GymnasiumVectorEnv::new`].
    pub fn new(id: &str, config: &EnvConfig) -> Result<Self, EnvError> {
        let id: Arc<str> = id.into();
        let env = GymnasiumVectorEnv::with_autoreset(&id, 1, config, false)?;
        let action = Buffer::zeros(env.action_space(), 1);
        let out = VectorStep::new(env.observation_space(), 1);
        Ok(Self { id, env, action, out })
    }
}

impl Env for GymnasiumEnv {
    fn observation_space(&self) -> &Space {
        self.env.observation_space()
    }

    fn action_space(&self) -> &Space {
        self.env.action_space()
    }

    fn reset(
        &mut self,
        options: &ResetOptions,
        mut observation: RowMut<'_>,
    ) -> Result<(), EnvError> {
        self.env.reset_with(&[options.seed], &options.options, &mut self.out).map_err(of_one)?;
        observation.copy_from(self.out.observations.row(0))
    }

    fn step(&mut self, action: Row<'_>, mut observation: RowMut<'_>) -> Result<Step, EnvError> {
        self.action.row_mut(0).copy_from(action)?;
        self.env.step(&self.action, &mut self.out).map_err(of_one)?;
        observation.copy_from(self.out.observations.row(0))?;
        let VectorStep { rewards, terminated, truncated, .. } = &self.out;
        Ok(Step { reward: rewards[0], terminated: terminated[0], truncated: truncated[0] })
    }

    fn info(&self) -> Info {
        self.env.info(0)
    }

    fn render(&mut self) -> Result<Frame, EnvError> {
        self.env.render(0).map_err(of_one)
    }

    fn name(&self) -> &str {
        &self.id
    }
}

/// The error of the only environment of a vector.
pub(crate) fn of_one(error: EnvError) -> EnvError {
    match error {
        EnvError::SubEnv { source, .. } => *source,
        other => other,
    }
}
