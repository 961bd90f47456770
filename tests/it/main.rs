//! Tests of the whole library, in one program: linking Burn takes seconds per program.
//!
//! Tests that train until something is learned are in `learning`, parity with other libraries in
//! `parity`, comparisons between devices in `devices`. `memory` is alone because it measures its process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]
#![allow(clippy::duplicate_mod, reason = "examples share the start of their programs")]

mod action_masks;
mod action_spaces;
mod algorithm;
mod asynchronous_cells;
#[cfg(target_os = "linux")]
mod asynchronous_faults;
mod asynchronous_gradients;
mod asynchronous_losses;
mod asynchronous_modules;
mod asynchronous_resume;
mod asynchronous_settings;
mod bad_losses;
mod callbacks;
mod changed_modules;
mod compile_fail;
mod connectors;
#[path = "../support/counter.rs"]
mod counter;
mod curriculum;
mod custom_algorithm;
mod dqn;
mod eager;
mod evaluation;
mod exact_resume;
mod exploration;
mod external_environments;
mod extremes;
mod fault_tolerance;
mod golden_algorithm;
mod killed_recording;
mod killed_training;
mod learner_connectors;
mod loss_columns;
mod loss_faults;
mod loss_outputs;
mod messages;
mod migration;
mod minari;
mod model_settings;
mod multi_agent;
mod observation_spaces;
mod off_policy_losses;
mod offline;
mod offline_estimation;
mod offline_table;
mod on_device;
mod partial_loading;
mod plan_settings;
mod policy_bundle;
mod policy_from_scratch;
mod programs;
mod python_environments;
mod q_family;
mod q_settings;
mod recurrent;
mod replay;
mod replay_table;
mod reporting;
mod rl_modules;
mod rllib_concepts;
mod roles;
mod sac;
mod sac_options;
#[path = "../support/scripted.rs"]
mod scripted;
mod self_play;
mod several_learners;
mod shared_module;
mod sinks;
#[path = "../support/learner.rs"]
mod support;
#[path = "../support/trace.rs"]
mod trace;
mod updates;
mod user_guide;
mod user_mistakes;
mod videos;
