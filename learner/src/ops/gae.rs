//! Advantages and returns of one segment of an episode.

use crate::{LearnerError, Result};

/// Computes generalized advantage estimates and value targets (Schulman et al., 2016).
///
/// `δ_t = r_t + γ·V(o_{t+1}) − V(o_t)`, `A_t = δ_t + γλ·A_{t+1}`, targets `A + V`.
///
/// `bootstrap` is the value after the segment: 0 if the environment terminated the episode,
/// `V(final observation)` if the episode was truncated or continues. Each segment is a separate call,
/// so that nothing leaks from one into another.
///
/// # Shapes
/// `rewards`, `values`: `[T]`; both results `[T]`.
///
/// # Errors
/// [`LearnerError::Length`] if rewards and values differ in length.
pub fn gae(
    rewards: &[f32],
    values: &[f32],
    bootstrap: f32,
    gamma: f32,
    lambda: f32,
) -> Result<(Vec<f32>, Vec<f32>)> {
    if rewards.len() != values.len() {
        let (expected, found) = (rewards.len(), values.len());
        return Err(LearnerError::Length { what: "values of a segment", expected, found });
    }
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (bootstrap, 0.0);
    for ((advantage, reward), value) in advantages.iter_mut().zip(rewards).zip(values).rev() {
        let delta = reward + gamma * next_value - value;
        *advantage = delta + gamma * lambda * next_advantage;
        (next_value, next_advantage) = (*value, *advantage);
    }
    let targets = advantages.iter().zip(values).map(|(a, v)| a + v).collect();
    Ok((advantages, targets))
}

/// Computes discounted sums of future rewards: `R_t = r_t + γ·R_{t+1}`, where `bootstrap` follows the
/// last reward.
///
/// # Shapes
/// `[T]` to `[T]`.
#[must_use]
pub fn returns_to_go(rewards: &[f32], bootstrap: f32, gamma: f32) -> Vec<f32> {
    let mut returns = vec![0.0; rewards.len()];
    let mut next = bootstrap;
    for (r, reward) in returns.iter_mut().zip(rewards).rev() {
        next = reward + gamma * next;
        *r = next;
    }
    returns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 2e-6, "{found:?} {expected:?}");
        }
    }

    const REWARDS: [f32; 3] = [1.0, -1.0, 0.5];
    const VALUES: [f32; 3] = [0.5, 0.6, 0.7];

    #[test]
    fn advantages_of_a_terminated_episode() {
        let (a, _) = gae(&REWARDS, &VALUES, 0.0, 0.99, 1.0).unwrap();
        close(&a, &[0.00005, -1.105, -0.2]);
        let (a, _) = gae(&REWARDS, &VALUES, 0.0, 0.99, 0.95).unwrap();
        close(&a, &[0.064058, -1.0951, -0.2]);
    }

    #[test]
    fn advantages_of_a_truncated_episode_bootstrap_with_the_final_value() {
        let (a, targets) = gae(&REWARDS, &VALUES, 0.9, 0.99, 0.95).unwrap();
        close(&a, &[0.852184, -0.257115, 0.691]);
        close(&targets, &[1.352184, 0.342885, 1.391]);
    }

    #[test]
    fn segments_do_not_leak_into_each_other() {
        let (truncated, _) = gae(&[1.0, 1.0], &[1.0, 2.0], 3.0, 0.9, 0.5).unwrap();
        close(&truncated, &[2.565, 1.7]);
        let (terminated, _) = gae(&[2.0], &[4.0], 0.0, 0.9, 0.5).unwrap();
        close(&terminated, &[-2.0]);
    }

    #[test]
    fn returns_are_discounted_sums_of_later_rewards() {
        close(&returns_to_go(&[1.0, 2.0, 3.0], 0.0, 0.5), &[2.75, 3.5, 3.0]);
        close(&returns_to_go(&[1.0], 4.0, 0.5), &[3.0]);
        close(&returns_to_go(&[0.1, 0.2, 0.3], 0.0, 0.99)[..1], &[0.592_03]);
    }

    #[test]
    fn lambda_1_targets_are_the_returns_to_go_whatever_the_values() {
        let (_, targets) = gae(&REWARDS, &VALUES, 0.9, 0.97, 1.0).unwrap();
        close(&targets, &returns_to_go(&REWARDS, 0.9, 0.97));
    }

    /// The targets are Peng and Williams' Q(λ) where the values are those of the best actions: rewards
    /// 1, 0, 2, −1, and the largest values 0.5, 1, 2, 3 of the observations that follow.
    #[test]
    fn targets_of_action_values_are_the_reference_lambda_returns() {
        // The value of the first observation cancels.
        let values = [7.0, 0.5, 1.0, 2.0];
        let rewards = [1.0, 0.0, 2.0, -1.0];
        let of = |rows: std::ops::Range<usize>, bootstrap, lambda| {
            gae(&rewards[rows.clone()], &values[rows], bootstrap, 0.9, lambda).unwrap().1
        };
        close(&of(0..4, 3.0, 0.65), &[2.582_17, 2.435_333, 3.624_5, 1.7]);
        close(&of(0..4, 3.0, 0.0), &[1.45, 0.9, 3.8, 1.7]);
        close(&of(0..4, 3.0, 1.0), &[3.859_3, 3.177, 3.53, 1.7]);
        // Terminated after the second step, and truncated there with a best final value of 5.
        close(&[of(0..2, 0.0, 0.65), of(2..4, 3.0, 0.65)].concat(), &[1.1575, 0.0, 3.6245, 1.7]);
        close(&[of(0..2, 5.0, 0.65), of(2..4, 3.0, 0.65)].concat(), &[3.79, 4.5, 3.6245, 1.7]);
    }

    /// Reward −1 for ever, cut off after 200 steps: −1/(1 − γ), not 0.8660 of it.
    #[test]
    fn a_time_limit_does_not_shorten_the_values_of_a_constant_reward() {
        let value = -100.0;
        let values = [value; 200];
        let (_, truncated) = gae(&[-1.0; 200], &values, value, 0.99, 0.65).unwrap();
        assert!(truncated.iter().all(|target| (target + 100.0).abs() < 1e-3), "{truncated:?}");
        let (_, ended) = gae(&[-1.0; 200], &values, 0.0, 0.99, 1.0).unwrap();
        assert!((ended[0] + 86.602).abs() < 1e-2, "{}", ended[0]);
    }

    #[test]
    fn slices_of_different_length_are_refused() {
        let message = gae(&REWARDS, &VALUES[..2], 0.0, 0.99, 0.95).unwrap_err().to_string();
        assert_eq!(message, "values of a segment: expected 3 values, found 2");
    }
}
