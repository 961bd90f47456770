//! V-trace targets of one segment of an episode.

use crate::{LearnerError, Result};

/// Parameters of V-trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VTraceConfig {
    /// Discount factor per step.
    pub gamma: f32,
    /// Mixes multi-step targets (1) with one-step targets (0).
    pub lambda_: f32,
    /// Upper bound of the importance ratio in the temporal differences, `ρ̄`; infinity does not clip.
    pub clip_rho_threshold: f32,
    /// Upper bound of the importance ratio in the policy-gradient advantages; infinity does not clip.
    pub clip_pg_rho_threshold: f32,
    /// Share `α` of the clipped ratio in a mixture with the unclipped one: 1 is V-trace, less is
    /// leaky V-trace.
    pub leak_alpha: f32,
}

impl Default for VTraceConfig {
    /// `γ` 0.99, `λ` 1, both thresholds 1, no leak.
    fn default() -> Self {
        Self {
            gamma: 0.99,
            lambda_: 1.0,
            clip_rho_threshold: 1.0,
            clip_pg_rho_threshold: 1.0,
            leak_alpha: 1.0,
        }
    }
}

impl VTraceConfig {
    fn clip(&self, ratio: f32, threshold: f32) -> f32 {
        let clipped = ratio.min(threshold);
        if self.leak_alpha == 1.0 {
            return clipped;
        }
        self.leak_alpha * clipped + (1.0 - self.leak_alpha) * ratio
    }
}

/// Value targets and policy-gradient advantages of V-trace.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct VTrace {
    /// Value targets `vs`, `[T]`.
    pub targets: Vec<f32>,
    /// Advantages `min(ρ, ρ̄_pg)·(r + γ·q − V)`, `[T]`.
    pub advantages: Vec<f32>,
}

