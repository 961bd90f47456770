//! Rollouts store each frame of stacked observations once.

use burn::prelude::Device;
use rekindle_checkpoint::Checkpointable;
use rekindle_env::{Buffer, EnvConfig, MultiAgentEnvSpec, Space, register_multi_agent, spec};
use rekindle_env_runner::connectors::{
    Connector, ConnectorConfig, ConnectorContext, FrameStacking, register_connector,
};
use rekindle_env_runner::{
    Amount, EnvRunner, EnvRunnerConfig, Experience, MultiAgentConfig, MultiAgentEnvRunner,
    PolicyMapping, Result, Rollout, SampleOptions, SingleAgentEnvRunner,
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

/// Connectors that stack frames, with frames stored once and copied.
fn connectors(num_frames: usize) -> [ConnectorConfig; 2] {
    register_connector("Copies", |config, _| {
        let num_frames = config["num_frames"].as_u64().unwrap_or_default() as usize;
        Ok(Box::new(Copies(FrameStacking::new(num_frames)?)))
    });
    let copying = ConnectorConfig::custom("Copies", json!({"num_frames": num_frames}));
    [ConnectorConfig::frame_stacking(num_frames), copying]
}

#[test]
fn rollouts_equal_those_that_copy_all_frames() {
    let steps = [60, 3, 150].map(Amount::Timesteps);
    let episodes = [Amount::Episodes(4), Amount::Episodes(2)];
    for env in ["StatelessCartPole-v1", "Breakout-v0"] {
        for num_frames in [1, 2, 4] {
            for amounts in [&steps[..], &episodes] {
                let [stacking, copying] = connectors(num_frames);
                let stacked = rollouts(env, stacking, amounts);
                assert!(stacked.iter().map(|rollout| rollout.segments.len()).sum::<usize>() >= 6);
                assert_eq!(stacked, rollouts(env, copying, amounts), "{env}, {num_frames} frames");
            }
        }
    }
}

/// Several calls, which episodes go on in. The second one does not record. Before the fourth, the runner is replaced by
/// one that is restored from its state.
fn experiences(config: &EnvRunnerConfig, amounts: &[Amount]) -> Vec<Experience> {
    let open = || MultiAgentEnvRunner::new(config.clone(), 0, &Device::flex()).unwrap();
    let (mut runner, mut all) = (open(), Vec::new());
    for (call, amount) in amounts.iter().enumerate() {
        if call == 3 {
            let state = runner.get_state().unwrap();
            runner = open();
            runner.set_state(&state).unwrap();
        }
        let options = SampleOptions::random().record(call != 1);
        all.push(runner.collect(*amount, options).unwrap());
    }
    all
}

#[test]
fn rollouts_of_several_agents_equal_those_that_copy_all_frames() {
    let copies = MultiAgentEnvSpec::copies("Connectors/Breakouts-v0", spec("Breakout-v0").unwrap());
    register_multi_agent(copies).unwrap();
    let agents = EnvConfig::new().with("num_agents", 3);
    let of_all = PolicyMapping::All("all".into());
    // Agents that end one by one, images, and agents that take turns, whose actions are open when a call ends.
    let envs = [
        ("MultiAgentStatelessCartPole-v1", agents.clone(), of_all.clone()),
        ("Connectors/Breakouts-v0", agents, of_all),
        ("TicTacToe-v0", EnvConfig::new(), PolicyMapping::ByAgent),
    ];
    let steps = [60, 3, 3, 1, 2, 150].map(Amount::Timesteps);
    let episodes = [4, 1, 2, 3].map(Amount::Episodes);
    for (env, env_config, mapping) in envs {
        for num_frames in [1, 2, 4] {
            for amounts in [&steps[..], &episodes] {
                let [stacked, copied] = connectors(num_frames).map(|connector| {
                    let mut env_to_module = vec![connector];
                    if env == "TicTacToe-v0" {
                        env_to_module.insert(0, ConnectorConfig::flatten_observations());
                    }
                    let multi_agent = MultiAgentConfig::default().policy_mapping(mapping.clone());
                    let config = EnvRunnerConfig::new(env)
                        .num_envs(2)
                        .seed(7)
                        .env_config(env_config.clone())
                        .env_to_module(env_to_module)
                        .multi_agent(multi_agent);
                    experiences(&config, amounts)
                });
                let rollouts = stacked.iter().flat_map(|all| all.rollouts.values().flatten());
                assert!(rollouts.map(|rollout| rollout.segments.len()).sum::<usize>() >= 12);
                assert_eq!(stacked, copied, "{env}, {num_frames} frames");
            }
        }
    }
}
