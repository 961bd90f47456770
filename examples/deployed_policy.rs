//! A policy bundle in a program without the training stack. Reads observations from standard input, one per line, as JSON
//! of `rekindle::env::Value`, and prints the action for each.
//!
//! ```sh
//! rekindle export RUN --out policy
//! echo '{"Float": [0.0, 0.1, 0.0, -0.1]}' |
//!     cargo run --release --no-default-features --features flex --example deployed_policy -- policy
//! ```

use std::io::{self, BufRead, Write};
use std::time::Instant;

use rekindle::env::Value;
use rekindle::prelude::*;

// ANCHOR: program
fn main() -> Result<(), MainError> {
    let path = std::env::args_os().nth(1).ok_or("name the directory of a policy bundle")?;
    let start = Instant::now();
    let device = DeviceSpec::Cpu.open()?;
    let mut policy = PolicyBundle::from_checkpoint(path, &device)?;
    eprintln!("ready after {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    answer(&mut policy, io::stdin().lock(), io::stdout().lock())
}

/// Writes the greedy action for each observation.
pub(crate) fn answer(
    policy: &mut PolicyBundle,
    observations: impl BufRead,
    mut actions: impl Write,
) -> Result<(), MainError> {
    let mut observation = Buffer::zeros(&policy.config().observation_space, 1);
    for line in observations.lines() {
        let value: Value = serde_json::from_str(&line?)?;
        observation.row_mut(0).write(&value)?;
        let action = policy.compute_actions(&observation, false)?.row(0).to_value()?;
        writeln!(actions, "{}", serde_json::to_string(&action)?)?;
    }
    Ok(())
}
// ANCHOR_END: program
