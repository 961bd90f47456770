//! Connectors between module and environment that learn.

use burn::prelude::Device;
use rekindle_env::{Buffer, Step};
use rekindle_env_runner::connectors::{
    Connector, ConnectorConfig, ConnectorContext, register_connector,
};
use rekindle_env_runner::{
    Amount, EnvRunner, EnvRunnerConfig, EnvRunnerGroup, PublishedAt, Result, SampleOptions,
};
use serde_json::Value;

use crate::support::{all, env, game, mlp, modules, open, percent, set_modules};

/// Counts the actions of all runners.
#[derive(Debug, Clone, Default)]
struct Counts {
    merged: u64,
    delta: u64,
}

impl Connector for Counts {
    fn name(&self) -> &'static str {
        "Counts"
    }

    fn transform(
        &mut self,
        input: &Buffer,
        output: &mut Buffer,
        cx: ConnectorContext<'_>,
    ) -> Result<()> {
        if cx.update {
            self.delta += input.rows() as u64;
        }
        output.clear();
        Ok(output.extend_from(input, 0..input.rows())?)
    }

    fn get_state(&self) -> Result<Value> {
        Ok((self.merged + self.delta).into())
    }

    fn set_state(&mut self, state: &Value) -> Result<()> {
        *self = Self { merged: state.as_u64().unwrap_or(0), delta: 0 };
        Ok(())
    }

    fn take_delta(&mut self) -> Result<Value> {
        Ok(std::mem::take(&mut self.delta).into())
    }

    fn merge(&mut self, deltas: &[Value]) -> Result<()> {
        self.merged += deltas.iter().filter_map(Value::as_u64).sum::<u64>();
        Ok(())
    }

    fn get_memory(&self) -> Result<Value> {
        Ok(Value::Null)
    }
}

fn configs(ids: [&'static str; 2]) -> [EnvRunnerConfig; 2] {
    register_connector("edges/Counts", |_, _| Ok(Box::new(Counts::default())));
    let single = env(ids[0], percent(), |_, _, _, out| {
        out.write_f32(&[0.0])?;
        Ok(Step::running(0.0))
    });
    let several =
        game(ids[1], &["a"], percent(), all("p"), |_, _, _, out| out.observe(0)?.write_f32(&[0.0]));
    [single, several].map(|config| {
        config
            .env_to_module(vec![ConnectorConfig::mean_std_filter()])
            .module_to_env(vec![ConnectorConfig::custom("edges/Counts", Value::Null)])
    })
}

/// The number of actions that a runner's connector has counted, as its checkpoint says.
fn counted(runner: &dyn EnvRunner) -> Value {
    let data = runner.get_state().unwrap().data;
    let single = data["module_to_env"]["Counts"].clone();
    if single.is_null() { data["connectors"]["p"][2]["Counts"].clone() } else { single }
}

fn group(config: &EnvRunnerConfig, runners: usize) -> EnvRunnerGroup {
    let mut group = EnvRunnerGroup::new(config, runners, 1, &Device::flex()).unwrap();
    let modules = modules(group.runners().next().unwrap(), &mlp());
    group.set_modules(&modules, PublishedAt::default()).unwrap();
    group
}

#[test]
fn what_action_connectors_learn_is_merged_and_copied_like_the_rest() {
    for config in configs(["edges/Tallied-v0", "edges/AllTallied-v0"]) {
        let mut training = group(&config, 2);
        training.sample(Amount::Timesteps(5), SampleOptions::default()).unwrap();
        training.sync_connectors().unwrap();
        assert!(training.runners().all(|runner| counted(runner) == 10));
        training.sample(Amount::Timesteps(1), SampleOptions::default()).unwrap();
        training.sync_connectors().unwrap();
        assert!(training.runners().all(|runner| counted(runner) == 12));

        let mut evaluation = group(&config.update_connectors(false), 1);
        evaluation.copy_connectors_from(&training).unwrap();
        evaluation.sample(Amount::Timesteps(3), SampleOptions::greedy()).unwrap();
        assert!(evaluation.runners().all(|runner| counted(runner) == 12), "frozen");
    }
}

#[test]
fn a_recreated_runner_has_what_the_action_connectors_of_the_others_learned() {
    for config in configs(["edges/Recounted-v0", "edges/AllRecounted-v0"]) {
        let mut source = open(config.clone());
        set_modules(&mut *source, &mlp());
        source.collect(Amount::Timesteps(4), SampleOptions::default()).unwrap();
        let mut target = open(config);
        target.set_connector_states(&source.connector_states().unwrap()).unwrap();
        assert_eq!(counted(&*target), 4);
        assert_eq!(target.connector_states().unwrap(), source.connector_states().unwrap());
        // A bundle passes on the same states.
        let id = source.module_spaces().into_keys().next().unwrap();
        let state = source.policy_bundle_of(&id).unwrap().connector_state().unwrap();
        assert_eq!(source.connector_states().unwrap()[&id], state);
    }
}
