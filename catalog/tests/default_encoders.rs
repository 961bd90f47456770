//! The default encoder of every space, and the settings that change it. Assertions 14 and 16.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use burn::prelude::*;
use burn::tensor::Int;
use rekindle_catalog::{
    Activation, BoxEncoder, Catalog, CatalogContext, ConvFilter, DefaultCatalog,
    DefaultModelConfig, Initializer, MlpConfig, MlpEncoderConfig, ModelBuilder, Result,
};
use rekindle_core::any_tensor::to_f32;
use rekindle_core::host_batch::upload;
use rekindle_core::weights::{Weights, state_dict};
use rekindle_core::{Batch, Column, Generator};
use rekindle_env::{Buffer, Discrete, Space};

fn build_with(
    catalog: &dyn Catalog,
    space: &Space,
    config: &DefaultModelConfig,
) -> Result<BoxEncoder> {
    let builder = ModelBuilder::new(&Device::flex(), Generator::from_seed(0));
    config.validate()?;
    let unused = catalog.unused_settings(config, space, &Space::discrete(2)?)?;
    if let Some(unused) = unused.into_iter().next() {
        return Err(unused.into());
    }
    catalog.build_encoder(CatalogContext::new(&builder, config), space)
}

fn build(space: &Space, config: &DefaultModelConfig) -> Result<BoxEncoder> {
    build_with(&DefaultCatalog, space, config)
}

/// Narrow networks, so that tests are fast.
fn narrow() -> DefaultModelConfig {
    DefaultModelConfig::default().fcnet_hiddens(vec![8])
}

fn samples(space: &Space, rows: usize) -> Column {
    let mut rng = Generator::from_seed(1);
    let mut buffer = Buffer::with_capacity(space, rows);
    (0..rows).for_each(|_| buffer.push_value(&space.sample(&mut rng)).unwrap());
    upload(&buffer, &Device::flex()).unwrap()
}

fn forward(encoder: &BoxEncoder, observations: &Column) -> Vec<f32> {
    to_f32(encoder.forward(observations).unwrap()).unwrap()
}

fn names(encoder: &BoxEncoder) -> Vec<String> {
    state_dict(encoder).unwrap().into_keys().collect()
}

fn parts() -> Space {
    let motors = vec![Space::boxed(-1.0, 1.0, &[3]).unwrap(), Space::multi_binary(2).unwrap()];
    Space::dict([
        ("camera", Space::image(&[10, 10, 4]).unwrap()),
        ("gear", Space::discrete(5).unwrap()),
        ("motors", Space::tuple(motors).unwrap()),
    ])
    .unwrap()
}

#[test]
fn every_kind_of_space_has_an_encoder() {
    let vector = |shape: &[usize]| Space::boxed(-1.0, 1.0, shape).unwrap();
    let image = |shape: &[usize]| Space::image(shape).unwrap();
    let cases = [
        (vector(&[5]), 8, "mlp.layers.0.weight"),
        (vector(&[]), 8, "mlp.layers.0.weight"),
        (vector(&[4, 3]), 8, "mlp.layers.0.weight"),
        (vector(&[2, 2, 2, 2]), 8, "mlp.layers.0.weight"),
        (image(&[128]), 8, "mlp.layers.0.weight"),
        (Space::multi_binary(7).unwrap(), 8, "mlp.layers.0.weight"),
        (Space::discrete(64).unwrap(), 8, "mlp.layers.0.weight"),
        (Space::discrete(65).unwrap(), 8, "embeddings.0.weight"),
        (Space::multi_discrete([3, 100, 2]).unwrap(), 8, "embeddings.0.weight"),
        (image(&[84, 84, 1]), 11 * 11 * 256, "cnn.layers.2.weight"),
        (image(&[84, 84]), 11 * 11 * 256, "cnn.layers.2.weight"),
        (image(&[64, 64, 3]), 4 * 4 * 128, "cnn.layers.3.weight"),
        (image(&[42, 42, 1]), 11 * 11 * 256, "cnn.layers.2.weight"),
        (image(&[10, 10, 4]), 3 * 3 * 32, "cnn.layers.1.weight"),
        // RLlib has no filters for this size and fails with a hint to wrap the environment.
        (image(&[210, 160, 3]), 4 * 3 * 128, "cnn.layers.5.weight"),
        (vector(&[3, 2, 1]), 3 * 2 * 16, "cnn.layers.0.weight"),
        (parts(), 256, "streams.motors.streams.1.mlp.layers.0.weight"),
    ];
    for (space, features, parameter) in cases {
        let config = DefaultModelConfig::default();
        let convolutional = parameter.starts_with("cnn") || matches!(space, Space::Dict(_));
        let config = if convolutional { config } else { narrow() };
        let encoder = build(&space, &config).unwrap();
        assert_eq!(encoder.output_dim(), features, "{space}");
        assert!(names(&encoder).iter().any(|name| name == parameter), "{space}: {encoder:?}");
        let out = encoder.forward(&samples(&space, 2)).unwrap();
        assert_eq!(out.dims(), [2, features], "{space}");
    }
}

