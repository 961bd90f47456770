//! Environments of Python's [Gymnasium](https://gymnasium.farama.org) as [`VectorEnv`]s.
//!
//! Environments run in worker processes, several in each. A worker is a Python interpreter that runs one
//! file of this crate. The interpreter needs the packages `gymnasium` and `numpy`, and the packages of
//! the environments. This crate is built without Python.
//!
//! ```no_run
//! use rekindle_env::{Buffer, VectorStep, make_vec, seeds_from};
//!
//! rekindle_gymnasium::register();
//! let mut envs = make_vec("gymnasium:HalfCheetah-v5", 16)?;
//! let mut out = VectorStep::new(envs.observation_space(), 16);
//! let actions = Buffer::zeros(envs.action_space(), 16);
//! envs.reset(&seeds_from(Some(0), 16), &mut out)?;
//! envs.step(&actions, &mut out)?;
//! # Ok::<(), rekindle_env::EnvError>(())
//! ```
//!
//! # Ids
//!
//! [`register`] makes these ids available. Runners and algorithms of rekindle call `register`
//! themselves.
//!
//! | id | makes |
//! |---|---|
//! | `gymnasium:<id>` | `gymnasium.make(id)`, as in `gymnasium:CartPole-v1` and `gymnasium:ALE/Pong-v5` |
//! | `gymnasium:<module>:<id>` | `gymnasium.make` after an import, as in `gymnasium:minigrid:MiniGrid-Empty-5x5-v0` |
//! | `pettingzoo:<module>` | an environment with several agents, as in `pettingzoo:classic.rps_v2` |
//! | `python:<module>:<callable>` | the result of a class or a function, as in `python:my_package.envs:GridWorld` |
//!
//! Modules are found in the working directory, in the directories of `python_path`, and among the
//! packages of the interpreter.
//!
//! # Options
//!
//! Options of [`EnvConfig`](rekindle_env::EnvConfig) are keyword arguments of the environment, except
//! for the options in this table:
//!
//! | option | default | meaning |
//! |---|---|---|
//! | `python` | see below | the interpreter: a path or the name of a program |
//! | `python_path` | `[]` | directories in which Python looks for modules first |
//! | `num_workers` | number of cores | worker processes of a vector, at most one per environment |
//! | `timeout_s` | 120 | seconds that a worker may take for a step or a reset |
//! | `start_timeout_s` | 120 | seconds that a worker may take to start |
//! | `wrappers` | `[]` | wrappers, innermost first, such as `["FlattenObservation", {"FrameStackObservation": {"stack_size": 4}}]`; wrappers outside Gymnasium are named `module:callable` |
//! | `check_observations` | `"warn"` | NaN, and numbers outside their space: `"warn"`, `"error"` or `"off"` |
//! | `api` | the interface that the module has | the interface of PettingZoo: `"parallel"` or `"aec"` |
//! | `show_output` | `true` | whether output of environments is passed on to standard error |
//! | `native_vector` | `false` | whether Python steps all environments as one vector; see below |
//! | `handover` | `"futex"` on Linux | how programs wait for each other: `"futex"`, or `"pipe"`, the only way on macOS |
//! | `kwargs` | `{}` | keyword arguments with the names of options of this table |
//!
//! Without the option `python`, the interpreter is the one in the environment variable
//! `REKINDLE_PYTHON`, the one that runs this program ([`set_host_interpreter`]), that of the active virtual
//! environment (`VIRTUAL_ENV`, `CONDA_PREFIX`), or `python3`.
//!
//! # Semantics
//!
//! - The step that ends an episode resets its environment and reports the true final observation, as
//!   [`VectorEnv`] requires. `terminated` and `truncated` are passed on unchanged.
//! - Environments are seeded by `reset(seed=...)`, one seed each.
//! - Infos are the numbers in Gymnasium's info dictionaries. Numbers of nested dictionaries have
//!   names with dots, as in `episode.r`. The first 64 names of a worker are kept.
//! - Boxes of `float16` and `float64` are observed as `float32`, those of other integers as `int32` or
//!   `int64`, those of `bool` as `uint8`. Choices of a `MultiDiscrete` count from zero.
//!   `MultiDiscrete` and `MultiBinary` spaces of several dimensions are flattened. `Text`, `Graph`,
//!   `Sequence` and `OneOf` are refused.
//! - Environments are rendered with the option `render_mode` set to `"rgb_array"`, which is passed on to
//!   Gymnasium.
//! - The state of an environment cannot be saved, so a restored run begins new episodes.
//!
//! # Native vectors
//!
//! With the option `native_vector`, one worker steps all environments as one vector of Python:
//! `gymnasium.make_vec(id, num_envs)` with the vector entry point of the id, as ALE has one, or the result of a
//! callable with the keyword argument `num_envs`, as in `python:envpool:make_gymnasium`. Such a vector steps its
//! environments on threads of its own. Wrappers are those of `gymnasium.wrappers.vector`. An exception fails all
//! environments of the vector. EnvPool seeds its environments by its keyword argument `seed` instead of in resets. Vectors
//! that reset an environment only in the step after its episode are refused.
//!
//! # Several agents
//!
//! PettingZoo's environments are [`MultiAgentEnv`](rekindle_env::MultiAgentEnv)s, in which all agents
//! act at the same time (`parallel_env`) or in turns (`env`). If a module has both interfaces,
//! `parallel_env` is used. With `env`, an agent receives its reward at its next turn, as PettingZoo's
//! `last()` does. Each environment has a worker of its own, and a vector steps them one after the other.
//!
//! # Failures
//!
//! An exception fails only the environment that raises it ([`EnvError::Crashed`]), and the next reset
//! makes a new environment. If a worker exits, is killed, or exceeds its time, all environments of that
//! worker fail, and the next reset of one of them starts another worker. Workers end with the program
//! that started them, even if it is killed. No file remains, because the shared memory has no name.
//!
//! # Trust
//!
//! Making an environment by one of these ids runs Python code with the rights of this program.
//! [`rekindle_env::is_external`] returns whether an id can start another program. Algorithms refuse such
//! ids in checkpoints unless `allow_external_environments` is set.
//!
//! Nothing that a worker writes is trusted: sizes and positions come from this program, and any bytes in
//! the columns are numbers. The shared memory cannot shrink.
//!
//! [`VectorEnv`]: rekindle_env::VectorEnv
//! [`EnvError::Crashed`]: rekindle_env::EnvError::Crashed
// The only unsafe code is in `shared_memory`, which maps memory that another program writes.
#![deny(unsafe_code)]

mod check;
mod columns;
mod env;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod interpreter;
mod layout;
mod leaf;
mod messages;
mod pettingzoo;
mod process;
mod settings;
mod shared_memory;
mod source;
mod spaces;
mod vector;
mod worker;

pub use env::GymnasiumEnv;
pub use error::GymnasiumError;
pub use interpreter::set_host_interpreter;
pub use pettingzoo::PettingZooEnv;
pub use source::register;
pub use vector::GymnasiumVectorEnv;
