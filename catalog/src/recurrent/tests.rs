use rekindle_core::any_tensor::to_f32;
use rekindle_core::weights::state_dict;
use rekindle_core::{Generator, host_batch};

use super::*;

fn build(config: &RecurrentConfig) -> Recurrent {
    config.build(&ModelBuilder::new(&Device::flex(), Generator::from_seed(0)))
}

fn zero_state(rnn: &Recurrent, sequences: usize) -> Column {
    let state = rnn.initial_state().unwrap().gather(&vec![0; sequences]).unwrap();
    host_batch::upload(&state, &Device::flex()).unwrap()
}

fn configs() -> impl Iterator<Item = RecurrentConfig> {
    let kinds = [RecurrentLayerType::Lstm, RecurrentLayerType::Gru];
    kinds.into_iter().flat_map(|layer_type| {
        [(1, 16, true), (1, 128, false), (3, 16, false), (3, 128, true)].map(
            |(num_layers, hidden_dim, use_bias)| RecurrentConfig {
                layer_type,
                num_layers,
                use_bias,
                ..RecurrentConfig::new(5, hidden_dim)
            },
        )
    })
}

#[test]
fn outputs_and_states_have_the_layers_shapes() {
    for config in configs() {
        let rnn = build(&config);
        let x = Tensor::ones([1, 5], &Device::flex());
        let (out, state) = rnn.forward(x, &zero_state(&rnn, 1)).unwrap();
        assert_eq!(out.dims(), [1, config.hidden_dim]);
        let Column::Nested(state) = state else { panic!("a state is nested") };
        for key in config.layer_type.state_keys() {
            let dims = state.float::<3>(key).unwrap().dims();
            assert_eq!(dims, [1, config.num_layers, config.hidden_dim]);
        }
        assert_eq!(state.len(), config.layer_type.state_keys().len());
    }
}

#[test]
fn parameters_have_pytorchs_names_shapes_and_bounds() {
    let config = RecurrentConfig { num_layers: 2, ..RecurrentConfig::new(3, 4) };
    let weights = state_dict(&build(&config)).unwrap();
    let shapes: Vec<_> = weights.iter().map(|(name, w)| (name.as_str(), w.shape())).collect();
    assert_eq!(
        shapes,
        [
            ("bias_hh_l0", &[16][..]),
            ("bias_hh_l1", &[16]),
            ("bias_ih_l0", &[16]),
            ("bias_ih_l1", &[16]),
            ("weight_hh_l0", &[16, 4]),
            ("weight_hh_l1", &[16, 4]),
            ("weight_ih_l0", &[16, 3]),
            ("weight_ih_l1", &[16, 4]),
        ]
    );
    let all = weights.values().flat_map(|w| w.as_slice::<f32>().unwrap()).map(|w| w.abs());
    let largest = all.fold(0.0, f32::max);
    assert!(largest <= 0.5 && largest > 0.4, "{largest}");
}

#[test]
fn initializers_apply_to_weights_and_biases() {
    let config = RecurrentConfig {
        weights: Initializer::Constant { value: 0.25 },
        bias: Initializer::Zeros,
        ..RecurrentConfig::new(3, 4)
    };
    for (name, weights) in state_dict(&build(&config)).unwrap() {
        let expected = if name.starts_with("weight") { 0.25 } else { 0.0 };
        assert!(weights.as_slice::<f32>().unwrap().iter().all(|&w| w == expected), "{name}");
    }
}

#[test]
fn a_sequence_equals_its_steps_one_by_one() {
    for config in configs() {
        let rnn = build(&config);
        let data: Vec<f32> = (0..2 * 3 * 5).map(|i| (i as f32 * 0.7).sin()).collect();
        let x = Tensor::<2>::from_data(TensorData::new(data, [6, 5]), &Device::flex());
        let (whole, last) = rnn.forward(x.clone(), &zero_state(&rnn, 2)).unwrap();
        let mut state = zero_state(&rnn, 2);
        for t in 0..3 {
            let rows = Tensor::from_ints([t, 3 + t], &Device::flex());
            let (step, next) = rnn.forward(x.clone().select(0, rows.clone()), &state).unwrap();
            let expected = to_f32(whole.clone().select(0, rows)).unwrap();
            let found = to_f32(step).unwrap();
            let close = expected.iter().zip(&found).all(|(e, f)| (e - f).abs() < 1e-6);
            assert!(close, "{config:?}, step {t}");
            state = next;
        }
        let (Column::Nested(state), Column::Nested(last)) = (state, last) else { panic!() };
        let [found, expected] =
            [state, last].map(|s| to_f32(s.float::<3>(HIDDEN).unwrap()).unwrap());
        assert!(found.iter().zip(&expected).all(|(f, e)| (f - e).abs() < 1e-6));
    }
}

#[test]
fn states_that_do_not_fit_are_named() {
    let (lstm, other) = (build(&RecurrentConfig::new(3, 4)), build(&RecurrentConfig::new(3, 5)));
    let x = Tensor::ones([4, 3], &Device::flex());
    let message = lstm.forward(x.clone(), &zero_state(&other, 2)).unwrap_err().to_string();
    assert!(message.contains("state `c`") || message.contains("state `h`"), "{message}");
    assert!(message.contains("[_, 1, 4]"), "{message}");
    let message = lstm.forward(x.clone(), &zero_state(&lstm, 3)).unwrap_err().to_string();
    assert!(message.contains("3 sequences of equal length"), "{message}");
    let gru = RecurrentConfig { layer_type: RecurrentLayerType::Gru, ..RecurrentConfig::new(3, 4) };
    let message = lstm.forward(x, &zero_state(&build(&gru), 2)).unwrap_err().to_string();
    assert!(message.contains("`c` is not in the batch"), "{message}");
}

#[test]
fn sequences_without_steps_keep_their_state() {
    for config in configs() {
        let rnn = build(&config);
        for sequences in [0, 3] {
            let before = zero_state(&rnn, sequences);
            let x = Tensor::zeros([0, 5], &Device::flex());
            let (features, after) = rnn.forward(x, &before).unwrap();
            assert_eq!(features.dims(), [0, config.hidden_dim]);
            let (Column::Nested(before), Column::Nested(after)) = (before, after) else {
                panic!("a state is nested")
            };
            for key in config.layer_type.state_keys() {
                let [before, after] = [&before, &after].map(|state| state.float::<3>(key).unwrap());
                assert_eq!(before.dims(), after.dims());
                assert_eq!(to_f32(before).unwrap(), to_f32(after).unwrap());
            }
        }
    }
}
