//! CartPole that fails according to a plan, and functions to run it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use burn::prelude::Device;
use rekindle_core::Generator;
use rekindle_env::classic_control::CartPole;
use rekindle_env::{
    Env, EnvError, EnvSpec, ResetOptions, Result, Row, RowMut, Space, Step, register,
};
use rekindle_env_runner::{
    Amount, EnvRunner, EnvRunnerConfig, EnvRunnerGroup, Experience, PublishedAt, SampleOptions,
    SingleAgentEnvRunner,
};
use rekindle_metrics::{Metrics, MetricsLogger, MetricsState};
use rekindle_rl_module::{MultiRLModule, RLModuleSpec};

/// The next operation of an environment: its n-th reset or step, counted over its life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Event {
    Reset(usize),
    Step(usize),
}

/// The fault that happens instead.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    None,
    Crash,
    Mistake,
    Panic,
    Stall(Duration),
}

type Plan = dyn Fn(usize, Event) -> Fault + Send + Sync;

struct Fragile {
    env: CartPole,
    instance: usize,
    resets: usize,
    steps: usize,
    plan: Arc<Plan>,
}

impl Fragile {
    fn suffer(&self, event: Event) -> Result<()> {
        match (self.plan)(self.instance, event) {
            Fault::None => Ok(()),
            Fault::Crash => Err(EnvError::custom(format!("told to crash in {event:?}"))),
            Fault::Mistake => {
                Err(EnvError::Unsupported { env: "Fragile".into(), what: format!("{event:?}") })
            }
            Fault::Panic => panic!("told to panic in {event:?}"),
            Fault::Stall(time) => {
                thread::sleep(time);
                Ok(())
            }
        }
    }
}

impl Env for Fragile {
    fn observation_space(&self) -> &Space {
        self.env.observation_space()
    }

    fn action_space(&self) -> &Space {
        self.env.action_space()
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<()> {
        self.resets += 1;
        self.suffer(Event::Reset(self.resets))?;
        self.env.reset(options, observation)
    }

    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step> {
        self.steps += 1;
        self.suffer(Event::Step(self.steps))?;
        self.env.step(action, observation)
    }
}

/// Registers a CartPole whose n-th copy follows the plan. Returns its id.
pub(crate) fn fragile(
    name: &str,
    plan: impl Fn(usize, Event) -> Fault + Send + Sync + 'static,
) -> String {
    let id = format!("{name}-v0");
    let (plan, instances): (Arc<Plan>, _) = (Arc::new(plan), AtomicUsize::new(0));
    let make = move |config: &rekindle_env::EnvConfig| {
        Ok(Fragile {
            env: CartPole::new(config)?,
            instance: instances.fetch_add(1, Ordering::SeqCst),
            resets: 0,
            steps: 0,
            plan: Arc::clone(&plan),
        })
    };
    register(EnvSpec::new(id.as_str(), make).with_max_episode_steps(500)).unwrap();
    id
}

pub(crate) fn config(env: &str, num_envs: usize) -> EnvRunnerConfig {
    let mut config = EnvRunnerConfig::new(env).num_envs(num_envs).seed(3);
    config.fault_tolerance.restart_failed_sub_environments = true;
    config.fault_tolerance.restart_failed_env_runners = false;
    config
}

/// Returns a module for each id.
pub(crate) fn modules(runner: &dyn EnvRunner, settings: serde_json::Value) -> MultiRLModule {
    let mut multi = MultiRLModule::new();
    for (index, (id, (observations, actions))) in runner.module_spaces().into_iter().enumerate() {
        let spec = RLModuleSpec::default().observation_space(observations).action_space(actions);
        let rng = Generator::from_seed(index as u64);
        let module = spec.model_config(&settings).build_seeded(&Device::flex(), rng).unwrap();
        multi.add_module(id, module, false).unwrap();
    }
    multi
}

pub(crate) fn small() -> serde_json::Value {
    serde_json::json!({"fcnet_hiddens": [8]})
}

pub(crate) fn runner(config: EnvRunnerConfig, settings: serde_json::Value) -> SingleAgentEnvRunner {
    let mut runner = SingleAgentEnvRunner::new(config, 0, &Device::flex()).unwrap();
    let modules = modules(&runner, settings);
    runner.set_modules(&modules, PublishedAt::default()).unwrap();
    runner
}

pub(crate) fn group(config: &EnvRunnerConfig, runners: usize, threads: usize) -> EnvRunnerGroup {
    let mut group = EnvRunnerGroup::new(config, runners, threads, &Device::flex()).unwrap();
    let modules = modules(group.runners().next().unwrap(), small());
    group.set_modules(&modules, PublishedAt::default()).unwrap();
    group
}

pub(crate) fn collect(runner: &mut dyn EnvRunner, amount: Amount) -> Experience {
    runner.collect(amount, SampleOptions::default()).unwrap()
}

pub(crate) fn reduced(states: impl IntoIterator<Item = MetricsState>) -> Metrics {
    let mut logger = MetricsLogger::new();
    logger.aggregate("env_runners", states).unwrap();
    logger.reduce()
}
