use burn::module::Module;
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

/// Integers, bytes and booleans are not weights, regardless of their values.
#[test]
fn integers_bytes_and_booleans_are_refused_as_float_weights() {
    let net = net(&Device::flex());
    let wrong: [(ArrayData, &str); 4] = [
        (ArrayData::Bool(vec![true; 3]), "BOOL"),
        (ArrayData::U8(vec![1; 3]), "U8"),
        (ArrayData::I32(vec![1; 3]), "I32"),
        (ArrayData::I64(vec![1; 3]), "I64"),
    ];
    for (data, dtype) in wrong {
        let mut weights = state_dict(&net).unwrap();
        weights.insert("layers.0.bias".into(), Array::new([3], data).unwrap());
        let message = load_state_dict(&net, &weights).unwrap_err().to_string();
        let expected = format!("weight `layers.0.bias` has elements of type {dtype}");
        assert!(message.contains(&expected) && message.contains("float parameter"), "{message}");
        let (loaded, report) = load_matching(&net, &weights).unwrap();
        assert_eq!(report.mistyped, ["layers.0.bias"]);
        assert!(!report.is_complete());
        assert_eq!(state_dict(&loaded).unwrap(), state_dict(&net).unwrap());
    }
}

#[test]
fn weights_that_are_not_finite_or_too_large_are_refused_with_their_place() {
    let net = net(&Device::flex());
    let at = |value: f64| {
        let mut values = vec![0.25; 12];
        values[7] = value;
        values
    };
    let narrow = |value: f32| ArrayData::F32(at(value.into()).iter().map(|x| *x as f32).collect());
    for (data, value) in [
        (narrow(f32::NAN), "NaN"),
        (narrow(f32::INFINITY), "inf"),
        (narrow(f32::NEG_INFINITY), "-inf"),
        (ArrayData::F64(at(f64::NAN)), "NaN"),
        (ArrayData::F64(at(-f64::INFINITY)), "-inf"),
        (ArrayData::F64(at(1e300)), "1000000000"),
    ] {
        let mut weights = state_dict(&net).unwrap();
        weights.insert("layers.0.weight".into(), Array::new([3, 4], data).unwrap());
        for error in [
            load_state_dict(&net, &weights).map(|_| ()).unwrap_err(),
            load_matching(&net, &weights).map(|_| ()).unwrap_err(),
        ] {
            let message = error.to_string();
            let expected = format!("weight `layers.0.weight` has the value {value}");
            assert!(message.contains(&expected) && message.contains("[1, 3]"), "{message}");
        }
    }
    // The largest 32-bit float, and numbers that round to zero, are valid weights.
    let mut weights = state_dict(&net).unwrap();
    let values = vec![f64::from(f32::MAX), -f64::from(f32::MAX), 1e-300];
    weights.insert("layers.0.bias".into(), Array::new([3], values).unwrap());
    let loaded = load_state_dict(&net, &weights).unwrap();
    assert_eq!(
        to_f32(loaded.layers[0].bias.as_ref().unwrap().val()).unwrap(),
        [f32::MAX, f32::MIN, 0.0]
    );
}

#[test]
fn what_was_saved_is_restored_also_where_it_is_not_finite() {
    let net = net(&Device::flex());
    let mut weights = state_dict(&net).unwrap();
    let values = vec![f32::NEG_INFINITY, 0.5, f32::INFINITY];
    weights.insert("layers.0.bias".into(), Array::new([3], values).unwrap());
    let restored = restore_state_dict(&net, &weights).unwrap();
    assert_eq!(state_dict(&restored).unwrap(), weights);
    // All else is checked as in other weights.
    let mut wide = weights.clone();
    wide.insert("layers.0.bias".into(), Array::new([3], vec![0.0, 1e300, 0.0]).unwrap());
    assert!(matches!(restore_state_dict(&net, &wide), Err(CoreError::WeightValue { .. })));
    weights.remove("layers.0.bias");
    assert!(matches!(restore_state_dict(&net, &weights), Err(CoreError::WeightNames { .. })));
}

#[derive(Module, Debug)]
struct Counter {
    count: Param<Tensor<1, Int>>,
    done: Param<Tensor<1, Bool>>,
}

fn counter() -> Counter {
    let device = Device::flex();
    Counter {
        count: Param::initialized(Default::default(), Tensor::from_ints([1, 2], &device)),
        done: Param::initialized(Default::default(), Tensor::from_bool([true], &device)),
    }
}

#[test]
fn integer_and_boolean_parameters_take_their_own_kind_only() {
    let counter = counter();
    let weights = state_dict(&counter).unwrap();
    assert_eq!(state_dict(&load_state_dict(&counter, &weights).unwrap()).unwrap(), weights);
    let refused = |name: &str, data: ArrayData| {
        let mut weights = weights.clone();
        let len = data.len();
        weights.insert(name.into(), Array::new([len], data).unwrap());
        load_state_dict(&counter, &weights).unwrap_err()
    };
    let error = refused("count", ArrayData::F32(vec![1.0, 2.0]));
    assert!(matches!(error, CoreError::WeightKind { .. }), "{error}");
    let error = refused("done", ArrayData::U8(vec![1]));
    assert!(matches!(error, CoreError::WeightKind { .. }), "{error}");
    // Burn panics on integers beyond 32 bits.
    let error = refused("count", ArrayData::I64(vec![1, 1 << 31]));
    assert!(error.to_string().contains("2147483648"), "{error}");
}
