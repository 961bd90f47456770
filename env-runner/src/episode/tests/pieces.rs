use super::super::{EpisodeError, Index, SingleAgentEpisode, Slice};
use super::{add_step, floats, fresh, ints, numbered, played, spaces, try_step};

#[test]
fn a57_cut_continues_the_episode_at_its_last_observation() {
    let episode = played(100);
    let mut successor = episode.cut(0).unwrap();
    assert_eq!(successor.id(), episode.id());
    assert_eq!((successor.t_started(), successor.t(), successor.len()), (100, 100, 0));
    assert_eq!(successor.observations().as_i64().unwrap(), [100]);
    assert_eq!(episode.get_observations(-1, None).unwrap(), ints([100]));

    let before = episode.clone();
    add_step(&mut successor, 100, false, false);
    assert_eq!(episode, before);
    assert_eq!((successor.t_started(), successor.t(), successor.len()), (100, 101, 1));
}

#[test]
fn a57_cut_keeps_the_look_back_asked_for_or_what_there_is() {
    let episode = played(3);
    for (asked, kept) in [(0, 0), (2, 2), (3, 3), (9, 3)] {
        let successor = episode.cut(asked).unwrap();
        assert_eq!(successor.len_lookback(), kept);
        assert_eq!(successor.columns().observations.rows(), kept + 1);
        let last = Index::from(-1).neg_index_as_lookback();
        assert_eq!(
            successor.get_rewards(last, Some(-1.0)).unwrap(),
            [if kept > 0 { 2.0 } else { -1.0 }]
        );
    }
    // A look-back reaches through pieces without steps.
    let again = episode.cut(3).unwrap().cut(2).unwrap();
    assert_eq!(again.columns().rewards, [1.0, 2.0]);
}

#[test]
fn a57_what_is_over_or_not_begun_cannot_be_cut() {
    let mut episode = played(3);
    add_step(&mut episode, 3, true, false);
    assert!(matches!(episode.cut(0), Err(EpisodeError::Done { .. })));
    let (observed, chosen) = spaces();
    let unborn = SingleAgentEpisode::new(&observed, &chosen);
    assert!(matches!(unborn.cut(0), Err(EpisodeError::NotReset { .. })));
}

/// Two pieces of 100 steps, the second with a look-back of 7.
fn two_pieces() -> (SingleAgentEpisode, SingleAgentEpisode) {
    let first = played(100);
    let mut second = first.cut(7).unwrap();
    (100..200).for_each(|t| add_step(&mut second, t, t == 199, false));
    (first, second)
}

#[test]
fn a58_concat_joins_two_pieces() {
    let (mut first, second) = two_pieces();
    first.concat_episode(&second).unwrap();
    assert_eq!((first.len(), first.t_started(), first.t()), (200, 0, 200));
    assert_eq!(
        first.get_observations(105, None).unwrap(),
        second.get_observations(5, None).unwrap()
    );
    assert_eq!(first.actions().to_buffer().unwrap(), floats(0..200));
    assert_eq!(first.extra("action_logp").unwrap().as_f32().unwrap()[150], 150.0);
    assert!(first.is_terminated() && !first.is_truncated());
}

#[test]
fn a58_concat_needs_equal_ids() {
    let (mut first, second) = two_pieces();
    let (before, second) = (first.clone(), second.with_id("another"));
    let refused = first.concat_episode(&second);
    assert!(matches!(refused, Err(EpisodeError::IdMismatch { .. })));
    assert_eq!(first, before);
}

#[test]
fn a58_concat_needs_the_time_to_match() {
    let (mut first, second) = two_pieces();
    let refused = first.concat_episode(&second.with_t_started(101));
    assert!(matches!(refused, Err(EpisodeError::TimeMismatch { t: 100, t_started: 101 })));
}

#[test]
fn a58_concat_needs_the_first_piece_not_to_be_done() {
    let (mut first, second) = two_pieces();
    add_step(&mut first, 100, false, true);
    let refused = first.concat_episode(&second.with_t_started(101));
    assert!(matches!(refused, Err(EpisodeError::Done { .. })));
}

#[test]
fn a58_concat_needs_the_shared_observation_to_be_equal() {
    let (mut first, second) = two_pieces();
    first.set_observations(&ints([0]), -1).unwrap();
    let refused = first.concat_episode(&second);
    assert!(matches!(refused, Err(EpisodeError::ObservationMismatch { t: 100, .. })));
}

