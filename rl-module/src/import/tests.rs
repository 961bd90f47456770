//! Name maps on small sets of weights.

use rekindle_checkpoint::Array;

use super::*;

fn weights(names: &[(&str, &[usize])]) -> Weights {
    let array = |shape: &[usize]| Array::new(shape, vec![0f32; shape.iter().product()]).unwrap();
    names.iter().map(|(name, shape)| ((*name).into(), array(shape))).collect()
}

#[test]
fn layers_are_counted_in_the_order_of_numbers_and_by_kind() {
    let foreign = weights(&[
        ("net.0.weight", &[3, 2]),
        ("net.0.bias", &[3]),
        ("net.1.weight", &[3]),
        ("net.1.bias", &[3]),
        ("net.10.weight", &[1, 3]),
        ("net.10.bias", &[1]),
        ("net.9.weight", &[3, 3]),
    ]);
    let map = NameMap::new().mlp("net", "mlp");
    let expected = weights(&[
        ("mlp.layers.0.weight", &[3, 2]),
        ("mlp.layers.0.bias", &[3]),
        ("mlp.norms.0.weight", &[3]),
        ("mlp.norms.0.bias", &[3]),
        ("mlp.layers.1.weight", &[3, 3]),
        ("mlp.layers.2.weight", &[1, 3]),
        ("mlp.layers.2.bias", &[1]),
    ]);
    assert_eq!(map.apply(&foreign).unwrap(), expected);
}

#[test]
fn names_are_split_at_dots_only() {
    let foreign = weights(&[("pi.weight", &[1]), ("pi_old.weight", &[1])]);
    let map = NameMap::new().rename("pi", "policy").ignore("pi_ol");
    let message = map.apply(&foreign).unwrap_err().to_string();
    assert!(message.contains("no rule for [pi_old.weight]"), "{message}");
    let renamed = map.ignore("pi_old").apply(&foreign).unwrap();
    assert!(renamed.keys().eq(["policy.weight"]));
}

#[test]
fn all_uncovered_names_are_listed() {
    let foreign = weights(&[
        ("action_net.weight", &[1, 1]),
        ("features_extractor.cnn.0.weight", &[1, 1, 1, 1]),
        ("lstm_actor.weight_ih_l0", &[1, 1]),
        ("mlp_extractor.policy_net.0.weight", &[1, 1, 1]),
    ]);
    let error = NameMap::sb3_ppo_mlp_policy().apply(&foreign).unwrap_err();
    let ModuleError::UnmappedWeights { names } = error else { panic!("{error}") };
    let expected = [
        "features_extractor.cnn.0.weight",
        "lstm_actor.weight_ih_l0",
        "mlp_extractor.policy_net.0.weight",
    ];
    assert_eq!(names, expected);
}

#[test]
fn two_weights_of_one_name_are_refused() {
    let foreign = weights(&[
        ("encoder.actor_encoder.net.mlp.0.weight", &[1, 1]),
        ("encoder.encoder.net.mlp.0.weight", &[1, 1]),
    ]);
    let message = NameMap::rllib_default_ppo().apply(&foreign).unwrap_err().to_string();
    assert!(message.contains("`encoder.mlp.layers.0.weight`"), "{message}");
}

/// An array whose elements count from 0.
fn counting(shape: &[usize]) -> Array {
    let len = shape.iter().product::<usize>();
    Array::new(shape, (0..len).map(|x| x as f32).collect::<Vec<_>>()).unwrap()
}

#[test]
fn convolutions_and_the_layers_after_them_become_an_encoder_of_images() {
    let foreign = weights(&[
        ("net.0.weight", &[4, 3, 8, 8]),
        ("net.0.bias", &[4]),
        ("net.1.layer_norm.weight", &[4]),
        ("net.1.layer_norm.bias", &[4]),
        ("net.10.weight", &[5, 4, 2, 2]),
        ("net.12.weight", &[7, 5]),
        ("net.12.bias", &[7]),
        ("net.13.weight", &[7]),
        ("net.14.weight", &[2, 7]),
    ]);
    let names = NameMap::new().cnn("net", "encoder").apply(&foreign).unwrap();
    let expected = weights(&[
        ("encoder.cnn.layers.0.weight", &[4, 3, 8, 8]),
        ("encoder.cnn.layers.0.bias", &[4]),
        ("encoder.cnn.norms.0.weight", &[4]),
        ("encoder.cnn.norms.0.bias", &[4]),
        ("encoder.cnn.layers.1.weight", &[5, 4, 2, 2]),
        ("encoder.mlp.layers.0.weight", &[7, 5]),
        ("encoder.mlp.layers.0.bias", &[7]),
        ("encoder.mlp.norms.0.weight", &[7]),
        ("encoder.mlp.layers.1.weight", &[2, 7]),
    ]);
    assert_eq!(names, expected);
}

