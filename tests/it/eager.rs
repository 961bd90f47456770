//! Plain operations instead of fused ones, by a setting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rekindle::algorithms::{AlgorithmConfig, AppoConfig, ImpalaConfig, TrainingConfig};
use rekindle::kernels::eager::is_eager;
use rekindle::prelude::*;

use crate::support::device;

/// The losses of two iterations, with fused and with plain operations.
fn losses<T: TrainingConfig>(config: AlgorithmConfig<T>) -> [Vec<f64>; 2] {
    [false, true].map(|eager| {
        let config = config.clone().seed(2).debugging(|d| d.eager(eager));
        let mut algo = config.build(&device()).unwrap();
        let mut losses = Vec::new();
        for _ in 0..2 {
            let result = algo.train().unwrap();
            for name in ["total_loss", "policy_loss", "vf_loss", "entropy"] {
                let key = format!("learners/default_policy/{name}");
                losses.push(result.get(&key).unwrap());
            }
        }
        losses
    })
}

fn agree<T: TrainingConfig>(config: AlgorithmConfig<T>) {
    agree_on(config.environment("CartPole-v1").model("fcnet_hiddens", vec![16, 16]));
}

fn agree_on<T: TrainingConfig>(config: AlgorithmConfig<T>) {
    let [fused, plain] = losses(config);
    // They are computed in another way, and agree up to rounding.
    assert_ne!(fused, plain);
    for (a, b) in fused.iter().zip(&plain) {
        assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{fused:?} {plain:?}");
    }
}

#[test]
fn losses_with_plain_operations_equal_those_with_fused_ones() {
    agree(PpoConfig::new().training(|t| {
        t.train_batch_size(64).minibatch_size(32).num_epochs(2).lr(1e-3).grad_clip(0.5)
    }));
    agree(
        A2cConfig::new()
            .env_runners(|e| e.num_envs_per_env_runner(4))
            .training(|t| t.train_batch_size(20)),
    );
    agree(
        ImpalaConfig::new()
            .training(|t| t.train_batch_size(20).fragment_length(10).deterministic(true)),
    );
    agree(AppoConfig::new().training(|t| {
        t.train_batch_size(20).fragment_length(10).use_kl_loss(true).deterministic(true)
    }));
}

#[test]
fn losses_on_images_and_with_memory_equal_those_with_plain_operations() {
    let small = || {
        PpoConfig::new().env_runners(|e| e.num_envs_per_env_runner(4)).training(|t| {
            t.train_batch_size(80).minibatch_size(40).num_epochs(2).lr(1e-3).grad_clip(0.5)
        })
    };
    for padding in ["same", "valid"] {
        let images = small()
            .environment("Breakout-v0")
            .model("conv_filters", serde_json::json!([[16, 3, 2, padding], [32, 3, 2, padding]]))
            .model("vf_share_layers", padding == "same");
        agree_on(images.clone());
        let stacking = ConnectorConfig::frame_stacking(4);
        agree_on(images.env_runners(|e| e.env_to_module_connector(stacking)));
    }
    for kind in ["lstm", "gru"] {
        // Episodes end and begin within fragments.
        agree_on(
            small()
                .environment("StatelessCartPole-v1")
                .model("fcnet_hiddens", vec![16])
                .model("use_lstm", true)
                .model("recurrent_layer_type", kind)
                .model("lstm_cell_size", 20)
                .model("max_seq_len", 10),
        );
    }
}

#[test]
fn a_loss_sees_the_setting_which_checkpoints_record() {
    let calls: [Arc<AtomicUsize>; 2] = Default::default();
    let counted = calls.clone();
    let config = AlgorithmConfig::from_loss("Probe", move |cx, _| {
        counted[usize::from(is_eager())].fetch_add(1, Ordering::Relaxed);
        Ok(cx.logp()?.mean().neg())
    })
    .environment("CartPole-v1")
    .model("fcnet_hiddens", vec![4])
    .training(|t| t.train_batch_size(8))
    .seed(0);
    let counts = || calls.each_ref().map(|calls| calls.load(Ordering::Relaxed));
    config.build(&device()).unwrap().train().unwrap();
    assert_eq!(counts(), [2, 0], "one of them is the dry run at build");
    let eager = config.debugging(|d| d.eager(true));
    assert!(serde_json::to_string(&eager).unwrap().contains("\"eager\":true"));
    eager.build(&device()).unwrap().train().unwrap();
    assert_eq!(counts(), [2, 2]);
    assert!(!is_eager(), "not outside of the algorithm");
}

#[test]
fn an_eager_run_resumes_eagerly_and_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let config = PpoConfig::new()
        .environment("Pendulum-v1")
        .model("fcnet_hiddens", vec![8])
        .training(|t| t.train_batch_size(40).minibatch_size(20).num_epochs(2))
        .debugging(|d| d.eager(true).seed(4));
    let mut straight = config.build(&device()).unwrap();
    straight.train().unwrap();
    straight.save_to_path(folder.path().join("half")).unwrap();
    let path = folder.path().join("half");
    let mut resumed = Algorithm::from_checkpoint::<PpoTraining>(&path, &device()).unwrap();
    assert!(resumed.config().debugging.eager && resumed.learner().config().eager);
    straight.train().unwrap();
    resumed.train().unwrap();
    let [straight, resumed] = [straight, resumed].map(|algo| algo.learner().get_state().unwrap());
    assert_eq!(straight, resumed);
    let fused = |config: PpoConfig| config.debugging(|d| d.eager(false));
    let fused = Algorithm::from_checkpoint_with::<PpoTraining>(&path, &device(), fused).unwrap();
    assert!(!fused.learner().config().eager);
}
