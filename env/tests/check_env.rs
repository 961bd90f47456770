//! The check of single-agent environments.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

#[path = "common/scripted.rs"]
mod scripted;

use rekindle_env::diagnostic::RandomEnv;
use rekindle_env::np_random::Generator;
use rekindle_env::{
    Env, EnvConfig, EnvError, EnvSpec, Info, ResetOptions, Result, Row, RowMut, Space, Step,
    check_env, make, registered_ids, save_state,
};
use scripted::{Scripted, done};
use serde_json::Value as Json;

#[test]
fn every_environment_of_the_crate_passes() {
    for id in registered_ids() {
        if id != "CrashingCartPole-v1" {
            check_env(&mut make(&id).unwrap()).unwrap();
        }
    }
    let image = Space::dict([
        ("image", Space::image(&[4, 4, 1]).unwrap()),
        ("counts", Space::int_box(-3, 9, &[2]).unwrap()),
        ("count", Space::int_box(0, 1, &[]).unwrap()),
    ])
    .unwrap();
    let spec = EnvSpec::new("Check/Random-v0", move |_: &EnvConfig| {
        Ok(RandomEnv::new(image.clone(), Space::int_box(0, 4, &[2])?))
    });
    check_env(&mut spec.make(&EnvConfig::new()).unwrap()).unwrap();
}

#[test]
fn a_number_outside_its_box_fails() {
    let outside = |t: usize, mut o: RowMut<'_>| {
        o.write_f32(&[if t == 150 { 1.5 } else { 0.5 }])?;
        Ok(done(false))
    };
    let nan = |t: usize, mut o: RowMut<'_>| {
        o.write_f32(&[if t == 3 { f32::NAN } else { 0.5 }])?;
        Ok(done(false))
    };
    for script in [outside, nan] as [fn(usize, RowMut<'_>) -> Result<Step>; 2] {
        let mut env = Scripted::new(Space::boxed(0.0, 1.0, &[1]).unwrap(), script);
        let error = check_env(&mut env).unwrap_err();
        assert!(matches!(error, EnvError::InvalidObservation { .. }), "{error}");
    }
}

#[test]
fn an_observation_of_many_numbers_is_shown_in_part() {
    let mut env = Scripted::new(Space::boxed(0.0, 1.0, &[84, 84]).unwrap(), |_, o| {
        o.as_f32_mut()?.fill(2.0);
        Ok(done(false))
    });
    let error = check_env(&mut env).unwrap_err().to_string();
    assert!(error.len() < 500 && error.contains(".., which is not"), "{error}");
}

#[test]
fn a_reward_that_is_not_finite_fails() {
    let mut env = Scripted::new(Space::discrete(1).unwrap(), |t, _| {
        Ok(Step::running(if t == 9 { f64::NAN } else { 0.0 }))
    });
    let error = check_env(&mut env).unwrap_err().to_string();
    assert!(
        error.contains("fails its check: step 8 has the reward NaN; return a finite"),
        "{error}"
    );
}

/// Random observations that may ignore seeds, and may save a state without the random stream.
struct Noise {
    space: Space,
    rng: Generator,
    seeded: bool,
    saved: bool,
}

impl Noise {
    fn new(seeded: bool, saved: bool) -> Self {
        Self { space: Space::discrete(9).unwrap(), rng: Generator::from_entropy(), seeded, saved }
    }

    fn observe(&mut self, mut observation: RowMut<'_>) -> Result<()> {
        observation.write_discrete(self.rng.integers(0, 9))
    }
}

impl Env for Noise {
    fn observation_space(&self) -> &Space {
        &self.space
    }

    fn action_space(&self) -> &Space {
        &self.space
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        self.rng.reseed(options.seed.filter(|_| self.seeded));
        self.observe(observation)
    }

    fn step(&mut self, _: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        self.observe(observation)?;
        Ok(Step::running(0.0))
    }

    fn info(&self) -> Info {
        Info::new()
    }

    fn state(&self) -> Result<Option<Json>> {
        if self.saved { save_state(&()) } else { Ok(None) }
    }

    fn set_state(&mut self, _: &Json) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_seed_that_is_ignored_fails() {
    let error = check_env(&mut Noise::new(false, false)).unwrap_err().to_string();
    assert!(error.contains("the same seed and actions give other observations"), "{error}");
    check_env(&mut Noise::new(true, false)).unwrap();
}

#[test]
fn a_state_that_forgets_something_fails() {
    let error = check_env(&mut Noise::new(true, true)).unwrap_err().to_string();
    assert!(
        error.contains("after `set_state`, the same actions give other observations"),
        "{error}"
    );
}

/// Items on a shelf. An item that was taken is masked, and taking it again is an error.
struct Shelf {
    observations: Space,
    actions: Space,
    left: [bool; 4],
    /// Whether the episode continues when the shelf is empty.
    endless: bool,
}

impl Shelf {
    fn new(mask: Space, endless: bool) -> Self {
        let seen = Space::boxed(0.0, 4.0, &[1]).unwrap();
        Self {
            observations: Space::dict([("action_mask", mask), ("left", seen)]).unwrap(),
            actions: Space::discrete_with_start(4, 10).unwrap(),
            left: [true; 4],
            endless,
        }
    }

    fn observe(&self, mut observation: RowMut<'_>) -> Result<()> {
        let left = self.left.iter().filter(|left| **left).count();
        observation.get_mut("left")?.write_f32(&[left as f32])?;
        let mut mask = observation.get_mut("action_mask")?;
        let bits = self.left.map(u8::from);
        mask.write_u8(&bits).or_else(|_| mask.write_f32(&bits.map(f32::from)))
    }
}

impl Env for Shelf {
    fn observation_space(&self) -> &Space {
        &self.observations
    }

    fn action_space(&self) -> &Space {
        &self.actions
    }

    fn reset(&mut self, _: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        self.left = [true; 4];
        self.observe(observation)
    }

    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        let item = action.as_discrete()? as usize - 10;
        if !self.left[item] {
            return Err(EnvError::custom(format!("item {item} is masked")));
        }
        self.left[item] = false;
        self.observe(observation)?;
        let terminated = !self.endless && self.left == [false; 4];
        Ok(Step { reward: item as f64, terminated, truncated: false })
    }
}

#[test]
fn only_actions_that_the_mask_allows_are_played() {
    let masks = [Space::multi_binary(4).unwrap(), Space::boxed(0.0, 1.0, &[4]).unwrap()];
    for mask in masks {
        check_env(&mut Shelf::new(mask.clone(), false)).unwrap();
        let error = check_env(&mut Shelf::new(mask, true)).unwrap_err().to_string();
        assert!(error.contains("before step 4, all 4 actions are masked; end the"), "{error}");
    }
}

#[test]
fn a_part_of_an_observation_that_is_no_dict_is_named() {
    let mut env = Scripted::new(Space::boxed(0.0, 1.0, &[1]).unwrap(), |_, mut o| {
        o.get_mut("position")?.write_f32(&[0.0])?;
        Ok(done(false))
    });
    let error = check_env(&mut env).unwrap_err().to_string();
    assert!(error.contains("expected a Dict with a part `position`, found float32"), "{error}");
}
