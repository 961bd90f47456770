//! RL modules: neural networks with passes for training, exploration and inference.
//!
//! | item | RLlib's |
//! |---|---|
//! | [`RLModule`] | an `RLModule` subclass |
//! | [`RLModuleSpec`] | `RLModuleSpec` |
//! | [`AnyRLModule`] | an `RLModule` object, with its spec and its action distribution |
//! | [`ExplorationContext`] | `t` and the `Exploration` of `_forward_exploration` |
//! | [`MultiRLModule`], [`MultiRLModuleSpec`] | the same names |
//! | [`SharedRLModule`], [`PerModule`] | a `MultiRLModule` subclass whose modules share parts |
//! | [`epsilon_greedy`], [`greedy`] | `EpsilonGreedy` |
//! | [`ValueFunction`], [`QNet`], [`DistributionalQNet`], [`TargetNetwork`], [`SelfSupervisedLoss`], [`Role`] | `ValueFunctionAPI`, `QNetAPI` (twice), `TargetNetworkAPI`, `SelfSupervisedLossAPI` |
//! | [`LearnOnBatch`] | a `Policy` written from scratch: `learn_on_batch`, `get_weights`, `set_weights` |
//! | [`ActorCritic`] | `DefaultPPOTorchRLModule` |
//! | [`QNetwork`] | `DefaultDQNTorchRLModule` |
//! | [`ActionCritic`], [`StochasticPolicy`], [`DeterministicPolicy`] | the methods of `SACTorchRLModule`, which have no APIs of their own |
//! | [`SoftActorCritic`] | `DefaultSACTorchRLModule` |
//! | [`DeterministicActorCritic`] | the module of TD3 and DDPG, which the new stack lacks |
//! | [`NameMap`] | weights of policies of RLlib, Stable-Baselines3 and CleanRL |
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

mod action_mask;
mod actor_critic;
mod any;
mod compatible;
mod config_use;
mod context;
mod critics_input;
mod deterministic_actor_critic;
mod error;
mod exploration;
mod guard;
mod import;
mod memory;
mod module;
mod multi;
mod own_weights;
mod policy_pass;
mod q_network;
mod registry;
mod roles;
mod shared;
mod soft_actor_critic;
mod spec;

pub use action_mask::has_action_mask;
pub use actor_critic::ActorCritic;
pub use any::AnyRLModule;
pub use compatible::reads_alike;
pub use context::ModuleContext;
pub use deterministic_actor_critic::{DeterministicActorCritic, DeterministicActorCriticConfig};
pub use error::{ModuleError, Result};
pub use exploration::{ExplorationContext, ExplorationStream, epsilon_greedy, greedy};
pub use import::NameMap;
pub use module::{BoxRLModule, RLModule, RLModuleFamily};
pub use multi::{MultiBatch, MultiRLModule, MultiRLModuleSpec};
pub use policy_pass::PolicyPass;
pub use q_network::{QHead, QNetwork, QNetworkConfig};
pub use registry::{register_catalog, register_module, register_shared_module};
pub use roles::{
    ActionCritic, DeterministicPolicy, DistributionalQNet, LearnContext, LearnOnBatch, LearnStats,
    QNet, Role, SelfSupervisedLoss, StochasticPolicy, TargetNetwork, ValueDistribution,
    ValueFunction, sync_targets,
};
pub use shared::{
    BoxSharedRLModule, PerModule, SharedActionCritic, SharedContext, SharedDeterministicPolicy,
    SharedDistributionalQNet, SharedFamily, SharedQNet, SharedRLModule, SharedStochasticPolicy,
    SharedTargetNetwork, SharedValueFunction,
};
pub use soft_actor_critic::{SoftActorCritic, SoftActorCriticConfig};
pub use spec::RLModuleSpec;