#[test]
fn a58_concat_needs_equal_columns() {
    let (mut first, second) = two_pieces();
    first.insert_extra_model_outputs("vf_preds", floats(0..100)).unwrap();
    let before = first.clone();
    let refused = first.concat_episode(&second);
    assert!(matches!(refused, Err(EpisodeError::ExtraKeys { .. })));
    assert_eq!(first, before);

    let (mut first, _) = two_pieces();
    let mut columns = numbered(5, 0).with_id(first.id()).with_t_started(100).into_columns();
    columns.observations = ints(100..106);
    columns.actions = ints(0..5);
    let before = first.clone();
    let refused = first.concat_episode(&columns.try_into().unwrap());
    assert!(matches!(refused, Err(EpisodeError::Env(_))));
    assert_eq!(first, before);
}

#[test]
fn a58_concat_to_a_piece_without_steps() {
    let mut first = fresh();
    let mut second = first.cut(0).unwrap();
    add_step(&mut second, 0, false, true);
    first.concat_episode(&second).unwrap();
    assert_eq!(first, second);
}

fn times(episode: &SingleAgentEpisode) -> (usize, usize) {
    (episode.t_started(), episode.t())
}

#[test]
fn a59_slices_share_the_observation_between_them() {
    for (steps, at) in [(100, 50), (99, 33)] {
        let episode = numbered(steps, 0);
        let first = episode.slice(..at, None).unwrap();
        let second = episode.slice(at.., None).unwrap();
        let middle = at as usize;
        assert_eq!(times(&first), (0, middle));
        assert_eq!(times(&second), (middle, steps));
        let at = at as i64;
        assert_eq!(first.observations().as_i64().unwrap(), (0..=at).collect::<Vec<_>>());
        assert_eq!(first.actions().to_buffer().unwrap(), floats(0..at));
        let rest = at..=steps as i64;
        assert_eq!(second.observations().as_i64().unwrap(), rest.collect::<Vec<_>>());
        assert_eq!(second.get_rewards(0, None).unwrap(), [at as f64]);
    }
}

#[test]
fn a59_slices_keep_time_and_look_back() {
    let episode = numbered(60, 10).with_t_started(15);
    let first = episode.slice(..20, None).unwrap();
    let second = episode.slice(20.., None).unwrap();
    assert_eq!((times(&first), times(&second)), ((15, 35), (35, 65)));

    let lookback = Index::from(-10..0).neg_index_as_lookback();
    for (piece, rows) in [(&first, 0..10), (&second, 20..30)] {
        assert_eq!(piece.len_lookback(), 10);
        assert_eq!(piece.get_observations(lookback.clone(), None).unwrap(), ints(rows.clone()));
        assert_eq!(piece.get_actions(lookback.clone(), None).unwrap(), floats(rows));
    }
}

#[test]
fn a59_a_slice_looks_back_as_far_as_there_are_data() {
    let episode = numbered(60, 10);
    assert_eq!(episode.slice(5.., Some(12)).unwrap().len_lookback(), 12);
    assert_eq!(episode.slice(5.., Some(99)).unwrap().len_lookback(), 15);
    assert_eq!(episode.slice(5.., Some(0)).unwrap().len_lookback(), 0);
}

#[test]
fn a59_bounds_of_a_slice_are_pythons() {
    let episode = numbered(10, 0);
    let bounds = |slice: Slice| times(&episode.slice(slice, None).unwrap());
    assert_eq!(bounds((-3..).into()), (7, 10));
    assert_eq!(bounds((..-3).into()), (0, 7));
    assert_eq!(bounds((-99..99).into()), (0, 10));
    assert_eq!(bounds(Slice::new(Some(5), Some(3))), (5, 5));
    assert_eq!(bounds((99..).into()), (10, 10));
    assert_eq!(bounds(Slice::new(Some(isize::MIN), Some(isize::MAX))), (0, 10));
    let refused = episode.slice(Slice::from(..).step_by(2), None);
    assert!(matches!(refused, Err(EpisodeError::SliceStep { step: 2 })));
}

#[test]
fn a59_only_the_piece_at_the_end_is_done() {
    let mut episode = played(9);
    add_step(&mut episode, 9, true, true);
    assert!(!episode.slice(..9, None).unwrap().is_done());
    for end in [Slice::from(3..), (3..10).into(), (3..99).into()] {
        let piece = episode.slice(end, None).unwrap();
        assert!(piece.is_terminated() && piece.is_truncated());
        assert!(try_step(&mut piece.clone(), 10, false, false).is_err());
    }
}
