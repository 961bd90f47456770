//! "Checkpointing RL Modules".

use std::error::Error;

use rekindle::prelude::*;
use serde_json::json;

/// Builds, saves and loads a module alone, then restores its weights into an algorithm.
pub(crate) fn a_module_outside_and_inside_an_algorithm() -> Result<(), Box<dyn Error>> {
    let device = DeviceSpec::Cpu.open()?;
    let env = make("CartPole-v1")?;

    let config = PpoConfig::new().environment("CartPole-v1");
    // A module to checkpoint, with the algorithm's settings. `model_config_with` is RLlib's
    // `config.model_config | {"fcnet_hiddens": [32]}`.
    let module = RLModuleSpec::default()
        .observation_space(env.observation_space().clone())
        .action_space(env.action_space().clone())
        .model_config(config.model_config_with([("fcnet_hiddens", json!([32]))]))
        .build(&device)?;
    let path = std::env::temp_dir().join(format!("rl_module_{}", std::process::id()));
    module.save_to_path(&path)?;

    // A new module from the checkpoint.
    let loaded = AnyRLModule::from_checkpoint(&path, &device)?;
    assert_eq!(loaded.state_dict()?, module.state_dict()?);

    // An algorithm with the same module settings restores the weights, in the learner and in the
    // runners. `path` is a checkpoint of this component, not of the algorithm.
    let mut algorithm = config.model("fcnet_hiddens", vec![32]).build(&device)?;
    algorithm.restore_component(&path, "learner/rl_module/default_policy")?;
    assert_eq!(algorithm.module(DEFAULT_MODULE_ID)?.state_dict()?, module.state_dict()?);
    std::fs::remove_dir_all(&path)?;
    Ok(())
}
