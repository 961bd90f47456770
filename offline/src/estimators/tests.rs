use super::*;

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
}

fn episode(ratios: [f64; 2], rewards: [f64; 2]) -> EstimatedEpisode {
    EstimatedEpisode {
        rewards: rewards.to_vec(),
        log_ratios: ratios.map(f64::ln).to_vec(),
        ..EstimatedEpisode::default()
    }
}

fn two() -> Vec<EstimatedEpisode> {
    vec![episode([0.5, 2.0], [1.0, 2.0]), episode([1.5, 0.8], [0.0, 3.0])]
}

#[test]
fn estimates_equal_the_reference_figures() {
    let of = |estimator| estimate(estimator, &two(), 0.9).unwrap();
    close(of(Estimator::ImportanceSampling), 3.02);
    close(of(Estimator::WeightedImportanceSampling), 2.745_455);
    close(of(Estimator::PerDecisionImportanceSampling), 2.77);
    close(of(Estimator::PerDecisionWeightedImportanceSampling), 2.540_909);
}

#[test]
fn doubly_robust_estimates_need_only_one_right_part() {
    // By hand: DR₁ = 2 + 2·(2 + 0 − 1) = 4, DR₀ = 1 + 0.5·(1 + 0.9·4 − 0.5) = 3.05.
    let mut first = episode([0.5, 2.0], [1.0, 2.0]);
    (first.values, first.action_values) = (vec![1.0, 2.0, 0.0], vec![0.5, 1.0]);
    let of = |estimator, episode: &EstimatedEpisode| {
        estimate(estimator, std::slice::from_ref(episode), 0.9).unwrap()
    };
    close(of(Estimator::DoublyRobust, &first), 3.05);
    close(of(Estimator::DirectMethod, &first), 1.0);
    // Without values it is importance sampling of each reward, and with exact ones of the policy that acted the
    // return itself.
    (first.values, first.action_values) = (vec![0.0; 3], vec![0.0; 2]);
    close(
        of(Estimator::DoublyRobust, &first),
        of(Estimator::PerDecisionImportanceSampling, &first),
    );
    first.log_ratios = vec![0.0; 2];
    (first.values, first.action_values) = (vec![9.0, 7.0, 0.0], vec![9.0, 7.0]);
    close(of(Estimator::DoublyRobust, &first), 2.8);
    // The value after a truncated episode counts.
    first.values[2] = 10.0;
    close(of(Estimator::DoublyRobust, &first), 2.8 + 8.1);
}

#[test]
fn all_estimators_of_the_policy_that_acted_are_the_mean_return() {
    let mut episodes = vec![episode([1.0; 2], [1.0, 2.0]), episode([1.0; 2], [0.0, 3.0])];
    episodes.push(EstimatedEpisode {
        rewards: vec![4.0],
        log_ratios: vec![0.0],
        ..EstimatedEpisode::default()
    });
    let mean = (2.8 + 2.7 + 4.0) / 3.0;
    for estimator in Estimator::ALL.into_iter().filter(|estimator| !estimator.needs_values()) {
        close(estimate(estimator, &episodes, 0.9).unwrap(), mean);
    }
}

#[test]
fn weights_of_long_episodes_do_not_overflow() {
    let long = |ratio: f64, reward: f64| EstimatedEpisode {
        rewards: vec![reward; 1000],
        log_ratios: vec![ratio; 1000],
        ..EstimatedEpisode::default()
    };
    let episodes = [long(2.0, 1.0), long(1.0, 5.0)];
    let found = estimate(Estimator::WeightedImportanceSampling, &episodes, 1.0).unwrap();
    close(found, 1000.0);
}

#[test]
fn draws_without_the_largest_weights_count_the_others() {
    // The weight of one episode exceeds the others by more than a number holds, and a third of the draws lacks it.
    let mut episodes: Vec<_> = (0..40).map(|_| episode([0.5, 0.5], [3.0, 0.0])).collect();
    episodes.push(episode([1.0, 1.0], [7.0, 0.0]));
    episodes[40].log_ratios = vec![0.0, 2000.0];
    let found = estimate_with_interval(
        Estimator::WeightedImportanceSampling,
        &episodes,
        1.0,
        0.9,
        200,
        &mut Generator::from_seed(0),
    );
    let found = found.unwrap();
    close(found.value, 7.0);
    close(found.low, 3.0);
    close(found.high, 7.0);
}

