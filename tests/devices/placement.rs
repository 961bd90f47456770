//! Placement of runners and learners on devices.

use burn::module::Module;
use burn::prelude::*;
use rekindle::prelude::*;

use crate::comparison::{cpu, ppo, subject};
use crate::subject_spec;

fn on(module: &AnyRLModule, device: &Device) -> bool {
    module.devices().iter().all(|other| other == device)
}

#[test]
fn learners_and_runners_sit_where_the_settings_say() {
    let (cpu, subject) = (cpu(), subject());
    // One setting: runners on the CPU, everything else on the accelerator.
    let config = ppo("CartPole-v1").env_runners(|e| e.device(DeviceSpec::Cpu));
    let mut algo = config.build(&subject).unwrap();
    algo.train().unwrap();
    assert!(on(algo.module(DEFAULT_MODULE_ID).unwrap(), &subject));
    let folder = tempfile::tempdir().unwrap();
    algo.policy_bundle().unwrap().save_to_path(folder.path().join("bundle")).unwrap();
    assert_eq!(algo.evaluate().unwrap().returns.len(), 10);

    // The same placement by the other setting.
    let json = format!(
        r#"{{"environment": {{"env": "CartPole-v1"}}, "learners": {{"device": "{}"}}}}"#,
        subject_spec()
    );
    let config = PpoConfig::from_json(&json).unwrap();
    assert_eq!(config.learners.device, Some(subject_spec()));
    let algo = config.build(&cpu).unwrap();
    assert!(on(algo.module(DEFAULT_MODULE_ID).unwrap(), &subject));
    assert_eq!(algo.config().learners.device, Some(subject_spec()));
}

#[test]
fn settings_of_a_checkpoint_can_be_given_devices_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let config = ppo("CartPole-v1").learners(|l| l.device(subject_spec()));
    config.build(&cpu()).unwrap().save_to_path(&path).unwrap();
    let algo = Algorithm::from_checkpoint::<PpoTraining>(&path, &cpu()).unwrap();
    assert!(on(algo.module(DEFAULT_MODULE_ID).unwrap(), &cpu()));
    let algo = Algorithm::from_checkpoint_with::<PpoTraining>(&path, &cpu(), |config| {
        config.learners(|l| l.device(subject_spec()))
    });
    assert!(on(algo.unwrap().module(DEFAULT_MODULE_ID).unwrap(), &subject()));
}

#[test]
fn a_device_that_is_not_there_is_an_error_and_says_how_to_get_it() {
    for (device, advice) in [("wgpu:77", "wgpu"), ("cuda:77", "cuda")] {
        let spec: DeviceSpec = device.parse().unwrap();
        let config = ppo("CartPole-v1").learners(|l| l.device(spec));
        let message = config.build(&cpu()).unwrap_err().to_string();
        assert!(message.contains(device), "{message}");
        let compiled_in = match spec {
            DeviceSpec::Wgpu(_) => cfg!(feature = "wgpu"),
            _ => cfg!(feature = "cuda-llvm"),
        };
        if compiled_in {
            // Without any device a driver is missing; otherwise the index is wrong.
            let others = format!("use `{advice}:0`");
            let advices = ["Vulkan", "NVIDIA", &others];
            assert!(advices.iter().any(|advice| message.contains(advice)), "{message}");
        } else {
            assert!(message.contains(&format!("--features {advice}")), "{message}");
        }
    }
    let error = PpoConfig::from_json(r#"{"env_runners": {"device": "gpu"}}"#).unwrap_err();
    assert!(error.to_string().contains("unknown device `gpu`"), "{error}");
}

#[test]
fn auto_never_fails() {
    let device = DeviceSpec::Auto.open().unwrap();
    println!("auto is {device:?}");
}
