//! The section of the results page on one task.

use super::training::Training;
use super::{CONTROLS, TASKS, Task};
use crate::statistics::{grouped, mean_and_deviation};

/// Writes the plot, one row per seed, and the mean ± standard deviation over seeds.
///
/// `source` is the file with the settings.
pub(super) fn section(
    task: &Task,
    source: &str,
    trainings: &[Training],
    figure: &str,
    made: &str,
) -> String {
    let column = |value: fn(&Training) -> Option<f64>| -> Vec<f64> {
        trainings.iter().filter_map(value).collect()
    };
    let steps = column(|training| training.steps_to_threshold.map(|steps| steps as f64));
    let returns = column(|training| Some(training.greedy_return.0));
    let walls = column(|training| Some(training.wall.as_secs_f64()));
    let memory = column(|training| training.peak_memory.map(mebibytes));
    let Task { algorithm, env, threshold, max_steps, .. } = task;
    let max_steps = grouped(*max_steps as f64);
    // The introduction of the page says what the other thresholds are compared with.
    let metric = match task.metric == TASKS[0].metric {
        true => String::new(),
        false => format!(" for the {}", task.metric_in_words()),
    };

    let purpose = match CONTROLS.contains(&task.name) {
        true => " The task shows what is not learned.",
        false => "",
    };
    let mut text = format!(
        "{algorithm}, `{source}`: threshold {threshold}{metric}, at most {max_steps} \
         steps.\n{} of {} seeds reached it.{purpose}\n\n![{algorithm} on {env}]({figure})\n\n\
         | seed | steps to {threshold} | greedy return | wall time | peak memory |\n\
         |:---|---:|---:|---:|---:|\n",
        steps.len(),
        trainings.len(),
    );
    for training in trainings {
        let (mean, deviation) = training.greedy_return;
        text += &row([
            training.seed.to_string(),
            training.steps_to_threshold.map_or("not reached".into(), |n| grouped(n as f64)),
            deviation.map_or_else(|| format!("{mean:.1}"), |d| format!("{mean:.1} ± {d:.1}")),
            format!("{:.1} s", training.wall.as_secs_f64()),
            training.peak_memory.map_or("–".into(), |n| format!("{:.0} MiB", mebibytes(n))),
        ]);
    }
    text += &row([
        "**mean ± std**".to_owned(),
        mean_and_deviation(&steps, grouped),
        mean_and_deviation(&returns, |value| format!("{value:.1}")),
        mean_and_deviation(&walls, |value| format!("{value:.1} s")),
        mean_and_deviation(&memory, |value| format!("{value:.0} MiB")),
    ]);
    format!("{text}\n{made}\n")
}

fn row(cells: [String; 5]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn training(seed: u64, steps_to_threshold: Option<u64>) -> Training {
        Training {
            seed,
            folder: "runs".into(),
            steps_to_threshold,
            greedy_return: (490.0 + seed as f64, Some(2.0)),
            wall: Duration::from_secs(10 + seed),
            peak_memory: Some(80 << 20),
        }
    }

    #[test]
    fn a_row_per_seed_and_their_mean() {
        let trainings = [training(0, Some(90_112)), training(1, Some(110_592)), training(2, None)];
        let source = "cli/configs/cartpole.toml";
        let text = section(&TASKS[0], source, &trainings, "cartpole_ppo.svg", "Made by a test.");
        let expected = "\
PPO, `cli/configs/cartpole.toml`: threshold 475, at most 300 000 steps.
2 of 3 seeds reached it.

![PPO on CartPole-v1](cartpole_ppo.svg)

| seed | steps to 475 | greedy return | wall time | peak memory |
|:---|---:|---:|---:|---:|
| 0 | 90 112 | 490.0 ± 2.0 | 10.0 s | 80 MiB |
| 1 | 110 592 | 491.0 ± 2.0 | 11.0 s | 80 MiB |
| 2 | not reached | 492.0 ± 2.0 | 12.0 s | 80 MiB |
| **mean ± std** | 100 352 ± 14 482 | 491.0 ± 1.0 | 11.0 s ± 1.0 s | 80 MiB ± 0 MiB |

Made by a test.
";
        assert_eq!(text, expected);
    }
}
