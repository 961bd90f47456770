//! Properties of transitions and priorities, on streams of random lengths.

use proptest::prelude::*;

use super::*;

/// One stream of steps: the rewards, and how many steps each episode has.
fn stream() -> impl Strategy<Value = Vec<(Vec<f32>, bool)>> {
    let episode = (proptest::collection::vec(-3.0f32..3.0, 1..9), any::<bool>());
    proptest::collection::vec(episode, 1..30)
}

/// Returns the value of the observation that a step reaches, given the number of the step in the stream.
fn value(number: usize) -> f32 {
    (number * 7919 % 101) as f32 / 10.0
}

/// Stores the stream in fragments of `fragment` steps. Observations are the numbers of the steps. Final observations
/// are the number of the last step plus 1/2.
fn stored(episodes: &[(Vec<f32>, bool)], capacity: usize, fragment: usize) -> ReplayBuffer {
    let mut buffer = buffer(ReplayConfig::default().capacity(capacity));
    let mut number = 0;
    for (episode, (rewards, terminated)) in episodes.iter().enumerate() {
        let ends = if *terminated { SegmentEnd::Terminated } else { SegmentEnd::Truncated };
        for (index, part) in rewards.chunks(fragment).enumerate() {
            let t = index * fragment;
            let is_last = t + part.len() == rewards.len();
            let end = if is_last { ends } else { SegmentEnd::Cut };
            let last = (number + part.len()) as f32 - if is_last { 0.5 } else { 0.0 };
            let segment = segment(0, episode as u64, t, part.len(), end);
            buffer.push(&rollout(segment, number as f32, part, last)).unwrap();
            number += part.len();
        }
    }
    buffer
}

/// Returns observation and target of each stored row, sorted by observation. The value of the observation after a step
/// is given by the step's number.
fn targets(buffer: &ReplayBuffer, n: usize) -> Vec<(f32, f32)> {
    let rows: Vec<usize> = (0..buffer.storage.slots())
        .filter(|row| buffer.storage.follows(*row) != Follows::Absent)
        .collect();
    let spec = TransitionSpec::new(0.9).n_step(n..=n);
    let batch = buffer.storage.gather(&rows, &spec, &mut Generator::from_seed(0)).unwrap();
    let column = |name: &str| batch.as_f32(name).unwrap().to_vec();
    let next = column(Columns::NEXT_OBS);
    // The step before an observation: `t + 1` follows step `t`, and so does `t + 1/2` at the end of an episode.
    let reached = next.iter().map(|next| value((next + 0.5) as usize - 1));
    let found = column(Columns::REWARDS).into_iter().zip(column(Columns::DISCOUNTS)).zip(reached);
    let targets = found.map(|((reward, discount), value)| reward + discount * value);
    let mut targets: Vec<(f32, f32)> = column(Columns::OBS).into_iter().zip(targets).collect();
    targets.sort_by(|a, b| a.0.total_cmp(&b.0));
    targets
}

