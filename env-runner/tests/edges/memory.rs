//! States of stateful modules when weights change.

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::Mlp;
use rekindle_core::{Batch, Columns};
use rekindle_env::{Buffer, Step};
use rekindle_env_runner::{Amount, EnvRunner, EnvRunnerConfig, SampleOptions};
use rekindle_rl_module::{ModuleContext, RLModule, RLModuleSpec, Result};

use crate::support::{all, bin, ended, env, game, open, set_modules};

/// Counts its steps in its state, from a first value on that an update changes.
#[derive(Module, Debug)]
struct Counts {
    unused: Mlp,
    start: f32,
}

impl RLModule for Counts {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let config: serde_json::Value = cx.model_config()?;
        let start = config["start"].as_f64().unwrap_or(0.0) as f32;
        Ok(Self { unused: cx.mlp(1, &[], 1), start })
    }

    fn initial_state(&self) -> Result<Option<Buffer>> {
        Ok(Some(Buffer::from_f32(vec![self.start], &[1])?))
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let state = batch.float::<2>(Columns::STATE_IN)?;
        let rows = state.dims()[0];
        let logits = Tensor::<2>::zeros([rows, 2], &state.device());
        Ok(Batch::new()
            .with(Columns::STATE_OUT, state + 1.0)
            .with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

fn counts(start: f64) -> RLModuleSpec {
    RLModuleSpec::of::<Counts>().model_config(serde_json::json!({"start": start}))
}

fn states(runner: &mut dyn EnvRunner, steps: usize) -> Vec<f32> {
    states_of(runner, steps, SampleOptions::default())
}

fn states_of(runner: &mut dyn EnvRunner, steps: usize, options: SampleOptions) -> Vec<f32> {
    let experience = runner.collect(Amount::Timesteps(steps), options).unwrap();
    let rollout = &experience.rollouts.values().next().unwrap()[0];
    let rows: Vec<usize> = rollout.segments.iter().flat_map(|segment| segment.rows()).collect();
    let states = rollout.states.as_ref().unwrap().state_in.gather(&rows).unwrap();
    states.as_f32().unwrap().to_vec()
}

fn kinds(single: &'static str, several: &'static str) -> [EnvRunnerConfig; 2] {
    // Episodes of six steps.
    let single = env(single, bin(), |_, t, _, out| {
        out.write_f32(&[0.0])?;
        Ok(if t == 6 { ended(0.0) } else { Step::running(0.0) })
    });
    let several = game(several, &["a"], bin(), all("p"), |_, t, _, out| {
        out.observe(0)?.write_f32(&[0.0])?;
        if t == 6 {
            out.terminate_all();
        }
        Ok(())
    });
    [single, several]
}

#[test]
fn a_new_initial_state_keeps_the_memory_of_running_episodes_and_begins_the_next() {
    for config in kinds("edges/Remembers-v0", "edges/AllRemember-v0") {
        let mut runner = open(config);
        set_modules(&mut *runner, &counts(0.0));
        assert_eq!(states(&mut *runner, 4), [0.0, 1.0, 2.0, 3.0]);
        set_modules(&mut *runner, &counts(0.125));
        assert_eq!(states(&mut *runner, 3), [4.0, 5.0, 0.125]);
    }
}

#[test]
fn an_episode_that_has_not_acted_yet_begins_with_the_new_initial_state() {
    for config in kinds("edges/Waits-v0", "edges/AllWait-v0") {
        let mut runner = open(config);
        set_modules(&mut *runner, &counts(0.0));
        assert_eq!(states(&mut *runner, 6).len(), 6);
        set_modules(&mut *runner, &counts(0.5));
        assert_eq!(states(&mut *runner, 2), [0.5, 1.5]);
    }
}

#[test]
fn a_module_observes_the_steps_of_random_actions() {
    for config in kinds("edges/AtRandom-v0", "edges/AllAtRandom-v0") {
        let mut runner = open(config);
        set_modules(&mut *runner, &counts(0.0));
        let random = states_of(&mut *runner, 4, SampleOptions::random());
        assert_eq!(random, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(states(&mut *runner, 3), [4.0, 5.0, 0.0]);
    }
}
