//! Environments of a vector that fail are restarted alone.

use burn::prelude::Device;
use rekindle_checkpoint::Checkpointable;
use rekindle_env::EnvConfig;
use rekindle_env_runner::connectors::ConnectorConfig;
use rekindle_env_runner::{
    Amount, EnvRunner, EnvRunnerConfig, MultiAgentConfig, MultiAgentEnvRunner, PolicyMapping,
    PublishedAt, Rollout, RunnerError, SampleOptions, SegmentEnd,
};

use crate::fragile::{Event, Fault, collect, config, fragile, modules, reduced, runner, small};

/// The experience of an environment in a rollout, except the numbers of its episodes, which are
/// counted over all environments.
fn of_env(rollout: &Rollout, env: usize) -> Vec<String> {
    let segments = rollout.segments.iter().enumerate().filter(|(_, s)| s.env == env);
    let text = segments.map(|(index, segment)| {
        let rows: Vec<usize> = segment.rows().collect();
        let rewards: Vec<f32> = rows.iter().map(|&row| rollout.rewards[row]).collect();
        let extras: Vec<_> =
            rollout.extras.values().map(|column| column.gather(&rows).unwrap()).collect();
        let states = rollout.states.as_ref().map(|states| {
            (states.state_in.gather(&rows).unwrap(), states.final_states.gather(&[index]).unwrap())
        });
        format!(
            "{} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            segment.t_started,
            segment.end,
            rollout.observations.gather(&rows).unwrap(),
            rollout.actions.gather(&rows).unwrap(),
            rewards,
            extras,
            states,
            rollout.final_observations.gather(&[index]).unwrap(),
        )
    });
    text.collect()
}

/// A stateful module with stateful connectors.
fn recurrent(env: &str) -> (EnvRunnerConfig, serde_json::Value) {
    let env_to_module = vec![
        ConnectorConfig::FrameStacking { num_frames: 2 },
        ConnectorConfig::mean_std_filter(),
        ConnectorConfig::PrevActionsPrevRewards { n_prev_actions: 1, n_prev_rewards: 1 },
    ];
    let settings = serde_json::json!({
        "fcnet_hiddens": [8], "fusionnet_hiddens": [8], "use_lstm": true, "lstm_cell_size": 4,
        "vf_share_layers": true,
    });
    (config(env, 3).env_to_module(env_to_module), settings)
}

#[test]
fn all_others_go_on_as_if_nothing_had_happened() {
    let crashing = fragile("OneCrashes", |env, event| match (env, event) {
        (1, Event::Step(30 | 61) | Event::Reset(4)) => Fault::Crash,
        _ => Fault::None,
    });
    let run = |env: &str| {
        let (mut config, settings) = recurrent(env);
        // All rows of a filter that learns depend on all others.
        config.update_connectors = false;
        let mut runner = runner(config, settings);
        let rollouts: Vec<_> = (0..3)
            .map(|_| runner.sample(Amount::Timesteps(3 * 40), SampleOptions::default()).unwrap())
            .collect();
        rollouts
    };
    let (with, without) = (run(&crashing), run("CartPole-v1"));
    for (with, without) in with.iter().zip(&without) {
        for env in [0, 2] {
            assert_eq!(of_env(with, env), of_env(without, env), "environment {env}");
        }
    }
    // Environment 1 is the same, too, until the fragment of the crash. Its episode is then lost.
    assert_ne!(of_env(&with[0], 1), of_env(&without[0], 1));
    let mut going_on = Vec::new();
    for rollout in &with {
        let segments = rollout.segments.iter().filter(|segment| segment.env == 1);
        for segment in segments.clone() {
            let before = (segment.episode, segment.t_started);
            assert!(segment.t_started == 0 || going_on.contains(&before), "{segment:?}");
        }
        let cut = segments.filter(|segment| segment.end == SegmentEnd::Cut);
        going_on = cut.map(|s| (s.episode, s.t_started + s.len)).collect();
    }
}

