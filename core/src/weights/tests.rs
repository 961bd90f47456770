use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};

use super::*;

#[derive(Module, Debug)]
struct Net {
    layers: Vec<Linear>,
    norm: LayerNorm,
}

fn net(device: &Device) -> Net {
    Net {
        layers: vec![LinearConfig::new(4, 3).init(device), LinearConfig::new(3, 2).init(device)],
        norm: LayerNormConfig::new(2).init(device),
    }
}

#[test]
fn names_and_layout_are_those_of_a_pytorch_state_dict() {
    let net = net(&Device::flex());
    let weights = state_dict(&net).unwrap();
    let shapes: Vec<_> = weights.iter().map(|(n, a)| (n.as_str(), a.shape().to_vec())).collect();
    assert_eq!(
        shapes,
        [
            ("layers.0.bias", vec![3]),
            ("layers.0.weight", vec![3, 4]),
            ("layers.1.bias", vec![2]),
            ("layers.1.weight", vec![2, 3]),
            ("norm.bias", vec![2]),
            ("norm.weight", vec![2]),
        ]
    );
    let ArrayData::F32(values) = weights["layers.0.weight"].data() else { panic!() };
    let transposed = net.layers[0].weight.val().transpose();
    assert_eq!(*values, to_f32(transposed).unwrap());
}

#[test]
fn weights_load_into_another_module_and_keep_autodiff_on() {
    let source = net(&Device::flex());
    let weights = state_dict(&source).unwrap();
    let target = net(&Device::flex().autodiff());
    let loaded = load_state_dict(&target, &weights).unwrap();
    assert_eq!(state_dict(&loaded).unwrap(), weights);
    let values = |net: &Net| to_f32(net.layers[0].weight.val()).unwrap();
    assert_eq!(values(&loaded), values(&source));
    assert!(loaded.layers[0].weight.is_require_grad());
    let x = Tensor::<2>::ones([1, 4], &Device::flex().autodiff());
    let grads = loaded.layers[0].forward(x).sum().backward();
    assert!(loaded.layers[0].weight.grad(&grads).is_some());
}

/// NumPy and PyTorch in double precision write them.
#[test]
fn weights_of_64_bits_load_as_the_same_numbers() {
    let net = net(&Device::flex());
    let weights = state_dict(&net).unwrap();
    let doubles = weights.iter().map(|(name, array)| {
        let values = array.as_slice::<f32>().unwrap().iter().copied().map(f64::from);
        let values: Vec<f64> = values.collect();
        (name.clone(), Array::new(array.shape(), values).unwrap())
    });
    let loaded = load_state_dict(&net, &doubles.collect()).unwrap();
    assert_eq!(state_dict(&loaded).unwrap(), weights);
}

#[test]
fn a_lenient_load_takes_what_fits_and_reports_the_rest() {
    let (source, target) = (net(&Device::flex()), net(&Device::flex()));
    let mut weights = state_dict(&source).unwrap();
    weights.remove("norm.bias").unwrap();
    weights.insert("extra".into(), vec![1f32].into());
    weights.insert("layers.1.bias".into(), vec![1f32; 7].into());
    let (loaded, report) = load_matching(&target, &weights).unwrap();
    assert_eq!(report.missing, ["norm.bias"]);
    assert_eq!(report.unexpected, ["extra"]);
    assert_eq!(report.misshapen, ["layers.1.bias"]);
    assert_eq!(report.loaded.len(), 4);
    assert!(!report.is_complete());
    let (loaded, kept) = (state_dict(&loaded).unwrap(), state_dict(&target).unwrap());
    assert_eq!(loaded["layers.0.weight"], weights["layers.0.weight"]);
    assert_eq!(loaded["layers.1.bias"], kept["layers.1.bias"]);
}

#[test]
fn missing_unexpected_and_misshapen_weights_are_named() {
    let net = net(&Device::flex());
    let mut weights = state_dict(&net).unwrap();
    let bias = weights.remove("norm.bias").unwrap();
    weights.insert("norm.beta".into(), bias);
    let message = load_state_dict(&net, &weights).unwrap_err().to_string();
    assert!(message.contains("missing [norm.bias], unexpected [norm.beta]"), "{message}");

    let mut weights = state_dict(&net).unwrap();
    let wrong = Array::new(vec![5], ArrayData::F32(vec![0.0; 5])).unwrap();
    weights.insert("layers.0.bias".into(), wrong);
    let message = load_state_dict(&net, &weights).unwrap_err().to_string();
    assert!(message.contains("`layers.0.bias` has shape [5]"), "{message}");
}
