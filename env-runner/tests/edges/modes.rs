//! Exploring, greedy and random steps of one episode.

use rekindle_core::Columns;
use rekindle_env_runner::{Amount, Experience, MultiAgentConfig, SampleOptions};

use crate::support::{all, mlp, open, random, set_modules};

/// Returns the largest difference between a recorded log-probability and the one computed from the
/// recorded inputs and action, and the number of rows with a log-probability.
fn compare(experience: &Experience) -> (f32, usize) {
    let (mut worst, mut rows) = (0f32, 0);
    for rollout in experience.rollouts.values().flatten() {
        let Some(logp) = rollout.extras.get(Columns::ACTION_LOGP) else { continue };
        let logits = rollout.extras[Columns::ACTION_DIST_INPUTS].as_f32().unwrap();
        let (logp, actions) = (logp.as_f32().unwrap(), rollout.actions.as_i64().unwrap());
        assert_eq!(logits.len(), 9 * actions.len(), "as many inputs as actions");
        assert_eq!(logp.len(), actions.len(), "as many log-probabilities as actions");
        for ((logits, action), logp) in logits.chunks(9).zip(actions).zip(logp) {
            let total: f32 = logits.iter().map(|logit| logit.exp()).sum();
            worst = worst.max((logits[*action as usize] - total.ln() - logp).abs());
            rows += 1;
        }
    }
    (worst, rows)
}

#[test]
fn recorded_log_probabilities_belong_to_their_rows_after_a_change_of_mode() {
    for first in [SampleOptions::greedy(), random(), SampleOptions::default()] {
        let multi_agent =
            MultiAgentConfig::default().policies(["p".into()]).policy_mapping(all("p"));
        let config = rekindle_env_runner::EnvRunnerConfig::new("TicTacToe-v0")
            .seed(28)
            .multi_agent(multi_agent);
        let mut runner = open(config);
        set_modules(&mut *runner, &mlp());
        runner.collect(Amount::Timesteps(1), first).unwrap();
        let mut steps = 0;
        for _ in 0..12 {
            let experience =
                runner.collect(Amount::Timesteps(3), SampleOptions::default()).unwrap();
            let (worst, rows) = compare(&experience);
            assert!(worst < 1e-5, "{worst}");
            for rollout in experience.rollouts.values().flatten() {
                for (name, column) in &rollout.extras {
                    assert_eq!(column.rows(), rollout.rewards.len(), "{name}");
                }
            }
            steps += rows;
        }
        assert!(steps > 30, "{steps}");
    }
}
