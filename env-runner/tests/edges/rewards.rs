//! Rewards that are not numbers.

use rekindle_env::Step;
use rekindle_env_runner::connectors::{
    Connector, ConnectorConfig, RewardContext, register_connector,
};
use rekindle_env_runner::{Amount, Result};

use crate::support::{all, bin, env, game, open, random};

/// Values of `f32` columns must fit into `f32`.
#[test]
fn a_reward_that_is_not_finite_is_an_error_that_names_environment_and_value() {
    macro_rules! cases {
        ($(($single:literal, $several:literal, $value:expr, $text:literal),)*) => {$(
            let single = env($single, bin(), |n, t, _, out| {
                out.write_f32(&[0.0])?;
                Ok(Step::running(if (n, t) == (1, 3) { $value } else { 0.0 }))
            });
            let several = game($several, &["a", "b"], bin(), all("p"), |n, t, _, out| {
                for agent in 0..2 {
                    out.observe(agent)?.write_f32(&[0.0])?;
                }
                if (n, t) == (1, 3) {
                    out.add_reward(1, $value)?;
                }
                Ok(())
            });
            for (mut config, agent) in [(single, ""), (several, "`b`")] {
                config.num_envs = 2;
                let id = config.env.clone();
                let mut runner = open(config);
                runner.collect(Amount::Timesteps(4), random()).unwrap();
                let error = runner.collect(Amount::Timesteps(4), random()).unwrap_err();
                let message = error.to_string();
                for part in [id.as_str(), "environment 1", $text, agent] {
                    assert!(message.contains(part), "{part}: {message}");
                }
                assert!(!error.is_recoverable());
                // The runner continues with new episodes.
                runner.collect(Amount::Timesteps(4), random()).unwrap();
            }
        )*};
    }
    cases! {
        ("edges/NaN-v0", "edges/NaNs-v0", f64::NAN, "NaN"),
        ("edges/Inf-v0", "edges/Infs-v0", f64::INFINITY, "inf"),
        ("edges/NegInf-v0", "edges/NegInfs-v0", f64::NEG_INFINITY, "-inf"),
        ("edges/Huge-v0", "edges/Huges-v0", 1e300, "1e300"),
    }
}

/// The logarithm of every reward.
#[derive(Debug, Clone)]
struct Log;

impl Connector for Log {
    fn name(&self) -> &'static str {
        "Log"
    }

    fn transforms_rewards(&self) -> bool {
        true
    }

    fn transform_rewards(&mut self, rewards: &mut [f64], _: RewardContext<'_>) -> Result<()> {
        rewards.iter_mut().for_each(|reward| *reward = reward.ln());
        Ok(())
    }

    fn get_memory(&self) -> Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }

    fn get_state(&self) -> Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }
}

/// The rewards are finite before the connectors and not after them.
#[test]
fn a_reward_that_a_connector_makes_not_finite_is_an_error_that_names_the_connector() {
    register_connector("edges/Log", |_, _| Ok(Box::new(Log)));
    let single = env("edges/Owes-v0", bin(), |_, _, _, out| {
        out.write_f32(&[0.0])?;
        Ok(Step::running(-1.0))
    });
    let several = game("edges/AllOwe-v0", &["a"], bin(), all("p"), |_, t, _, out| {
        out.observe(0)?.write_f32(&[0.0])?;
        if t > 0 {
            out.add_reward(0, -1.0)?;
        }
        Ok(())
    });
    let scale = ConnectorConfig::scale_rewards(1e39);
    let log = ConnectorConfig::custom("edges/Log", serde_json::Value::Null);
    for config in [single, several] {
        for (connector, name, value) in
            [(&scale, "`ScaleRewards`", "-1e39"), (&log, "`Log`", "NaN")]
        {
            let env_to_module = vec![connector.clone()];
            let mut runner = open(config.clone().env_to_module(env_to_module));
            let error = runner.collect(Amount::Timesteps(4), random()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }
}
