//! Comparisons for people and for programs.

use serde_json::json;

use super::measurement::Comparison;
use super::workloads::Workload;
use crate::statistics::grouped;

/// The section of the comparison page about a workload.
pub(super) fn section(workload: &Workload, comparisons: &[Comparison], made: &str) -> String {
    let mut text = format!(
        "{}\n\n| peer | threads | peer, steps/s | rekindle, steps/s | ratio |\n\
         |:---|---:|---:|---:|---:|\n",
        workload.description
    );
    for Comparison { peer, peer_speed, our_speed, ratio, .. } in comparisons {
        text += &format!(
            "| {} {} | {} | {} | {} | {} |\n",
            peer.system,
            peer.version,
            peer.threads,
            peer_speed.write(grouped),
            our_speed.write(grouped),
            ratio.write(|value| format!("{value:.2}")),
        );
    }
    if let Some(Comparison { peer, ours, ratio, .. }) = fastest_peer(comparisons) {
        let Workload { goal, .. } = workload;
        let verdict = if ratio.median >= *goal { "reached" } else { "not reached" };
        text += &format!(
            "\nrekindle {} (threads: {}) is {:.2} times as fast as the fastest peer, {} (threads: \
             {}). The goal, {goal:.1}, is {verdict}.\n",
            ours.version, ours.threads, ratio.median, peer.system, peer.threads,
        );
    }
    format!("{text}\n{made}\n")
}

/// One line: medians of us and of the fastest peer, and the median ratio to it.
pub(super) fn json(workload: &Workload, comparisons: &[Comparison]) -> String {
    let fastest = fastest_peer(comparisons);
    json!({
        "workload": workload.name,
        "ours": fastest.map(|comparison| comparison.our_speed.median),
        "peer": fastest.map(|comparison| comparison.peer_speed.median),
        "ratio": fastest.map(|comparison| comparison.ratio.median),
        "goal": workload.goal,
    })
    .to_string()
}

fn fastest_peer(comparisons: &[Comparison]) -> Option<&Comparison> {
    comparisons.iter().max_by(|a, b| a.peer_speed.median.total_cmp(&b.peer_speed.median))
}

#[cfg(test)]
mod tests {
    use super::super::measurement::alternate;
    use super::super::measurement::tests::measurement;
    use super::super::workloads::WORKLOADS;
    use super::*;

    fn comparisons() -> [Comparison; 2] {
        [("slow", 800.0), ("fast", 1600.0)].map(|(system, speed)| {
            let peer = || Ok(measurement(system, speed));
            alternate(2, peer, || Ok(measurement("rekindle", 12_000.0))).unwrap()
        })
    }

    #[test]
    fn the_table_has_a_row_per_peer_and_a_verdict_on_the_fastest() {
        let text = section(&WORKLOADS[0], &comparisons(), "Made by a test.");
        let (_, table) = text.split_once("|:---|").unwrap();
        let expected = "---:|---:|---:|---:|
| slow 1.2 | 1 | 800 (800 – 800) | 12 000 (12 000 – 12 000) | 15.00 (15.00 – 15.00) |
| fast 1.2 | 1 | 1 600 (1 600 – 1 600) | 12 000 (12 000 – 12 000) | 7.50 (7.50 – 7.50) |

rekindle 1.2 (threads: 1) is 7.50 times as fast as the fastest peer, fast (threads: 1). The goal, 20.0, is not reached.

Made by a test.
";
        assert_eq!(table, expected);
    }

    #[test]
    fn json_compares_with_the_fastest_peer() {
        let line = json(&WORKLOADS[0], &comparisons());
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = json!({
            "workload": "ppo-cartpole", "ours": 12_000.0, "peer": 1600.0, "ratio": 7.5, "goal": 20.0
        });
        assert_eq!(value, expected);
    }
}