#[test]
fn spaces_too_large_for_a_default_say_what_to_override() {
    for space in [Space::discrete((1 << 20) + 1), Space::boxed(0.0, 1.0, &[1; 6])] {
        let message = build(&space.unwrap(), &narrow()).unwrap_err().to_string();
        assert!(message.contains("override `Catalog::build_encoder`"), "{message}");
    }
}

#[test]
fn bytes_arrive_between_0_and_1_and_floats_as_they_are() {
    let config = DefaultModelConfig::default().fcnet_hiddens(Vec::new());
    let bytes = Column::from(Tensor::<2>::from_floats([[0.0, 51.0, 255.0]], &Device::flex()));
    let image = build(&Space::image(&[3]).unwrap(), &config).unwrap();
    assert_eq!(forward(&image, &bytes), [0.0, 0.2, 1.0]);
    let floats = build(&Space::boxed(0.0, 255.0, &[3]).unwrap(), &config).unwrap();
    assert_eq!(forward(&floats, &bytes), [0.0, 51.0, 255.0]);

    let config = DefaultModelConfig::default()
        .conv_filters(vec![ConvFilter::new(1, 1, 1)])
        .conv_kernel_initializer(Initializer::Constant { value: 1.0 })
        .conv_bias_initializer(Initializer::Zeros);
    let image = build(&Space::image(&[1, 3, 1]).unwrap(), &config).unwrap();
    let pixels = Tensor::<1>::from_floats([0.0, 51.0, 255.0], &Device::flex());
    assert_eq!(forward(&image, &Column::from(pixels.reshape([1, 1, 3, 1]))), [0.0, 0.2, 1.0]);
}

#[test]
fn choices_are_one_hot_from_their_start_and_side_by_side() {
    let config = DefaultModelConfig::default().fcnet_hiddens(Vec::new());
    let space = Space::Discrete(Discrete::with_start(3, -1).unwrap());
    let encoder = build(&space, &config).unwrap();
    let choices = Tensor::<1, Int>::from_ints([-1, 1, 7], &Device::flex());
    let expected = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0];
    assert_eq!(forward(&encoder, &Column::from(choices)), expected);

    let encoder = build(&Space::multi_discrete([2, 3]).unwrap(), &config).unwrap();
    let choices = Tensor::<2, Int>::from_ints([[1, 0], [0, 2]], &Device::flex());
    let expected = [0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    assert_eq!(forward(&encoder, &Column::from(choices)), expected);
}

#[test]
fn large_choices_are_rows_of_their_embedding() {
    let config = DefaultModelConfig::default().fcnet_hiddens(Vec::new());
    let encoder = build(&Space::Discrete(Discrete::with_start(100, 10).unwrap()), &config).unwrap();
    let weights = state_dict(&encoder).unwrap();
    let table = &weights["embeddings.0.weight"];
    assert_eq!(table.shape(), [100, 64]);
    let rekindle_checkpoint::ArrayData::F32(table) = table.data() else { panic!() };
    let choices = Tensor::<1, Int>::from_ints([10, 109], &Device::flex());
    let expected = [&table[..64], &table[99 * 64..]].concat();
    assert_eq!(forward(&encoder, &Column::from(choices)), expected);
}

#[test]
fn parts_are_concatenated_in_the_order_of_the_space() {
    let config =
        DefaultModelConfig::default().fcnet_hiddens(Vec::new()).fusionnet_hiddens(Vec::new());
    let eleven = vec![Space::boxed(0.0, 99.0, &[]).unwrap(); 11];
    let space = Space::dict([
        ("b", Space::tuple(eleven).unwrap()),
        ("a", Space::boxed(0.0, 99.0, &[1]).unwrap()),
    ]);
    let number = |x: f32| Tensor::<1>::from_floats([x], &Device::flex());
    let tuple = (0..11).fold(Batch::new(), |b, i| b.with(i.to_string(), number(i as f32)));
    let batch = Batch::new().with("a", number(50.0).reshape([1, 1])).with("b", tuple);
    let encoder = build(&space.unwrap(), &config).unwrap();
    let expected: Vec<f32> = [50.0].into_iter().chain((0..11).map(|i| i as f32)).collect();
    assert_eq!(forward(&encoder, &Column::from(batch)), expected);
}

#[test]
fn observations_of_another_kind_or_shape_are_named() {
    let device = Device::flex();
    let float = |shape: [usize; 2]| Column::from(Tensor::<2>::zeros(shape, &device));
    let cases = [
        (Space::boxed(0.0, 1.0, &[5]), float([3, 4]), "a float tensor with 5 numbers a row"),
        (Space::image(&[3, 2, 1]), float([3, 6]), "a float tensor of shape [_, 3, 2, 1]"),
        (Space::discrete(3), float([3, 3]), "an int tensor of shape [_, 1]"),
        (Space::multi_discrete([2, 2]), float([3, 4]), "an int tensor of shape [_, 2]"),
        (Ok(parts()), float([3, 4]), "a nested batch of [camera, gear, motors]"),
    ];
    for (space, observations, expected) in cases {
        let encoder = build(&space.unwrap(), &DefaultModelConfig::default()).unwrap();
        let message = encoder.forward(&observations).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("found a float tensor of shape [3, "), "{message}");
    }
    let encoder = build(&parts(), &DefaultModelConfig::default()).unwrap();
    let message = encoder.forward(&Column::from(Batch::new())).unwrap_err().to_string();
    assert!(message.contains("column `camera` is not in the batch"), "{message}");
}

