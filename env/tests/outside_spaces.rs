//! Observations with choices that do not exist, in every kind of space and vector.
#![allow(clippy::panic, clippy::unwrap_used)] // Tests panic on unexpected errors.

#[path = "common/scripted.rs"]
mod scripted;

use rekindle_env::{
    Buffer, EnvConfig, EnvError, EnvSpec, MultiAgentActions, MultiAgentEnvSpec,
    MultiAgentVectorStep, ResetOptions, Space, SyncVectorEnv, VectorStep,
};
use scripted::{Scripted, ScriptedGame, done};

/// The error of the first reset or step of a vector that fails.
fn first_error(spec: &EnvSpec) -> EnvError {
    let mut envs = spec.make_vec(2, &EnvConfig::new()).unwrap();
    let mut out = VectorStep::new(envs.observation_space(), 2);
    if let Err(error) = envs.reset(&[None, None], &mut out) {
        return error;
    }
    let actions = Buffer::from_i64(vec![0, 0], &[]).unwrap();
    (0..9).find_map(|_| envs.step(&actions, &mut out).err()).unwrap()
}

#[test]
fn a_choice_outside_its_space_names_environment_value_and_space() {
    let spec = EnvSpec::new("Outside/Discrete-v0", |_: &EnvConfig| {
        Ok(Scripted::new(Space::discrete(5)?, |t, mut o| {
            o.write_discrete(if t == 2 { 7 } else { 0 })?;
            Ok(done(false))
        }))
    });
    let error = first_error(&spec);
    let expected = "environment 0: `Outside/Discrete-v0` observed 7, which is not in its \
                    observation space Discrete(5)";
    assert!(error.to_string().starts_with(expected), "{error}");
    assert!(!error.is_recoverable());
    assert_eq!(error.failed_envs().map(|(index, _)| index).collect::<Vec<_>>(), [0, 1]);

    let mut env = spec.make(&EnvConfig::new()).unwrap();
    let mut row = Buffer::zeros(env.observation_space(), 1);
    let action = Buffer::zeros(env.action_space(), 1);
    env.reset(&ResetOptions::new(), row.row_mut(0)).unwrap();
    env.step(action.row(0), row.row_mut(0)).unwrap();
    let error = env.step(action.row(0), row.row_mut(0)).unwrap_err();
    assert!(matches!(error, EnvError::InvalidObservation { .. }), "{error}");
}

#[test]
fn choices_are_checked_in_every_kind_of_space_and_at_any_depth() {
    let choices = || Space::multi_discrete([3, 4]).unwrap();
    let specs = [
        EnvSpec::new("Outside/Negative-v0", |_: &EnvConfig| {
            Ok(Scripted::new(Space::discrete_with_start(3, 5)?, |t, mut o| {
                o.write_discrete(if t == 1 { 0 } else { 5 })?;
                Ok(done(false))
            }))
        }),
        EnvSpec::new("Outside/MultiDiscrete-v0", move |_: &EnvConfig| {
            Ok(Scripted::new(choices(), |t, mut o| {
                o.write_i64(if t == 1 { &[2, 9] } else { &[2, 3] })?;
                Ok(done(false))
            }))
        }),
        EnvSpec::new("Outside/MultiBinary-v0", |_: &EnvConfig| {
            Ok(Scripted::new(Space::multi_binary(2)?, |t, mut o| {
                o.write_u8(if t == 1 { &[0, 2] } else { &[0, 1] })?;
                Ok(done(false))
            }))
        }),
        EnvSpec::new("Outside/Nested-v0", |_: &EnvConfig| {
            let pair = Space::tuple([Space::unbounded(&[2])?, Space::discrete(2)?])?;
            Ok(Scripted::new(
                Space::dict([("a", Space::unbounded(&[1])?), ("b", pair)])?,
                |t, mut o| {
                    o.get_mut("b")?.index_mut(1)?.write_discrete(if t == 1 { 2 } else { 1 })?;
                    Ok(done(false))
                },
            ))
        }),
        EnvSpec::new("Outside/Reset-v0", |_: &EnvConfig| {
            Ok(Scripted::new(Space::discrete(5)?, |_, mut o| {
                o.write_discrete(-1)?;
                Ok(done(false))
            }))
        }),
        EnvSpec::new("Outside/FinalObservation-v0", |_: &EnvConfig| {
            Ok(Scripted::new(Space::discrete(5)?, |t, mut o| {
                o.write_discrete(if t == 3 { 5 } else { 4 })?;
                Ok(done(t == 3))
            }))
        }),
    ];
    for spec in specs {
        let error = first_error(&spec);
        let EnvError::SubEnvs { failures } = &error else { panic!("{error}") };
        let EnvError::SubEnv { source, .. } = &failures[0] else { panic!("{error}") };
        let EnvError::InvalidObservation { env, .. } = &**source else { panic!("{error}") };
        assert_eq!(env, spec.id());
    }
}

