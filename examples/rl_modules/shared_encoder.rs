//! "Writing Custom Multi-Agent RL Modules": RLlib's `BCTorchMultiAgentModuleWithSharedEncoder`.

use std::error::Error;

use burn::module::Module;
use burn::prelude::*;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    fcnet_hiddens: Vec<usize>,
}

/// One encoder of the observations that all agents share, and a policy head per agent that also
/// reads the agent's own observations.
#[derive(Module, Debug)]
struct BcWithSharedEncoder {
    encoder: Mlp,
    policy_heads: PerModule<Mlp>,
}

impl SharedRLModule for BcWithSharedEncoder {
    fn setup(cx: &SharedContext<'_>) -> ModuleResult<Self> {
        let first = cx.first()?;
        let hidden = first.model_config::<Config>()?.fcnet_hiddens[0];
        let global = first.observation_space().as_dict()?.get("global")?.flat_dim();
        let policy_heads = PerModule::build(cx, |cx| {
            let local = cx.observation_space().as_dict()?.get("local")?.flat_dim();
            let actions = cx.action_space().as_discrete()?.n();
            Ok(cx.mlp(hidden + local, &[hidden], actions))
        })?;
        Ok(Self { encoder: first.mlp(global, &[hidden], hidden), policy_heads })
    }

    fn forward_train(&self, module_id: &str, batch: &Batch) -> ModuleResult<Batch> {
        let obs = batch.nested(Columns::OBS)?;
        let features = self.encoder.forward(obs.float::<2>("global")?);
        let inputs = Tensor::cat(vec![features, obs.float::<2>("local")?], 1);
        let logits = self.policy_heads.get(module_id)?.forward(inputs);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

/// `MultiRLModuleSpec(multi_rl_module_class=…, rl_module_specs={…}).build()`.
pub(crate) fn a_multi_module_with_a_shared_encoder() -> Result<(), Box<dyn Error>> {
    let agent = |local: usize, actions: usize| -> Result<RLModuleSpec, Box<dyn Error>> {
        let (global, local) = (Space::boxed(-1.0, 1.0, &[2])?, Space::boxed(-1.0, 1.0, &[local])?);
        Ok(RLModuleSpec::default()
            .observation_space(Space::dict([("global", global), ("local", local)])?)
            .action_space(Space::discrete(actions)?)
            .model_config(json!({"fcnet_hiddens": [64]})))
    };
    let spec = MultiRLModuleSpec::shared::<BcWithSharedEncoder>([
        ("local_2d", agent(2, 2)?),
        ("local_5d", agent(5, 5)?),
    ]);
    let device = DeviceSpec::Cpu.open()?;
    let module = spec.build(&device, 0)?;

    // Each agent acts with its own module. There is one encoder.
    let obs = Batch::new()
        .with("global", Tensor::<2>::zeros([3, 2], &device))
        .with("local", Tensor::<2>::zeros([3, 5], &device));
    let batch = Batch::new().with(Columns::OBS, obs);
    let out = module.module("local_5d")?.forward_inference(&batch)?;
    assert_eq!(out.float::<2>(Columns::ACTION_DIST_INPUTS)?.dims(), [3, 5]);
    assert_eq!(module.num_params(), module.module("local_2d")?.num_params());
    Ok(())
}
