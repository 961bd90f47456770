//! The tuned configurations, which are part of the program.

macro_rules! configs {
    ($($name:literal),* $(,)?) => {
        /// Names and texts, in alphabetical order.
        pub(crate) const CONFIGS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../configs/", $name, ".toml")))),*];
    };
}

configs! {
    "a2c-cartpole",
    "appo-cartpole",
    "appo-catch",
    "appo-crashing-cartpole",
    "appo-multi-agent-cartpole",
    "appo-nested-cartpole",
    "appo-stateless-cartpole",
    "bc-cartpole",
    "bc-cartpole-mixture",
    "breakout",
    "c51-cartpole",
    "cartpole",
    "catch",
    "cql-cartpole-mixture",
    "cql-pendulum",
    "crashing-cartpole",
    "crossq-pendulum",
    "ddpg-pendulum",
    "dqn-acrobot",
    "dqn-cartpole",
    "dqn-catch",
    "dqn-mountain-car",
    "dqn-multi-agent-cartpole",
    "dqn-stateless-cartpole",
    "frame-stacking",
    "impala-cartpole",
    "impala-catch",
    "impala-multi-agent-cartpole",
    "impala-nested-cartpole",
    "impala-stateless-cartpole",
    "iql-pendulum",
    "marwil-cartpole-mixture",
    "multi-agent-cartpole",
    "multi-agent-pendulum",
    "nested-cartpole",
    "pendulum",
    "ppo-half-cheetah",
    "ppo-hopper",
    "ppo-pong",
    "ppo-walker2d",
    "pqn-cartpole",
    "pqn-catch",
    "qr-dqn-cartpole",
    "rainbow-cartpole",
    "sac-cartpole",
    "sac-half-cheetah",
    "sac-hopper",
    "sac-mountain-car-continuous",
    "sac-pendulum",
    "stateless-cartpole",
    "td3-pendulum",
    "tqc-pendulum",
    "vpg-cartpole",
}

/// Returns the text of a configuration.
pub(crate) fn config(name: &str) -> Option<&'static str> {
    CONFIGS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Returns the description of a configuration, which is its first line.
pub(crate) fn about(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use rekindle::algorithms::Experiment;
    use rekindle::env_runner::is_external;
    use rekindle::offline::{OfflineData, Transitions};
    use rekindle::prelude::*;

    use super::*;

    #[test]
    fn every_file_is_part_of_the_program() {
        let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/configs")).unwrap();
        let files: BTreeSet<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let listed = CONFIGS.iter().map(|(name, _)| format!("{name}.toml")).collect();
        assert_eq!(files, listed);
    }

    /// Writes a step in an environment as the recording of a configuration.
    fn record(env: &str, path: &Path) {
        let device = DeviceSpec::Cpu.open().unwrap();
        let runners = EnvRunnerGroup::new(&EnvRunnerConfig::new(env), 1, 1, &device).unwrap();
        let spaces = runners.module_spaces();
        let (observations, actions) = spaces.values().next().unwrap().clone();
        let mut data = OfflineData::of_modules(spaces);
        let step = Transitions {
            observations: Buffer::zeros(&observations, 1),
            actions: Buffer::zeros(&actions, 1),
            rewards: vec![0.0],
            next_observations: Buffer::zeros(&observations, 1),
            terminateds: vec![true],
            truncateds: vec![false],
        };
        data.push_transitions(step).unwrap();
        data.save_parquet(path).unwrap();
    }

    /// Building also finds model settings that no module reads.
    #[test]
    fn every_configuration_builds_its_algorithm() {
        let device = DeviceSpec::Cpu.open().unwrap();
        for (name, text) in CONFIGS {
            assert!(!about(text).is_empty(), "{name}");
            let mut experiment = Experiment::from_toml(text).unwrap();
            experiment.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
            // Environments of other programs, such as Python, may not be there.
            let settings = experiment.settings().unwrap();
            let env = settings["environment"]["env"].as_str().unwrap();
            let folder = tempfile::tempdir().unwrap();
            if text.contains("input_ =") {
                record(env, folder.path());
                experiment.set(&format!("offline_data.input_=[{:?}]", folder.path())).unwrap();
            }
            if !is_external(env) {
                experiment.build(&device).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }
}