/// Computes V-trace targets and advantages (Espeholt et al., 2018, section 4.1).
///
/// With `ρ = exp(log_ratios)`, `ρ̄ = min(ρ, clip_rho)` and `c = λ·min(ρ, 1)`:
/// `δ_t = ρ̄_t·(r_t + γ·V_{t+1} − V_t)`, `vs_t − V_t = δ_t + γ·c_t·(vs_{t+1} − V_{t+1})`, and the
/// advantages bootstrap from `q_{t+1} = λ·vs_{t+1} + (1 − λ)·V_{t+1}`.
///
/// `bootstrap` says how the segment ends: 0 where the environment terminated the episode,
/// `V(final observation)` where the episode was truncated or continues in the next segment. A segment
/// is a call of its own, so nothing leaks across its end.
///
/// # Shapes
/// `log_ratios` (`log π(a|s) − log μ(a|s)`), `rewards`, `values`: `[T]`.
///
/// # Errors
/// [`LearnerError::Length`] if the slices differ in length.
pub fn vtrace(
    log_ratios: &[f32],
    rewards: &[f32],
    values: &[f32],
    bootstrap: f32,
    config: &VTraceConfig,
) -> Result<VTrace> {
    let expected = rewards.len();
    for (what, found) in
        [("log ratios of a segment", log_ratios.len()), ("values of a segment", values.len())]
    {
        if found != expected {
            return Err(LearnerError::Length { what, expected, found });
        }
    }
    let VTraceConfig { gamma, lambda_, .. } = *config;
    let (mut targets, mut advantages) = (vec![0.0; expected], vec![0.0; expected]);
    // The value after the step, what the advantage bootstraps from, and `vs − V` after the step.
    let (mut next_value, mut next_q, mut next_error) = (bootstrap, bootstrap, 0.0);
    for t in (0..expected).rev() {
        let (ratio, value) = (log_ratios[t].exp(), values[t]);
        let delta = config.clip(ratio, config.clip_rho_threshold)
            * (rewards[t] + gamma * next_value - value);
        let error = delta + gamma * lambda_ * config.clip(ratio, 1.0) * next_error;
        targets[t] = value + error;
        advantages[t] = config.clip(ratio, config.clip_pg_rho_threshold)
            * (rewards[t] + gamma * next_q - value);
        next_q = lambda_ * targets[t] + (1.0 - lambda_) * value;
        (next_value, next_error) = (value, error);
    }
    Ok(VTrace { targets, advantages })
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use rekindle_core::Generator;

    use super::*;
    use crate::ops::returns_to_go;

    const LOG_RATIOS: [f32; 4] = [0.5, -0.3, 0.1, -1.0];
    const REWARDS: [f32; 4] = [1.0, 2.0, -1.0, 0.5];
    const VALUES: [f32; 4] = [0.5, 1.0, 1.5, -0.5];

    fn close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 3e-6, "{found:?} {expected:?}");
        }
    }

    fn check(config: &VTraceConfig, targets: [f32; 4], advantages: [f32; 4]) {
        let found = vtrace(&LOG_RATIOS, &REWARDS, &VALUES, 2.0, config).unwrap();
        close(&found.targets, &targets);
        close(&found.advantages, &advantages);
    }

    #[test]
    fn the_trace_is_shorter_with_lambda_below_1() {
        let config = VTraceConfig { lambda_: 0.9, ..VTraceConfig::default() };
        check(
            &config,
            [2.443317, 1.508773, -0.518214, 0.596281],
            [1.943317, 0.508773, -2.018214, 1.096281],
        );
    }

    #[test]
    fn other_thresholds_equal_the_sum_of_products() {
        let config = VTraceConfig { clip_rho_threshold: 1.5, ..VTraceConfig::default() };
        check(
            &config,
            [2.942245, 1.209339, -0.724669, 0.596281],
            [1.697245, 0.209339, -1.909682, 1.096281],
        );
        close(
            &sum_of_products(&LOG_RATIOS, &REWARDS, &VALUES, 2.0, &config),
            &[2.942245, 1.209339, -0.724669, 0.596281],
        );
    }

    /// The first two steps as a segment of their own, the others as another.
    fn cut_after_two(bootstrap: f32) -> [Vec<f32>; 2] {
        let config = VTraceConfig::default();
        let part = |range: std::ops::Range<usize>, bootstrap| {
            vtrace(
                &LOG_RATIOS[range.clone()],
                &REWARDS[range.clone()],
                &VALUES[range],
                bootstrap,
                &config,
            )
            .unwrap()
        };
        let (first, second) = (part(0..2, bootstrap), part(2..4, 2.0));
        [[first.targets, second.targets].concat(), [first.advantages, second.advantages].concat()]
    }

    #[test]
    fn a_truncated_segment_bootstraps_from_its_final_observation() {
        let [targets, advantages] = cut_after_two(3.0);
        close(&targets, &[4.901638, 3.941048, -0.409682, 0.596281]);
        close(&advantages, &[4.401638, 2.941048, -1.909682, 1.096281]);
    }

    #[test]
    fn a_terminated_segment_has_no_value_after_it() {
        let [targets, advantages] = cut_after_two(0.0);
        close(&targets, &[2.72341, 1.740818, -0.409682, 0.596281]);
        close(&advantages, &[2.22341, 0.740818, -1.909682, 1.096281]);
    }

    #[test]
    fn leaky_vtrace_mixes_clipped_and_unclipped_ratios() {
        let config = VTraceConfig { leak_alpha: 0.5, ..VTraceConfig::default() };
        check(
            &config,
            [2.954088, 1.366703, -0.510104, 0.596281],
            [2.454088, 0.366703, -2.010104, 1.096281],
        );
    }

    #[test]
    fn the_figures_of_rllibs_page() {
        let (log_ratios, rewards) = ([0.2, -0.5, 1.0, 0.0], [1.0, 0.0, -1.0, 2.0]);
        let values = [0.5, 0.4, 0.3, 0.2];
        let config = VTraceConfig { gamma: 0.9, ..VTraceConfig::default() };
        let found = vtrace(&log_ratios, &rewards, &values, 1.0, &config).unwrap();
        close(&found.targets, &[1.932626, 1.036251, 1.61, 2.9]);
        close(&found.advantages, &[1.432626, 0.636251, 1.31, 2.7]);
        let config = VTraceConfig { clip_rho_threshold: 3.7, clip_pg_rho_threshold: 2.2, ..config };
        let found = vtrace(&log_ratios, &rewards, &values, 1.0, &config).unwrap();
        close(&found.targets, &[1.177557, -0.014277, -0.314476, 2.9]);
        close(&found.advantages, &[0.595007, -0.414277, 2.882, 2.7]);

        // A discount of 0 at the second step: an episode ends there.
        let config = VTraceConfig { gamma: 0.9, ..VTraceConfig::default() };
        let part = |rows: Range<usize>, bootstrap| {
            let [log_ratios, rewards, values] =
                [&log_ratios, &rewards, &values].map(|column| &column[rows.clone()]);
            vtrace(log_ratios, rewards, values, bootstrap, &config).unwrap().targets
        };
        close(&part(0..2, 0.0), &[1.141649, 0.157388]);
        close(&part(2..4, 1.0), &[1.61, 2.9]);
    }

    /// `vs_t = V_t + Σ_k γ^k (Π_{i<k} c_i) δ_{t+k}`, term by term.
    fn sum_of_products(
        log_ratios: &[f32],
        rewards: &[f32],
        values: &[f32],
        bootstrap: f32,
        config: &VTraceConfig,
    ) -> Vec<f32> {
        let steps = rewards.len();
        let value = |t: usize| values.get(t).copied().unwrap_or(bootstrap);
        let ratio = |t: usize| log_ratios[t].exp();
        (0..steps)
            .map(|t| {
                let terms = (t..steps).map(|k| {
                    let traces: f32 =
                        (t..k).map(|i| config.gamma * config.lambda_ * ratio(i).min(1.0)).product();
                    let delta = rewards[k] + config.gamma * value(k + 1) - value(k);
                    traces * ratio(k).min(config.clip_rho_threshold) * delta
                });
                values[t] + terms.sum::<f32>()
            })
            .collect()
    }

    #[test]
    fn the_recursion_equals_the_sum_of_products() {
        let mut rng = Generator::from_seed(5);
        let mut draw = |n| (0..n).map(|_| rng.uniform(-1.0, 1.0) as f32).collect::<Vec<_>>();
        for steps in [1, 2, 5, 20] {
            let [log_ratios, rewards, values] = [0; 3].map(|_| draw(steps));
            let config = VTraceConfig {
                clip_rho_threshold: 3.7,
                clip_pg_rho_threshold: 2.2,
                ..VTraceConfig::default()
            };
            let found = vtrace(&log_ratios, &rewards, &values, 0.7, &config).unwrap();
            let expected = sum_of_products(&log_ratios, &rewards, &values, 0.7, &config);
            for (f, e) in found.targets.iter().zip(&expected) {
                assert!((f - e).abs() < 2e-5, "{f} {e}");
            }
        }
    }

    #[test]
    fn on_policy_targets_are_the_n_step_returns() {
        let found = vtrace(&[0.0; 4], &REWARDS, &VALUES, 2.0, &VTraceConfig::default()).unwrap();
        close(&found.targets, &returns_to_go(&REWARDS, 2.0, 0.99));

        let config = VTraceConfig { gamma: 0.9, ..VTraceConfig::default() };
        let rewards = [1.0, 0.0, -1.0, 2.0];
        let found = vtrace(&[0.0; 4], &rewards, &[0.5, 0.4, 0.3, 0.2], 1.0, &config).unwrap();
        close(&found.targets, &[2.3041, 1.449, 1.61, 2.9]);
    }

    #[test]
    fn lambda_0_gives_one_step_targets() {
        let config = VTraceConfig { lambda_: 0.0, ..VTraceConfig::default() };
        let found = vtrace(&[0.0; 4], &REWARDS, &VALUES, 2.0, &config).unwrap();
        let next = [1.0, 1.5, -0.5, 2.0];
        let expected: Vec<f32> = REWARDS.iter().zip(next).map(|(r, v)| r + 0.99 * v).collect();
        close(&found.targets, &expected);
        let advantages: Vec<f32> = expected.iter().zip(VALUES).map(|(y, v)| y - v).collect();
        close(&found.advantages, &advantages);
    }

    #[test]
    fn slices_of_different_length_are_refused() {
        let config = VTraceConfig::default();
        let message = vtrace(&[0.0; 3], &REWARDS, &VALUES, 0.0, &config).unwrap_err().to_string();
        assert_eq!(message, "log ratios of a segment: expected 4 values, found 3");
    }
}
