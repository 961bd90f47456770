//! Policies as ONNX files compute what they compute here, run by tract, and by onnxruntime, which needs Python:
//! `cargo xtask test` runs that comparison if there is one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

mod tract;

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use burn::module::Module;
use burn::prelude::*;
use rekindle_catalog::{Mlp, export_mask_logits, mask_logits};
use rekindle_core::host_batch::upload;
use rekindle_core::{Batch, Columns, DEFAULT_MODULE_ID, Generator};
use rekindle_env::{BoxDType, BoxSpace, Buffer, Space};
use rekindle_env_runner::connectors::{ConnectorConfig, ConnectorPipeline};
use rekindle_env_runner::{
    Amount, BundleConfig, EnvRunner, EnvRunnerConfig, PolicyBundle, PublishedAt, SampleOptions,
    SingleAgentEnvRunner,
};
use rekindle_onnx::{Graph, PolicyOutputs, Values};
use rekindle_rl_module::{
    DeterministicActorCritic, ModuleContext, MultiRLModuleSpec, PerModule, QNetwork, RLModule,
    RLModuleSpec, Result as ModuleResult, SharedContext, SharedRLModule, SoftActorCritic,
};
use serde_json::{Map, Value, json};

fn device() -> Device {
    Device::flex()
}

// ANCHOR: masked_policy
/// A policy of PPO with an action mask.
#[derive(Module, Debug)]
struct MaskedPolicy {
    pi: Mlp,
}

impl RLModule for MaskedPolicy {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { pi: cx.mlp(2, &[8], cx.action_space().as_discrete()?.n()) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let parts = batch.nested(Columns::OBS)?;
        let logits = self.pi.forward(parts.float::<2>("observations")?);
        let logits = mask_logits(logits, parts.float::<2>("action_mask")?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn export_onnx(&self, graph: &mut Graph, seen: &Values) -> ModuleResult<PolicyOutputs> {
        let logits = self.pi.export_onnx(graph, seen.part("observations")?.one()?)?;
        let mask = seen.part("action_mask")?.one()?;
        Ok(PolicyOutputs::of_distribution(export_mask_logits(graph, &logits, mask)))
    }
}
// ANCHOR_END: masked_policy

/// A policy without an ONNX form.
#[derive(Module, Debug)]
struct Opaque {
    pi: Mlp,
}

impl RLModule for Opaque {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { pi: cx.mlp(3, &[], cx.action_space().as_discrete()?.n()) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let logits = self.pi.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

/// Modules with one encoder.
#[derive(Module, Debug)]
struct SharedEncoder {
    encoder: Mlp,
    heads: PerModule<Mlp>,
}

impl SharedRLModule for SharedEncoder {
    fn setup(cx: &SharedContext<'_>) -> ModuleResult<Self> {
        let heads =
            PerModule::build(cx, |cx| Ok(cx.mlp(8, &[], cx.action_space().as_discrete()?.n())))?;
        Ok(Self { encoder: cx.first()?.mlp(3, &[8], 8), heads })
    }

    fn forward_train(&self, module_id: &str, batch: &Batch) -> ModuleResult<Batch> {
        let features = self.encoder.forward(batch.float::<2>(Columns::OBS)?);
        let logits = self.heads.get(module_id)?.forward(features);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }

    fn export_onnx(
        &self,
        module_id: &str,
        graph: &mut Graph,
        observations: &Values,
    ) -> ModuleResult<PolicyOutputs> {
        let features = self.encoder.export_onnx(graph, observations.one()?)?;
        let logits = self.heads.get(module_id)?.export_onnx(graph, &features)?;
        Ok(PolicyOutputs::of_distribution(logits))
    }
}

/// Modules with one network, without an ONNX form.
#[derive(Module, Debug)]
struct SharedOpaque {
    network: Mlp,
}

impl SharedRLModule for SharedOpaque {
    fn setup(cx: &SharedContext<'_>) -> ModuleResult<Self> {
        Ok(Self { network: cx.first()?.mlp(3, &[], 2) })
    }

