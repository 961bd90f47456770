//! Environments that start other programs. A checkpoint may name one only if the caller allows it.

use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use rekindle::algorithms::AlgorithmError;
use rekindle::env::classic_control::CartPole;
use rekindle::env::register_scheme;
use rekindle::prelude::*;

/// Number of environments that were made. A real scheme would start programs instead.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// CartPoles under ids such as `lab-scheme:Cart`.
fn register_lab() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        register_scheme("lab-scheme", "lab-scheme:<name>", |id| {
            Ok(EnvSpec::new(id, |config: &EnvConfig| {
                MADE.fetch_add(1, Ordering::Relaxed);
                CartPole::new(config)
            }))
        });
    });
}

fn config(env: &str) -> PpoConfig {
    PpoConfig::new()
        .environment(env)
        .training(|t| t.train_batch_size(64).minibatch_size(64).num_epochs(1))
        .model("fcnet_hiddens", vec![8])
        .seed(1)
}

fn refused<T: std::fmt::Debug>(result: Result<T, AlgorithmError>, id: &str) {
    let error = result.unwrap_err();
    assert!(matches!(&error, AlgorithmError::ExternalEnvironment { env } if env == id), "{error}");
    assert!(error.to_string().contains("allow_external_environments(true)"), "{error}");
}

fn saved(config: &PpoConfig, path: &Path) {
    let mut algo = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    algo.train().unwrap();
    algo.save_to_path(path).unwrap();
}

/// One test, because it counts what is made.
#[test]
fn a_checkpoint_makes_no_external_environment_unless_it_is_allowed() {
    register_lab();
    let device = DeviceSpec::Cpu.open().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [training, evaluation, native] =
        ["training", "evaluation", "native"].map(|name| folder.path().join(name));
    saved(&config("lab-scheme:Cart"), &training);
    let evaluated =
        config("CartPole-v1").evaluation(|e| e.evaluation_config(|o| o.env("lab-scheme:Judge")));
    saved(&evaluated, &evaluation);
    saved(&config("CartPole-v1"), &native);

    let before = MADE.load(Ordering::Relaxed);
    let restore = |path: &Path| Algorithm::from_checkpoint::<PpoTraining>(path, &device);
    refused(restore(&training).map(drop), "lab-scheme:Cart");
    refused(restore(&evaluation).map(drop), "lab-scheme:Judge");
    // Another id from the caller, with settings from the checkpoint.
    let adapted = Algorithm::from_checkpoint_with::<PpoTraining>(&native, &device, |config| {
        config.environment("lab-scheme:Other")
    });
    refused(adapted.map(drop), "lab-scheme:Other");
    assert_eq!(MADE.load(Ordering::Relaxed), before);
    restore(&native).unwrap();

    let allowed = Algorithm::from_checkpoint_with::<PpoTraining>(&training, &device, |config| {
        config.allow_external_environments(true)
    });
    allowed.unwrap().train().unwrap();
    assert!(MADE.load(Ordering::Relaxed) > before);

    // The policy alone names no environment.
    let module = training.join("learner/rl_module/default_policy");
    AnyRLModule::from_checkpoint(module, &device).unwrap();
}

#[test]
fn a_checkpoint_does_not_change_the_settings_of_an_external_environment() {
    register_lab();
    let device = DeviceSpec::Cpu.open().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [same, other] = ["same", "other"].map(|name| folder.path().join(name));
    let strict = config("lab-scheme:Cart");
    let changed = strict.clone().env_config(EnvConfig::new().with("sutton_barto_reward", true));
    saved(&strict, &same);
    saved(&changed, &other);

    let mut algo = strict.build(&device).unwrap();
    refused(algo.restore_from_path(&other), "lab-scheme:Cart");
    algo.restore_from_path(&same).unwrap();
    algo.train().unwrap();

    let mut trusting = strict.allow_external_environments(true).build(&device).unwrap();
    trusting.restore_from_path(&other).unwrap();
    assert_eq!(trusting.env_config().get("sutton_barto_reward"), Some(&true.into()));
}

#[test]
fn data_cannot_allow_itself_to_start_programs() {
    for json in [
        r#"{"allow_external_environments": true}"#,
        r#"{"environment": {"allow_external_environments": true}}"#,
    ] {
        assert!(PpoConfig::from_json(json).is_err(), "{json}");
    }
    let allowed = config("CartPole-v1").allow_external_environments(true);
    let json = serde_json::to_string(&allowed).unwrap();
    assert_eq!(PpoConfig::from_json(&json).unwrap(), config("CartPole-v1"));
}
