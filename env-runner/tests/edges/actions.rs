//! Actions between module and environment.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::Mlp;
use rekindle_core::{Batch, Columns};
use rekindle_env::{Row, Step};
use rekindle_env_runner::{Amount, EnvRunner, EnvRunnerConfig, Rollout, SampleOptions};
use rekindle_rl_module::{ModuleContext, RLModule, RLModuleSpec, Result};

use crate::support::{all, env, game, open, percent, random, set_modules};

/// An environment that shows the action it received, with one agent or with two.
fn echoes(name: &'static [&'static str; 2]) -> [EnvRunnerConfig; 2] {
    let single = env(name[0], percent(), |_, _, action, out| {
        let action = action.map_or(Ok(0.0), |a| a.as_f32().map(|a| a[0]))?;
        out.write_f32(&[action])?;
        Ok(Step::running(0.0))
    });
    let several = game(name[1], &["a", "b"], percent(), all("p"), |_, _, actions, out| {
        for agent in 0..2 {
            let action = actions.action(agent).map_or(Ok(0.0), |a| a.as_f32().map(|a| a[0]))?;
            out.observe(agent)?.write_f32(&[action])?;
        }
        Ok(())
    });
    [single, several]
}

fn rollouts(runner: &mut dyn EnvRunner, steps: usize, options: SampleOptions) -> Vec<Rollout> {
    let experience = runner.collect(Amount::Timesteps(steps), options).unwrap();
    experience.rollouts.into_values().flatten().collect()
}

/// Pairs of an action as it is recorded and as the environment received it.
fn pairs(rollout: &Rollout) -> Vec<(f32, f32)> {
    let (actions, seen) = (&rollout.actions, &rollout.observations);
    let (actions, seen) = (actions.as_f32().unwrap(), seen.as_f32().unwrap());
    let finals = rollout.final_observations.as_f32().unwrap();
    let segments = rollout.segments.iter().zip(finals);
    let pairs = segments.flat_map(|(segment, last)| {
        let rows: Vec<usize> = segment.rows().collect();
        let next = rows[1..].iter().map(|row| seen[*row]).chain([*last]);
        rows.iter().map(|row| actions[*row]).zip(next).collect::<Vec<_>>()
    });
    pairs.collect()
}

/// Random actions are drawn from the action space and skip the scaling, as in RLlib. They are
/// recorded in the module's units.
#[test]
fn random_actions_are_uniform_in_the_box_and_recorded_in_module_units() {
    for config in echoes(&["edges/Echo-v0", "edges/Echoes-v0"]) {
        let mut runner = open(config);
        for rollout in rollouts(&mut *runner, 2000, random()) {
            let pairs = pairs(&rollout);
            assert!(pairs.len() >= 2000);
            let mean = |f: &dyn Fn(f64) -> f64| {
                pairs.iter().map(|(_, seen)| f(f64::from(*seen))).sum::<f64>() / pairs.len() as f64
            };
            let average = mean(&|x| x);
            let variance = mean(&|x| (x - average).powi(2));
            assert!((average - 50.0).abs() < 3.0, "{average}");
            assert!((variance.sqrt() - 100.0 / 12f64.sqrt()).abs() < 1.5, "{variance}");
            for (recorded, seen) in pairs {
                assert!((-1.0..=1.0).contains(&recorded), "{recorded}");
                assert!(((recorded + 1.0) * 50.0 - seen).abs() < 1e-3, "{recorded} for {seen}");
            }
        }
    }
}

#[test]
fn without_scaling_random_actions_are_recorded_as_they_are() {
    for mut config in echoes(&["edges/Plain-v0", "edges/Plains-v0"]) {
        config.normalize_actions = false;
        let mut runner = open(config);
        for rollout in rollouts(&mut *runner, 50, random()) {
            assert!(pairs(&rollout).iter().all(|(recorded, seen)| recorded == seen));
        }
    }
}

/// Returns one number, as an action or as the mean of the action's distribution.
#[derive(Module, Debug)]
struct Says {
    unused: Mlp,
    value: f32,
    as_action: bool,
}

impl RLModule for Says {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let config: serde_json::Value = cx.model_config()?;
        let value = match config["value"].as_str() {
            Some("nan") => f32::NAN,
            Some("inf") => f32::INFINITY,
            _ => f32::NEG_INFINITY,
        };
        let as_action = config["as_action"] == true;
        Ok(Self { unused: cx.mlp(1, &[], 1), value, as_action })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let rows = batch.column(Columns::OBS)?.rows();
        let device = Device::flex();
        let value = Tensor::<2>::full([rows, 1], self.value, &device);
        Ok(match self.as_action {
            true => Batch::new().with(Columns::ACTIONS, value),
            false => {
                let inputs = Tensor::cat(vec![value, Tensor::zeros([rows, 1], &device)], 1);
                Batch::new().with(Columns::ACTION_DIST_INPUTS, inputs)
            }
        })
    }
}

static RECEIVED: AtomicUsize = AtomicUsize::new(0);

fn count(action: Option<Row<'_>>) -> rekindle_env::Result<()> {
    if let Some(action) = action {
        RECEIVED.fetch_add(usize::from(!action.as_f32()?[0].is_finite()), Ordering::Relaxed);
        RECEIVED.fetch_add(1000, Ordering::Relaxed);
    }
    Ok(())
}

#[test]
fn an_action_that_is_not_finite_is_an_error_before_the_environment_sees_it() {
    let single = env("edges/Wary-v0", percent(), |_, _, action, out| {
        count(action)?;
        out.write_f32(&[0.0])?;
        Ok(Step::running(0.0))
    });
    let several = game("edges/Waries-v0", &["a", "b"], percent(), all("p"), |_, _, all, out| {
        for agent in 0..2 {
            count(all.action(agent))?;
            out.observe(agent)?.write_f32(&[0.0])?;
        }
        Ok(())
    });
    for config in [single, several] {
        for (normalize, value, as_action, explore) in [
            (true, "nan", true, true),
            (true, "nan", false, true),
            (true, "nan", false, false),
            (false, "nan", true, false),
            (true, "inf", true, true),
            (true, "inf", false, false),
            (false, "-inf", true, false),
        ] {
            let config = config.clone().normalize_actions(normalize);
            let mut runner = open(config);
            let settings = serde_json::json!({"value": value, "as_action": as_action});
            set_modules(&mut *runner, &RLModuleSpec::of::<Says>().model_config(settings));
            let options = SampleOptions::default().explore(explore);
            let error = runner.collect(Amount::Timesteps(4), options).unwrap_err().to_string();
            assert!(error.contains("diverged"), "{error}");
        }
    }
    assert_eq!(RECEIVED.load(Ordering::Relaxed), 0, "no environment was stepped");
}
