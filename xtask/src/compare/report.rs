//! Comparisons as Markdown and as JSON.

use serde_json::{Value, json};

use super::turns::Comparison;
use super::workload::{Goal, Metric, Workload};
use crate::statistics::grouped;

/// Writes the section of a workload.
pub(super) fn section(workload: &Workload, comparisons: &[Comparison], made: &str) -> String {
    let unit = workload.metric.unit();
    let mut text = format!(
        "{}\n\n| case | peer | setting | peer, {unit} | rekindle, {unit} | ratio | goal |\n\
         |:---|:---|:---|---:|---:|---:|:---|\n",
        workload.description
    );
    let figure = |value| figure(workload.metric, value);
    for comparison in comparisons {
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} |\n",
            comparison.case,
            comparison.system,
            comparison.setting,
            comparison.peer.write(figure),
            comparison.ours.write(figure),
            comparison.ratio.write(|value| format!("{value:.2}")),
            verdict(comparison),
        );
    }
    let verdicts: Vec<bool> = comparisons.iter().filter_map(Comparison::reached).collect();
    if !verdicts.is_empty() {
        let reached = verdicts.iter().filter(|reached| **reached).count();
        text += &format!("\nGoals reached: {reached} of {}.\n", verdicts.len());
    }
    let version = comparisons.last().map_or("", |comparison| comparison.our_version.as_str());
    format!("{text}\nrekindle {version}. {made}\n")
}

fn figure(metric: Metric, value: f64) -> String {
    match metric {
        Metric::EnvSteps | Metric::Rows => grouped(value),
        Metric::StepCost | Metric::VectorStepCost => format!("{value:.2}"),
        Metric::Memory => format!("{value:.1}"),
    }
}

fn verdict(comparison: &Comparison) -> String {
    let goal = match comparison.goal {
        Some(Goal::Ratio(ratio)) => format!("{ratio}"),
        Some(Goal::AtMost(bound)) => format!("at most {bound} {}", comparison.metric.unit()),
        None => return "–".to_owned(),
    };
    let missed = if comparison.reached() == Some(false) { "not reached" } else { "reached" };
    format!("{goal}: {missed}")
}

/// Writes one JSON line per case. It compares with the peer whose goal is the hardest to reach, or
/// with the fastest peer if there are no goals. `peers` holds the figures of all peers.
pub(super) fn json(comparisons: &[Comparison]) -> Vec<String> {
    let mut names: Vec<&str> = Vec::new();
    for comparison in comparisons {
        if !names.contains(&comparison.case.as_str()) {
            names.push(&comparison.case);
        }
    }
    let line = |name: &&str| {
        let rows: Vec<_> = comparisons.iter().filter(|c| c.case == *name).collect();
        let hardest = rows.iter().min_by(|a, b| margin(a).total_cmp(&margin(b)))?;
        let mut line = object(hardest);
        line["workload"] = json!(name);
        line["unit"] = json!(hardest.metric.unit());
        line["peers"] = rows.iter().map(|row| object(row)).collect();
        Some(line.to_string())
    };
    names.iter().filter_map(line).collect()
}

fn object(comparison: &Comparison) -> Value {
    let goal = comparison.goal.map(|goal| match goal {
        Goal::Ratio(goal) | Goal::AtMost(goal) => goal,
    });
    json!({
        "system": comparison.system,
        "setting": comparison.setting,
        "ours": comparison.ours.median,
        "peer": comparison.peer.median,
        "ratio": comparison.ratio.median,
        "goal": goal,
        "reached": comparison.reached(),
    })
}

/// The ratio of a result to its goal. Comparisons without a goal sort after all others.
fn margin(comparison: &Comparison) -> f64 {
    match comparison.goal {
        Some(Goal::Ratio(goal)) => comparison.ratio.median / goal,
        Some(Goal::AtMost(bound)) => bound / comparison.ours.median,
        None => 1e9 * comparison.ratio.median,
    }
}

#[cfg(test)]
mod tests {
    use super::super::turns::tests::comparison;
    use super::super::workloads::workloads;
    use super::*;

    fn comparisons() -> Vec<Comparison> {
        let mut free = comparison("ppo-cartpole", 12_000.0, &[6000.0]);
        free.goal = None;
        vec![
            comparison("ppo-cartpole", 12_000.0, &[600.0, 400.0]),
            comparison("ppo-cartpole", 12_000.0, &[800.0]),
            free,
        ]
    }

    #[test]
    fn the_table_has_a_row_per_case_and_peer_and_a_count_of_goals() {
        let text = section(&workloads()[0], &comparisons(), "Made by a test.");
        let (_, table) = text.split_once("|:---|\n").unwrap();
        let expected = "\
| ppo-cartpole | peer 1.2 | 1 thread | 500 (400 – 600) | 12 000 (12 000 – 12 000) | 25.00 (20.00 – 30.00) | 20: reached |
| ppo-cartpole | peer 1.2 | 1 thread | 800 (800 – 800) | 12 000 (12 000 – 12 000) | 15.00 (15.00 – 15.00) | 20: not reached |
| ppo-cartpole | peer 1.2 | 1 thread | 6 000 (6 000 – 6 000) | 12 000 (12 000 – 12 000) | 2.00 (2.00 – 2.00) | – |

Goals reached: 1 of 2.

rekindle 1.2. Made by a test.
";
        assert_eq!(table, expected);
    }

    #[test]
    fn a_line_of_json_is_about_the_hardest_goal() {
        let lines = json(&comparisons());
        assert_eq!(lines.len(), 1);
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["workload"], "ppo-cartpole");
        assert_eq!((&line["ours"], &line["peer"]), (&json!(12_000.0), &json!(800.0)));
        assert_eq!((&line["ratio"], &line["goal"]), (&json!(15.0), &json!(20.0)));
        assert_eq!(line["peers"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn lines_keep_cases_apart() {
        let lines = json(&[comparison("b", 2.0, &[1.0]), comparison("a", 3.0, &[1.0])]);
        assert_eq!(lines.len(), 2);
    }
}
