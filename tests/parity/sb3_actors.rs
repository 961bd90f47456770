//! Policies of Stable-Baselines3's SAC and TD3 and of sb3-contrib's TQC, with and without gSDE: they load by a name map
//! and act the same. Recorded by `scripts/parity/record_sb3_actors.py`.

use burn::prelude::*;
use rekindle::core::AnyTensor;
use rekindle::core::any_tensor::to_f32;
use rekindle::prelude::*;
use rekindle::rl_module::{DeterministicActorCritic, SoftActorCritic};
use serde_json::{Value, json};

use crate::support::{Recorded, assert_close, cpu};

const ROWS: usize = 1000;
/// The observations whose values and distributions were recorded.
const FEW: usize = 16;

/// The observations of the recorded actions.
fn observations() -> Tensor<2> {
    let mut rng = Generator::from_seed(11);
    let values = (0..ROWS * 3).map(|_| (6.0 * rng.random() - 3.0) as f32).collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(values, [ROWS, 3]), &cpu())
}

/// Builds a module with the recorded weights.
fn load(
    recorded: &Recorded,
    spec: RLModuleSpec,
    names: &NameMap,
    more: Value,
    inference_only: bool,
) -> AnyRLModule {
    let mut config = json!({
        "fcnet_hiddens": [16, 12], "vf_fcnet_hiddens": [14], "fcnet_activation": "relu",
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut module = spec
        .observation_space(Space::unbounded(&[3]).unwrap())
        .action_space(Space::boxed(-1.0, 3.0, &[2]).unwrap())
        .model_config(config)
        .inference_only(inference_only)
        .build(&cpu())
        .unwrap();
    module.load_state_dict(&names.apply(&recorded.part("state")).unwrap()).unwrap();
    module
}

/// Returns greedy actions between −1 and 3.
fn greedy(module: &AnyRLModule) -> Vec<f32> {
    let batch = Batch::new().with(Columns::OBS, observations());
    let out = module.forward_inference(&batch).unwrap();
    let actions = match out.contains(Columns::ACTIONS) {
        true => out.float::<2>(Columns::ACTIONS).unwrap(),
        false => out.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap().narrow(1, 0, 2).tanh(),
    };
    to_f32(actions * 2.0 + 1.0).unwrap()
}

/// Checks actions, and the values of critics and of their targets.
fn check(name: &str, spec: &RLModuleSpec, names: &NameMap, more: Value) -> (Recorded, AnyRLModule) {
    println!("{name}");
    let recorded = Recorded::read(name);
    let module = load(&recorded, spec.clone(), names, more.clone(), false);
    assert_close("greedy", &greedy(&module), &recorded.0["greedy"]);
    // Without critics, as policies are deployed.
    let acting = load(&recorded, spec.clone(), names, more, true);
    assert_close("greedy", &greedy(&acting), &recorded.0["greedy"]);
    let batch = Batch::new()
        .with(Columns::OBS, observations().narrow(0, 0, FEW))
        .with(Columns::ACTIONS, recorded.tensor("actions", &cpu()));
    let values = module.compute_action_values(&batch).unwrap();
    let of_targets = module.forward_target(&batch).unwrap().float::<3>(Columns::QF_PREDS).unwrap();
    for (column, found) in [("q", values), ("target_q", of_targets)] {
        assert_close(column, &to_f32(found).unwrap(), &recorded.0[column]);
    }
    (recorded, module)
}

#[test]
fn policies_of_sb3s_sac_and_of_sb3_contribs_tqc_load_and_act_the_same() {
    let (spec, names) = (RLModuleSpec::of::<SoftActorCritic>(), NameMap::sb3_sac_mlp_policy());
    check("sb3_sac_policy", &spec, &names, json!({}));
    check("contrib_tqc_policy", &spec, &names, json!({ "num_quantiles": 5 }));
}

#[test]
fn policies_of_sb3s_td3_load_and_act_the_same() {
    let spec = RLModuleSpec::of::<DeterministicActorCritic>();
    check("sb3_td3_policy", &spec, &NameMap::sb3_td3_mlp_policy(), json!({}));
}

#[test]
fn a_policy_with_gsde_loads_and_has_the_distributions_and_the_noise_of_sb3() {
    let (spec, names) = (RLModuleSpec::of::<SoftActorCritic>(), NameMap::sb3_sac_mlp_policy());
    let (recorded, module) = check("sb3_sac_sde_policy", &spec, &names, json!({ "use_sde": true }));
    let batch = Batch::new().with(Columns::OBS, observations().narrow(0, 0, FEW));
    let inputs = module.forward_train(&batch).unwrap();
    let inputs = inputs.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap();
    recorded.check("mean", inputs.clone().narrow(1, 0, 2));
    recorded.check("std", inputs.clone().narrow(1, 2, 2).exp());
    let actions = recorded.tensor("noisy_actions", &cpu());
    let logp = module.distribution().logp(inputs.clone(), &actions.into()).unwrap();
    // Stable-Baselines3 adds 1e-6 inside the logarithm of the squashing.
    for (found, expected) in to_f32(logp).unwrap().iter().zip(numbers(&recorded, "logp")) {
        assert!((found - expected).abs() < 1e-3, "{found} {expected}");
    }

    // The noise of each action is the product of the latent features and a matrix.
    let (latent, mean) = (numbers(&recorded, "latent"), numbers(&recorded, "mean"));
    let noisy = |row: usize, action: usize, matrix: &[f32]| {
        let of_row = latent[row * 12..(row + 1) * 12].iter().enumerate();
        let noise: f32 = of_row.map(|(feature, z)| z * matrix[feature * 2 + action]).sum();
        (mean[row * 2 + action] + noise).tanh()
    };
    let matrix = numbers(&recorded, "matrix");
    for (index, expected) in numbers(&recorded, "noisy_actions").iter().enumerate() {
        let found = noisy(index / 2, index % 2, &matrix);
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
    // Here each row has a matrix of its own, from the stream of its environment.
    let mut cx = ExplorationContext::from_seed(3);
    let mut streams = cx.clone();
    let out = module.forward_exploration(&batch, &mut cx).unwrap();
    let explored = to_f32(out.float::<2>(Columns::ACTIONS).unwrap()).unwrap();
    let std: Vec<f32> = module.state_dict().unwrap()["pi.noise.log_std"]
        .as_slice::<f32>()
        .unwrap()
        .iter()
        .map(|log_std| log_std.exp())
        .collect();
    for row in 0..FEW {
        let numbers = streams.held_noise(row, 24, None).unwrap();
        let matrix: Vec<f32> = numbers.iter().zip(&std).map(|(number, std)| number * std).collect();
        for action in 0..2 {
            let (found, expected) = (explored[row * 2 + action], noisy(row, action, &matrix));
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}

fn numbers(recorded: &Recorded, name: &str) -> Vec<f32> {
    AnyTensor::to_f32(&recorded.tensor(name, &cpu())).unwrap()
}
