//! A checkpoint written on one device and read on another.

use rekindle::prelude::*;

use super::training::{bits, flat, ppo, weights};
use super::{difference, subject_spec};

fn crosses(from: DeviceSpec, to: DeviceSpec) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let config = ppo("CartPole-v1").training(|t| t.optimizer(OptimizerConfig::default()).lr(1e-3));
    // Devices in a configuration belong to the machine that wrote it.
    let config = config.learners(|l| l.device(from)).env_runners(|e| e.device(from));
    let mut written = config.build(&from.open().unwrap()).unwrap();
    written.train().unwrap();
    written.save_to_path(&path).unwrap();

    let device = to.open().unwrap();
    let mut read = Algorithm::from_checkpoint::<PpoTraining>(&path, &device).unwrap();
    assert_eq!(bits(&weights(&read)), bits(&weights(&written)));
    let moments = |algo: &Algorithm| {
        let state = algo.learner().get_state().unwrap();
        let group = state.component("optimizer").unwrap().component(DEFAULT_MODULE_ID).unwrap();
        bits(&group.tensors)
    };
    assert_eq!(moments(&read), moments(&written));
    written.train().unwrap();
    read.train().unwrap();
    assert_eq!(read.env_steps(), written.env_steps());
    let apart = difference(&flat(&weights(&read)), &flat(&weights(&written)));
    assert!(apart < 0.02, "{apart}: the same run on another device");

    let path = path.join("learner/rl_module/default_policy");
    let policy = AnyRLModule::from_checkpoint(path, &device).unwrap();
    let runner = EnvRunnerConfig::new("CartPole-v1").num_envs(2);
    let played = evaluate(&policy, &runner, 2, SampleOptions::greedy(), &device).unwrap();
    assert_eq!(played.returns.len(), 2);
}

#[cfg_attr(test, test)]
pub(super) fn written_on_the_device_and_read_on_the_cpu() {
    crosses(subject_spec(), DeviceSpec::Cpu);
}

#[cfg_attr(test, test)]
pub(super) fn written_on_the_cpu_and_read_on_the_device() {
    crosses(DeviceSpec::Cpu, subject_spec());
}
