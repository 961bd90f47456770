//! A pole on a cart that breaks down.

use crate::classic_control::CartPole;
use crate::wrappers::{Faults, Faulty};
use crate::{EnvConfig, Result};

/// `CrashingCartPole-v1`: [`CartPole`] that crashes, and if asked to stalls, by chance. RLlib's
/// `CartPoleCrashing`.
///
/// Options: those of [`Faults`], by default a crash in every 10 000th step and every 1000th reset;
/// and those of [`CartPole::new`]. Without faults it is [`CartPole`], from the same seeds.
///
/// ```
/// use rekindle_env::{EnvConfig, make_with};
///
/// let config = EnvConfig::new().with("p_crash", 0.01).with("stall_time_sec", [2.0, 5.0].to_vec());
/// let env = make_with("CrashingCartPole-v1", &config)?;
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
pub fn crashing_cart_pole(config: &EnvConfig) -> Result<Faulty<CartPole>> {
    let known: Vec<&str> = Faults::OPTIONS.into_iter().chain(["sutton_barto_reward"]).collect();
    config.deny_unknown("CrashingCartPole", &known)?;
    let faults = Faults::default().with_config(config)?;
    Faulty::new(CartPole::new(&config.without(&Faults::OPTIONS))?, faults)
}
