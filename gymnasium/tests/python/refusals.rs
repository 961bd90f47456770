//! Environments that cannot be made, and the messages of their errors.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rekindle_env::{EnvConfig, EnvError, VectorEnv};
use rekindle_gymnasium::{GymnasiumError, GymnasiumVectorEnv};
use serde_json::json;

use crate::support::config;

fn error(id: &str, options: serde_json::Value) -> GymnasiumError {
    match GymnasiumVectorEnv::new(id, 1, &config(options)).unwrap_err() {
        EnvError::Custom(error) => *error.downcast().unwrap(),
        other => panic!("{other}"),
    }
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn spaces_without_a_fixed_layout_are_refused_by_name() {
    for (space, name) in
        [("text", "Text"), ("graph", "Graph"), ("sequence", "Sequence"), ("one_of", "OneOf")]
    {
        let error = error("python:lab:unsupported", json!({"space": space}));
        let GymnasiumError::UnsupportedSpace { kind, role, .. } = &error else { panic!("{error}") };
        assert_eq!((kind.as_str(), role.as_str()), (name, "observation"));
        assert!(error.to_string().contains("wrap the environment"), "{error}");
    }
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn ids_that_gymnasium_does_not_know_are_answered_with_similar_ones() {
    let error = error("gymnasium:CartPoel-v1", json!({}));
    let GymnasiumError::UnknownId { close, .. } = &error else { panic!("{error}") };
    assert!(close.contains(&"CartPole-v1".to_owned()), "{error}");
    assert!(error.to_string().contains("did you mean `CartPole-v1`"), "{error}");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn modules_callables_and_wrappers_that_do_not_exist_are_named() {
    let missing = error("python:no_such_module:make", json!({}));
    assert!(
        matches!(&missing, GymnasiumError::MissingModule { module, .. } if module == "no_such_module")
    );
    assert!(missing.to_string().contains("python_path"), "{missing}");
    let callable = error("python:lab:Faultless", json!({}));
    assert!(matches!(callable, GymnasiumError::MissingCallable { .. }), "{callable}");
    let wrapper = error("gymnasium:CartPole-v1", json!({"wrappers": ["FlattenObservations"]}));
    assert!(wrapper.to_string().contains("did you mean `FlattenObservation`"), "{wrapper}");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn exceptions_while_making_an_environment_show_the_end_of_their_traceback() {
    let broken = error("python:lab:broken", json!({}));
    let text = broken.to_string();
    assert!(text.starts_with("KeyError: 'this key'") && text.contains("in broken"), "{text}");
    let unexpected = error("gymnasium:CartPole-v1", json!({"gravty": 3}));
    assert!(
        unexpected.to_string().contains("unexpected keyword argument 'gravty'"),
        "{unexpected}"
    );
    let number = error("python:lab:NOT_CALLABLE", json!({}));
    assert!(number.to_string().contains("TypeError: 'int' object is not callable"), "{number}");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn an_interpreter_without_packages_says_what_to_install() {
    let python = std::env::var("REKINDLE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("python");
    fs::write(&bare, format!("#!/bin/sh\nexec {python} -S \"$@\"\n")).unwrap();
    fs::set_permissions(&bare, fs::Permissions::from_mode(0o755)).unwrap();
    let bare = bare.display().to_string();
    let error = error("gymnasium:CartPole-v1", json!({"python": bare}));
    let GymnasiumError::MissingPackage { python, package } = &error else { panic!("{error}") };
    assert_eq!((python.as_str(), package.as_str()), (bare.as_str(), "numpy"));
    assert!(error.to_string().contains("-m pip install numpy"), "{error}");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn packages_that_an_environment_needs_are_named_as_gymnasium_names_them() {
    let error = error("gymnasium:lab:Lab/Needy-v0", json!({}));
    assert!(matches!(error, GymnasiumError::MissingDependency { .. }), "{error}");
    assert!(error.to_string().contains("run `pip install simulator`"), "{error}");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn a_gymnasium_that_is_too_old_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("gymnasium");
    fs::create_dir(&package).unwrap();
    fs::write(package.join("__init__.py"), "__version__ = '0.29.1'\n").unwrap();
    fs::write(package.join("spaces.py"), "").unwrap();
    let config = EnvConfig::new().with("python_path", vec![folder.path().display().to_string()]);
    let error = GymnasiumVectorEnv::new("gymnasium:CartPole-v1", 1, &config).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("has gymnasium 0.29.1, but 1.0 or newer is required"), "{message}");
    assert!(message.contains("-m pip install --upgrade gymnasium"), "{message}");
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn a_vector_needs_an_environment() {
    let error = GymnasiumVectorEnv::new("gymnasium:CartPole-v1", 0, &config(json!({})));
    assert!(matches!(error, Err(EnvError::ShapeMismatch { .. })));
}

#[test]
#[ignore = "needs Python with Gymnasium; `cargo xtask test` runs it"]
fn mistakes_of_the_caller_are_errors_before_anything_is_done() {
    use rekindle_env::{Buffer, VectorStep};
    let mut env = GymnasiumVectorEnv::new("gymnasium:CartPole-v1", 2, &config(json!({}))).unwrap();
    let mut out = VectorStep::new(env.observation_space(), 2);
    let choices = |choices: &[i64]| Buffer::from_i64(choices.to_vec(), &[]).unwrap();
    let message = |result: Result<(), EnvError>| result.unwrap_err().to_string();
    let early = message(env.step(&choices(&[0, 0]), &mut out));
    assert!(early.contains("was stepped before its first reset"), "{early}");
    env.reset(&[Some(1), Some(2)], &mut out).unwrap();
    let before = out.clone();
    let beyond = message(env.step(&choices(&[0, 2]), &mut out));
    assert!(beyond.contains("action 2 is not in the action space Discrete(2)"), "{beyond}");
    assert!(env.step(&choices(&[0]), &mut out).is_err());
    assert!(env.step(&Buffer::from_f32(vec![0.0; 2], &[]).unwrap(), &mut out).is_err());
    assert!(env.reset(&[None], &mut out).is_err());
    assert!(env.reset_one(2, None, &mut out).is_err());
    assert_eq!(out, before);
    env.step(&choices(&[0, 1]), &mut out).unwrap();
}
