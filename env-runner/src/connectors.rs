//! Connectors: transforms between environments and module.
//!
//! The env-to-module pipeline transforms observations for the module and rewards for the loss. The
//! module-to-env pipeline transforms sampled actions for the environments. Losses use the actions
//! as the module sampled them.
//!
//! | connector | pipeline | does |
//! |---|---|---|
//! | [`FlattenObservations`] | env-to-module | any space as one vector |
//! | [`FrameStacking`] | env-to-module | the last frames along the channel axis |
//! | [`MeanStdFilter`] | env-to-module | observations with mean 0 and deviation 1 |
//! | [`PrevActionsPrevRewards`] | env-to-module | observations with the last actions and rewards |
//! | [`ClipRewards`], [`ScaleRewards`], [`NormalizeRewards`] | env-to-module | rewards as losses use them |
//! | [`OnPart`] | both | a connector for one part of a Dict or Tuple |
//! | [`NormalizeAndClipActions`] | module-to-env, always last | actions within their bounds |
//!
//! [`ConnectorConfig`] names them in configurations; [`register_connector`] adds a user's own.

mod clip_rewards;
mod config;
mod connector;
mod context;
mod flatten_observations;
mod frame_stacking;
mod get_actions;
mod history;
mod mean_std_filter;
mod normalize_and_clip_actions;
mod normalize_rewards;
mod on_part;
mod pipeline;
mod pipelines;
mod prev_actions_prev_rewards;
mod registry;
mod running_stats;
mod saved;
mod scale_rewards;

pub use clip_rewards::ClipRewards;
pub use config::ConnectorConfig;
pub use connector::{CloneConnector, Connector};
pub use context::{ConnectorContext, LastStep, RewardContext, Slots};
pub use flatten_observations::FlattenObservations;
pub use frame_stacking::FrameStacking;
pub(crate) use get_actions::{ActionSampler, connect_actions};
pub use mean_std_filter::MeanStdFilter;
pub use normalize_and_clip_actions::NormalizeAndClipActions;
pub use normalize_rewards::NormalizeRewards;
pub use on_part::OnPart;
pub use pipeline::ConnectorPipeline;
pub(crate) use pipelines::{merge_deltas, pipelines, set_states, states, take_deltas};
pub use prev_actions_prev_rewards::PrevActionsPrevRewards;
pub use registry::{connector_names, register_connector};
pub use saved::{load_state, save_state};
pub use scale_rewards::ScaleRewards;