/// Computes a target by its definition, from the whole stream.
fn expected(episodes: &[(Vec<f32>, bool)], n: usize) -> Vec<f32> {
    let (mut all, mut first) = (Vec::new(), 0);
    for (rewards, terminated) in episodes {
        for start in 0..rewards.len() {
            let last = (start + n).min(rewards.len()) - 1;
            let sum: f64 = (start..=last)
                .map(|t| 0.9f64.powi((t - start) as i32) * f64::from(rewards[t]))
                .sum();
            let follows = !(*terminated && last + 1 == rewards.len());
            let discount = if follows { 0.9f64.powi((last + 1 - start) as i32) } else { 0.0 };
            all.push((sum + discount * f64::from(value(first + last))) as f32);
        }
        first += rewards.len();
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// The targets of the stored steps equal the targets from the whole stream, wherever the ring wraps around and for
    /// fragments of any length. No target crosses the end of an episode or the place where new steps are written.
    #[test]
    fn targets_do_not_depend_on_where_the_ring_begins(
        episodes in stream(),
        n in 1usize..6,
        capacity in 8usize..60,
        fragment in 1usize..7,
    ) {
        let buffer = stored(&episodes, capacity, fragment);
        let expected = expected(&episodes, n);
        let found = targets(&buffer, n);
        prop_assert_eq!(found.len(), buffer.len());
        // The oldest steps were dropped, and the last one is there.
        let first = expected.len() - found.len();
        for (index, (obs, target)) in found.into_iter().enumerate() {
            prop_assert_eq!(obs, (first + index) as f32);
            let expected = expected[first + index];
            prop_assert!((target - expected).abs() < 1e-4, "step {obs}: {target} {expected}");
        }
    }

    /// A target depends on nothing after the last step that it uses.
    #[test]
    fn later_rewards_do_not_enter_a_target(episodes in stream(), n in 1usize..5, at in any::<prop::sample::Index>()) {
        let total: usize = episodes.iter().map(|(rewards, _)| rewards.len()).sum();
        let changed = at.index(total);
        let (mut other, mut first) = (episodes.clone(), 0);
        for (rewards, _) in &mut other {
            if (first..first + rewards.len()).contains(&changed) {
                rewards[changed - first] += 1000.0;
            }
            first += rewards.len();
        }
        let of = |episodes: &[(Vec<f32>, bool)]| targets(&stored(episodes, 1000, 3), n);
        let (mut first, mut of_episode) = (0, Vec::new());
        for (rewards, _) in &episodes {
            of_episode.extend(std::iter::repeat_n(first..first + rewards.len(), rewards.len()));
            first += rewards.len();
        }
        for (step, (before, after)) in of(&episodes).into_iter().zip(of(&other)).enumerate() {
            let uses = (step..step + n).contains(&changed) && of_episode[step].contains(&changed);
            prop_assert_eq!(before.1 != after.1, uses, "step {}", step);
        }
    }
}

#[test]
fn one_step_targets_are_rewards_and_discounted_values() {
    let episodes = [(vec![1.0, 2.0, 3.0], true), (vec![4.0, 5.0], false)];
    let found: Vec<f32> = targets(&stored(&episodes, 100, 2), 1).iter().map(|t| t.1).collect();
    let of = |reward: f32, t| reward + 0.9 * value(t);
    close(&found, &[of(1.0, 0), of(2.0, 1), 3.0, of(4.0, 3), of(5.0, 4)]);
}

/// Four rows with these errors and an exponent of 1.
fn with_errors(errors: &[f32], config: PrioritizedConfig) -> ReplayBuffer {
    let config = ReplayConfig::default().prioritized(config.alpha(1.0).epsilon(1e-9));
    let mut buffer = buffer(config);
    let segment = segment(0, 0, 0, errors.len(), SegmentEnd::Terminated);
    buffer.push(&rollout(segment, 0.0, &vec![0.0; errors.len()], 0.0)).unwrap();
    let rows: Vec<usize> = (0..errors.len()).collect();
    buffer.set_errors(&rows, errors);
    buffer
}

fn drawn(buffer: &ReplayBuffer, count: usize, seed: u64) -> (Vec<usize>, Vec<f32>) {
    let mut rng = Generator::from_seed(seed);
    let batch = buffer.sample(count, &TransitionSpec::new(0.9), 0, &mut rng).unwrap();
    let rows = batch.host().unwrap().column(ROWS).unwrap().as_i64().unwrap();
    let weights = batch.as_f32(Columns::WEIGHTS).unwrap().to_vec();
    (rows.iter().map(|row| *row as usize).collect(), weights)
}

#[test]
fn importance_weights_of_the_priorities_1_to_4_are_rllibs() {
    for (beta, expected) in [
        (0.0, [1.0; 4]),
        (0.4, [1.0, 0.757_858, 0.644_394, 0.574_349]),
        (1.0, [1.0, 0.5, 0.333_333, 0.25]),
    ] {
        let buffer = with_errors(&[1.0, 2.0, 3.0, 4.0], PrioritizedConfig::default().beta(beta));
        let (rows, weights) = drawn(&buffer, 40, 0);
        let of_rows: Vec<f32> = rows.iter().map(|row| expected[*row]).collect();
        close(&weights, &of_rows);
        assert_eq!((0..4).filter(|row| rows.contains(row)).count(), 4);
    }
}

#[test]
fn no_importance_weight_is_above_1_with_either_convention() {
    for by in [LargestWeight::Buffer, LargestWeight::Batch] {
        let config = PrioritizedConfig::default().beta(0.7).weights_by(by);
        let buffer = with_errors(&[0.01, 5.0, 2.0, 1.0, 0.3, 0.7, 9.0], config);
        for seed in 0..100 {
            let (_, weights) = drawn(&buffer, 3, seed);
            assert!(weights.iter().all(|weight| *weight > 0.0 && *weight <= 1.0), "{weights:?}");
            assert!(by == LargestWeight::Buffer || weights.contains(&1.0), "{weights:?}");
        }
    }
}

#[test]
fn rows_with_small_errors_are_seldom_drawn_and_the_last_error_of_a_row_counts() {
    let mut errors = [1.0; 80];
    errors[..16].fill(0.01);
    let buffer = with_errors(&errors, PrioritizedConfig::default());
    let small: usize = (0..1000)
        .map(|seed| drawn(&buffer, 16, seed).0.iter().filter(|row| **row < 16).count())
        .sum();
    assert!(small * 100 < 15 * 16_000, "{small} of 16 000");

    let mut buffer = with_errors(&[0.01; 10], PrioritizedConfig::default());
    buffer.set_errors(&[3, 5, 3, 5], &[0.2, 7.0, 0.5, 0.01]);
    let largest: usize = (0..1000)
        .map(|seed| drawn(&buffer, 10, seed).0.iter().filter(|row| **row == 3).count())
        .sum();
    assert!(largest > 8000, "{largest} of 10 000");
}