#[test]
fn the_lost_episode_leaves_nothing_in_the_fragment_and_the_restart_is_counted() {
    // The pole does not fall within 8 steps.
    let id = fragile("LosesSteps", |env, event| match (env, event) {
        (0, Event::Step(6 | 13)) => Fault::Crash,
        _ => Fault::None,
    });
    let mut runner = runner(config(&id, 2), small());
    let first = runner.sample(Amount::Timesteps(2 * 8), SampleOptions::default()).unwrap();
    let pieces = |rollout: &Rollout| -> Vec<_> {
        rollout.segments.iter().map(|s| (s.env, s.t_started, s.len, s.end)).collect()
    };
    // Steps 1 to 6 are lost, 7 and 8 count.
    assert_eq!(pieces(&first), [(0, 0, 2, SegmentEnd::Cut), (1, 0, 8, SegmentEnd::Cut)]);
    assert_eq!(first.segments[0].start, 6 * 2);
    // Delivered steps of an episode that spans calls stay; steps 9 to 13 are lost.
    let second = runner.sample(Amount::Timesteps(2 * 6), SampleOptions::default()).unwrap();
    assert_eq!(pieces(&second)[0], (0, 0, 1, SegmentEnd::Cut));
    assert_ne!(second.segments[0].episode, first.segments[0].episode);

    let metrics = reduced([runner.take_metrics()]);
    assert_eq!(metrics.get("env_runners/num_env_restarts_lifetime"), Some(2.0));
    let steps = (first.env_steps() + second.env_steps()) as f64;
    assert_eq!(metrics.get("env_runners/num_env_steps_sampled_lifetime"), Some(steps));
}

#[test]
fn without_restarts_and_for_mistakes_the_error_is_returned() {
    let crashing = fragile("Crashes", |_, event| match event {
        Event::Step(5) => Fault::Crash,
        _ => Fault::None,
    });
    let mistaken = fragile("IsMistaken", |_, event| match event {
        Event::Step(5) => Fault::Mistake,
        _ => Fault::None,
    });
    let mut off = config(&crashing, 2);
    off.fault_tolerance.restart_failed_sub_environments = false;
    for (config, text) in [(off, "told to crash"), (config(&mistaken, 2), "does not support")] {
        let mut runner = runner(config, small());
        let result = runner.sample(Amount::Timesteps(20), SampleOptions::default());
        let error = result.unwrap_err();
        assert!(matches!(error, RunnerError::Environment { .. }), "{error}");
        assert!(error.to_string().contains(text), "{error}");
        // The next call begins with a reset.
        runner.sample(Amount::Timesteps(20), SampleOptions::default()).unwrap();
    }
}

#[test]
fn crashes_in_resets_cost_no_episode_that_had_ended() {
    let id = fragile("CrashesInResets", |_, event| match event {
        Event::Reset(1..=3 | 5..=9) => Fault::Crash,
        _ => Fault::None,
    });
    let mut runner = runner(config(&id, 2), small());
    let rollout = runner.sample(Amount::Timesteps(2 * 150), SampleOptions::default()).unwrap();
    assert_eq!(rollout.env_steps(), 300, "all steps count");
    assert!(rollout.segments.iter().any(|s| s.end == SegmentEnd::Terminated));
    let metrics = reduced([runner.take_metrics()]);
    assert_eq!(metrics.get("env_runners/num_env_restarts_lifetime"), Some(4.0));
}

#[test]
fn environments_that_do_not_come_back_are_an_error_that_says_so() {
    let dead = fragile("Dead", |_, event| match event {
        Event::Reset(n) if n > 1 => Fault::Crash,
        _ => Fault::None,
    });
    let hopeless = fragile("Hopeless", |_, event| match event {
        Event::Step(_) => Fault::Crash,
        Event::Reset(_) => Fault::None,
    });
    for (id, call) in [(dead, Amount::Timesteps(200)), (hopeless, Amount::Episodes(1))] {
        let error = runner(config(&id, 1), small()).sample(call, SampleOptions::default());
        let error = error.unwrap_err();
        assert!(matches!(error, RunnerError::EnvKeepsFailing { index: 0, .. }), "{error}");
        assert!(error.to_string().contains("told to crash"), "{error}");
    }
}

fn crashing(env: &str, p_crash: f64) -> EnvRunnerConfig {
    let env_config = EnvConfig::new().with("p_crash", p_crash).with("p_crash_reset", 0.1);
    config(env, 4).env_config(env_config)
}

