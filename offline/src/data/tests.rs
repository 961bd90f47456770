use std::sync::Arc;

use rekindle_env_runner::RolloutStates;

use super::*;

fn obs(numbers: &[f32]) -> Buffer {
    Buffer::from_f32(numbers.to_vec(), &[1]).unwrap()
}

fn data() -> OfflineData {
    OfflineData::new(Space::unbounded(&[1]).unwrap(), Space::discrete(2).unwrap())
}

fn episode(len: usize, end: SegmentEnd) -> Episode {
    let observations = (0..=len).map(|t| t as f32).collect::<Vec<_>>();
    Episode {
        observations: obs(&observations),
        actions: Buffer::from_i64(vec![1; len], &[]).unwrap(),
        rewards: vec![1.0; len],
        end,
    }
}

#[test]
fn rows_of_steps_become_episodes_that_end_where_they_say() {
    let mut data = data();
    data.push_transitions(Transitions {
        observations: obs(&[0.0, 1.0, 5.0, 8.0, 9.0]),
        actions: Buffer::from_i64(vec![0, 1, 0, 1, 0], &[]).unwrap(),
        rewards: vec![1.0, 2.0, 3.0, 4.0, 5.0],
        next_observations: obs(&[1.0, 2.0, 6.0, 9.0, 10.0]),
        terminateds: vec![false, true, false, false, false],
        truncateds: vec![false, false, true, false, false],
    })
    .unwrap();
    let ends = data.episodes().map(|(_, rollout)| {
        let last = rollout.final_observations.as_f32().unwrap()[0];
        (rollout.rewards.clone(), rollout.segments[0].end, last)
    });
    assert_eq!(
        ends.collect::<Vec<_>>(),
        [
            (vec![1.0, 2.0], SegmentEnd::Terminated, 2.0),
            (vec![3.0], SegmentEnd::Truncated, 6.0),
            (vec![4.0, 5.0], SegmentEnd::Truncated, 10.0),
        ]
    );
    assert_eq!((data.num_parts(), data.num_steps()), (3, 5));
    assert!(data.read(3).unwrap_err().to_string().contains("no part 3"));
}

#[test]
fn strided_segments_of_runners_keep_every_column() {
    let mut rollout = Rollout::new(
        obs(&[0.0, 10.0, 1.0, 11.0]),
        Buffer::from_i64(vec![0, 1, 1, 0], &[]).unwrap(),
        vec![1.0, 2.0, 3.0, 4.0],
        vec![
            Segment::new(0..2, SegmentEnd::Cut).with_stride(2),
            Segment::new(1..3, SegmentEnd::Terminated).with_stride(2).with_episode(1, 1),
        ],
        obs(&[2.0, 12.0]),
    );
    rollout.extras.insert("action_logp".into(), obs(&[-1.0, -2.0, -3.0, -4.0]));
    let states = RolloutStates::new(obs(&[7.0, 17.0, 8.0, 18.0]), obs(&[9.0, 19.0]));
    rollout.states = Some(Arc::new(states));
    let mut data = data();
    data.push_rollout(DEFAULT_MODULE_ID, &rollout).unwrap();
    let (_, second) = data.episodes().nth(1).unwrap();
    assert_eq!(second.observations.as_f32().unwrap(), [10.0, 11.0]);
    assert_eq!(second.rewards, [2.0, 4.0]);
    assert_eq!(second.extras["action_logp"].as_f32().unwrap(), [-2.0, -4.0]);
    let states = second.states.as_ref().unwrap();
    assert_eq!(states.state_in.as_f32().unwrap(), [17.0, 18.0]);
    assert_eq!(states.final_states.as_f32().unwrap(), [19.0]);
    assert_eq!(data.episodes().next().unwrap().1.segments[0].end, SegmentEnd::Truncated);
}

#[test]
fn rows_that_are_no_elements_of_the_spaces_are_refused_by_episode_column_and_row() {
    let refused = |change: fn(&mut Episode)| {
        let mut data = data();
        data.push_episode(episode(2, SegmentEnd::Terminated)).unwrap();
        let mut next = episode(3, SegmentEnd::Truncated);
        change(&mut next);
        let message = data.push_episode(next).unwrap_err().to_string();
        assert_eq!(data.num_episodes(), 1);
        message
    };
    let message = refused(|e| e.observations = obs(&[0.0, f32::NAN, 0.0, 0.0]));
    assert!(message.contains("row 1 of column `obs` of episode 1 holds NaN"), "{message}");
    let message = refused(|e| e.observations = obs(&[0.0, 0.0, 0.0, f32::INFINITY]));
    assert!(message.contains("row 0 of column `new_obs` of episode 1 holds inf"), "{message}");
    let message = refused(|e| e.rewards[2] = f32::NAN);
    assert!(message.contains("row 2 of column `rewards` of episode 1 is NaN"), "{message}");
    let message = refused(|e| e.actions = Buffer::from_i64(vec![0, 2, 0], &[]).unwrap());
    assert!(message.contains("row 1 of column `actions`"), "{message}");
    assert!(message.contains("is not an element of Discrete(2)"), "{message}");
    let message = refused(|e| e.actions = obs(&[0.0; 3]));
    assert!(message.contains("`actions` of episode 1 does not hold elements"), "{message}");
    let message = refused(|e| e.observations = obs(&[0.0; 3]));
    assert!(message.contains("`observations` has 3 rows instead of 4"), "{message}");
    let message = refused(|e| *e = episode(0, SegmentEnd::Terminated));
    assert!(message.contains("episode 1 has no steps"), "{message}");
}

#[test]
fn other_data_have_another_fingerprint() {
    let fingerprint = |lens: &[usize]| {
        let mut data = data();
        for len in lens {
            data.push_episode(episode(*len, SegmentEnd::Terminated)).unwrap();
        }
        data.fingerprint()
    };
    assert_eq!(fingerprint(&[2, 3]), fingerprint(&[2, 3]));
    assert_ne!(fingerprint(&[2, 3]), fingerprint(&[3, 2]));
    assert_ne!(fingerprint(&[2, 3]), fingerprint(&[5]));
}

#[test]
fn data_that_differ_in_one_number_have_another_fingerprint() {
    let of = |change: fn(&mut Episode)| {
        let mut episode = episode(3, SegmentEnd::Terminated);
        change(&mut episode);
        let mut data = data();
        data.push_episode(episode).unwrap();
        let folder = tempfile::tempdir().unwrap();
        data.save_parquet(folder.path()).unwrap();
        let saved = crate::ParquetData::open(folder.path()).unwrap();
        [data.fingerprint(), saved.fingerprint()]
    };
    let same = of(|_| {});
    assert_eq!(same, of(|_| {}));
    let changes: [fn(&mut Episode); 5] = [
        |episode| episode.observations.as_f32_mut().unwrap()[1] = 7.0,
        |episode| episode.observations.as_f32_mut().unwrap()[3] = 7.0,
        |episode| episode.actions.as_i64_mut().unwrap()[2] = 0,
        |episode| episode.rewards[0] = 0.5,
        |episode| episode.end = SegmentEnd::Truncated,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let other = of(change);
        assert!(same.iter().zip(&other).all(|(same, other)| same != other), "change {number}");
    }
}
