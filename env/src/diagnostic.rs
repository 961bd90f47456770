//! Environments that each test one part of an agent: its memory, its handling of nested or
//! arbitrary spaces, or its tolerance of simulators that crash.

mod crashing_cart_pole;
mod nested_cart_pole;
mod random_env;
mod repeat_after_me;
mod stateless_cart_pole;

pub use crashing_cart_pole::crashing_cart_pole;
pub use nested_cart_pole::NestedCartPole;
pub use random_env::RandomEnv;
pub use repeat_after_me::RepeatAfterMe;
pub use stateless_cart_pole::StatelessCartPole;

use crate::registry::EnvSpec;

/// The registered environments of this module.
pub(crate) fn specs() -> Vec<EnvSpec> {
    vec![
        EnvSpec::new("CrashingCartPole-v1", crashing_cart_pole)
            .with_max_episode_steps(500)
            .with_reward_threshold(475.0),
        EnvSpec::new("NestedCartPole-v1", NestedCartPole::new)
            .with_max_episode_steps(500)
            .with_reward_threshold(475.0),
        EnvSpec::new("RepeatAfterMe-v0", RepeatAfterMe::new),
        EnvSpec::new("StatelessCartPole-v1", StatelessCartPole::new)
            .with_max_episode_steps(500)
            .with_reward_threshold(475.0),
    ]
}
