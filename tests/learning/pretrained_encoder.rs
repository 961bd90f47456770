//! The example's pretrained weights reach the policy, and do not change if frozen.

#[path = "../../examples/pretrained_encoder.rs"]
mod example;

use rekindle::core::weights::Weights;
use rekindle::prelude::*;

/// Trains PPO. Returns the weights of the encoder before and after, and the last mean return.
fn train(frozen: bool, steps: u64) -> (Weights, Weights, f64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("classifier");
    let (before, algo, mean) = example::train(&path, frozen, steps).unwrap();
    let state = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    let encoder =
        |(name, array): (String, _)| Some((name.strip_prefix("encoder.")?.to_owned(), array));
    (before, state.into_iter().filter_map(encoder).collect(), mean)
}

/// One test, because Burn draws initial weights from one stream per process.
#[test]
fn a_pretrained_encoder_reaches_the_policy_and_stays_as_it_is_if_it_is_frozen() {
    example::register_signs().unwrap();
    let (before, after, mean) = train(true, 10_240);
    assert_eq!(before, after);
    assert_eq!(before.len(), 10);
    assert!(mean > 0.85, "{mean}, without learning it is 0.25");

    let (before, after, _) = train(false, 1024);
    assert!(before.keys().eq(after.keys()));
    for (name, array) in &before {
        assert_ne!(array, &after[name], "{name}");
    }
}