/// Each field of the encoders, changed alone.
fn changes() -> Vec<(&'static str, DefaultModelConfig)> {
    let base = DefaultModelConfig::default;
    let uniform = Initializer::Uniform { low: -0.1, high: 0.1 };
    let elu = Activation::Elu;
    vec![
        ("fcnet_hiddens", base().fcnet_hiddens(vec![8])),
        ("fcnet_activation", base().fcnet_activation(elu)),
        ("fcnet_kernel_initializer", { base().fcnet_kernel_initializer(uniform) }),
        ("fcnet_bias_initializer", { base().fcnet_bias_initializer(uniform) }),
        ("fcnet_use_layernorm", base().fcnet_use_layernorm(true)),
        ("conv_filters", { base().conv_filters(vec![ConvFilter::new(4, 3, 2)]) }),
        ("conv_activation", base().conv_activation(elu)),
        ("conv_kernel_initializer", { base().conv_kernel_initializer(uniform) }),
        ("conv_bias_initializer", { base().conv_bias_initializer(uniform) }),
        ("conv_use_layernorm", base().conv_use_layernorm(true)),
        ("conv_fcnet_hiddens", base().conv_fcnet_hiddens(vec![8])),
        ("fusionnet_hiddens", base().fusionnet_hiddens(vec![8])),
        ("fusionnet_activation", base().fusionnet_activation(elu)),
        ("fusionnet_kernel_initializer", { base().fusionnet_kernel_initializer(uniform) }),
        ("fusionnet_bias_initializer", { base().fusionnet_bias_initializer(uniform) }),
    ]
}

#[test]
fn every_setting_changes_what_is_built_from_a_space_with_all_parts() {
    let observations = samples(&parts(), 2);
    let result = |config: &DefaultModelConfig| -> (Weights, Vec<f32>) {
        let encoder = build(&parts(), config).unwrap();
        (state_dict(&encoder).unwrap(), forward(&encoder, &observations))
    };
    let default = result(&DefaultModelConfig::default());
    for (field, config) in changes() {
        let (weights, out) = result(&config);
        assert_ne!(out, default.1, "{field} changes no output");
        let activation = field.ends_with("activation");
        assert_eq!(weights == default.0, activation, "{field} and the parameters");
    }
}

#[test]
fn every_setting_that_has_no_effect_is_refused_by_name() {
    let vector = Space::boxed(-1.0, 1.0, &[4]).unwrap();
    let image = Space::image(&[10, 10, 1]).unwrap();
    for (field, config) in changes() {
        for (space, group) in [(&vector, "fcnet_"), (&image, "conv_")] {
            let built = build(space, &config);
            if field.starts_with(group) {
                built.unwrap();
            } else {
                let message = built.unwrap_err().to_string();
                let expected = format!("`{field}` does not apply here");
                assert!(message.contains(&expected), "{message}");
                assert!(message.contains("Catalog::unused_settings"), "{message}");
            }
        }
    }
}

#[test]
fn filters_that_do_not_fit_name_the_field() {
    let filters = vec![ConvFilter::new(4, 12, 1).valid()];
    let config = DefaultModelConfig::default().conv_filters(filters);
    let message = build(&Space::image(&[10, 10, 1]).unwrap(), &config).unwrap_err().to_string();
    assert!(message.contains("the kernel of layer 0 exceeds the 10x10 image"), "{message}");
    let config = DefaultModelConfig::default().conv_filters(Vec::new());
    assert!(config.validate().unwrap_err().to_string().contains("at least one filter"));
}

/// Encodes every vector, at any depth, into ten features.
#[derive(Debug)]
struct TenFeatures;

impl Catalog for TenFeatures {
    fn build_encoder(&self, cx: CatalogContext<'_>, space: &Space) -> Result<BoxEncoder> {
        match space {
            Space::Box(b) if b.shape().len() == 1 => {
                let config = MlpEncoderConfig::new(MlpConfig::new(b.size(), &[], Some(10)));
                Ok(BoxEncoder::new(config.build(cx.builder)))
            }
            _ => self.default_encoder(cx, space),
        }
    }
}

#[test]
fn an_overridden_encoder_is_used_within_parts_too() {
    let config = DefaultModelConfig::default();
    let vector = Space::boxed(-1.0, 1.0, &[3]).unwrap();
    assert_eq!(build_with(&TenFeatures, &vector, &config).unwrap().output_dim(), 10);
    let encoder = build_with(&TenFeatures, &parts(), &config).unwrap();
    let weights = state_dict(&encoder).unwrap();
    assert_eq!(weights["streams.motors.streams.0.mlp.layers.0.weight"].shape(), [10, 3]);
    assert_eq!(weights["streams.motors.fusion.layers.0.weight"].shape(), [256, 10 + 256]);
}
