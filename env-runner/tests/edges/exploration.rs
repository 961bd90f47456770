//! The random streams of exploration passes, one for each environment or agent.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::{Batch, Columns};
use rekindle_env::Step;
use rekindle_env_runner::{Amount, EnvRunnerConfig, Experience, SampleOptions};
use rekindle_rl_module::{ExplorationContext, ModuleContext, RLModule, RLModuleSpec, Result};

use crate::support::{all, bin, ended, env, game, open, set_modules};

/// Draws one number per row, and records it.
#[derive(Module, Debug)]
struct Draws {}

impl RLModule for Draws {
    fn setup(_: &ModuleContext<'_>) -> Result<Self> {
        Ok(Self {})
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let seen = batch.float::<2>(Columns::OBS)?;
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, seen.zeros_like().repeat_dim(1, 2)))
    }

    fn forward_exploration(&self, batch: &Batch, cx: &mut ExplorationContext) -> Result<Batch> {
        let device = batch.float::<2>(Columns::OBS)?.device();
        let mut drawn = Vec::new();
        for row in 0..batch.rows() {
            drawn.push(cx.rng(row)?.random() as f32);
        }
        Ok(self.forward_train(batch)?.with("drawn", Tensor::<1>::from_floats(&*drawn, &device)))
    }
}

/// The numbers that each environment and agent drew, in order of time.
fn drawn(experience: &Experience) -> BTreeMap<(usize, Option<String>), Vec<f32>> {
    let mut drawn: BTreeMap<_, Vec<f32>> = BTreeMap::new();
    for rollout in experience.rollouts.values().flatten() {
        let column = rollout.extras["drawn"].as_f32().unwrap();
        for segment in &rollout.segments {
            let of_agent = drawn.entry((segment.env, segment.agent.clone())).or_default();
            of_agent.extend(segment.rows().map(|row| column[row]));
        }
    }
    drawn
}

fn collect(config: EnvRunnerConfig, steps: usize) -> Experience {
    let mut runner = open(config);
    set_modules(&mut *runner, &RLModuleSpec::of::<Draws>());
    runner.collect(Amount::Timesteps(steps), SampleOptions::default()).unwrap()
}

#[test]
fn an_environment_draws_the_same_numbers_however_many_others_there_are() {
    let config = env("Draws-v0", bin(), |n, t, _, out| {
        out.write_f32(&[t as f32])?;
        // Episodes end at different times.
        Ok(if t == 3 + n % 2 { ended(0.0) } else { Step::running(0.0) })
    });
    let of = |num_envs| {
        let config = config.clone().num_envs(num_envs);
        drawn(&collect(config, 10 * num_envs))
    };
    let (one, three) = (of(1), of(3));
    assert_eq!(one[&(0, None)], three[&(0, None)]);
    assert_eq!(one[&(0, None)].len(), 10);
    assert_ne!(three[&(1, None)], three[&(2, None)]);
}

#[test]
fn an_agent_draws_the_same_numbers_whoever_acts_beside_it() {
    let together = game("DrawsTogether-v0", &["a", "b"], bin(), all("p"), |_, t, _, out| {
        (0..2).try_for_each(|agent| out.observe(agent)?.write_f32(&[t as f32]))
    });
    let in_turns = game("DrawsInTurns-v0", &["a", "b"], bin(), all("p"), |_, t, _, out| {
        out.observe(t % 2)?.write_f32(&[t as f32])
    });
    let [together, in_turns] =
        [together, in_turns].map(|config| drawn(&collect(config.num_envs(2), 40)));
    for env in 0..2 {
        for agent in ["a", "b"] {
            let key = (env, Some(agent.to_owned()));
            let few = &in_turns[&key];
            assert!(few.len() >= 9 && few.len() < together[&key].len());
            assert_eq!(*few, together[&key][..few.len()]);
        }
    }
}
