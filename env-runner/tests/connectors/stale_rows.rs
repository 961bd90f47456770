//! Only rows that count reach connectors.

use rekindle_env::{Buffer, Discrete, Space};
use rekindle_env_runner::connectors::{
    Connector, ConnectorConfig, ConnectorContext, register_connector,
};
use rekindle_env_runner::{Amount, EnvRunnerConfig, Result, SegmentEnd};

use super::probe::{choice, done, env, open, random};

/// Checks that all rows are elements of the input space, and passes them on.
#[derive(Debug, Clone)]
struct Strict(Space);

impl Connector for Strict {
    fn name(&self) -> &'static str {
        "Strict"
    }

    fn set_input_space(&mut self, input: &Space) {
        self.0 = input.clone();
    }

    fn transform(
        &mut self,
        input: &Buffer,
        output: &mut Buffer,
        _: ConnectorContext<'_>,
    ) -> Result<()> {
        assert!((0..input.rows()).all(|row| self.0.contains_row(input.row(row))), "{input:?}");
        output.clear();
        Ok(output.extend_from(input, 0..input.rows())?)
    }

    fn get_memory(&self) -> Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }

    fn get_state(&self) -> Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }
}

/// Episodes of 2 and 3 steps, in two environments, in a space without 0.
fn register() -> Space {
    let space = Space::Discrete(Discrete::with_start(3, 5).unwrap());
    env("Connectors/FromFive-v0", &space, &choice(2), |n, t, _, mut out| {
        out.write_discrete(5 + (t % 3) as i64)?;
        Ok(done(1.0, t == 2 + n % 2))
    });
    space
}

#[test]
fn stale_rows_matter_to_no_connector() {
    register();
    register_connector("Strict", |_, _| Ok(Box::new(Strict(Space::discrete(1)?))));
    let lists = [
        vec![ConnectorConfig::flatten_observations()],
        vec![
            ConnectorConfig::flatten_observations(),
            ConnectorConfig::frame_stacking(2),
            ConnectorConfig::mean_std_filter(),
        ],
        vec![ConnectorConfig::custom("Strict", serde_json::Value::Null)],
        vec![ConnectorConfig::prev_actions_prev_rewards(1, 1)],
    ];
    for env_to_module in lists {
        let config =
            EnvRunnerConfig::new("Connectors/FromFive-v0").num_envs(2).env_to_module(env_to_module);
        let rollout = open(config).sample(Amount::Timesteps(24), random()).unwrap();
        let ended = |s: &&rekindle_env_runner::Segment| s.end == SegmentEnd::Terminated;
        assert!(rollout.segments.iter().filter(ended).count() >= 8);
    }
}

#[test]
fn final_observations_belong_to_their_episodes() {
    register_final();
    let config = EnvRunnerConfig::new("Connectors/Counting-v0")
        .num_envs(2)
        .env_to_module(vec![ConnectorConfig::frame_stacking(2)]);
    let rollout = open(config).sample(Amount::Timesteps(24), random()).unwrap();
    for (row, segment) in rollout.segments.iter().enumerate() {
        let last = (segment.t_started + segment.len) as f32;
        let number = |t: f32| 100.0 * segment.env as f32 + t;
        let expected = [number(last - 1.0), number(last)];
        assert_eq!(rollout.final_observations.row(row).as_f32().unwrap(), expected, "{segment:?}");
    }
}

/// Episodes of 2 and 3 steps that show environment and time.
fn register_final() {
    let space = Space::boxed(0.0, 200.0, &[1]).unwrap();
    env("Connectors/Counting-v0", &space, &choice(2), |n, t, _, mut out| {
        out.write_f32(&[100.0 * n as f32 + t as f32])?;
        Ok(done(1.0, t == 2 + n))
    });
}
