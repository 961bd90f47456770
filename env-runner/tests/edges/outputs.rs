//! Outputs of the exploration pass that are recorded under their names.

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::{Batch, Columns};
use rekindle_env::{Buffer, Step};
use rekindle_env_runner::{Amount, EnvRunnerConfig, RunnerError, SampleOptions};
use rekindle_rl_module::{ModuleContext, RLModule, RLModuleSpec, Result};

use crate::support::{all, bin, ended, env, game, open, set_modules};

/// Returns columns of several kinds that are functions of the observation, and counts in its state.
#[derive(Module, Debug)]
struct Talks {
    /// The observation from which on `late` is returned, and `wide` has two numbers a row.
    from: f32,
}

impl RLModule for Talks {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let config: serde_json::Value = cx.model_config()?;
        Ok(Self { from: config["from"].as_f64().unwrap_or(1e9) as f32 })
    }

    fn initial_state(&self) -> Result<Option<Buffer>> {
        Ok(Some(Buffer::from_f32(vec![0.0], &[1])?))
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let seen = batch.float::<2>(Columns::OBS)?;
        let state = batch.float::<2>(Columns::STATE_IN)?;
        let rows = seen.dims()[0];
        let mut out = Batch::new()
            .with(Columns::ACTION_DIST_INPUTS, seen.zeros_like().repeat_dim(1, 2))
            .with(Columns::STATE_OUT, state.clone() + 1.0)
            .with(Columns::EMBEDDINGS, seen.clone())
            .with("some_value", seen.clone().reshape([rows]) * 2.0)
            .with("count", state.int().reshape([rows]))
            .with("flag", seen.clone().greater_elem(2.5))
            .with("deep", Batch::new().with("cube", seen.clone().reshape([rows, 1, 1]) * 3.0));
        let is_late = seen.max().into_scalar::<f32>() >= self.from;
        let width = if is_late { 2 } else { 1 };
        out.insert("wide", Tensor::<2>::zeros([rows, width], &seen_device(batch)?));
        if is_late {
            out.insert("late", Tensor::<1>::zeros([rows], &seen_device(batch)?));
        }
        Ok(out)
    }
}

fn seen_device(batch: &Batch) -> Result<Device> {
    Ok(batch.float::<2>(Columns::OBS)?.device())
}

/// Environments whose observation is the time, with episodes of six steps.
fn kinds(single: &'static str, several: &'static str) -> [EnvRunnerConfig; 2] {
    let single = env(single, bin(), |_, t, _, out| {
        out.write_f32(&[t as f32])?;
        Ok(if t == 6 { ended(0.0) } else { Step::running(0.0) })
    });
    let several = game(several, &["a"], bin(), all("p"), |_, t, _, out| {
        out.observe(0)?.write_f32(&[t as f32])?;
        if t == 6 {
            out.terminate_all();
        }
        Ok(())
    });
    [single, several].map(|config| config.num_envs(2))
}

fn spec(from: f64) -> RLModuleSpec {
    RLModuleSpec::of::<Talks>().model_config(serde_json::json!({ "from": from }))
}

#[test]
fn every_output_of_exploration_is_a_column_of_its_name() {
    for config in kinds("Talks-v0", "TalksTogether-v0") {
        let mut runner = open(config);
        set_modules(&mut *runner, &spec(1e9));
        // Calls end in the middle of episodes, and greedy steps come between.
        for greedy in [false, true, false] {
            let options = if greedy { SampleOptions::greedy() } else { SampleOptions::default() };
            let experience = runner.collect(Amount::Timesteps(10), options).unwrap();
            for rollout in experience.rollouts.values().flatten() {
                let column = |name: &str| rollout.extras.get(name);
                if !rollout.extras.contains_key(Columns::ACTION_LOGP) {
                    assert!(column("some_value").is_none(), "only exploration is recorded");
                    continue;
                }
                let seen = rollout.observations.as_f32().unwrap();
                let doubled: Vec<f32> = seen.iter().map(|o| 2.0 * o).collect();
                assert_eq!(column("some_value").unwrap().as_f32().unwrap(), doubled);
                let states = &rollout.states.as_ref().unwrap().state_in;
                let counts: Vec<i64> =
                    states.as_f32().unwrap().iter().map(|count| *count as i64).collect();
                assert_eq!(column("count").unwrap().as_i64().unwrap(), counts);
                let flags: Vec<i64> = seen.iter().map(|o| i64::from(*o > 2.5)).collect();
                assert_eq!(column("flag").unwrap().as_i64().unwrap(), flags);
                let cubes: Vec<f32> = seen.iter().map(|o| 3.0 * o).collect();
                assert_eq!(column("deep").unwrap().get("cube").unwrap().as_f32().unwrap(), cubes);
                assert!(column(Columns::EMBEDDINGS).is_none() && column("late").is_none());
                let of_episodes = rollout.episodes().map(|episode| episode.len());
                assert_eq!(of_episodes.sum::<usize>(), rollout.env_steps());
            }
        }
    }
}

#[test]
fn a_column_that_comes_later_or_changes_its_shape_is_an_error_that_names_it() {
    for config in kinds("TalksLater-v0", "TalksLaterTogether-v0") {
        let mut runner = open(config);
        set_modules(&mut *runner, &spec(3.0));
        let error = runner.collect(Amount::Timesteps(10), SampleOptions::default()).unwrap_err();
        let RunnerError::OutputColumns { column } = &error else { panic!("{error}") };
        assert!(["wide", "late"].contains(&column.as_str()), "{error}");
        // Without a record nothing is wrong.
        let options = SampleOptions::default().record(false);
        runner.collect(Amount::Timesteps(20), options).unwrap();
    }
}
