//! Options of a call: what is recorded, how much is collected, for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rekindle_env::Step;
use rekindle_env_runner::{
    Amount, CallbackResult, EnvRunnerConfig, EpisodeEvent, RunnerCallbacks, SampleOptions,
    SharedCallbacks,
};

use crate::support::{all, bin, ended, env, game, mlp, open, random, reduced, set_modules};

/// Episodes of five steps with reward 1, with one agent or with two.
fn fives(name: &'static [&'static str; 2]) -> [EnvRunnerConfig; 2] {
    let single = env(name[0], bin(), |_, t, _, out| {
        out.write_f32(&[t as f32])?;
        Ok(if t == 5 { ended(1.0) } else { Step::running(1.0) })
    });
    let several = game(name[1], &["a", "b"], bin(), all("p"), |_, t, _, out| {
        for agent in 0..2 {
            out.observe(agent)?.write_f32(&[t as f32])?;
        }
        if t > 0 {
            out.add_reward(1, 1.0)?;
        }
        if t == 5 {
            out.terminate_all();
        }
        Ok(())
    });
    [single, several]
}

/// The same seed gives the same episodes and counts with and without recording.
#[test]
fn without_recording_everything_but_the_rollouts_is_the_same() {
    for mut config in fives(&["edges/Five-v0", "edges/Fives-v0"]) {
        config.num_envs = 2;
        let amounts = [
            Amount::Timesteps(6),
            Amount::Timesteps(8),
            Amount::Episodes(3),
            Amount::AgentSteps(9),
        ];
        let run = |record| {
            let mut runner = open(config.clone());
            set_modules(&mut *runner, &mlp());
            let all: Vec<_> = amounts
                .iter()
                .map(|amount| {
                    let options = SampleOptions::default().record(record);
                    runner.collect(*amount, options).unwrap()
                })
                .collect();
            let metrics = reduced([runner.take_metrics()]);
            let of_the_clock = |key: &str| key.contains("time") || key.contains("duration");
            let metrics: Vec<_> = metrics
                .iter()
                .filter(|(key, _)| !of_the_clock(key) && !key.ends_with("/sample"))
                .map(|(key, value)| (key.to_string(), value))
                .collect();
            (all, metrics, runner.get_state().unwrap())
        };
        let ((with, counted, before), (without, also_counted, after)) = (run(true), run(false));
        for (with, without) in with.iter().zip(&without) {
            assert!(without.rollouts.values().all(Vec::is_empty), "nothing is kept");
            assert!(with.agent_steps() > 0);
            assert_eq!(with.env_steps, without.env_steps);
            assert_eq!(with.episodes, without.episodes);
        }
        assert_eq!(counted, also_counted);
        assert_eq!(before.data["action_rngs"], after.data["action_rngs"]);
        assert_eq!(before.data["env"], after.data["env"]);
    }
}

#[test]
fn recording_may_begin_in_the_middle_of_an_episode() {
    for config in fives(&["edges/Middle-v0", "edges/Middles-v0"]) {
        let mut runner = open(config);
        runner.collect(Amount::Timesteps(3), random().record(false)).unwrap();
        let experience = runner.collect(Amount::Timesteps(4), random()).unwrap();
        for rollout in experience.rollouts.values().flatten() {
            let first = &rollout.segments[0];
            assert_eq!((first.t_started, first.len), (3, 2));
            assert_eq!(rollout.observations.as_f32().unwrap()[0], 3.0);
        }
    }
}

#[test]
fn agent_steps_are_counted_when_their_outcome_is_known() {
    let [single, several] = fives(&["edges/Counted-v0", "edges/Counteds-v0"]);
    let mut runner = open(several);
    for (wanted, vector_steps) in [(1, 1), (4, 2), (5, 3)] {
        let experience = runner.collect(Amount::AgentSteps(wanted), random()).unwrap();
        assert_eq!(experience.env_steps, vector_steps);
        assert_eq!(experience.agent_steps(), 2 * vector_steps);
    }
    let experience = open(single).collect(Amount::AgentSteps(4), random()).unwrap();
    assert_eq!((experience.env_steps, experience.agent_steps()), (4, 4));
    // In turns, the last action of each agent waits.
    let turns = game("edges/Turns2-v0", &["a", "b"], bin(), all("p"), |_, t, _, out| {
        out.observe(t % 2)?.write_f32(&[0.0])
    });
    let experience = open(turns).collect(Amount::AgentSteps(6), random()).unwrap();
    assert_eq!((experience.env_steps, experience.agent_steps()), (7, 6));
}

#[test]
fn a_call_whose_time_is_over_returns_what_it_has() {
    let single = env("edges/Endless-v0", bin(), |n, t, _, out| {
        out.write_f32(&[0.0])?;
        Ok(if n % 2 == 0 && t == 3 { ended(2.0) } else { Step::running(0.0) })
    });
    let several = game("edges/Endlesses-v0", &["a"], bin(), all("p"), |n, t, _, out| {
        out.observe(0)?.write_f32(&[0.0])?;
        if n % 2 == 0 && t == 3 {
            out.add_reward(0, 2.0)?;
            out.terminate_all();
        }
        Ok(())
    });
    for mut config in [single, several] {
        config.num_envs = 2;
        let mut runner = open(config);
        let options = random().time_limit(Duration::from_millis(50));
        for record in [true, false] {
            let started = Instant::now();
            let experience = runner.collect(Amount::Episodes(4), options.record(record)).unwrap();
            assert!(started.elapsed() < Duration::from_secs(10));
            assert!(experience.timed_out);
            // The second environment never ends an episode.
            assert_eq!(experience.episodes.len(), 2);
            assert!(experience.episodes.iter().all(|episode| episode.episode_return == 2.0));
            assert_eq!(experience.env_steps, 6);
            assert_eq!(experience.agent_steps(), if record { 6 } else { 0 });
        }
        let experience = runner.collect(Amount::Timesteps(usize::MAX), options).unwrap();
        assert!(experience.timed_out && experience.env_steps > 0);
        assert_eq!(experience.agent_steps(), experience.env_steps);
        let experience = runner.collect(Amount::Timesteps(4), options).unwrap();
        assert!(!experience.timed_out);
    }
}

/// Notes `t` of the infos that hooks see.
#[derive(Clone, Default)]
struct Infos {
    steps: Arc<AtomicUsize>,
    ends: Arc<AtomicUsize>,
    starts: Arc<AtomicUsize>,
}

impl RunnerCallbacks for Infos {
    fn on_episode_start(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        assert_eq!(event.info()["t"], 0.0);
        self.starts.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn on_episode_step(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        assert_eq!(event.info()["t"], event.step as f64);
        self.steps.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn on_episode_end(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        assert_eq!(event.info()["t"], 5.0, "not that of the next episode");
        assert_eq!(event.env.final_info(event.env_index)["t"], 5.0);
        self.ends.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn hooks_see_the_info_of_an_episodes_last_step() {
    for mut config in fives(&["edges/Info-v0", "edges/Infos-v0"]) {
        let infos = Infos::default();
        config.callbacks = SharedCallbacks::new(infos.clone());
        open(config).collect(Amount::Timesteps(12), random()).unwrap();
        let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        assert_eq!([read(&infos.starts), read(&infos.steps), read(&infos.ends)], [3, 12, 2]);
    }
}
