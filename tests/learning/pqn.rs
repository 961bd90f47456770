//! A short training run of PQN with a fixed seed.

use rekindle::prelude::*;

#[test]
fn pqn_learns_cartpole_to_150_within_60_000_steps() {
    let config = PqnConfig::new()
        .environment("CartPole-v1")
        .env_runners(|e| e.num_envs_per_env_runner(16))
        .model("fcnet_hiddens", vec![64, 64])
        .model("fcnet_activation", "relu")
        .training(|t| {
            t.lr(2e-3)
                .lambda_(0.9)
                .train_batch_size(512)
                .minibatch_size(128)
                .epsilon([(0, 1.0), (20_000, 0.05)])
        })
        .seed(1);
    let device = DeviceSpec::Cpu.open().unwrap();
    let mut algo = config.build(&device).unwrap();
    let mut best = f64::NEG_INFINITY;
    while algo.env_steps() < 60_000 && best < 150.0 {
        (0..4).for_each(|_| drop(algo.train().unwrap()));
        let played = EnvRunnerConfig::new("CartPole-v1").num_envs(10).seed(77);
        let module = algo.module(DEFAULT_MODULE_ID).unwrap();
        let episodes = evaluate(module, &played, 20, SampleOptions::greedy(), &device).unwrap();
        best = best.max(episodes.mean_return());
    }
    assert!(best >= 150.0, "reached {best}, a random policy has about 22");
}
