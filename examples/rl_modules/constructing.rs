//! "Enabling RL Modules" and "Constructing RL Modules".

use std::error::Error;
use std::path::Path;

use burn::module::Module;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;
use serde::Deserialize;
use serde_json::json;

/// The settings of [`DiscreteBc`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiscreteBcConfig {
    fcnet_hiddens: Vec<usize>,
}

/// RLlib's `DiscreteBCTorchModule`.
#[derive(Module, Debug)]
pub(crate) struct DiscreteBc {
    policy: Mlp,
}

impl RLModule for DiscreteBc {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        let config: DiscreteBcConfig = cx.model_config()?;
        let inputs = cx.observation_space().flat_dim();
        let outputs = cx.action_space().as_discrete()?.n();
        Ok(Self { policy: cx.mlp(inputs, &config.fcnet_hiddens, outputs) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

/// RL modules are always enabled. Two training steps of PPO with the default module.
pub(crate) fn enabling() -> Result<(), Box<dyn Error>> {
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .training(|t| t.train_batch_size(256).minibatch_size(64).num_epochs(2));
    let mut algorithm = config.build(&DeviceSpec::Cpu.open()?)?;
    for _ in 0..2 {
        println!("{}", algorithm.train()?);
    }
    Ok(())
}

/// `RLModuleSpec(module_class=…, …).build()`.
pub(crate) fn a_single_spec() -> Result<(), Box<dyn Error>> {
    let env = make("CartPole-v1")?;
    let spec = RLModuleSpec::of::<DiscreteBc>()
        .observation_space(env.observation_space().clone())
        .action_space(env.action_space().clone())
        .model_config(json!({"fcnet_hiddens": [64]}));
    let module = spec.build(&DeviceSpec::Cpu.open()?)?;

    // A single module is a multi-module with one entry.
    let multi_rl_module = module.as_multi_rl_module()?;
    assert!(multi_rl_module.contains(DEFAULT_MODULE_ID));
    Ok(())
}

/// `MultiRLModuleSpec(rl_module_specs={…}).build()`.
pub(crate) fn a_multi_spec() -> Result<(), Box<dyn Error>> {
    let module = |observations: usize, hidden: usize| -> Result<RLModuleSpec, Box<dyn Error>> {
        Ok(RLModuleSpec::of::<DiscreteBc>()
            .observation_space(Space::boxed(-1.0, 1.0, &[observations])?)
            .action_space(Space::discrete(2)?)
            .model_config(json!({"fcnet_hiddens": [hidden]})))
    };
    let spec =
        MultiRLModuleSpec::new([("module_1", module(10, 32)?), ("module_2", module(5, 16)?)]);
    let multi_rl_module = spec.build(&DeviceSpec::Cpu.open()?, 0)?;
    assert_eq!(multi_rl_module.len(), 2);
    Ok(())
}

/// Records a batch of a configuration's environment for [`BcConfig`], which learns from recorded data.
fn record(config: PpoConfig, folder: &Path) -> Result<(), Box<dyn Error>> {
    let config = config
        .env_runners(|e| e.output(folder))
        .training(|t| t.train_batch_size(256).minibatch_size(64).num_epochs(1));
    config.build(&DeviceSpec::Cpu.open()?)?.train()?;
    Ok(())
}

/// `BCConfigTest().rl_module(model_config=…, rl_module_spec=…)`: missing fields of the spec are filled in
/// from the environment and the algorithm's configuration.
pub(crate) fn a_spec_in_an_algorithm() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    record(PpoConfig::new().environment("CartPole-v1"), folder.path())?;
    let config = BcConfig::new()
        .environment("CartPole-v1")
        .offline_data(|o| o.input_(folder.path()).dataset_num_iters_per_learner(10))
        .rl_module(RLModuleSpec::of::<DiscreteBc>())
        .model("fcnet_hiddens", vec![32, 32])
        .training(|t| t.train_batch_size(64));
    config.build(&DeviceSpec::Cpu.open()?)?.train()?;
    Ok(())
}

/// The same with several agents: `config.rl_module(rl_module_spec=MultiRLModuleSpec(…))`. Missing
/// fields of every spec are filled in.
///
/// In RLlib's block, both agents act with one module. Here, a mapping specifies this.
pub(crate) fn several_agents_in_an_algorithm() -> Result<(), Box<dyn Error>> {
    let agents = EnvConfig::new().with("num_agents", 2);
    let mapping = || PolicyMapping::All("p0".into());
    let folder = tempfile::tempdir()?;
    let recorded = PpoConfig::new()
        .environment("MultiAgentCartPole-v1")
        .env_config(agents.clone())
        .multi_agent(|m| m.policies(["p0"]).policy_mapping(mapping()));
    record(recorded, folder.path())?;
    let specs = MultiRLModuleSpec::new([("p0", RLModuleSpec::of::<DiscreteBc>())]);
    let config = BcConfig::new()
        .environment("MultiAgentCartPole-v1")
        .env_config(agents)
        .offline_data(|o| o.input_(folder.path()).dataset_num_iters_per_learner(10))
        .multi_agent(|m| m.policies(["p0"]).policy_mapping(mapping()).rl_module_specs(specs))
        .model("fcnet_hiddens", vec![32, 32])
        .training(|t| t.train_batch_size(64));
    config.build(&DeviceSpec::Cpu.open()?)?.train()?;
    Ok(())
}
