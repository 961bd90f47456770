//! Errors of registered environments carry the id that users know, not the name of a Rust type.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

#[path = "common/scripted.rs"]
mod scripted;

use rekindle_env::{
    Buffer, EnvConfig, EnvError, EnvSpec, MultiAgentActions, MultiAgentEnvSpec, MultiAgentStep,
    ResetOptions, Space, VectorStep, load_state,
};
use scripted::{Scripted, ScriptedGame, done};
use serde_json::json;

/// Crashes in the second step, under its own name.
fn crash() -> EnvError {
    EnvError::Crashed { env: "simulator".to_owned(), reason: "it hung up".to_owned() }
}

fn spec() -> EnvSpec {
    EnvSpec::new("Names/Single-v0", |config: &EnvConfig| {
        config.deny_unknown("Single", &["g"])?;
        Ok(Scripted::new(Space::unbounded(&[1])?, |t, _| {
            if t == 2 { Err(crash()) } else { Ok(done(false)) }
        }))
    })
    .with_max_episode_steps(9)
}

fn game() -> MultiAgentEnvSpec {
    MultiAgentEnvSpec::new("Names/Game-v0", |config: &EnvConfig| {
        config.deny_unknown("Game", &["g"])?;
        Ok(ScriptedGame::new(&Space::unbounded(&[1])?, |t, out| {
            out.observe(0)?;
            if t == 2 { Err(crash()) } else { Ok(()) }
        }))
    })
    .with_max_episode_steps(9)
}

fn assert_names(id: &str, errors: &[EnvError]) {
    for error in errors {
        assert!(error.to_string().contains(&format!("`{id}`")), "{error}");
    }
}

#[test]
fn errors_of_an_environment_name_its_registered_id() {
    let wrong = EnvConfig::new().with("h", 1);
    let mut env = spec().make(&EnvConfig::new()).unwrap();
    let (mut row, action) =
        (Buffer::zeros(env.observation_space(), 1), Buffer::zeros(env.action_space(), 1));
    let too_early = env.step(action.row(0), row.row_mut(0)).unwrap_err();
    env.reset(&ResetOptions::new(), row.row_mut(0)).unwrap();
    env.step(action.row(0), row.row_mut(0)).unwrap();
    assert_names(
        "Names/Single-v0",
        &[
            spec().make(&wrong).unwrap_err(),
            spec().make_vec(2, &wrong).unwrap_err(),
            too_early,
            env.step(action.row(0), row.row_mut(0)).unwrap_err(),
            env.step(action.row(0), row.row_mut(0)).unwrap_err(),
            env.set_state(&json!(1)).unwrap_err(),
            env.set_state(&json!({ "wrapper": "new", "env": { "wrapper": 0, "env": 1 } }))
                .unwrap_err(),
        ],
    );
    assert_eq!(env.name(), "Names/Single-v0");

    let mut envs = spec().make_vec(2, &EnvConfig::new()).unwrap();
    let mut out = VectorStep::new(envs.observation_space(), 2);
    let actions = Buffer::zeros(envs.action_space(), 2);
    let too_early = envs.step(&actions, &mut out).unwrap_err();
    assert_names("Names/Single-v0", &[too_early, envs.set_state(&json!(1)).unwrap_err()]);
}

#[test]
fn errors_of_a_multi_agent_environment_name_its_registered_id() {
    let wrong = EnvConfig::new().with("h", 1);
    let mut env = game().make(&EnvConfig::new()).unwrap();
    let mut out = MultiAgentStep::new(env.possible_agents());
    let mut actions = MultiAgentActions::new(env.possible_agents());
    let too_early = env.step(&actions, &mut out).unwrap_err();
    env.reset(&ResetOptions::new(), &mut out).unwrap();
    let missing = env.step(&actions, &mut out).unwrap_err();
    actions.act(0).unwrap().write_discrete(0).unwrap();
    env.step(&actions, &mut out).unwrap();
    assert_names(
        "Names/Game-v0",
        &[
            game().make(&wrong).unwrap_err(),
            game().make_vec(2, &wrong).unwrap_err(),
            too_early,
            missing,
            env.step(&actions, &mut out).unwrap_err(),
            env.set_state(&json!(1)).unwrap_err(),
        ],
    );
    assert_eq!(env.name(), "Names/Game-v0");

    let mut envs = game().make_vec(1, &EnvConfig::new()).unwrap();
    assert_names("Names/Game-v0", &[envs.set_state(&json!(1)).unwrap_err()]);
}

#[test]
fn environments_that_are_not_registered_keep_their_own_names() {
    let error = load_state::<u32>("Swing", &json!("x")).unwrap_err();
    assert!(error.to_string().starts_with("`Swing` cannot continue from this state"), "{error}");
}