#[test]
fn columns_after_convolutions_are_reordered_from_channels_first_to_channels_last() {
    // Two channels of three pixels: channel 0 has the inputs 0, 1, 2 and channel 1 has 3, 4, 5.
    let mut foreign = weights(&[("net.0.weight", &[2, 1, 1, 1])]);
    foreign.insert("net.3.weight".into(), counting(&[2, 6]));
    foreign.insert("net.5.weight".into(), counting(&[1, 2]));
    let renamed = NameMap::new().cnn("net", "encoder").apply(&foreign).unwrap();
    let first = renamed["encoder.mlp.layers.0.weight"].as_slice::<f32>().unwrap();
    assert_eq!(first, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 6.0, 9.0, 7.0, 10.0, 8.0, 11.0]);
    assert_eq!(renamed["encoder.mlp.layers.1.weight"], counting(&[1, 2]));
}

#[test]
fn columns_that_no_image_has_are_refused() {
    let foreign = weights(&[("net.0.weight", &[4, 1, 1, 1]), ("net.2.weight", &[2, 6])]);
    let message = NameMap::new().cnn("net", "encoder").apply(&foreign).unwrap_err().to_string();
    assert!(message.contains("`net.2.weight`: its 6 inputs are not images of 4"), "{message}");
}

#[test]
fn an_output_layer_joins_the_layers_before_it_whether_there_are_any_or_not() {
    let map = NameMap::new().join_mlp("hidden", "out", "vf");
    let foreign =
        weights(&[("hidden.0.weight", &[3, 2]), ("out.weight", &[1, 3]), ("out.bias", &[1])]);
    let expected = weights(&[
        ("vf.layers.0.weight", &[3, 2]),
        ("vf.layers.1.weight", &[1, 3]),
        ("vf.layers.1.bias", &[1]),
    ]);
    assert_eq!(map.apply(&foreign).unwrap(), expected);
    let alone = map.apply(&weights(&[("out.weight", &[1, 2])])).unwrap();
    assert!(alone.keys().eq(["vf.layers.0.weight"]));
}

#[test]
fn the_last_linear_layer_splits_off_whether_it_has_others_before_it_or_not() {
    let map = NameMap::new().split_mlp("actor", "encoder", "pi");
    let foreign = weights(&[
        ("actor.0.weight", &[3, 2]),
        ("actor.1.weight", &[3]),
        ("actor.3.weight", &[1, 3]),
        ("actor.3.bias", &[1]),
    ]);
    let renamed = map.apply(&foreign).unwrap();
    let expected = ["encoder.layers.0.weight", "encoder.norms.0.weight", "pi.bias", "pi.weight"];
    assert!(renamed.keys().eq(expected), "{:?}", renamed.keys());
    let alone = map.apply(&weights(&[("actor.weight", &[1, 3]), ("actor.bias", &[1])])).unwrap();
    assert!(alone.keys().eq(["pi.bias", "pi.weight"]));
}

#[test]
fn reshaped_weights_keep_their_elements_in_order() {
    let mut foreign = Weights::new();
    foreign.insert("x".into(), counting(&[1, 6]));
    for (shape, expected) in [
        (vec![-1], vec![6]),
        (vec![2, -1], vec![2, 3]),
        (vec![3, 2], vec![3, 2]),
        (vec![1, -1, 2, 1], vec![1, 3, 2, 1]),
    ] {
        let renamed = NameMap::new().reshape("x", shape).rename("x", "y").apply(&foreign).unwrap();
        assert_eq!(renamed["y"], counting(&expected));
    }
    let integers = Weights::from([("x".into(), Array::new([1, 2], vec![7i64, 8]).unwrap())]);
    let renamed = NameMap::new().reshape("x", [2]).rename("x", "y").apply(&integers).unwrap();
    assert_eq!(renamed["y"], Array::from(vec![7i64, 8]));
}

#[test]
fn shapes_that_do_not_fit_are_refused_with_both() {
    let foreign = weights(&[("x", &[1, 6])]);
    for (shape, reason) in [
        (vec![5], "it has 6 elements"),
        (vec![4, -1], "it has 6 elements"),
        (vec![0, -1], "it has 6 elements"),
        (vec![-1, -1], "at most one may be -1"),
        (vec![-2, 3], "at most one may be -1"),
        (vec![isize::MAX, isize::MAX, isize::MAX], ""),
    ] {
        let map = NameMap::new().reshape("x", shape.clone()).rename("x", "y");
        let message = map.apply(&foreign).unwrap_err().to_string();
        let expected = format!("`x`: shape [1, 6] cannot become {shape:?}");
        assert!(message.contains(&expected) && message.contains(reason), "{message}");
    }
}

#[test]
fn removed_levels_are_gone_at_the_front_and_within_and_rules_see_the_shorter_names() {
    let foreign = weights(&[
        ("_orig_mod.pi._orig_mod.0.weight", &[1, 1]),
        ("_orig_mod.old.weight", &[1]),
        ("_orig_mod_2.weight", &[1]),
    ]);
    let map = NameMap::new()
        .remove_level("_orig_mod")
        .mlp("pi", "policy")
        .ignore("old")
        .rename("_orig_mod_2", "kept");
    let renamed = map.apply(&foreign).unwrap();
    assert!(renamed.keys().eq(["kept.weight", "policy.layers.0.weight"]), "{:?}", renamed.keys());
}

