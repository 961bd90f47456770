//! Rewards as losses see them, and returns as they are reported.

use rekindle_checkpoint::Checkpointable;
use rekindle_env::{AgentSpec, Space};
use rekindle_env_runner::connectors::ConnectorConfig;
use rekindle_env_runner::{Amount, EnvRunner, EnvRunnerConfig, MultiAgentConfig};

use super::probe::{choice, done, env, game, numbers, open, open_game, random};

/// Pays 3, −6, 9, −12, … and ends after 4 steps.
fn register(id: &'static str) {
    env(id, &numbers(1), &choice(2), |_, t, _, mut out| {
        out.write_f32(&[t as f32])?;
        let sign = if t % 2 == 1 { 1.0 } else { -1.0 };
        Ok(done(3.0 * sign * t as f64, t == 4))
    });
}

#[test]
fn losses_see_connected_rewards_and_returns_stay_those_of_the_environment() {
    register("Connectors/Pay-v0");
    let config = |env_to_module| {
        EnvRunnerConfig::new("Connectors/Pay-v0").env_to_module(env_to_module).num_envs(2)
    };
    for (connectors, expected) in [
        (vec![], [3.0, -6.0, 9.0, -12.0]),
        (vec![ConnectorConfig::clip_rewards(None)], [1.0, -1.0, 1.0, -1.0]),
        (vec![ConnectorConfig::clip_rewards(8.0)], [3.0, -6.0, 8.0, -8.0]),
        // In order: scaled, then clipped.
        (
            vec![ConnectorConfig::scale_rewards(0.5), ConnectorConfig::clip_rewards(5.0)],
            [1.5, -3.0, 4.5, -5.0],
        ),
        // Past connectors of observations.
        (
            vec![ConnectorConfig::mean_std_filter(), ConnectorConfig::scale_rewards(2.0)],
            [6.0, -12.0, 18.0, -24.0],
        ),
    ] {
        let mut runner = open(config(connectors));
        let experience = runner.collect(Amount::Episodes(4), random()).unwrap();
        assert!(experience.episodes.iter().all(|episode| episode.episode_return == -6.0));
        for rollout in &experience.rollouts["default_policy"] {
            for segment in &rollout.segments {
                let rows = (0..segment.len).map(|t| segment.start + t * segment.stride);
                let rewards: Vec<_> = rows.map(|row| rollout.rewards[row]).collect();
                assert_eq!(rewards, expected);
            }
        }
    }
}

#[test]
fn previous_rewards_are_those_that_losses_see() {
    register("Connectors/PayAndShow-v0");
    let config = EnvRunnerConfig::new("Connectors/PayAndShow-v0").env_to_module(vec![
        ConnectorConfig::prev_actions_prev_rewards(0, 1),
        ConnectorConfig::scale_rewards(0.5),
    ]);
    let rollout = open(config).sample(Amount::Timesteps(4), random()).unwrap();
    let shown = rollout.observations.get("prev_n_rewards").unwrap().as_f32().unwrap();
    assert_eq!(shown, [0.0, 1.5, -3.0, 4.5]);
    let last = rollout.final_observations.get("prev_n_rewards").unwrap();
    assert_eq!(last.as_f32().unwrap(), [-6.0]);
}

#[test]
fn normalized_rewards_continue_exactly_from_a_checkpoint() {
    register("Connectors/PayMore-v0");
    let config = EnvRunnerConfig::new("Connectors/PayMore-v0")
        .env_to_module(vec![ConnectorConfig::normalize_rewards()])
        .num_envs(2);
    let mut runner = open(config.clone());
    runner.sample(Amount::Timesteps(14), random()).unwrap();
    let mut restored = open(config);
    restored.set_state(&runner.get_state().unwrap()).unwrap();
    let next = runner.sample(Amount::Timesteps(14), random()).unwrap();
    assert_eq!(next, restored.sample(Amount::Timesteps(14), random()).unwrap());
    // Discounted by 0.99: the deviation of 3, −3.03, 6.0003, −6.059703, …
    let returns: Vec<f64> = (1..=4)
        .scan(0.0, |g, t| {
            *g = 0.99 * *g + if t % 2 == 1 { 3.0 } else { -3.0 } * f64::from(t);
            Some(*g)
        })
        .collect();
    let mean = returns.iter().sum::<f64>() / 4.0;
    let variance = returns.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / 4.0;
    // 28 returns were seen, seven times each of the four.
    let last = f64::from(*next.rewards.last().unwrap());
    assert!((last + 6.0 / variance.sqrt()).abs() < 0.5, "{last} {variance}");
}

#[test]
fn rewards_of_agents_pass_the_connectors_of_their_modules() {
    let space = numbers(1);
    let agents =
        ["a", "b"].map(|id| AgentSpec::new(id, space.clone(), Space::discrete(2).unwrap()));
    // `b` acts every other step, and is paid in between.
    game("Connectors/PayGame-v0", &agents, |t, out| {
        out.observe(0)?.write_f32(&[t as f32])?;
        if t.is_multiple_of(2) {
            out.observe(1)?.write_f32(&[t as f32])?;
        }
        if t > 0 {
            out.add_reward(0, 5.0)?;
            out.add_reward(1, 5.0)?;
        }
        if t == 4 {
            out.terminate_all();
        }
        Ok(())
    });
    let config = EnvRunnerConfig::new("Connectors/PayGame-v0").env_to_module(vec![
        ConnectorConfig::clip_rewards(4.0).for_modules(["b"]),
        ConnectorConfig::scale_rewards(10.0).for_modules(["a"]),
    ]);
    let policy_mapping = rekindle_env_runner::PolicyMapping::ByAgent;
    let mut runner = open_game(config, MultiAgentConfig::default().policy_mapping(policy_mapping));
    let experience = runner.collect(Amount::Episodes(1), random()).unwrap();
    assert_eq!(experience.rollouts["a"][0].rewards, [50.0; 4]);
    assert_eq!(experience.rollouts["b"][0].rewards, [4.0; 2]);
    assert_eq!(experience.episodes[0].episode_return, 40.0);
}