#[test]
fn whole_episodes_are_whole_and_as_many_as_asked_for() {
    let mut runner = runner(crashing("CrashingCartPole-v1", 0.02), small());
    for _ in 0..5 {
        let experience = collect(&mut runner, Amount::Episodes(10));
        assert_eq!(experience.episodes.len(), 10);
        let rollout = &experience.rollouts["default_policy"][0];
        assert_eq!(rollout.segments.len(), 10);
        for segment in &rollout.segments {
            assert_eq!((segment.t_started, segment.end), (0, SegmentEnd::Terminated));
        }
    }
    let metrics = reduced([runner.take_metrics()]);
    assert!(metrics.get("env_runners/num_env_restarts_lifetime").unwrap() > 10.0);
}

#[test]
fn filters_memory_and_previous_actions_go_through_crashes_and_resume_exactly() {
    let (recurrent, settings) = recurrent("CrashingCartPole-v1");
    let crashing = crashing("CrashingCartPole-v1", 0.02);
    let config = crashing.env_to_module(recurrent.env_to_module);
    let mut first = runner(config.clone(), settings.clone());
    for _ in 0..3 {
        collect(&mut first, Amount::Timesteps(200));
    }
    let mut second = runner(config, settings);
    second.set_state(&first.get_state().unwrap()).unwrap();
    for _ in 0..3 {
        let experience = collect(&mut first, Amount::Timesteps(200));
        assert_eq!(experience, collect(&mut second, Amount::Timesteps(200)));
        let rollout = &experience.rollouts["default_policy"][0];
        let states = rollout.states.as_ref().unwrap();
        for segment in rollout.segments.iter().filter(|segment| segment.t_started == 0) {
            let state = states.state_in.gather(&[segment.start]).unwrap();
            for part in ["c", "h"] {
                let part = state.get(part).unwrap().as_f32().unwrap();
                assert!(part.iter().all(|x| *x == 0.0), "episodes begin without memory");
            }
            let previous = rollout.observations.get("prev_n_rewards").unwrap().as_f32().unwrap();
            assert_eq!(previous[segment.start], 0.0);
        }
    }
    let metrics = reduced([first.take_metrics()]);
    assert!(metrics.get("env_runners/num_env_restarts_lifetime").unwrap() > 10.0);
}

#[test]
fn of_several_agents_those_of_the_failed_environment_lose_their_episode() {
    let mapping = PolicyMapping::ByAgent;
    let multi_agent = MultiAgentConfig::default().policy_mapping(mapping);
    let mut config = crashing("MultiAgentCrashingCartPole-v1", 0.01);
    config.multi_agent = Some(multi_agent);
    config.env_config = config.env_config.with("num_agents", 2);
    let new = || {
        let mut runner = MultiAgentEnvRunner::new(config.clone(), 0, &Device::flex()).unwrap();
        let modules = modules(&runner, small());
        runner.set_modules(&modules, PublishedAt::default()).unwrap();
        runner
    };
    let (mut one, mut two) = (new(), new());
    let mut going_on: Vec<(u64, String, usize)> = Vec::new();
    let mut lost = 0;
    for call in 0..20 {
        let experience = collect(&mut one, Amount::Timesteps(4 * 25));
        lost += 100 - experience.env_steps;
        let rollouts = experience.rollouts.values().flatten();
        let mut next = Vec::new();
        // No agent acts in more steps than there were.
        for rollout in rollouts {
            assert!(rollout.env_steps() <= experience.env_steps);
            for segment in &rollout.segments {
                let agent = segment.agent.clone().unwrap();
                let before = (segment.episode, agent.clone(), segment.t_started);
                assert!(segment.t_started == 0 || going_on.contains(&before), "{segment:?}");
                if segment.end == SegmentEnd::Cut {
                    next.push((segment.episode, agent, segment.t_started + segment.len));
                }
            }
        }
        going_on = next;
        if call == 10 {
            two.set_state(&one.get_state().unwrap()).unwrap();
        }
        if call > 10 {
            assert_eq!(collect(&mut two, Amount::Timesteps(4 * 25)), experience);
        }
    }
    let metrics = reduced([one.take_metrics()]);
    assert!(metrics.get("env_runners/num_env_restarts_lifetime").unwrap() > 10.0);
    assert!(lost > 10, "{lost} steps were lost");
    assert_eq!(
        metrics.get("env_runners/num_env_steps_sampled_lifetime"),
        Some((2000 - lost) as f64)
    );

    assert_eq!(collect(&mut one, Amount::Episodes(7)).episodes.len(), 7);
}