#[test]
fn estimates_that_are_not_finite_are_refused_by_estimator_and_episode() {
    let mut episodes = two();
    episodes[1].log_ratios[0] = 1e30;
    let message = |estimator, episodes: &[EstimatedEpisode]| {
        estimate(estimator, episodes, 0.9).unwrap_err().to_string()
    };
    for estimator in [Estimator::ImportanceSampling, Estimator::PerDecisionImportanceSampling] {
        let found = message(estimator, &episodes);
        let expected = format!(
            "the estimator `{}` cannot estimate: the weight of episode 1 is too large",
            estimator.name()
        );
        assert!(found.starts_with(&expected), "{found}");
    }
    let mut robust = episodes.clone();
    for episode in &mut robust {
        (episode.values, episode.action_values) = (vec![0.0; 3], vec![0.0; 2]);
    }
    robust[1].rewards[0] = 1.0;
    assert!(message(Estimator::DoublyRobust, &robust).contains("the weight of episode 1"));
    // Relative to the largest weight, all others are 0.
    for estimator in
        [Estimator::WeightedImportanceSampling, Estimator::PerDecisionWeightedImportanceSampling]
    {
        close(estimate(estimator, &episodes, 0.9).unwrap(), 2.7);
    }
    for (number, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let mut invalid = two();
        invalid[1].log_ratios[1] = number;
        let found = message(Estimator::WeightedImportanceSampling, &invalid);
        let expected = format!("`log_ratios` of episode 1 holds {shown} at step 1");
        assert!(found.contains(&expected), "{found}");
        invalid[0].rewards[0] = number;
        let found = message(Estimator::ImportanceSampling, &invalid);
        assert!(found.contains("`rewards` of episode 0 holds"), "{found}");
    }
    // An action that the policy never takes.
    let mut never = two();
    never[0].log_ratios[1] = f64::NEG_INFINITY;
    close(estimate(Estimator::WeightedImportanceSampling, &never, 0.9).unwrap(), 2.7);
    never[1].log_ratios[0] = f64::NEG_INFINITY;
    let found = message(Estimator::WeightedImportanceSampling, &never);
    assert!(found.contains("`wis` cannot estimate: all weights are 0"), "{found}");
    close(estimate(Estimator::ImportanceSampling, &never, 0.9).unwrap(), 0.0);
}

#[test]
fn intervals_cover_the_mean_about_as_often_as_they_say() {
    let mut rng = Generator::from_seed(0);
    let covered = (0..200).filter(|_| {
        let episodes: Vec<_> =
            (0..40).map(|_| episode([1.0; 2], [rng.standard_normal(), 0.0])).collect();
        let mut draws = Generator::from_seed(rng.next_u64());
        let found = estimate_with_interval(
            Estimator::ImportanceSampling,
            &episodes,
            0.9,
            0.9,
            200,
            &mut draws,
        );
        let found = found.unwrap();
        assert!(found.low <= found.value && found.value <= found.high);
        found.low <= 0.0 && 0.0 <= found.high
    });
    let covered = covered.count();
    assert!((160..=195).contains(&covered), "{covered} of 200");
}

#[test]
fn missing_columns_are_refused_by_name() {
    let message = |estimator, episodes: &[EstimatedEpisode]| {
        estimate(estimator, episodes, 0.9).unwrap_err().to_string()
    };
    assert!(message(Estimator::ImportanceSampling, &[]).contains("no episodes"));
    let mut without = two();
    without[1].log_ratios.clear();
    let found = message(Estimator::WeightedImportanceSampling, &without);
    assert!(found.contains("`log_ratios` of episode 1 has 0 numbers instead of 2"), "{found}");
    let found = message(Estimator::DoublyRobust, &two());
    assert!(found.contains("`values` of episode 0 has 0 numbers instead of 3"), "{found}");
    let found = message(Estimator::DirectMethod, &two());
    assert!(found.contains("`values` of episode 0 has no numbers"), "{found}");
}
