//! One program's speed, and two programs' taken in turns.

use std::process::Command;

use serde::Deserialize;

use super::workloads::Workload;
use crate::error::{Error, Result};
use crate::process;
use crate::statistics::Spread;

/// The JSON line that each program prints last.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Measurement {
    pub(super) workload: String,
    pub(super) system: String,
    pub(super) version: String,
    pub(super) threads: u32,
    pub(super) env_steps_per_s: f64,
}

/// Runs a program and reads its measurement.
pub(super) fn measure(workload: &Workload, command: &mut Command) -> Result<Measurement> {
    let stdout = process::capture(command)?;
    let malformed = |problem: String| Error::malformed(process::display(command), problem);
    let measurement = parse(&stdout).map_err(malformed)?;
    if measurement.workload != workload.name {
        let problem = format!("measured `{}`, not `{}`", measurement.workload, workload.name);
        return Err(malformed(problem));
    }
    eprintln!("  {:.0} environment steps per second", measurement.env_steps_per_s);
    Ok(measurement)
}

/// The measurement in the last line that is not empty; libraries may print before it.
fn parse(stdout: &str) -> Result<Measurement, String> {
    let line = stdout.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let measurement: Measurement = serde_json::from_str(line)
        .map_err(|error| format!("the last line of output is no measurement ({error}): {line}"))?;
    let speed = measurement.env_steps_per_s;
    if !(speed.is_finite() && speed > 0.0) {
        return Err(format!("{speed} is no number of steps per second"));
    }
    Ok(measurement)
}

/// A peer and us, measured in turns.
#[derive(Debug)]
pub(super) struct Comparison {
    /// The last measurement of each, for names and versions.
    pub(super) peer: Measurement,
    pub(super) ours: Measurement,
    /// Environment steps per second.
    pub(super) peer_speed: Spread,
    pub(super) our_speed: Spread,
    /// Our speed divided by the peer's, pair by pair.
    pub(super) ratio: Spread,
}

/// Measures a peer and us in turns: one pair to warm up, then `pairs` that count.
pub(super) fn alternate(
    pairs: u32,
    mut peer: impl FnMut() -> Result<Measurement>,
    mut ours: impl FnMut() -> Result<Measurement>,
) -> Result<Comparison> {
    let mut last = (peer()?, ours()?);
    let (mut peer_speeds, mut our_speeds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        last = (peer()?, ours()?);
        peer_speeds.push(last.0.env_steps_per_s);
        our_speeds.push(last.1.env_steps_per_s);
        ratios.push(last.1.env_steps_per_s / last.0.env_steps_per_s);
    }
    Ok(Comparison {
        peer: last.0,
        ours: last.1,
        peer_speed: Spread::of(&peer_speeds),
        our_speed: Spread::of(&our_speeds),
        ratio: Spread::of(&ratios),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;

    use super::super::workloads::WORKLOADS;
    use super::*;

    pub(in super::super) fn measurement(system: &str, speed: f64) -> Measurement {
        Measurement {
            workload: "ppo-cartpole".to_owned(),
            system: system.to_owned(),
            version: "1.2".to_owned(),
            threads: 1,
            env_steps_per_s: speed,
        }
    }

    #[test]
    fn runs_take_turns_and_the_first_pair_is_dropped() {
        let order = RefCell::new(String::new());
        let mut speeds = [1.0, 100.0, 200.0, 400.0].into_iter();
        let peer = || {
            order.borrow_mut().push('A');
            Ok(measurement("peer", speeds.next().unwrap_or(f64::NAN)))
        };
        let ours = || {
            order.borrow_mut().push('B');
            Ok(measurement("ours", 2000.0))
        };
        let comparison = alternate(3, peer, ours).unwrap();
        assert_eq!(order.into_inner(), "ABABABAB");
        assert_eq!(comparison.peer_speed, Spread { median: 200.0, min: 100.0, max: 400.0 });
        assert_eq!(comparison.ratio, Spread { median: 10.0, min: 5.0, max: 20.0 });
    }

    #[cfg(unix)]
    #[test]
    fn a_program_is_measured_by_its_last_line() {
        let line = r#"{"workload":"ppo-cartpole","system":"fake","version":"1","threads":2,"env_steps_per_s":1234.5}"#;
        let fake = |output: &str| {
            let mut command = Command::new("printf");
            command.args(["%s\n\n", output]);
            command
        };
        let seen = measure(&WORKLOADS[0], &mut fake(&format!("hello\n{line}"))).unwrap();
        assert_eq!((seen.system.as_str(), seen.threads, seen.env_steps_per_s), ("fake", 2, 1234.5));

        let refused = |output: &str| measure(&WORKLOADS[0], &mut fake(output)).unwrap_err();
        assert!(refused("no json").to_string().contains("no measurement"));
        assert!(refused(&line.replace("cartpole", "pong")).to_string().contains("`ppo-pong`"));
        assert!(refused(&line.replace("1234.5", "0")).to_string().contains("0 is no number"));
    }
}
