//! Connectors of one part of an observation, and of one module.

use rekindle_env::{AgentSpec, Space};
use rekindle_env_runner::connectors::ConnectorConfig;
use rekindle_env_runner::{
    Amount, EnvRunner, EnvRunnerConfig, EnvRunnerGroup, MultiAgentConfig, PolicyMapping,
    SingleAgentEnvRunner,
};

use super::probe::{choice, done, env, game, numbers, open, open_game, random};

#[test]
fn a_part_of_a_dict_has_connectors_of_its_own() {
    let space = Space::dict([
        ("camera", Space::image(&[1, 1, 1]).unwrap()),
        ("speed", Space::boxed(0.0, 100.0, &[1]).unwrap()),
    ])
    .unwrap();
    env("Connectors/Car-v0", &space, &choice(2), |_, t, _, mut out| {
        out.get_mut("camera")?.write_u8(&[t as u8])?;
        out.get_mut("speed")?.write_f32(&[10.0 * t as f32])?;
        Ok(done(1.0, t == 5))
    });
    let config = EnvRunnerConfig::new("Connectors/Car-v0").env_to_module(vec![
        ConnectorConfig::frame_stacking(3).on_part(["camera"]),
        ConnectorConfig::mean_std_filter().on_part(["speed"]),
    ]);
    let mut runner = open(config);
    let rollout = runner.sample(Amount::Timesteps(7), random()).unwrap();
    let camera = rollout.observations.get("camera").unwrap();
    assert_eq!(camera.shape().unwrap(), [1, 1, 3]);
    assert_eq!(camera.row(1).as_u8().unwrap(), [0, 0, 1]);
    assert_eq!(camera.row(4).as_u8().unwrap(), [2, 3, 4]);
    assert_eq!(camera.row(5).as_u8().unwrap(), [0, 0, 0]);
    assert_eq!(
        rollout.final_observations.get("camera").unwrap().row(0).as_u8().unwrap(),
        [3, 4, 5]
    );
    let state = runner.env_to_module().get_state().unwrap();
    assert_eq!(state["MeanStdFilter"]["current"]["count"], 8.0);
}

fn agents() -> [AgentSpec; 2] {
    ["a", "b"].map(|id| AgentSpec::new(id, numbers(1), choice(2)))
}

fn stacked(modules: &[&str]) -> EnvRunnerConfig {
    EnvRunnerConfig::new("Connectors/Two-v0").env_to_module(vec![
        ConnectorConfig::frame_stacking(2).for_modules(modules.to_vec()),
        ConnectorConfig::frame_stacking(2),
    ])
}

fn by_agent() -> MultiAgentConfig {
    MultiAgentConfig::default().policy_mapping(PolicyMapping::ByAgent)
}

#[test]
fn a_module_has_a_pipeline_of_its_own() {
    game("Connectors/Two-v0", &agents(), |t, out| {
        out.observe(0)?.write_f32(&[t as f32])?;
        out.observe(1)?.write_f32(&[t as f32])
    });
    let mut runner = open_game(stacked(&["b"]), by_agent());
    let spaces = runner.module_spaces();
    assert_eq!((spaces["a"].0.flat_dim(), spaces["b"].0.flat_dim()), (2, 4));
    let experience = runner.collect(Amount::Timesteps(3), random()).unwrap();
    let seen = |id: &str| experience.rollouts[id][0].observations.row(2).as_f32().unwrap().to_vec();
    assert_eq!((seen("a"), seen("b")), (vec![1.0, 2.0], vec![0.0, 1.0, 1.0, 2.0]));
}

#[test]
fn a_module_that_does_not_exist_is_refused_by_name() {
    game("Connectors/Three-v0", &agents(), |_, out| out.observe(0)?.write_f32(&[0.0]));
    let device = burn::prelude::Device::flex();
    let config = stacked(&["b", "c"]).env("Connectors/Three-v0").multi_agent(by_agent());
    let error = EnvRunnerGroup::new(&config, 1, 1, &device).unwrap_err().to_string();
    assert!(error.contains("no module `c`") && error.contains("[\"a\", \"b\"]"), "{error}");

    let config = EnvRunnerConfig::new("CartPole-v1")
        .env_to_module(vec![ConnectorConfig::clip_rewards(1.0).for_modules(["player"])]);
    let error = SingleAgentEnvRunner::new(config, 0, &device).unwrap_err().to_string();
    assert!(error.contains("no module `player`"), "{error}");
}

#[test]
fn rewards_do_not_pass_the_pipeline_of_actions() {
    let config =
        EnvRunnerConfig::new("CartPole-v1").module_to_env(vec![ConnectorConfig::clip_rewards(1.0)]);
    let device = burn::prelude::Device::flex();
    let error = SingleAgentEnvRunner::new(config, 0, &device).unwrap_err().to_string();
    assert!(error.contains("`module_to_env` is ClipRewards"), "{error}");
}
