//! A pole on a cart, in a simulator that crashes.

use crate::classic_control::CartPole;
use crate::error::Result;
use crate::options::EnvConfig;
use crate::wrappers::{Faults, Faulty};

/// Creates `CrashingCartPole-v1`: [`CartPole`] that crashes and stalls at random. RLlib's
/// `CartPoleCrashing`.
///
/// Takes the options of [`Faults`] (by default crashes in one of 10 000 steps and one of 1000
/// resets) and of [`CartPole::new`]. Without faults, the same seeds give the same episodes as in
/// [`CartPole`].
///
/// ```
/// use rekindle_env::{EnvConfig, make_with};
///
/// let config = EnvConfig::new().with("p_crash", 0.01).with("stall_time_sec", [2.0, 5.0].to_vec());
/// let env = make_with("CrashingCartPole-v1", &config)?;
/// # Ok::<(), rekindle_env::EnvError>(())
/// ```
///
/// # Errors
///
/// [`EnvError`](crate::EnvError) for an unknown option, or one with an invalid value.
pub fn crashing_cart_pole(config: &EnvConfig) -> Result<Faulty<CartPole>> {
    let known: Vec<&str> = Faults::OPTIONS.into_iter().chain(["sutton_barto_reward"]).collect();
    config.deny_unknown("CrashingCartPole", &known)?;
    let faults = Faults::default().with_config(config)?;
    Faulty::new(CartPole::new(&config.without(&Faults::OPTIONS))?, faults)
}
