//! Rollouts store each frame of stacked observations once.

use burn::prelude::Device;
use rekindle_env::{Buffer, Space};
use rekindle_env_runner::connectors::{
    Connector, ConnectorConfig, ConnectorContext, FrameStacking, register_connector,
};
use rekindle_env_runner::{
    Amount, EnvRunnerConfig, Result, Rollout, SampleOptions, SingleAgentEnvRunner,
};
use serde_json::{Value, json};

/// Stacks frames without saying so, so that rollouts copy all frames of each observation.
#[derive(Debug, Clone)]
struct Copies(FrameStacking);

impl Connector for Copies {
    fn name(&self) -> &'static str {
        "Copies"
    }

    fn output_space(&self, input: &Space) -> Result<Space> {
        self.0.output_space(input)
    }

    fn transform(
        &mut self,
        input: &Buffer,
        output: &mut Buffer,
        cx: ConnectorContext<'_>,
    ) -> Result<()> {
        self.0.transform(input, output, cx)
    }

    fn get_memory(&self) -> Result<Value> {
        self.0.get_memory()
    }

    fn set_memory(&mut self, memory: &Value) -> Result<()> {
        self.0.set_memory(memory)
    }

    fn get_state(&self) -> Result<Value> {
        self.0.get_state()
    }
}

/// Several calls, which episodes go on in.
fn rollouts(env: &str, connector: ConnectorConfig, amounts: &[Amount]) -> Vec<Rollout> {
    let config = EnvRunnerConfig::new(env)
        .num_envs(3)
        .seed(7)
        .env_to_module(vec![connector, ConnectorConfig::clip_rewards(None)]);
    let mut runner = SingleAgentEnvRunner::new(config, 0, &Device::flex()).unwrap();
    let sample = |amount: &Amount| runner.sample(*amount, SampleOptions::random()).unwrap();
    amounts.iter().map(sample).collect()
}

#[test]
fn rollouts_equal_those_that_copy_all_frames() {
    register_connector("Copies", |config, _| {
        let num_frames = config["num_frames"].as_u64().unwrap_or_default() as usize;
        Ok(Box::new(Copies(FrameStacking::new(num_frames)?)))
    });
    let steps = [60, 3, 150].map(Amount::Timesteps);
    let episodes = [Amount::Episodes(4), Amount::Episodes(2)];
    for env in ["StatelessCartPole-v1", "Breakout-v0"] {
        for num_frames in [1, 2, 4] {
            for amounts in [&steps[..], &episodes] {
                let stacking = ConnectorConfig::frame_stacking(num_frames);
                let copying = ConnectorConfig::custom("Copies", json!({"num_frames": num_frames}));
                let stacked = rollouts(env, stacking, amounts);
                assert!(stacked.iter().map(|rollout| rollout.segments.len()).sum::<usize>() >= 6);
                assert_eq!(stacked, rollouts(env, copying, amounts), "{env}, {num_frames} frames");
            }
        }
    }
}
