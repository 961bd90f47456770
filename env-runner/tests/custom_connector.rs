//! A custom connector, named in a configuration.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use burn::prelude::Device;
use rekindle_core::Generator;
use rekindle_env::{Buffer, Space};
use rekindle_env_runner::connectors::{
    Connector, ConnectorConfig, ConnectorContext, register_connector,
};
use rekindle_env_runner::{
    Amount, EnvRunnerConfig, PublishedAt, Result, Rollout, SampleOptions, SingleAgentEnvRunner,
};
use rekindle_rl_module::RLModuleSpec;

/// Multiplies observations.
#[derive(Debug, Clone)]
struct Scale(f32);

impl Connector for Scale {
    fn name(&self) -> &'static str {
        "Scale"
    }

    fn output_space(&self, input: &Space) -> Result<Space> {
        Ok(Space::unbounded(input.as_box()?.shape())?)
    }

    fn transform(
        &mut self,
        input: &Buffer,
        out: &mut Buffer,
        _: ConnectorContext<'_>,
    ) -> Result<()> {
        let scaled = out.as_f32_mut()?.iter_mut().zip(input.as_f32()?);
        scaled.for_each(|(out, x)| *out = x * self.0);
        Ok(())
    }

    fn get_memory(&self) -> Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }

    fn get_state(&self) -> Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }
}

fn observations(connectors: Vec<ConnectorConfig>) -> Result<Vec<f32>> {
    let config = EnvRunnerConfig::new("CartPole-v1").env_to_module(connectors);
    let mut runner = SingleAgentEnvRunner::new(config, 0, &Device::flex())?;
    let options = SampleOptions::random();
    Ok(runner.sample(Amount::Timesteps(5), options)?.observations.as_f32()?.to_vec())
}

#[test]
fn a_registered_connector_is_built_with_its_settings() {
    register_connector("Scale", |config, _actions| {
        Ok(Box::new(Scale(config["factor"].as_f64().unwrap_or(1.0) as f32)))
    });
    let scale = ConnectorConfig::custom("Scale", serde_json::json!({"factor": 2.0}));
    let json = serde_json::to_string(&scale).unwrap();
    assert_eq!(serde_json::from_str::<ConnectorConfig>(&json).unwrap(), scale);
    let plain = observations(Vec::new()).unwrap();
    let scaled = observations(vec![scale]).unwrap();
    assert!(plain.iter().zip(&scaled).all(|(x, y)| 2.0 * x == *y));
}

#[test]
fn an_unregistered_one_is_named() {
    let unknown = ConnectorConfig::custom("Shrink", serde_json::Value::Null);
    let message = observations(vec![unknown]).unwrap_err().to_string();
    assert!(message.contains("`Shrink` is not registered"), "{message}");
    assert!(message.contains("register_connector"), "{message}");
}

#[test]
fn connectors_of_actions_come_before_scaling_and_keep_the_space() {
    register_connector("Halve", |_, _| Ok(Box::new(Scale(0.5))));
    let config = EnvRunnerConfig::new("Pendulum-v1")
        .module_to_env(vec![ConnectorConfig::custom("Halve", serde_json::Value::Null)]);
    // After `Scale`, the torque is unbounded and does not fit the pendulum.
    let message = SingleAgentEnvRunner::new(config, 0, &Device::flex()).unwrap_err().to_string();
    assert!(message.contains("must be of its action space"), "{message}");

    register_connector("Negate", |_, _| Ok(Box::new(Negate)));
    let negate = ConnectorConfig::custom("Negate", serde_json::Value::Null);
    let sample = |times| {
        let module_to_env = vec![negate.clone(); times];
        let config = EnvRunnerConfig::new("Pendulum-v1").module_to_env(module_to_env);
        let mut runner = SingleAgentEnvRunner::new(config, 0, &Device::flex()).unwrap();
        let spec = RLModuleSpec::default()
            .observation_space(runner.observation_space().clone())
            .action_space(runner.action_space().clone());
        let module = spec.build_seeded(&Device::flex(), Generator::from_seed(0)).unwrap();
        runner.set_module(&module, PublishedAt::default()).unwrap();
        let rollout = runner.sample(Amount::Timesteps(5), SampleOptions::default()).unwrap();
        let random = SampleOptions::random().force_reset(true);
        (rollout, runner.sample(Amount::Timesteps(5), random).unwrap())
    };
    let [(none, none_random), (once, once_random), (twice, _)] = [0, 1, 2].map(sample);
    assert_eq!(none.actions.row(0).as_f32().unwrap(), once.actions.row(0).as_f32().unwrap());
    assert_ne!(none.observations, once.observations);
    assert_eq!(none.observations, twice.observations);
    // Random actions are executed as drawn, and recorded as the module would have sampled them.
    let negated = |rollout: &Rollout| -> Vec<_> {
        rollout.actions.as_f32().unwrap().iter().map(|action| -action).collect()
    };
    assert_eq!(negated(&none_random), once_random.actions.as_f32().unwrap());
}

/// The opposite of every action.
#[derive(Debug, Clone)]
struct Negate;

impl Connector for Negate {
    fn name(&self) -> &'static str {
        "Negate"
    }

    fn transform(
        &mut self,
        input: &Buffer,
        out: &mut Buffer,
        _: ConnectorContext<'_>,
    ) -> Result<()> {
        let pairs = out.as_f32_mut()?.iter_mut().zip(input.as_f32()?);
        pairs.for_each(|(out, action)| *out = -action);
        Ok(())
    }

    fn invert(&self, output: &Buffer, input: &mut Buffer) -> Result<()> {
        self.clone().transform(output, input, ConnectorContext::rows(false))
    }

    fn get_memory(&self) -> Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }

    fn get_state(&self) -> Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }
}

#[test]
fn random_actions_need_the_inverse_of_every_connector_of_actions() {
    /// Passes everything unchanged, but has no inverse.
    #[derive(Debug, Clone)]
    struct OneWay;
    impl Connector for OneWay {
        fn name(&self) -> &'static str {
            "OneWay"
        }

        fn get_memory(&self) -> Result<serde_json::Value> {
            Ok(serde_json::Value::Null)
        }

        fn get_state(&self) -> Result<serde_json::Value> {
            Ok(serde_json::Value::Null)
        }
    }
    register_connector("OneWay", |_, _| Ok(Box::new(OneWay)));
    let config = EnvRunnerConfig::new("Pendulum-v1")
        .module_to_env(vec![ConnectorConfig::custom("OneWay", serde_json::Value::Null)]);
    let mut runner = SingleAgentEnvRunner::new(config, 0, &Device::flex()).unwrap();
    let random = SampleOptions::random();
    let message = runner.sample(Amount::Timesteps(1), random).unwrap_err().to_string();
    assert!(message.contains("`OneWay` has no inverse"), "{message}");
    assert!(message.contains("implement `Connector::invert`"), "{message}");
}
