//! Training until something is learned, with fixed seeds. `cargo xtask learn` trains longer, over seeds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]
#![allow(clippy::duplicate_mod, reason = "examples share the start of their programs")]

mod asynchronous;
mod curiosity;
mod custom_environment;
mod custom_graph_encoder;
mod custom_module;
mod dqn;
mod from_loss;
mod policy_gradients;
mod ppo;
mod ppo_in_one_file;
mod pqn;
mod pretrained_encoder;
mod recorded;
mod sac;
#[path = "../../examples/common/settings.rs"]
mod settings;
