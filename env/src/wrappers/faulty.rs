//! Environments that crash and stall.

use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{load_nested, save_nested};
use crate::buffer::{Row, RowMut};
use crate::env::{Env, Info, ResetOptions, Step};
use crate::error::{EnvError, Result};
use crate::np_random::Generator;
use crate::options::{EnvConfig, probability, typed};
use crate::render::Frame;
use crate::spaces::Space;

/// The frequency of simulated crashes and stalls.
///
/// Names and defaults follow RLlib's `CartPoleCrashing` example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// The probability of a crash in each step.
    pub p_crash: f64,
    /// The probability of a crash in each reset.
    pub p_crash_reset: f64,
    /// The number of steps after a reset before the step that crashes. Each reset draws it from
    /// this range, both ends included.
    pub crash_after_n_steps: Option<(u64, u64)>,
    /// The probability of a stall in each step.
    pub p_stall: f64,
    /// The probability of a stall in each reset.
    pub p_stall_reset: f64,
    /// The number of steps after a reset before the step that stalls, drawn in the same way.
    pub stall_after_n_steps: Option<(u64, u64)>,
    /// The duration of a stall in seconds, uniform in this range.
    pub stall_time_sec: (f64, f64),
}

impl Default for Faults {
    /// Crashes in one of 10 000 steps and one of 1000 resets, and no stalls.
    fn default() -> Self {
        Self { p_crash: 1e-4, p_crash_reset: 1e-3, ..Self::none() }
    }
}

impl Faults {
    /// The names of the options that [`with_config`](Self::with_config) reads.
    pub const OPTIONS: [&'static str; 7] = [
        "p_crash",
        "p_crash_reset",
        "crash_after_n_steps",
        "p_stall",
        "p_stall_reset",
        "stall_after_n_steps",
        "stall_time_sec",
    ];

    /// Creates settings without crashes and stalls.
    #[must_use]
    pub fn none() -> Self {
        Self {
            p_crash: 0.0,
            p_crash_reset: 0.0,
            crash_after_n_steps: None,
            p_stall: 0.0,
            p_stall_reset: 0.0,
            stall_after_n_steps: None,
            stall_time_sec: (0.0, 0.0),
        }
    }

    /// Returns these settings, overridden by the options in `config`.
    ///
    /// Probabilities are numbers; the other options are numbers or pairs of numbers.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidOption`] for an option of another type or outside its range.
    pub fn with_config(self, config: &EnvConfig) -> Result<Self> {
        let p = |option: &str, default: f64| Ok(config.get_f64(option)?.unwrap_or(default));
        let steps = |option: &str, default| {
            let read = pair(config, option, Json::as_u64, "a number of steps or a pair of them")?;
            Ok::<_, EnvError>(read.or(default))
        };
        let seconds = pair(config, "stall_time_sec", Json::as_f64, "seconds or a pair of them")?;
        let faults = Self {
            p_crash: p("p_crash", self.p_crash)?,
            p_crash_reset: p("p_crash_reset", self.p_crash_reset)?,
            crash_after_n_steps: steps("crash_after_n_steps", self.crash_after_n_steps)?,
            p_stall: p("p_stall", self.p_stall)?,
            p_stall_reset: p("p_stall_reset", self.p_stall_reset)?,
            stall_after_n_steps: steps("stall_after_n_steps", self.stall_after_n_steps)?,
            stall_time_sec: seconds.unwrap_or(self.stall_time_sec),
        };
        faults.check()?;
        Ok(faults)
    }

    fn check(&self) -> Result<()> {
        probability("p_crash", self.p_crash)?;
        probability("p_crash_reset", self.p_crash_reset)?;
        probability("p_stall", self.p_stall)?;
        probability("p_stall_reset", self.p_stall_reset)?;
        let ordered = |pair: Option<(u64, u64)>| {
            pair.is_none_or(|(low, high)| low <= high && i64::try_from(high).is_ok())
        };
        let (low, high) = self.stall_time_sec;
        let checks = [
            ("crash_after_n_steps", ordered(self.crash_after_n_steps)),
            ("stall_after_n_steps", ordered(self.stall_after_n_steps)),
            ("stall_time_sec", 0.0 <= low && low <= high && high <= 86_400.0),
        ];
        match checks.iter().find(|(_, good)| !good) {
            None => Ok(()),
            Some((option, _)) => Err(EnvError::InvalidOption {
                option: (*option).to_owned(),
                expected:
                    "a range of non-negative numbers, the smaller one first (seconds: at most \
                           86400)"
                        .to_owned(),
                found: format!("{self:?}"),
            }),
        }
    }
}

