//! Means over agents and modules.

use std::sync::atomic::{AtomicUsize, Ordering};

use rekindle_env::EnvError;
use rekindle_env_runner::{Amount, EnvRunner, PolicyMapping};
use rekindle_metrics::Metrics;

use crate::support::{all, bin, game, open, random, reduced};

fn mean(metrics: &Metrics, key: &str) -> f64 {
    metrics.get(&format!("env_runners/{key}")).unwrap()
}

fn means_of(runner: &mut dyn EnvRunner, count: usize) -> (Vec<f64>, Metrics) {
    let experience = runner.collect(Amount::Episodes(count), random()).unwrap();
    let returns = experience.episodes.iter().map(|episode| episode.episode_return).collect();
    (returns, reduced([runner.take_metrics()]))
}

#[test]
fn agent_and_module_means_are_of_the_episodes_that_count() {
    let mut config = game("edges/Unequal-v0", &["a"], bin(), all("p"), |n, t, _, out| {
        out.observe(0)?.write_f32(&[0.0])?;
        let (len, reward) = if n % 2 == 1 { (10, 10.0) } else { (1, 1.0) };
        if t > 0 {
            out.add_reward(0, reward)?;
        }
        if t == len {
            out.terminate_all();
        }
        Ok(())
    });
    config.num_envs = 2;
    let (mut returns, metrics) = means_of(&mut *open(config), 2);
    returns.sort_by(f64::total_cmp);
    assert_eq!(returns, [1.0, 100.0]);
    for key in
        ["episode_return_mean", "agent_episode_returns_mean/a", "module_episode_returns_mean/p"]
    {
        assert_eq!(mean(&metrics, key), 50.5, "{key}");
    }
}

#[test]
fn agents_of_an_episode_that_is_lost_to_a_crash_are_in_no_mean() {
    static EPISODE: AtomicUsize = AtomicUsize::new(0);
    let mapping = PolicyMapping::ByAgent;
    let mut config = game("edges/Lost-v0", &["a", "b"], bin(), mapping, |_, t, _, out| {
        let lost = EPISODE.fetch_add(usize::from(t == 0), Ordering::Relaxed) % 2 == 1;
        if t < 2 {
            out.observe(0)?.write_f32(&[0.0])?;
        }
        out.observe(1)?.write_f32(&[0.0])?;
        match t {
            0 => Ok(()),
            1 => {
                out.add_reward(0, if lost { -50.0 } else { 2.0 })?;
                out.terminate(0)
            }
            _ if lost => Err(EnvError::custom("gone")),
            _ => {
                out.terminate_all();
                Ok(())
            }
        }
    });
    config.fault_tolerance.restart_failed_sub_environments = true;
    let (returns, metrics) = means_of(&mut *open(config), 4);
    assert_eq!(returns, [2.0; 4]);
    assert_eq!(mean(&metrics, "agent_episode_returns_mean/a"), 2.0);
    assert_eq!(mean(&metrics, "module_episode_returns_mean/a"), 2.0);
}

/// As in RLlib, an episode's return of a module is the sum over the agents that play with it.
#[test]
fn the_return_of_a_module_is_the_sum_over_its_agents() {
    let config = game("edges/Pair-v0", &["a", "b"], bin(), all("p"), |_, t, _, out| {
        for agent in 0..2 {
            out.observe(agent)?.write_f32(&[0.0])?;
            if t > 0 {
                out.add_reward(agent, 5.0)?;
            }
        }
        if t == 2 {
            out.terminate_all();
        }
        Ok(())
    });
    let (returns, metrics) = means_of(&mut *open(config), 3);
    assert_eq!(returns, [20.0; 3]);
    assert_eq!(mean(&metrics, "agent_episode_returns_mean/a"), 10.0);
    assert_eq!(mean(&metrics, "agent_episode_returns_mean/b"), 10.0);
    assert_eq!(mean(&metrics, "module_episode_returns_mean/p"), 20.0);
}

/// Agents that ended before a checkpoint are still part of their episode's report after it.
#[test]
fn agents_that_ended_before_a_checkpoint_are_reported_with_their_episode() {
    let mapping = PolicyMapping::ByAgent;
    let config = game("edges/Early-v0", &["a", "b"], bin(), mapping, |_, t, _, out| {
        if t < 2 {
            out.observe(0)?.write_f32(&[0.0])?;
        }
        out.observe(1)?.write_f32(&[0.0])?;
        if t == 1 {
            out.add_reward(0, 7.0)?;
            out.terminate(0)?;
        }
        if t == 4 {
            out.terminate_all();
        }
        Ok(())
    });
    let mut saved = open(config.clone());
    saved.collect(Amount::Timesteps(2), random()).unwrap();
    let mut runner = open(config);
    runner.set_state(&saved.get_state().unwrap()).unwrap();
    let experience = runner.collect(Amount::Timesteps(2), random()).unwrap();
    assert_eq!(experience.episodes.len(), 1);
    let metrics = reduced([runner.take_metrics()]);
    assert_eq!(mean(&metrics, "agent_episode_returns_mean/a"), 7.0);
    assert_eq!(mean(&metrics, "agent_episode_returns_mean/b"), 0.0);
    assert_eq!(mean(&metrics, "module_episode_returns_mean/a"), 7.0);
}