    fn forward_train(&self, _module_id: &str, batch: &Batch) -> ModuleResult<Batch> {
        let logits = self.network.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

/// The bundle of the second of two modules that share parameters.
fn shared<M: SharedRLModule + Module + 'static>() -> PolicyBundle {
    let spec = || RLModuleSpec::default().observation_space(vector(3)).action_space(choice(2));
    let spec = MultiRLModuleSpec::shared::<M>([("first", spec()), ("second", spec())]);
    let modules = spec.build(&device(), 7).unwrap();
    let config = BundleConfig::new(vector(3), choice(2));
    PolicyBundle::new(modules.module("second").unwrap().clone(), config, &device()).unwrap()
}

fn vector(width: usize) -> Space {
    Space::unbounded(&[width]).unwrap()
}

fn choice(n: usize) -> Space {
    Space::discrete(n).unwrap()
}

fn masked(actions: usize) -> Space {
    let mask = Space::multi_binary(actions).unwrap();
    Space::dict([("action_mask", mask), ("observations", vector(2))]).unwrap()
}

/// A bundle of a new module, without connectors.
fn bundle(spec: RLModuleSpec, seen: Space, actions: Space, config: Value) -> PolicyBundle {
    bundle_with(spec, seen, actions, config, |bundle| bundle)
}

fn bundle_with(
    spec: RLModuleSpec,
    seen: Space,
    actions: Space,
    model: Value,
    configure: impl FnOnce(BundleConfig) -> BundleConfig,
) -> PolicyBundle {
    let config = configure(BundleConfig::new(seen.clone(), actions.clone()));
    // Boxes of integers are floats for modules.
    let of_module = match &actions {
        Space::Box(b) => Space::box_between(b.low(), b.high()).unwrap(),
        other => other.clone(),
    };
    let pipeline = config.env_to_module.iter().map(|c| c.build(&of_module).unwrap()).collect();
    let pipeline = ConnectorPipeline::with(seen, pipeline);
    let mut spec = spec.observation_space(pipeline.unwrap().output_space().clone());
    spec = spec.action_space(of_module);
    if !model.is_null() {
        spec = spec.model_config(model);
    }
    let module = spec.build_seeded(&device(), Generator::from_seed(7)).unwrap();
    PolicyBundle::new(module, config, &device()).unwrap()
}

/// The policy of a runner whose filter has statistics.
fn filtered(environment: &str, model: Value) -> PolicyBundle {
    let config = EnvRunnerConfig::new(environment)
        .num_envs(4)
        .seed(1)
        .env_to_module([ConnectorConfig::mean_std_filter()]);
    let mut runner = SingleAgentEnvRunner::new(config, 0, &device()).unwrap();
    let module = RLModuleSpec::default()
        .observation_space(runner.observation_space().clone())
        .action_space(runner.action_space().clone())
        .model_config(model)
        .build_seeded(&device(), Generator::from_seed(7))
        .unwrap();
    runner.set_module(&module, PublishedAt::default()).unwrap();
    runner.sample(Amount::Timesteps(200), SampleOptions::default()).unwrap();
    runner.policy_bundle_of(DEFAULT_MODULE_ID).unwrap()
}

fn nested() -> Space {
    let inner = [Space::multi_binary(3).unwrap(), Space::multi_discrete([2, 70]).unwrap()];
    Space::dict([
        ("choice", choice(90)),
        ("few", Space::discrete_with_start(3, -1).unwrap()),
        ("image", Space::image(&[6, 6, 1]).unwrap()),
        ("inner", Space::tuple(inner).unwrap()),
        ("vector", vector(3)),
    ])
    .unwrap()
}

/// Every kind of policy, by name.
fn policies() -> Vec<(&'static str, PolicyBundle)> {
    let default = RLModuleSpec::default;
    let q = RLModuleSpec::of::<QNetwork>;
    let sac = RLModuleSpec::of::<SoftActorCritic>;
    let bounded = |low: f32, high: f32| Space::boxed(low, high, &[3]).unwrap();
    let uneven = Space::box_between([-2.0, 0.0], [1.0, 30.0]).unwrap();
    let whole = BoxSpace::new([-3.0, 0.0], [4.0, 9.0], &[2]).unwrap();
    let whole = Space::Box(whole.with_dtype(BoxDType::Int32).unwrap());
    let image = || Space::image(&[11, 9, 3]).unwrap();
    let small = || json!({"fcnet_hiddens": [8]});
    let mut policies = vec![
        (
            "mlp_discrete",
            bundle(
                default(),
                vector(4),
                Space::discrete_with_start(3, 5).unwrap(),
                json!({"fcnet_hiddens": [16, 16]}),
            ),
        ),
        (
            "mlp_gaussian",
            bundle(
                default(),
                vector(4),
                uneven.clone(),
                json!({"fcnet_hiddens": [16], "fcnet_activation": "relu", "fcnet_use_layernorm": true, "free_log_std": true}),
            ),
        ),
        (
            "mlp_unbounded",
            bundle(
                default(),
                vector(4),
                vector(2),
                json!({"fcnet_hiddens": [16], "fcnet_activation": "gelu", "log_std_clip_param": 0.1}),
            ),
        ),
        (
            "mlp_clipped",
            bundle_with(
                default(),
                vector(4),
                bounded(-0.1, 0.1),
                json!({"fcnet_hiddens": [16], "fcnet_activation": "silu"}),
                |c| c.normalize_actions(false).clip_actions(true),
            ),
        ),
        (
            "mlp_whole_numbers",
            bundle(
                default(),
                vector(4),
                whole,
                json!({"fcnet_hiddens": [16], "fcnet_activation": "elu"}),
            ),
        ),
        (
            "mlp_multi_discrete",
            bundle(
                default(),
                vector(4),
                Space::multi_discrete([2, 5, 3]).unwrap(),
                json!({"fcnet_hiddens": [16], "fcnet_activation": "sigmoid"}),
            ),
        ),
        (
            "cnn",
            bundle(
                default(),
                image(),
                choice(4),
                json!({"conv_filters": [[8, 3, 2], [16, [4, 3], 1], [8, 2, 2, "valid"]]}),
            ),
        ),
        (
            "cnn_layernorm",
            bundle(
                default(),
                image(),
                bounded(-1.0, 1.0),
                json!({"conv_filters": [[8, 4, 2], [4, 3, 1]], "conv_use_layernorm": true, "conv_activation": "tanh", "conv_fcnet_hiddens": [16]}),
            ),
        ),
        (
            "lstm",
            bundle(
                default(),
                vector(3),
                choice(3),
                json!({"fcnet_hiddens": [8], "use_lstm": true, "lstm_cell_size": 6}),
            ),
        ),
        (
            "lstm_of_two_layers",
            bundle(
                default(),
                vector(3),
                bounded(-2.0, 2.0),
                json!({"fcnet_hiddens": [8], "use_lstm": true, "lstm_cell_size": 6, "recurrent_num_layers": 2}),
            ),
        ),
        (
            "gru",
            bundle(
                default(),
                vector(3),
                bounded(-2.0, 2.0),
                json!({"fcnet_hiddens": [8], "use_lstm": true, "lstm_cell_size": 6, "recurrent_layer_type": "gru"}),
            ),
        ),
        (
            "dict",
            bundle(
                default(),
                nested(),
                choice(4),
                json!({"fcnet_hiddens": [8], "fusionnet_hiddens": [8]}),
            ),
        ),
        (
            "nested_actions",
            bundle(
                default(),
                vector(3),
                Space::dict([
                    ("gear", choice(3)),
                    ("lights", Space::multi_binary(4).unwrap()),
                    ("steer", Space::tuple([uneven, choice(2)]).unwrap()),
                ])
                .unwrap(),
                small(),
            ),
        ),
        (
            "masked_ppo",
            bundle(RLModuleSpec::of::<MaskedPolicy>(), masked(4), choice(4), Value::Null),
        ),
        ("masked_default", bundle(default(), masked(4), choice(4), small())),
        (
            "masked_lstm",
            bundle(
                default(),
                masked(4),
                choice(4),
                json!({"fcnet_hiddens": [8], "use_lstm": true, "lstm_cell_size": 6}),
            ),
        ),
        ("dqn", bundle(q(), vector(3), choice(4), small())),
        ("dqn_masked", bundle(q(), masked(4), Space::discrete_with_start(4, 3).unwrap(), small())),
        (
            "dqn_lstm",
            bundle(
                q(),
                vector(3),
                choice(4),
                json!({"fcnet_hiddens": [8], "use_lstm": true, "lstm_cell_size": 6}),
            ),
        ),
        (
            "c51",
            bundle(
                q(),
                masked(4),
                choice(4),
                json!({"fcnet_hiddens": [8], "num_atoms": 5, "v_min": -2.0, "v_max": 2.0, "noisy": true}),
            ),
        ),
        (
            "qr_dqn",
            bundle(
                q(),
                vector(3),
                choice(4),
                json!({"fcnet_hiddens": [8], "num_quantiles": 3, "dueling": false}),
            ),
        ),
        ("sac_squashed", bundle(sac(), vector(3), bounded(-3.0, 2.0), small())),
        (
            "sac_gsde",
            bundle(
                sac(),
                vector(3),
                bounded(-3.0, 2.0),
                json!({"fcnet_hiddens": [8], "use_sde": true}),
            ),
        ),
        ("sac_masked", bundle(sac(), masked(4), choice(4), small())),
        (
            "td3",
            bundle(
                RLModuleSpec::of::<DeterministicActorCritic>(),
                vector(3),
                bounded(-3.0, 2.0),
                small(),
            ),
        ),
        (
            "flattened",
            bundle_with(default(), nested(), choice(3), small(), |c| {
                c.env_to_module([
                    ConnectorConfig::flatten_observations(),
                    ConnectorConfig::mean_std_filter(),
                ])
            }),
        ),
        (
            "filter_on_part",
            bundle_with(default(), nested(), bounded(0.0, 1.0), small(), |c| {
                c.env_to_module([ConnectorConfig::mean_std_filter().on_part(["vector"])])
            }),
        ),
        (
            "frame_stacking",
            bundle_with(
                default(),
                Space::image(&[6, 6, 2]).unwrap(),
                bounded(0.0, 1.0),
                Value::Null,
                |c| c.env_to_module([ConnectorConfig::frame_stacking(3)]),
            ),
        ),
    ];
    policies.push(("shared_encoder", shared::<SharedEncoder>()));
    policies.push(("filtered", filtered("Pendulum-v1", small())));
    let lstm = json!({"fcnet_hiddens": [8], "use_lstm": true, "lstm_cell_size": 8});
    policies.push(("filtered_lstm", filtered("StatelessCartPole-v1", lstm)));
    policies
}

/// Adds the columns of nested rows, by the names of ONNX inputs.
fn add(columns: &mut Map<String, Value>, name: &str, rows: &Buffer) {
    let shape = || [&[rows.rows()], rows.shape().unwrap()].concat();
    if let Ok(parts) = rows.as_dict() {
        parts.iter().for_each(|(key, part)| add(columns, &format!("{name}.{key}"), part));
    } else if let Ok(parts) = rows.as_tuple() {
        parts.iter().enumerate().for_each(|(i, part)| add(columns, &format!("{name}.{i}"), part));
    } else if let Ok(data) = rows.as_f32() {
        columns.insert(name.into(), json!({"shape": shape(), "data": data}));
    } else if let Ok(data) = rows.as_u8() {
        columns.insert(name.into(), json!({"shape": shape(), "data": data}));
    } else {
        columns.insert(name.into(), json!({"shape": shape(), "data": rows.as_i64().unwrap()}));
    }
}

/// Observations that the policy can act on: no mask allows nothing.
fn observations(policy: &PolicyBundle, rows: usize, rng: &mut Generator) -> Buffer {
    let space = &policy.config().observation_space;
    let mut seen = Buffer::zeros(space, rows);
    for row in 0..rows {
        space.sample_into(rng, seen.row_mut(row)).unwrap();
        if let Ok(mut mask) = seen.row_mut(row).get_mut("action_mask") {
            let bits: Vec<u8> =
                (0..4).map(|bit| u8::from(bit == row % 4 || bit > row % 5)).collect();
            mask.write_u8(&bits).unwrap();
        }
    }
    seen
}

/// Records three steps of five rows each, then one step of a single row.
fn recorded(policy: &PolicyBundle) -> Value {
    let mut rng = Generator::from_seed(3);
    let mut episodes = Vec::new();
    for (rows, steps) in [(5, 3), (1, 1)] {
        let mut policy = policy.clone();
        policy.reset();
        let steps = (0..steps).map(|_| {
            let seen = observations(&policy, rows, &mut rng);
            let (mut inputs, mut outputs) = (Map::new(), Map::new());
            add(&mut inputs, "obs", &seen);
            let has_state = policy.module().initial_state().unwrap().is_some();
            if policy.config().env_to_module.is_empty() && !has_state {
                let batch = Batch::new().with(Columns::OBS, upload(&seen, &device()).unwrap());
                let found = policy.module().forward_inference(&batch).unwrap();
                if let Some(column) = found.get(Columns::ACTION_DIST_INPUTS).unwrap() {
                    let data = column.tensor().unwrap().to_f32().unwrap();
                    let shape = [rows, data.len() / rows];
                    let name = Columns::ACTION_DIST_INPUTS;
                    // JSON's numbers hold float-min exactly.
                    outputs.insert(name.into(), json!({"shape": shape, "data": data}));
                }
            }
            add(&mut outputs, "actions", policy.compute_actions(&seen, false).unwrap());
            json!({"inputs": inputs, "outputs": outputs})
        });
        episodes.push(steps.collect::<Vec<_>>());
    }
    json!(episodes)
}

#[test]
#[ignore = "needs Python with onnxruntime; `cargo xtask test` runs it"]
fn onnxruntime_computes_the_same_actions() {
    let folder = tempfile::tempdir().unwrap();
    for (name, policy) in policies() {
        let file = |kind: &str| folder.path().join(format!("{name}.{kind}"));
        fs::write(file("onnx"), policy.to_onnx().unwrap()).unwrap();
        fs::write(file("json"), recorded(&policy).to_string()).unwrap();
    }
    let python = env::var("REKINDLE_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/onnx/compare.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    let (printed, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{printed}");
    assert!(output.status.success(), "{printed}\n{errors}");
    assert_eq!(printed.lines().count(), policies().len(), "{printed}");
}

#[test]
fn every_kind_of_policy_has_an_onnx_form() {
    for (name, policy) in policies() {
        let file = policy.to_onnx().unwrap_or_else(|error| panic!("{name}: {error}"));
        let text = String::from_utf8_lossy(&file);
        assert!(text.contains("obs") && text.contains("actions"), "{name}");
        assert_eq!(text.contains("state_in.h"), text.contains("state_out.h"), "{name}");
    }
}

#[test]
fn a_part_without_an_onnx_form_is_named() {
    let opaque = bundle(RLModuleSpec::of::<Opaque>(), vector(3), choice(2), Value::Null);
    let message = opaque.to_onnx().unwrap_err().to_string();
    assert!(message.starts_with("module `"), "{message}");
    assert!(message.contains("Opaque` cannot be exported to ONNX"), "{message}");
    assert!(message.contains("does not implement `RLModule::export_onnx`"), "{message}");
    let message = shared::<SharedOpaque>().to_onnx().unwrap_err().to_string();
    assert!(message.starts_with("shared module `"), "{message}");
    assert!(message.contains("SharedOpaque` cannot be exported to ONNX"), "{message}");
    assert!(message.contains("does not implement `SharedRLModule::export_onnx`"), "{message}");
    let previous = bundle_with(
        RLModuleSpec::default(),
        vector(3),
        choice(2),
        json!({"use_lstm": true, "lstm_cell_size": 4, "lstm_use_prev_action": true}),
        |c| c.env_to_module([ConnectorConfig::prev_actions_prev_rewards(1, 0)]),
    );
    let message = previous.to_onnx().unwrap_err().to_string();
    assert!(message.starts_with("connector `PrevActionsPrevRewards` cannot be"), "{message}");
}