/// Reads an option that is a number or a range of numbers.
fn pair<T: Copy>(
    config: &EnvConfig,
    option: &str,
    read: fn(&Json) -> Option<T>,
    expected: &str,
) -> Result<Option<(T, T)>> {
    typed(&config.0, option, expected, |value| match value.as_array().map(Vec::as_slice) {
        None => read(value).map(|number| (number, number)),
        Some([low, high]) => Some((read(low)?, read(high)?)),
        Some(_) => None,
    })
}

/// Lets an environment crash and stall at random, to test how a program handles it.
///
/// A crash returns [`EnvError::Crashed`] instead of running the step or reset. Within
/// [`OrderEnforcing`](super::OrderEnforcing), steps after it fail as well, until a reset succeeds.
/// A stall puts the thread to sleep.
///
/// Faults are drawn from a separate random stream, so that the environment behaves as it does
/// without faults. The seed of a reset restarts the stream together with the number of resets: an
/// environment that crashed on a seed can be reset with the same seed.
#[derive(Clone, Debug)]
pub struct Faulty<E> {
    env: E,
    faults: Faults,
    state: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    rng: Generator,
    resets: u64,
    /// Steps since the last reset.
    steps: u64,
    crash_after: Option<u64>,
    stall_after: Option<u64>,
}

impl<E: Env> Faulty<E> {
    /// Wraps `env` in an environment that fails as `faults` specifies.
    ///
    /// # Errors
    ///
    /// [`EnvError::InvalidOption`] for a probability or a range that is invalid.
    pub fn new(env: E, faults: Faults) -> Result<Self> {
        faults.check()?;
        let rng = Generator::from_entropy();
        let state = State { rng, resets: 0, steps: 0, crash_after: None, stall_after: None };
        Ok(Self { env, faults, state })
    }

    /// Stalls, then crashes, each if it was drawn or is due.
    fn suffer(&mut self, during: &str, crash: (f64, bool), stall: (f64, bool)) -> Result<()> {
        // Both are always drawn, so that a change of one setting keeps the draws of the other.
        let [crashes, stalls] = [crash, stall].map(|(p, now)| self.state.rng.random() < p || now);
        if stalls {
            let (low, high) = self.faults.stall_time_sec;
            let seconds = self.state.rng.uniform(low, high);
            thread::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        }
        if crashes {
            return Err(EnvError::Crashed {
                env: self.name().to_owned(),
                reason: format!("a simulated crash in a {during}"),
            });
        }
        Ok(())
    }
}

impl<E: Env> Env for Faulty<E> {
    fn observation_space(&self) -> &Space {
        self.env.observation_space()
    }

    fn action_space(&self) -> &Space {
        self.env.action_space()
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        let State { rng, resets, steps, crash_after, stall_after } = &mut self.state;
        if let Some(seed) = options.seed {
            *rng = Generator::from_key(&[seed, *resets]);
        }
        *resets += 1;
        *steps = 0;
        let mut draw = |range: Option<(u64, u64)>| {
            range.map(|(low, high)| rng.integers(low as i64, high as i64 + 1) as u64)
        };
        *crash_after = draw(self.faults.crash_after_n_steps);
        *stall_after = draw(self.faults.stall_after_n_steps);
        let (crash, stall) = (self.faults.p_crash_reset, self.faults.p_stall_reset);
        self.suffer("reset", (crash, false), (stall, false))?;
        self.env.reset(options, observation)
    }

    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        let now = Some(self.state.steps);
        let crash = (self.faults.p_crash, self.state.crash_after == now);
        let stall = (self.faults.p_stall, self.state.stall_after == now);
        self.suffer("step", crash, stall)?;
        self.state.steps += 1;
        self.env.step(action, observation)
    }

    fn info(&self) -> Info {
        self.env.info()
    }

    fn render(&mut self) -> Result<Frame> {
        self.env.render()
    }

    fn state(&self) -> Result<Option<Json>> {
        save_nested(&self.state, &self.env)
    }

    fn set_state(&mut self, state: &Json) -> Result<()> {
        self.state = load_nested(&mut self.env, state)?;
        Ok(())
    }

    fn name(&self) -> &str {
        self.env.name()
    }
}