#[test]
fn vectors_with_their_own_entry_point_are_checked_and_stale_rows_are_not() {
    let make = |_: usize, _: &EnvConfig, _: Option<usize>| {
        // Final observations are zero until an episode ends, and zero is not an element of the
        // space.
        let env = Scripted::new(Space::discrete_with_start(3, 5)?, |t, mut o| {
            o.write_discrete(if t == 4 { 8 } else { 7 })?;
            Ok(done(t == 4))
        });
        SyncVectorEnv::new(vec![env])
    };
    let single = |_: &EnvConfig| Ok(Scripted::new(Space::discrete(1)?, |_, _| Ok(done(true))));
    let spec = EnvSpec::new("Outside/Vector-v0", single).with_vector_entry_point(make);
    let mut envs = spec.make_vec(1, &EnvConfig::new()).unwrap();
    let mut out = VectorStep::new(envs.observation_space(), 1);
    let actions = Buffer::from_i64(vec![0], &[]).unwrap();
    envs.reset(&[None], &mut out).unwrap();
    envs.reset_one(0, None, &mut out).unwrap();
    for _ in 0..3 {
        envs.step(&actions, &mut out).unwrap();
    }
    let error = envs.step(&actions, &mut out).unwrap_err().to_string();
    assert!(error.starts_with("environment 0: `Outside/Vector-v0` observed 8,"), "{error}");
    assert_eq!(envs.final_info(0)["t"], 4.0);
    let error = envs.state().and_then(|_| envs.set_state(&serde_json::json!([1]))).unwrap_err();
    assert!(error.to_string().contains("`Outside/Vector-v0`"), "{error}");
}

#[test]
fn agents_are_checked_in_every_step() {
    let spec = MultiAgentEnvSpec::new("Outside/Game-v0", |_: &EnvConfig| {
        Ok(ScriptedGame::new(&Space::multi_discrete([3, 4])?, |t, out| {
            out.observe(0)?.write_i64(&[0, 3])?;
            out.observe(1)?.write_i64(if t == 2 { &[2, 9] } else { &[2, 3] })
        }))
    });
    let mut envs = spec.make_vec(1, &EnvConfig::new()).unwrap();
    let mut out = MultiAgentVectorStep::new(envs.possible_agents(), 1);
    let mut actions = [MultiAgentActions::new(envs.possible_agents())];
    envs.reset(&[None], &mut out).unwrap();
    for agent in 0..2 {
        actions[0].act(agent).unwrap().write_discrete(0).unwrap();
    }
    envs.step(&actions, &mut out).unwrap();
    let error = envs.step(&actions, &mut out).unwrap_err();
    let expected = "environment 0: agent `b`: `Outside/Game-v0` observed [2, 9], which is not in \
                    its observation space MultiDiscrete([3 4])";
    assert!(error.to_string().starts_with(expected), "{error}");
    assert!(!error.is_recoverable());
}

#[test]
fn numbers_of_a_box_are_not_checked() {
    let spec = EnvSpec::new("Outside/Box-v0", |_: &EnvConfig| {
        Ok(Scripted::new(Space::boxed(0.0, 1.0, &[1])?, |_, mut o| {
            o.write_f32(&[9.0])?;
            Ok(done(false))
        }))
    });
    let mut env = spec.make(&EnvConfig::new()).unwrap();
    let mut row = Buffer::zeros(env.observation_space(), 1);
    env.reset(&ResetOptions::new(), row.row_mut(0)).unwrap();
}
