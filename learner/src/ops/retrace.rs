//! Targets of action values from experience of another policy.

use crate::{LearnerError, Result};

/// Computes targets of action values by off-policy corrections (Munos et al., 2016, equation 3): `G_t = r_t +
/// γ·(V_{t+1} + c_{t+1}·(G_{t+1} − Q_{t+1}))`, where `V` are the state values under the target policy and `Q` are the
/// values of the actions taken. The last step has the target `r + γ·V`.
///
/// The traces `c` choose the method. `π` and `μ` are the probabilities of the actions taken under the target policy and
/// the behavior policy:
///
/// | traces | method |
/// |---|---|
/// | `λ·min(1, π/μ)` | Retrace(λ) |
/// | `λ·π` | tree backup |
/// | `λ` | Q(λ) of Harutyunyan et al. (2016) |
/// | `π/μ` | importance sampling |
/// | 0 | expected SARSA |
///
/// Each call takes one segment of an episode. The last of `next_values` must be 0 if the environment terminated the
/// episode.
///
/// # Shapes
/// `rewards` and `next_values` (the values after each step): `[T]`; `next_q` and `traces` (from the second step on):
/// `[T − 1]`; result: `[T]`.
///
/// # Errors
/// [`LearnerError::Length`] if the lengths do not fit together.
pub fn retrace(
    rewards: &[f32],
    next_values: &[f32],
    next_q: &[f32],
    traces: &[f32],
    gamma: f32,
) -> Result<Vec<f32>> {
    let steps = rewards.len();
    for (what, expected, found) in [
        ("values after the steps of a segment", steps, next_values.len()),
        ("action values after the first step of a segment", steps.saturating_sub(1), next_q.len()),
        ("traces after the first step of a segment", steps.saturating_sub(1), traces.len()),
    ] {
        if expected != found {
            return Err(LearnerError::Length { what, expected, found });
        }
    }
    let mut targets = vec![0.0; steps];
    let mut later = 0.0;
    for (t, target) in targets.iter_mut().enumerate().rev() {
        let correction = match (traces.get(t), next_q.get(t)) {
            (Some(trace), Some(q)) => trace * (later - q),
            _ => 0.0,
        };
        later = rewards[t] + gamma * (next_values[t] + correction);
        *target = later;
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REWARDS: [f32; 3] = [1.0, 0.5, 2.0];
    /// Values for the actions 0 and 1, which were taken at times 1 and 2.
    const PI: [f32; 2] = [0.3, 0.4];
    const MU: [f32; 2] = [0.5, 0.8];
    const Q: [f32; 2] = [1.0, 4.0];
    /// `0.3·1 + 0.7·2`, `0.6·0 + 0.4·4` and `0.5·3 − 0.5·1`.
    const VALUES: [f32; 3] = [1.7, 1.6, 1.0];
    const LAMBDA: f32 = 0.9;

    fn targets(trace: impl Fn(usize) -> f32) -> Vec<f32> {
        retrace(&REWARDS, &VALUES, &Q, &[trace(0), trace(1)], 0.9).unwrap()
    }

    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn targets_of_all_traces_are_the_reference_figures() {
        close(&targets(|t| LAMBDA * (PI[t] / MU[t]).min(1.0)), &[2.770_327, 1.494_5, 2.9]);
        close(&targets(|t| LAMBDA * PI[t]), &[2.671_815, 1.583_6, 2.9]);
        close(&targets(|_| LAMBDA), &[2.569_69, 1.049, 2.9]);
        close(&targets(|t| PI[t] / MU[t]), &[2.770_3, 1.445, 2.9]);
        close(&targets(|_| 0.0), &[2.53, 1.94, 2.9]);
    }

    #[test]
    fn without_traces_each_target_is_a_reward_and_the_value_after_it() {
        let expected: Vec<f32> =
            REWARDS.iter().zip(VALUES).map(|(reward, value)| reward + 0.9 * value).collect();
        close(&targets(|_| 0.0), &expected);
    }

    #[test]
    fn on_policy_targets_are_discounted_rewards_and_the_advantages_that_were_passed() {
        let found = targets(|_| 1.0);
        let rewards = 1.0 + 0.9 * 0.5 + 0.81 * 2.0 + 0.729 * VALUES[2];
        let passed = 0.9 * (VALUES[0] - Q[0]) + 0.81 * (VALUES[1] - Q[1]);
        close(&found[..1], &[rewards + passed]);
    }

    #[test]
    fn slices_of_other_lengths_are_refused_by_name() {
        let message = |values: &[f32], q: &[f32], traces: &[f32]| {
            retrace(&REWARDS, values, q, traces, 0.9).unwrap_err().to_string()
        };
        assert!(message(&VALUES[1..], &Q, &Q).starts_with("values after the steps"));
        assert!(message(&VALUES, &VALUES, &Q).starts_with("action values after the first step"));
        assert!(message(&VALUES, &Q, &Q[1..]).starts_with("traces after the first step"));
        assert_eq!(retrace(&[], &[], &[], &[], 0.9).unwrap(), [0.0; 0]);
    }
}
