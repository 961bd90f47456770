//! What the tests of the Python package compare `PolicyBundle.act` with.
//!
//! ```sh
//! act_in_rust BUNDLE                        # prints the nanoseconds of an action for one observation
//! act_in_rust BUNDLE OBSERVATIONS ACTIONS   # acts on the observations of a file; both hold f32 in native order
//! ```

use std::fs;
use std::time::Instant;

use rekindle::prelude::*;

/// Calls before the measured ones.
const WARM_UP: usize = 1000;
/// Measured calls.
const CALLS: usize = 10_000;

fn main() -> Result<(), MainError> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let device = DeviceSpec::Cpu.open()?;
    match args.as_slice() {
        [bundle] => println!("{}", cost(PolicyBundle::from_checkpoint(bundle, &device)?)?),
        [bundle, observations, actions] => {
            let mut policy = PolicyBundle::from_checkpoint(bundle, &device)?;
            let shape = policy.config().observation_space.as_box()?.shape().to_vec();
            let bytes = fs::read(observations)?;
            let numbers: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
            let seen = Buffer::from_f32(numbers, &shape)?;
            let chosen = policy.compute_actions(&seen, false)?;
            fs::write(actions, bytemuck::cast_slice(chosen.as_f32()?))?;
        }
        _ => return Err("usage: act_in_rust BUNDLE [OBSERVATIONS ACTIONS]".into()),
    }
    Ok(())
}

/// Returns the median cost of an action for one observation, in nanoseconds.
fn cost(mut policy: PolicyBundle) -> Result<u128, MainError> {
    let observation = Buffer::zeros(&policy.config().observation_space, 1);
    let mut times = Vec::with_capacity(CALLS);
    for call in 0..WARM_UP + CALLS {
        let start = Instant::now();
        policy.compute_actions(&observation, false)?;
        if call >= WARM_UP {
            times.push(start.elapsed().as_nanos());
        }
    }
    times.sort_unstable();
    Ok(times[CALLS / 2])
}
