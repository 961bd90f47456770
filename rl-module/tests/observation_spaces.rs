//! The default actor-critic on every observation space. Assertions 13 and 16.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::prelude::*;
use proptest::prelude::*;
use rekindle_catalog::{
    BoxEncoder, Catalog, CatalogContext, MlpConfig, MlpEncoderConfig, Result as CatalogResult,
};
use rekindle_core::any_tensor::to_f32;
use rekindle_core::host_batch::upload;
use rekindle_core::{Batch, Columns, Generator};
use rekindle_env::{Buffer, Discrete, Space};
use rekindle_rl_module::{AnyRLModule, RLModuleSpec};
use serde_json::{Value as Json, json};

fn spec(space: &Space, config: Json) -> RLModuleSpec {
    RLModuleSpec::default()
        .observation_space(space.clone())
        .action_space(Space::discrete(2).unwrap())
        .model_config(config)
}

fn build(spec: &RLModuleSpec, seed: u64) -> AnyRLModule {
    spec.build_seeded(&Device::flex(), Generator::from_seed(seed)).unwrap()
}

fn observations(space: &Space, rows: usize, device: &Device) -> Batch {
    let mut rng = Generator::from_seed(5);
    let mut buffer = Buffer::with_capacity(space, rows);
    (0..rows).for_each(|_| buffer.push_value(&space.sample(&mut rng)).unwrap());
    Batch::new().with(Columns::OBS, upload(&buffer, device).unwrap())
}

#[test]
fn the_number_of_normalization_layers_follows_the_config() {
    let norms = |hiddens: &[usize], share: bool, layernorm: bool| {
        let space = Space::boxed(-1.0, 1.0, &[4]).unwrap();
        let config = json!({
            "fcnet_hiddens": hiddens,
            "fcnet_use_layernorm": layernorm,
            "vf_share_layers": share,
        });
        let weights = build(&spec(&space, config), 0).state_dict().unwrap();
        weights.keys().filter(|name| name.contains("norms.") && name.ends_with("weight")).count()
    };
    assert_eq!(norms(&[16, 16], false, true), 4);
    assert_eq!(norms(&[16], false, true), 2);
    assert_eq!(norms(&[16, 16, 16], false, true), 6);
    assert_eq!(norms(&[16, 16], true, true), 2);
    assert_eq!(norms(&[16, 16], true, false), 0);
}

/// Encoders of ten features.
#[derive(Debug)]
struct TenFeatures;

impl Catalog for TenFeatures {
    fn build_encoder(&self, cx: CatalogContext<'_>, space: &Space) -> CatalogResult<BoxEncoder> {
        let config = MlpEncoderConfig::new(MlpConfig::new(space.flat_dim(), &[], Some(10)));
        Ok(BoxEncoder::new(config.build(cx.builder)))
    }
}

#[test]
fn heads_take_as_many_inputs_as_a_custom_encoder_has_features() {
    let space = Space::boxed(-1.0, 1.0, &[4]).unwrap();
    let weights = build(&spec(&space, Json::Null).catalog(TenFeatures), 0).state_dict().unwrap();
    for (name, outputs) in [("pi.mlp.layers.0.weight", 2), ("vf.layers.0.weight", 1)] {
        assert_eq!(weights[name].shape(), [outputs, 10], "{name}");
    }
}

#[test]
fn a_setting_without_effect_on_the_observation_space_is_refused_when_the_module_is_built() {
    let space = Space::boxed(-1.0, 1.0, &[4]).unwrap();
    let spec = spec(&space, json!({"conv_filters": [[16, 4, 2]]}));
    let message = spec.build(&Device::flex()).unwrap_err().to_string();
    assert!(message.contains("`conv_filters` does not apply here"), "{message}");
}

#[test]
fn gradients_reach_every_parameter() {
    let device = Device::flex().autodiff();
    let space = Space::dict([
        ("camera", Space::image(&[10, 10, 4]).unwrap()),
        ("place", Space::discrete(100).unwrap()),
        ("tuple", Space::tuple([Space::boxed(-1.0, 1.0, &[]).unwrap()]).unwrap()),
    ])
    .unwrap();
    let config = json!({
        "conv_use_layernorm": true, "fcnet_use_layernorm": true, "vf_share_layers": false,
    });
    let module = build(&spec(&space, config), 0);
    let parameters = module.state_dict().unwrap().len();
    let module = module.fork(&device).train();
    let batch = observations(&space, 8, &device);
    let logits = module.forward_train(&batch).unwrap();
    let logits = logits.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap();
    let values = module.compute_values(&batch, None).unwrap();
    // Squares: the sum of a normalized row does not depend on the row.
    let loss = logits.powi_scalar(2).sum() + values.powi_scalar(2).sum();
    let gradients = GradientsParams::from_grads(loss.backward(), &module);
    assert_eq!(gradients.len(), parameters);
}

fn leaf() -> impl Strategy<Value = Space> {
    let shape = || prop::collection::vec(1_usize..4, 0..5);
    prop_oneof![
        shape().prop_map(|shape| Space::boxed(-1.0, 1.0, &shape).unwrap()),
        shape().prop_map(|shape| Space::unbounded(&shape).unwrap()),
        shape().prop_map(|shape| Space::image(&shape).unwrap()),
        (1_usize..80, -5_i64..5)
            .prop_map(|(n, start)| Space::Discrete(Discrete::with_start(n, start).unwrap())),
        prop::collection::vec(1_usize..80, 1..4)
            .prop_map(|nvec| Space::multi_discrete(nvec).unwrap()),
        (1_usize..9).prop_map(|n| Space::multi_binary(n).unwrap()),
    ]
}

fn space() -> impl Strategy<Value = Space> {
    leaf().prop_recursive(3, 12, 3, |part| {
        prop_oneof![
            prop::collection::btree_map("[a-z]{1,3}", part.clone(), 1..4)
                .prop_map(|parts| Space::dict(parts).unwrap()),
            prop::collection::vec(part, 1..4).prop_map(|parts| Space::tuple(parts).unwrap()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Random spaces nested up to three deep: the module builds, reads a batch of samples, and
    /// another module with its weights puts out the same.
    #[test]
    fn any_observation_space_builds_forwards_and_loads(space in space(), rows in 1_usize..5) {
        let spec = spec(&space, json!({"vf_share_layers": false}));
        let module = build(&spec, 0);
        let mut fresh = build(&spec, 1);
        fresh.load_state_dict(&module.state_dict().unwrap()).unwrap();
        let batch = observations(&space, rows, &Device::flex());
        let out = |module: &AnyRLModule| {
            let logits = module.forward_train(&batch).unwrap();
            let logits = logits.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap();
            assert_eq!(logits.dims(), [rows, 2]);
            let values = module.compute_values(&batch, None).unwrap();
            (to_f32(logits).unwrap(), to_f32(values).unwrap())
        };
        prop_assert_eq!(out(&module), out(&fresh));
    }
}
