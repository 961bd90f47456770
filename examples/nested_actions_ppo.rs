//! A nested action: a gear (`Discrete`), switches (`MultiDiscrete`) and a wheel (`Box`). Each part has
//! to follow the observation.
//!
//! `cargo run --release --example nested_actions_ppo` (see `--help`)

mod common;

use std::process::ExitCode;

use common::tasks;
use rekindle::env::Result as EnvResult;
use rekindle::prelude::*;

/// Shows a gear, two switches and an angle. Pays up to 1 for each part that the action repeats.
struct Follow {
    observations: Space,
    actions: Space,
    rng: Generator,
    t: usize,
    gear: i64,
    switches: [i64; 2],
    angle: f32,
}

impl Follow {
    fn new() -> EnvResult<Self> {
        Ok(Self {
            observations: Space::boxed(-1.0, 1.0, &[6])?,
            actions: Space::dict([
                ("gear", Space::discrete(3)?),
                ("switches", Space::multi_discrete([2, 2])?),
                ("wheel", Space::boxed(-30.0, 30.0, &[1])?),
            ])?,
            rng: Generator::from_entropy(),
            t: 0,
            gear: 0,
            switches: [0; 2],
            angle: 0.0,
        })
    }

    fn show(&mut self, mut observation: RowMut<'_>) -> EnvResult<()> {
        self.gear = self.rng.integers(0, 3);
        self.switches = [self.rng.integers(0, 2), self.rng.integers(0, 2)];
        self.angle = self.rng.uniform(-1.0, 1.0) as f32;
        let gear = |index| if self.gear == index { 1.0 } else { 0.0 };
        let [a, b] = self.switches.map(|switch| switch as f32);
        observation.write_f32(&[gear(0), gear(1), gear(2), a, b, self.angle])
    }
}

impl Env for Follow {
    fn observation_space(&self) -> &Space {
        &self.observations
    }

    fn action_space(&self) -> &Space {
        &self.actions
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> EnvResult<()> {
        if options.seed.is_some() {
            self.rng.reseed(options.seed);
        }
        self.t = 0;
        self.show(observation)
    }

    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> EnvResult<Step> {
        let gear = action.get("gear")?.as_discrete()? == self.gear;
        let switches = action.get("switches")?.as_i64()? == self.switches;
        let off = (action.get("wheel")?.as_f32()?[0] / 30.0 - self.angle).abs();
        let reward = f64::from(gear) + f64::from(switches) + f64::from(1.0 - off);
        self.t += 1;
        self.show(observation)?;
        Ok(Step { reward, terminated: false, truncated: self.t == 20 })
    }
}

fn main() -> Result<ExitCode, MainError> {
    register(EnvSpec::new("Example/Follow-v0", |_: &EnvConfig| Follow::new()))?;
    let config = PpoConfig::new()
        .environment("Example/Follow-v0")
        .env_runners(|e| e.num_envs_per_env_runner(16))
        .model("fcnet_hiddens", vec![64, 64])
        .training(|t| {
            t.lr(1e-3)
                // The next observation does not depend on the action.
                .gamma(0.0)
                .train_batch_size(1024)
                .minibatch_size(128)
                .num_epochs(6)
                .clip_param(0.2)
                .use_kl_loss(false)
        });
    common::learn(&tasks::NESTED_ACTIONS, config)
}