#[test]
fn two_weights_whose_names_differ_in_a_removed_level_only_are_refused() {
    let foreign = weights(&[("module.x", &[1]), ("x", &[1])]);
    let map = NameMap::new().remove_level("module").rename("x", "y");
    let message = map.apply(&foreign).unwrap_err().to_string();
    assert!(message.contains("gives `x` the name `x`"), "{message}");
}

#[test]
fn a_critic_without_memory_beside_an_actor_with_memory_is_refused() {
    let foreign = weights(&[
        ("lstm_actor.weight_ih_l0", &[4, 1]),
        ("critic.weight", &[1, 1]),
        ("critic.bias", &[1]),
    ]);
    let error = NameMap::sb3_recurrent_ppo_mlp_lstm_policy().apply(&foreign).unwrap_err();
    assert!(error.to_string().contains("no rule for [critic.bias, critic.weight]"), "{error}");
}

/// Weights whose elements count from 0 in each array.
fn counted(names: &[(&str, &[usize])]) -> Weights {
    let array = |shape: &[usize]| {
        let count = shape.iter().product::<usize>() as u16;
        Array::new(shape, (0..count).map(f32::from).collect::<Vec<_>>()).unwrap()
    };
    names.iter().map(|(name, shape)| ((*name).into(), array(shape))).collect()
}

#[test]
fn concatenated_layers_have_the_rows_of_both_and_others_are_left_to_the_rules() {
    let foreign = counted(&[
        ("mu.weight", &[1, 2]),
        ("mu.bias", &[1]),
        ("log_std.weight", &[2, 2]),
        ("log_std.bias", &[2]),
    ]);
    let map = NameMap::new().concatenate(["mu", "log_std"], "pi").rename("mu", "means");
    let joined = map.apply(&foreign).unwrap();
    assert!(joined.keys().eq(["pi.bias", "pi.weight"]));
    assert_eq!(joined["pi.weight"].shape(), [3, 2]);
    assert_eq!(joined["pi.weight"].as_slice::<f32>().unwrap(), [0.0, 1.0, 0.0, 1.0, 2.0, 3.0]);
    assert_eq!(joined["pi.bias"].as_slice::<f32>().unwrap(), [0.0, 0.0, 1.0]);
    let alone = map.apply(&weights(&[("mu.weight", &[1, 2])])).unwrap();
    assert!(alone.keys().eq(["means.weight"]));
    let misshapen = weights(&[("mu.weight", &[1, 2]), ("log_std.weight", &[1, 3])]);
    let message = map.apply(&misshapen).unwrap_err().to_string();
    assert!(message.contains("`log_std.weight`: shape [1, 3] cannot follow [1, 2]"), "{message}");
}

#[test]
fn networks_of_an_ensemble_are_stacked_with_inputs_before_outputs() {
    let foreign = counted(&[
        ("qf0.0.weight", &[2, 3]),
        ("qf0.0.bias", &[2]),
        ("qf0.10.weight", &[1, 2]),
        ("qf0.10.bias", &[1]),
        ("qf1.0.weight", &[2, 3]),
        ("qf1.0.bias", &[2]),
        ("qf1.10.weight", &[1, 2]),
        ("qf1.10.bias", &[1]),
    ]);
    let map = NameMap::new().ensemble("qf", "critics");
    let joined = map.apply(&foreign).unwrap();
    let shapes: Vec<_> = joined.iter().map(|(n, a)| (n.as_str(), a.shape().to_vec())).collect();
    let expected = [
        ("critics.layers.0.bias", vec![2, 2]),
        ("critics.layers.0.weight", vec![2, 3, 2]),
        ("critics.layers.1.bias", vec![2, 1]),
        ("critics.layers.1.weight", vec![2, 2, 1]),
    ];
    assert_eq!(shapes, expected);
    let first = joined["critics.layers.0.weight"].as_slice::<f32>().unwrap();
    assert_eq!(first, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0].repeat(2));
}

#[test]
fn networks_of_an_ensemble_that_differ_are_refused() {
    let map = NameMap::new().ensemble("qf", "critics");
    let message = |names: &[(&str, &[usize])]| map.apply(&weights(names)).unwrap_err().to_string();
    let deeper =
        message(&[("qf0.0.weight", &[2, 3]), ("qf1.0.weight", &[2, 3]), ("qf1.2.weight", &[1, 2])]);
    assert!(deeper.contains("different numbers of layers"), "{deeper}");
    let wider = message(&[("qf0.0.weight", &[2, 3]), ("qf1.0.weight", &[4, 3])]);
    assert!(wider.contains("shape [4, 3] differs from [2, 3]"), "{wider}");
    // A normalization has no place in the map.
    let normalized = message(&[("qf0.0.weight", &[2, 3]), ("qf0.1.weight", &[2])]);
    assert!(normalized.contains("no rule for [qf0.1.weight]"), "{normalized}");
}
