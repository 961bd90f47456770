//! The default encoder of every kind of space, and its settings.

use burn::prelude::*;
use rekindle::catalog::{Activation, CatalogContext, ConvFilter, DefaultModelConfig};
use rekindle::catalog::{RecurrentLayerType, check_encoder};
use rekindle::core::host_batch::upload;
use rekindle::prelude::*;

use super::{Case, DEEP, TOLERANCE, builder, of_module, samples};

const ROWS: usize = 6;

fn small() -> DefaultModelConfig {
    DefaultModelConfig::default()
        .fcnet_hiddens(vec![12, 8])
        .fusionnet_hiddens(vec![8])
        .lstm_cell_size(8)
}

pub(super) fn all() -> Vec<Case> {
    let vector = || Space::boxed(-1.0, 1.0, &[5]).unwrap();
    let image = || Space::image(&[10, 10, 3]).unwrap();
    let parts = || {
        let motors = vec![Space::boxed(-1.0, 1.0, &[3]).unwrap(), Space::multi_binary(2).unwrap()];
        let motors = Space::tuple(motors).unwrap();
        Space::dict([
            ("camera", image()),
            ("gear", Space::discrete(5).unwrap()),
            ("motors", motors),
        ])
        .unwrap()
    };
    let mut cases = vec![
        encoder("MLP", vector(), small(), TOLERANCE),
        encoder("MLP of one-hot", Space::discrete(7).unwrap(), small(), TOLERANCE),
        encoder("MLP of bits", Space::multi_binary(7).unwrap(), small(), TOLERANCE),
        encoder("embeddings", Space::multi_discrete([3, 100]).unwrap(), small(), TOLERANCE),
        encoder("CNN", image(), small(), DEEP),
        encoder("Dict and Tuple", parts(), small(), DEEP),
    ];
    for activation in [
        Activation::Linear,
        Activation::Relu,
        Activation::Silu,
        Activation::Elu,
        Activation::Sigmoid,
        Activation::Gelu,
    ] {
        let config = small().fcnet_activation(activation);
        cases.push(encoder(&format!("MLP, {activation:?}"), vector(), config, TOLERANCE));
    }
    let config = small().fcnet_use_layernorm(true);
    cases.push(encoder("MLP, layer norm", vector(), config, DEEP));
    let filters = vec![ConvFilter::new(4, 3, 2), ConvFilter::new(6, 4, 1).valid()];
    let config = small().conv_filters(filters).conv_use_layernorm(true);
    cases.push(encoder("CNN, layer norm, both paddings", image(), config, DEEP));
    for (layer, num_layers) in [(RecurrentLayerType::Lstm, 1), (RecurrentLayerType::Gru, 2)] {
        let config =
            small().use_lstm(true).recurrent_layer_type(layer).recurrent_num_layers(num_layers);
        let name = format!("{layer:?}, layers: {num_layers}, 3 steps");
        cases.push(recurrent(&name, vector(), config));
    }
    cases
}

fn build(space: &Space, config: &DefaultModelConfig, device: &Device) -> BoxEncoder {
    let builder = builder(device);
    let cx = CatalogContext::new(&builder, config);
    DefaultCatalog.build_encoder(cx, space).unwrap()
}

fn encoder(name: &str, space: Space, config: DefaultModelConfig, tolerance: f32) -> Case {
    Case::new(format!("encoder: {name}"), tolerance, move |device| {
        let encoder = build(&space, &config, device);
        check_encoder(&*encoder, &space, device).unwrap();
        let observations = samples(&space, ROWS, &device.clone().autodiff());
        of_module(encoder, device, |encoder| encoder.forward(&observations).unwrap())
    })
}

/// Two sequences of three steps.
fn recurrent(name: &str, space: Space, config: DefaultModelConfig) -> Case {
    Case::new(format!("encoder: {name}"), DEEP, move |device| {
        let builder = builder(device);
        let cx = CatalogContext::new(&builder, &config);
        let encoder = DefaultCatalog.build_recurrent_encoder(cx, &space).unwrap();
        let device = &device.clone().autodiff();
        let observations = samples(&space, ROWS, device);
        let initial = encoder.initial_state().unwrap().unwrap();
        let state = upload(&initial.gather(&[0, 0]).unwrap(), device).unwrap();
        of_module(encoder, device, |encoder| {
            encoder.forward_recurrent(&observations, &state).unwrap().0
        })
    })
}
