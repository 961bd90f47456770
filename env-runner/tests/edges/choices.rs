//! Actions and observations that name choices that do not exist.

use std::sync::Mutex;

use burn::module::Module;
use burn::prelude::*;
use rekindle_core::{Batch, Columns};
use rekindle_env::{Buffer, Row, Space, Step};
use rekindle_env_runner::connectors::{
    Connector, ConnectorConfig, ConnectorContext, register_connector,
};
use rekindle_env_runner::{Amount, EnvRunnerConfig, SampleOptions};
use rekindle_rl_module::{ModuleContext, RLModule, RLModuleSpec, Result};

use crate::support::{all, env, game, mlp, open, random, set_modules};

/// Always returns one integer as its action.
#[derive(Module, Debug)]
struct Picks {
    choice: i64,
    /// Whether actions have one dimension.
    flat: bool,
}

impl RLModule for Picks {
    fn setup(cx: &ModuleContext<'_>) -> Result<Self> {
        let config: serde_json::Value = cx.model_config()?;
        let flat = matches!(cx.action_space(), Space::Discrete(_));
        Ok(Self { choice: config["choice"].as_i64().unwrap_or(0), flat })
    }

    fn forward_train(&self, batch: &Batch) -> Result<Batch> {
        let (rows, device) = (batch.column(Columns::OBS)?.rows(), Device::flex());
        Ok(match self.flat {
            true => {
                let actions = Tensor::<1, Int>::full([rows], self.choice, &device);
                Batch::new().with(Columns::ACTIONS, actions)
            }
            false => {
                let actions = Tensor::<2, Int>::full([rows, 1], self.choice, &device);
                Batch::new().with(Columns::ACTIONS, actions)
            }
        })
    }
}

static RECEIVED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn note(action: Option<Row<'_>>) {
    if let Some(action) = action {
        RECEIVED.lock().unwrap().push(format!("{action:?}"));
    }
}

/// An environment of either kind that notes what it receives.
fn noting(ids: [&'static str; 2], actions: &Space) -> [EnvRunnerConfig; 2] {
    let single = env(ids[0], actions.clone(), |_, _, action, out| {
        note(action);
        out.write_f32(&[0.0])?;
        Ok(Step::running(0.0))
    });
    let several = game(ids[1], &["a", "b"], actions.clone(), all("p"), |_, _, actions, out| {
        for agent in 0..2 {
            note(actions.action(agent));
            out.observe(agent)?.write_f32(&[0.0])?;
        }
        Ok(())
    });
    [single, several]
}

#[test]
fn an_action_that_does_not_exist_is_an_error_before_the_environment_sees_it() {
    let five = Space::discrete(5).unwrap();
    let bits = Space::multi_binary(1).unwrap();
    let many = Space::multi_discrete([3]).unwrap();
    for (ids, space, choices) in [
        (["edges/Pick-v0", "edges/Picks-v0"], five, [7, -1]),
        (["edges/Bit-v0", "edges/Bits-v0"], bits, [300, -1]),
        (["edges/Multi-v0", "edges/Multis-v0"], many, [3, -1]),
    ] {
        for config in noting(ids, &space) {
            for choice in choices {
                let mut runner = open(config.clone());
                let settings = serde_json::json!({"choice": choice});
                set_modules(&mut *runner, &RLModuleSpec::of::<Picks>().model_config(settings));
                for explore in [true, false] {
                    let options = SampleOptions::default().explore(explore);
                    let error = runner.collect(Amount::Timesteps(4), options).unwrap_err();
                    let message = error.to_string();
                    let value = choice.to_string();
                    for part in ["module `", value.as_str(), &space.to_string(), &config.env] {
                        assert!(message.contains(part), "no `{part}` in: {message}");
                    }
                }
            }
            let mut runner = open(config.clone());
            let settings = serde_json::json!({"choice": 1});
            set_modules(&mut *runner, &RLModuleSpec::of::<Picks>().model_config(settings));
            RECEIVED.lock().unwrap().clear();
            runner.collect(Amount::Timesteps(2), SampleOptions::default()).unwrap();
            assert!(!RECEIVED.lock().unwrap().is_empty());
        }
    }
}

/// Replaces every number by one that the space does not have.
#[derive(Debug, Clone)]
struct Breaks {
    /// The space of the outputs; `None` for that of the inputs.
    output: Option<Space>,
}

impl Connector for Breaks {
    fn name(&self) -> &'static str {
        "Breaks"
    }

    fn output_space(&self, input: &Space) -> rekindle_env_runner::Result<Space> {
        Ok(self.output.clone().unwrap_or_else(|| input.clone()))
    }

    fn transform(
        &mut self,
        _: &Buffer,
        output: &mut Buffer,
        _: ConnectorContext<'_>,
    ) -> rekindle_env_runner::Result<()> {
        if let Ok(floats) = output.as_f32_mut() {
            floats.fill(f32::NAN);
        } else {
            output.as_i64_mut()?.fill(7);
        }
        Ok(())
    }

    fn get_memory(&self) -> rekindle_env_runner::Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }

    fn get_state(&self) -> rekindle_env_runner::Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }
}

fn breaks() -> ConnectorConfig {
    register_connector("edges/Breaks", |_, _| Ok(Box::new(Breaks { output: None })));
    ConnectorConfig::custom("edges/Breaks", serde_json::Value::Null)
}

#[test]
fn a_connector_that_outputs_a_choice_that_does_not_exist_is_named() {
    register_connector("edges/ToFive", |_, _| {
        Ok(Box::new(Breaks { output: Some(Space::discrete(5).unwrap()) }))
    });
    let to_five = ConnectorConfig::custom("edges/ToFive", serde_json::Value::Null);
    let five = Space::discrete(5).unwrap();
    for config in noting(["edges/Broken-v0", "edges/AllBroken-v0"], &five) {
        let seen = config.clone().env_to_module(vec![to_five.clone()]);
        let done = config.module_to_env(vec![breaks()]);
        for (config, options) in [(seen, random()), (done, SampleOptions::default())] {
            let mut runner = open(config);
            set_modules(&mut *runner, &mlp());
            let error = runner.collect(Amount::Timesteps(4), options).unwrap_err().to_string();
            for part in ["`Breaks`", "7", "Discrete(5)"] {
                assert!(error.contains(part), "no `{part}` in: {error}");
            }
        }
    }
}

/// Integers have no NaN: rounding would turn it into 0.
#[test]
fn nan_from_a_connector_is_an_error_in_a_box_of_integers_too() {
    let bytes = Space::Box(rekindle_env::BoxSpace::bytes(0, 255, &[1]).unwrap());
    for (ids, space) in [
        (["edges/NanByte-v0", "edges/NanBytes-v0"], bytes),
        (["edges/NanInt-v0", "edges/NanInts-v0"], Space::int_box(0, 20, &[1]).unwrap()),
        (["edges/NanPart-v0", "edges/NanParts-v0"], Space::boxed(0.0, 20.0, &[1]).unwrap()),
    ] {
        for config in noting(ids, &space) {
            let config = config.module_to_env(vec![breaks()]);
            let mut runner = open(config.clone());
            set_modules(&mut *runner, &mlp());
            let error = runner.collect(Amount::Timesteps(4), SampleOptions::default());
            let message = error.unwrap_err().to_string();
            for part in ["a module-to-env connector chose NaN", "environment 0", &config.env] {
                assert!(message.contains(part), "no `{part}` in: {message}");
            }
        }
    }
}
