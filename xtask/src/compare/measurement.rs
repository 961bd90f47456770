//! Measurements printed by programs.

use std::process::Command;

use serde::Deserialize;

use super::workload::Metric;
use crate::error::{Error, Result};
use crate::process;

/// The JSON line that a program prints per case. Other lines are ignored.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Measurement {
    pub(super) case: String,
    pub(super) system: String,
    pub(super) version: String,
    /// Value in the unit of the metric. Programs print work per second, which is converted.
    pub(super) value: f64,
    /// Mean return of the last 100 episodes, from programs that train.
    #[serde(default)]
    pub(super) episode_return_mean: Option<f64>,
}

/// Runs a program and reads one measurement per case, in the order of `cases`.
pub(super) fn measure(
    command: &mut Command,
    metric: Metric,
    cases: &[&str],
) -> Result<Vec<Measurement>> {
    let seen = process::observe_silently(command)?;
    process::check(command, seen.status)?;
    let malformed = |problem: String| Error::malformed(process::display(command), problem);
    let mut measurements = parse(&seen.stdout, cases).map_err(malformed)?;
    for measurement in &mut measurements {
        measurement.value = match metric {
            Metric::EnvSteps | Metric::Rows => measurement.value,
            Metric::StepCost | Metric::VectorStepCost => 1e6 / measurement.value,
            Metric::Memory => seen.peak_memory.ok_or(Error::NoPeakMemory)? as f64 / 1e6,
        };
        eprintln!("  {}: {:.1} {}", measurement.case, measurement.value, metric.unit());
    }
    Ok(measurements)
}

fn parse(stdout: &str, cases: &[&str]) -> Result<Vec<Measurement>, String> {
    let mut lines: Vec<Measurement> =
        stdout.lines().filter_map(|line| serde_json::from_str(line.trim()).ok()).collect();
    let find = |case: &&str| {
        let index = lines.iter().position(|line| line.case == *case);
        let line =
            lines.swap_remove(index.ok_or_else(|| {
                format!("expected a JSON line with a measurement of case `{case}`")
            })?);
        let speed = line.value;
        if speed.is_finite() && speed > 0.0 {
            Ok(line)
        } else {
            Err(format!("invalid speed {speed} of case `{case}`: expected a positive number"))
        }
    };
    cases.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(output: &str) -> Command {
        let mut command = Command::new("printf");
        command.args(["%s\n\n", output]);
        command
    }

    fn line(case: &str, value: f64) -> String {
        format!(r#"{{"case":"{case}","system":"fake","version":"1","value":{value}}}"#)
    }

    #[cfg(unix)]
    #[test]
    fn a_program_is_measured_by_its_lines() {
        let output = format!("hello\n{}\n{}\nbye", line("8", 500.0), line("1", 20.0));
        let seen = measure(&mut fake(&output), Metric::EnvSteps, &["1", "8"]).unwrap();
        let values: Vec<_> = seen.iter().map(|line| (line.case.as_str(), line.value)).collect();
        assert_eq!(values, [("1", 20.0), ("8", 500.0)]);

        let cost = measure(&mut fake(&line("8", 500.0)), Metric::StepCost, &["8"]).unwrap();
        assert_eq!(cost[0].value, 2000.0);
    }

    #[test]
    fn malformed_measurements_are_refused() {
        let refused = |output: &str| parse(output, &["8"]).unwrap_err();
        assert!(refused("no json").contains("of case `8`"));
        assert!(refused(&line("64", 2.0)).contains("of case `8`"));
        assert!(refused(&line("8", 0.0)).contains("invalid speed 0 of case `8`"));
    }
}
