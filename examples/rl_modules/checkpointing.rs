//! "Checkpointing RL Modules".

use std::error::Error;

use rekindle::prelude::*;
use serde_json::json;

/// A module is built, saved and loaded alone; then its weights go into an algorithm.
pub(crate) fn a_module_outside_and_inside_an_algorithm() -> Result<(), Box<dyn Error>> {
    let device = DeviceSpec::Cpu.open()?;
    let env = make("CartPole-v1")?;

    // A module that we would like to checkpoint, with the settings that PPO gives its own.
    let module = RLModuleSpec::default()
        .observation_space(env.observation_space().clone())
        .action_space(env.action_space().clone())
        .model_config(json!({"fcnet_hiddens": [32], "vf_share_layers": false}))
        .build(&device)?;
    let path = std::env::temp_dir().join(format!("rl_module_{}", std::process::id()));
    module.save_to_path(&path)?;

    // A new module from the checkpoint.
    let loaded = AnyRLModule::from_checkpoint(&path, &device)?;
    assert_eq!(loaded.state_dict()?, module.state_dict()?);

    // An algorithm with a module of the same settings takes the weights, in the learner and in
    // the runners. `path` is not a checkpoint of the algorithm but of this one component.
    let config = PpoConfig::new().environment("CartPole-v1").model("fcnet_hiddens", vec![32]);
    let mut algorithm = config.build(&device)?;
    algorithm.restore_component(&path, "learner/rl_module/default_policy")?;
    assert_eq!(algorithm.module(DEFAULT_MODULE_ID)?.state_dict()?, module.state_dict()?);
    std::fs::remove_dir_all(&path)?;
    Ok(())
}
