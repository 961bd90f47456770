//! A project that uses the packages: trains a custom module and saves the policy, or acts with the saved policy.

use burn::module::Module;
use burn::prelude::*;
use rekindle::prelude::*;
use rekindle::rl_module::Result;

// The module of the example.

#[cfg(feature = "train")]
fn main() -> std::result::Result<(), MainError> {
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .rl_module(RLModuleSpec::of::<MyActorCritic>())
        .training(|t| t.train_batch_size(256).minibatch_size(64).num_epochs(2))
        .seed(0);
    let device = DeviceSpec::Cpu.open()?;
    let mut algo = config.build(&device)?;
    for _ in 0..3 {
        let result = algo.train()?;
        let mean = result.get("env_runners/episode_return_mean").ok_or("no episode ended")?;
        println!("mean return after {} steps: {mean:.1}", algo.env_steps());
    }
    algo.save_to_path("checkpoint")?;
    MyActorCritic::from_checkpoint("checkpoint/learner/rl_module/default_policy", &device)?;
    algo.policy_bundle()?.save_to_path("policy")?;
    Ok(())
}

#[cfg(not(feature = "train"))]
fn main() -> std::result::Result<(), MainError> {
    register_module::<MyActorCritic>();
    let mut policy = PolicyBundle::from_checkpoint("policy", &DeviceSpec::Auto.open()?)?;
    let observation = Buffer::zeros(&policy.config().observation_space, 1);
    let action = policy.compute_actions(&observation, false)?.row(0).to_value()?;
    println!("action of the policy: {action:?}");
    Ok(())
}
