//! The plot of the workload `scaling`.

use std::path::Path;
use std::process::Command;

use super::turns::Comparison;
use super::workloads::{SCALING, scaling_case};
use crate::cargo::build_measure;
use crate::error::Result;
use crate::process;

/// File name of the plot, in the directory of the page.
pub(super) const FIGURE: &str = "scaling.svg";

/// Plots rekindle's cost of an environment step into a directory.
pub(super) fn plot(comparisons: &[Comparison], folder: &Path) -> Result<()> {
    let mut plot = Command::new(build_measure()?);
    plot.arg("plot-scaling")
        .args(["--title", "Cost of an environment step in PPO on CartPole-v1"])
        .args(["--x-label", "log₂ of growth over 8 environments, width 64, 1024 rows"])
        .args(["--y-label", "µs"])
        .arg("--out")
        .arg(folder.join(FIGURE))
        .args(series(comparisons));
    process::run(&mut plot)
}

/// Returns `LABEL=X:Y,X:Y` for each size that grows, without the sizes that were not measured.
fn series(comparisons: &[Comparison]) -> Vec<String> {
    let cost = |sizes: [usize; 3]| {
        let name = scaling_case(sizes);
        comparisons.iter().find(|c| c.case == name).map(|c| c.ours.median)
    };
    let volume = |sizes: [usize; 3]| sizes.iter().product::<usize>() as f64;
    let lines = SCALING.iter().map(|(label, cases)| {
        let growth = |sizes: [usize; 3]| (volume(sizes) / volume(cases[0])).log2();
        let points: Vec<_> = cases
            .iter()
            .filter_map(|sizes| Some(format!("{}:{}", growth(*sizes), cost(*sizes)?)))
            .collect();
        (label, points.join(","))
    });
    lines
        .filter(|(_, points)| !points.is_empty())
        .map(|(label, points)| format!("{label}={points}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::turns::tests::comparison;
    use super::*;

    #[test]
    fn a_series_per_size_that_grows() {
        let measured = [
            comparison("scaling-8-128-64", 9.0, &[90.0]),
            comparison("scaling-64-128-64", 6.0, &[90.0]),
            comparison("scaling-8-128-256", 30.0, &[90.0]),
        ];
        let expected =
            ["environments=0:9,3:6", "width of hidden layers=0:9,2:30", "rows of a batch=0:9"];
        assert_eq!(series(&measured), expected);
    }
}
