//! Gymnasium's environment API in Rust.
//!
//! An [`Env`] is a process that an agent observes and acts on. A [`VectorEnv`] steps many
//! environments together. Observations and actions are elements of a [`Space`], stored in a
//! [`Buffer`]: one contiguous vector per leaf, one row per element, no allocation per step.
//! Environments are made by id:
//!
//! ```
//! use rekindle_env::{Buffer, ResetOptions, make};
//!
//! let mut env = make("CartPole-v1")?;
//! let mut observation = Buffer::zeros(env.observation_space(), 1);
//! let mut action = Buffer::zeros(env.action_space(), 1);
//! let mut policy = env.action_space().sampler(7);
//!
//! env.reset(&ResetOptions::seed(123), observation.row_mut(0))?;
//! assert_eq!(observation.row(0).as_f32()?[0], 0.018235186); // as in Gymnasium
//!
//! let mut episode_return = 0.0;
//! loop {
//!     policy.sample_into(action.row_mut(0))?;
//!     let step = env.step(action.row(0), observation.row_mut(0))?;
//!     episode_return += step.reward;
//!     if step.is_done() {
//!         break;
//!     }
//! }
//! assert!(episode_return >= 8.0);
//! # Ok::<(), rekindle_env::EnvError>(())
//! ```
//!
//! # Your own environment
//!
//! Implement four methods and register a constructor. A vector of the environment is compiled for
//! its type.
//!
//! - Implement [`Env::state`] and [`Env::set_state`], too. Without them, a run that is restored from a
//!   checkpoint begins new episodes, with a warning, instead of continuing exactly. The state includes the
//!   environment's random stream ([`Generator`] is serializable).
//! - Call [`check_env`] in a test. Steps check the kind and the number of the values of an observation,
//!   and that choices are in their space. They do not check that the values of a Box are within its
//!   bounds, which `check_env` does.
//!
//! ```
//! use rekindle_env::{
//!     Buffer, Env, EnvConfig, EnvSpec, Generator, ResetOptions, Result, Row, RowMut, Space, Step,
//!     VectorStep, check_env, load_state, make, make_vec, register, save_state, seeds_from,
//! };
//!
//! /// Walk to the right end of a corridor. Now and then, a step slips.
//! struct Corridor {
//!     cells: Space,
//!     moves: Space,
//!     length: i64,
//!     slip: f64,
//!     cell: i64,
//!     generator: Generator,
//! }
//!
//! impl Corridor {
//!     fn new(config: &EnvConfig) -> Result<Self> {
//!         config.deny_unknown("Corridor", &["length", "slip"])?;
//!         let length = config.get_i64("length")?.unwrap_or(5);
//!         let slip = config.get_f64("slip")?.unwrap_or(0.0);
//!         let (cells, moves) = (Space::discrete(length as usize)?, Space::discrete(2)?);
//!         let generator = Generator::from_entropy();
//!         Ok(Self { cells, moves, length, slip, cell: 0, generator })
//!     }
//! }
//!
//! impl Env for Corridor {
//!     fn observation_space(&self) -> &Space { &self.cells }
//!     fn action_space(&self) -> &Space { &self.moves }
//!
//!     fn reset(&mut self, options: &ResetOptions, mut observation: RowMut<'_>) -> Result<()> {
//!         self.generator.reseed(options.seed); // without a seed, the stream continues
//!         self.cell = 0;
//!         observation.write_discrete(self.cell)
//!     }
//!
//!     fn step(&mut self, action: Row<'_>, mut observation: RowMut<'_>) -> Result<Step> {
//!         let slips = self.generator.random() < self.slip;
//!         let to = if slips { self.cell } else { self.cell + 2 * action.as_discrete()? - 1 };
//!         self.cell = to.clamp(0, self.length - 1);
//!         observation.write_discrete(self.cell)?;
//!         let terminated = self.cell == self.length - 1;
//!         Ok(Step { reward: if terminated { 1.0 } else { -0.1 }, terminated, truncated: false })
//!     }
//!
//!     fn state(&self) -> Result<Option<serde_json::Value>> {
//!         save_state(&(self.cell, &self.generator))
//!     }
//!
//!     fn set_state(&mut self, state: &serde_json::Value) -> Result<()> {
//!         (self.cell, self.generator) = load_state("Corridor", state)?;
//!         Ok(())
//!     }
//! }
//!
//! register(EnvSpec::new("Corridor-v0", Corridor::new).with_max_episode_steps(100))?;
//! check_env(&mut make("Corridor-v0")?)?;
//!
//! let mut envs = make_vec("Corridor-v0", 8)?;
//! let mut out = VectorStep::new(envs.observation_space(), 8);
//! let right = Buffer::from_i64(vec![1; 8], &[])?;
//! envs.reset(&seeds_from(Some(0), 8), &mut out)?;
//! for _ in 0..4 {
//!     envs.step(&right, &mut out)?;
//! }
//! assert_eq!(out.terminated, [true; 8]);
//! assert_eq!(out.final_observations.as_i64()?, [4; 8]); // where the episodes ended
//! assert_eq!(out.observations.as_i64()?, [0; 8]); // where the next ones begin
//! # Ok::<(), rekindle_env::EnvError>(())
//! ```
//!
//! # Pictures and videos
//!
//! Implement [`Env::render`] with a [`Canvas`](render::Canvas), as the built-in environments do.
//! [`RecordVideo`](wrappers::RecordVideo) writes the frames of episodes as [videos](video).
//!
//! # Several agents
//!
//! Environments in which several agents act, simultaneously or in turns, implement
//! [`MultiAgentEnv`]; see [`multi_agent`].
//!
//! # Parity
//!
//! The environments of [`classic_control`] and the random streams of [`np_random`] reproduce
//! Gymnasium 1.4.0 and NumPy from the same seeds; the tests compare them with recordings. There is
//! no `close`, because environments clean up when they are dropped. The documentation of [`spaces`]
//! lists the spaces that are missing.

#![forbid(unsafe_code)]

mod buffer;
mod check;
pub mod classic_control;
pub mod diagnostic;
mod env;
mod error;
mod float;
pub mod games;
pub mod multi_agent;
pub mod np_random;
mod options;
mod registry;
pub mod render;
pub mod spaces;
mod suggest;
mod value;
mod vector;
pub mod video;
pub mod wrappers;

pub use buffer::{Buffer, Parts, Row, RowMut, stack_frames};
pub use check::check_env;
pub use env::{Env, Info, ResetOptions, Step, load_state, save_state};
pub use error::{EnvError, Result};
pub use multi_agent::{
    AgentId, AgentSpec, MultiAgentActions, MultiAgentEnv, MultiAgentEnvSpec, MultiAgentStep,
    MultiAgentVectorEnv, MultiAgentVectorStep, SyncMultiAgentVectorEnv, make_multi_agent,
    make_multi_agent_vec, make_multi_agent_vec_with, make_multi_agent_with, multi_agent_spec,
    register_multi_agent, registered_multi_agent_ids,
};
pub use np_random::Generator;
pub use options::EnvConfig;
pub use registry::{
    EnvSpec, is_external, make, make_vec, make_vec_with, make_with, register,
    register_multi_agent_scheme, register_scheme, registered_ids, spec,
};
pub use spaces::{
    BoxDType, BoxSpace, DictSpace, Discrete, MultiBinary, MultiDiscrete, Space, SpaceSampler,
    TupleSpace,
};
pub use suggest::{did_you_mean, suggestion};
pub use value::Value;
pub use vector::{SyncVectorEnv, VectorEnv, VectorStep, seeds_from};
