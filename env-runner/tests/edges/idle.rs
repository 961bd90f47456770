//! Steps without acting agents, and modules without agents.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rekindle_env_runner::{Amount, MultiAgentConfig, PolicyMapping, RunnerError, SampleOptions};

use crate::support::{all, bin, game, mlp, open, random, reduced, set_modules};

#[test]
fn steps_in_which_nobody_acts_are_collected_and_give_no_rollout() {
    // `b` joins after eight steps of ten; there is no other agent.
    let config = game("edges/Late-v0", &["b"], bin(), all("p"), |_, t, _, out| {
        if t >= 8 {
            out.observe(0)?.write_f32(&[0.0])?;
        }
        if t == 10 {
            out.terminate_all();
        }
        Ok(())
    });
    let mut runner = open(config);
    set_modules(&mut *runner, &mlp());
    let mut collect = |amount| runner.collect(amount, SampleOptions::default()).unwrap();
    let experience = collect(Amount::Timesteps(5));
    assert_eq!((experience.env_steps, experience.agent_steps()), (5, 0));
    assert!(experience.rollouts.is_empty());
    let experience = collect(Amount::Timesteps(5));
    assert_eq!((experience.env_steps, experience.agent_steps()), (5, 2));
    assert_eq!(experience.episodes.len(), 1);
}

#[test]
fn an_environment_without_agents_is_stepped() {
    let config = game("edges/Empty-v0", &[], bin(), all("p"), |_, t, _, out| {
        if t == 3 {
            out.terminate_all();
        }
        Ok(())
    });
    for policies in [vec![], vec!["p".to_string()]] {
        let multi_agent = MultiAgentConfig::default().policies(policies).policy_mapping(all("p"));
        let mut config = config.clone();
        config.multi_agent = Some(multi_agent);
        let mut runner = open(config);
        let experience = runner.collect(Amount::Timesteps(7), random()).unwrap();
        assert_eq!((experience.env_steps, experience.episodes.len()), (7, 2));
        assert!(experience.rollouts.is_empty());
        let metrics = reduced([runner.take_metrics()]);
        assert_eq!(metrics.get("env_runners/num_env_steps_sampled"), Some(7.0));
        // The environment has no agents, so there are no agent steps.
        let error = runner.collect(Amount::AgentSteps(1), random()).unwrap_err();
        assert!(matches!(error, RunnerError::NoAgents(_)), "{error}");
    }
}

/// No agent is ever observed, so that there are no agent steps: environment steps count instead.
#[test]
fn a_call_for_agent_steps_ends_where_nobody_acts() {
    let config = game("edges/Asleep-v0", &["a"], bin(), all("p"), |_, t, _, out| {
        if t == 3 {
            out.terminate_all();
        }
        Ok(())
    });
    for (num_envs, env_steps) in [(1, 20), (3, 21)] {
        let mut runner = open(config.clone().num_envs(num_envs));
        // Should the call not end by itself, the time limit ends it.
        let options = random().time_limit(Duration::from_secs(5));
        let experience = runner.collect(Amount::AgentSteps(20), options).unwrap();
        assert!(!experience.timed_out);
        assert_eq!((experience.env_steps, experience.agent_steps()), (env_steps, 0));
    }
}

/// Agents that act late in their episodes are waited for, and those that stopped acting are not.
#[test]
fn agent_steps_are_waited_for_while_agents_act() {
    static EPISODES: AtomicUsize = AtomicUsize::new(0);
    let late = game("edges/Drowsy-v0", &["a"], bin(), all("p"), |_, t, _, out| {
        if t >= 8 {
            out.observe(0)?.write_f32(&[0.0])?;
        }
        if t == 10 {
            out.terminate_all();
        }
        Ok(())
    });
    let experience = open(late).collect(Amount::AgentSteps(5), random()).unwrap();
    assert_eq!((experience.env_steps, experience.agent_steps()), (29, 5));
    let once = game("edges/Once-v0", &["a"], bin(), all("p"), |_, t, _, out| {
        let episode = EPISODES.fetch_add(usize::from(t == 0), Ordering::Relaxed);
        if t < 3 && episode == usize::from(t > 0) {
            out.observe(0)?.write_f32(&[0.0])?;
        }
        if t == 3 {
            out.terminate_all();
        }
        Ok(())
    });
    let options = random().time_limit(Duration::from_secs(5));
    let experience = open(once).collect(Amount::AgentSteps(20), options).unwrap();
    assert!(!experience.timed_out);
    assert_eq!((experience.env_steps, experience.agent_steps()), (20, 3));
}

#[test]
fn a_module_in_reserve_that_an_agent_is_mapped_to_after_all_is_named() {
    let mapping = PolicyMapping::from_fn("edges/late", |agent, episode| {
        if episode.episode < 64 { agent.clone() } else { "spare".into() }
    });
    let mut config = game("edges/Reserve-v0", &["a", "b"], bin(), mapping, |_, t, _, out| {
        for agent in 0..2 {
            out.observe(agent)?.write_f32(&[0.0])?;
        }
        if t == 1 {
            out.terminate_all();
        }
        Ok(())
    });
    let policies = ["a", "b", "spare"].map(Into::into).to_vec();
    config.multi_agent.as_mut().unwrap().policies = policies;
    // The agents are alike: the spare module has their spaces, and acts.
    let experience = open(config).collect(Amount::Timesteps(70), random()).unwrap();
    assert_eq!(experience.rollouts["spare"][0].env_steps(), 2 * 6);
}
