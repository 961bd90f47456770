//! Rewards that are not numbers.

use rekindle_env::Step;
use rekindle_env_runner::Amount;

use crate::support::{all, bin, env, game, open, random};

/// Values of `f32` columns must fit into `f32`.
#[test]
fn a_reward_that_is_not_finite_is_an_error_that_names_environment_and_value() {
    macro_rules! cases {
        ($(($single:literal, $several:literal, $value:expr, $text:literal),)*) => {$(
            let single = env($single, bin(), |n, t, _, out| {
                out.write_f32(&[0.0])?;
                Ok(Step::running(if (n, t) == (1, 3) { $value } else { 0.0 }))
            });
            let several = game($several, &["a", "b"], bin(), all("p"), |n, t, _, out| {
                for agent in 0..2 {
                    out.observe(agent)?.write_f32(&[0.0])?;
                }
                if (n, t) == (1, 3) {
                    out.add_reward(1, $value)?;
                }
                Ok(())
            });
            for (mut config, agent) in [(single, ""), (several, "`b`")] {
                config.num_envs = 2;
                let id = config.env.clone();
                let mut runner = open(config);
                runner.collect(Amount::Timesteps(4), random()).unwrap();
                let error = runner.collect(Amount::Timesteps(4), random()).unwrap_err();
                let message = error.to_string();
                for part in [id.as_str(), "environment 1", $text, agent] {
                    assert!(message.contains(part), "{part}: {message}");
                }
                assert!(!error.is_recoverable());
                // The runner continues with new episodes.
                runner.collect(Amount::Timesteps(4), random()).unwrap();
            }
        )*};
    }
    cases! {
        ("edges/NaN-v0", "edges/NaNs-v0", f64::NAN, "NaN"),
        ("edges/Inf-v0", "edges/Infs-v0", f64::INFINITY, "inf"),
        ("edges/NegInf-v0", "edges/NegInfs-v0", f64::NEG_INFINITY, "-inf"),
        ("edges/Huge-v0", "edges/Huges-v0", 1e300, "1e300"),
    }
}
