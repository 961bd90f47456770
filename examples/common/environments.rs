//! Environments with the networks that suit them, for examples with one algorithm and several tasks.

use rekindle::algorithms::{AlgorithmConfig, TrainingConfig};
use rekindle::prelude::*;

/// Sets environment and network of a task. The features that algorithms are compared by: an MLP,
/// several agents, recurrent layers, images, nested observations.
pub(crate) fn with_environment<T: TrainingConfig>(
    task: &str,
    config: AlgorithmConfig<T>,
) -> AlgorithmConfig<T> {
    match task {
        "multi-agent-cartpole" => config
            .environment("MultiAgentCartPole-v1")
            .env_config(EnvConfig::new().with("num_agents", 2))
            // The agents are named 0 and 1. Each one acts with and trains the policy of its name.
            .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
            .model("fcnet_hiddens", vec![64, 64]),
        "stateless-cartpole" => config
            .environment("StatelessCartPole-v1")
            .env_runners(|e| e.env_to_module_connector(ConnectorConfig::mean_std_filter()))
            .model("use_lstm", true)
            .model("lstm_cell_size", 64)
            .model("max_seq_len", 20)
            .model("fcnet_hiddens", vec![64])
            .model("fcnet_activation", "relu")
            .model("head_fcnet_hiddens", vec![64]),
        "catch" => config
            .environment("Catch-v0")
            // Output channels, kernel, stride.
            .model("conv_filters", serde_json::json!([[16, 3, 1], [32, 3, 2]]))
            .model("head_fcnet_hiddens", vec![64]),
        "nested-cartpole" => config
            .environment("NestedCartPole-v1")
            .model("fcnet_hiddens", vec![32])
            .model("fusionnet_hiddens", vec![64]),
        "crashing-cartpole" => config
            .environment("CrashingCartPole-v1")
            .env_config(faults())
            .fault_tolerance(|f| f.restart_failed_sub_environments(true))
            .model("fcnet_hiddens", vec![64, 64]),
        "acrobot" => config.environment("Acrobot-v1"),
        "mountain-car" => config.environment("MountainCar-v0"),
        _ => config.environment("CartPole-v1").model("fcnet_hiddens", vec![64, 64]),
    }
}

/// Crashes and stalls of `CrashingCartPole-v1`.
fn faults() -> EnvConfig {
    EnvConfig::new()
        // Probabilities per step and per reset.
        .with("p_crash", 1e-4)
        .with("p_crash_reset", 1e-3)
        .with("p_stall", 1e-4)
        .with("p_stall_reset", 1e-3)
        // Seconds, drawn uniformly from this range.
        .with("stall_time_sec", vec![0.0, 0.1])
}
