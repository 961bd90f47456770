use super::super::{EpisodeError, EpisodeView, Index, Slice};
use super::{after, floats, ints, numbered};
use crate::experience::{Rollout, SegmentEnd};

fn first(rollout: &Rollout) -> EpisodeView<'_> {
    after(rollout, 0)
}

#[test]
fn the_next_part_starts_with_the_last_observation_of_the_part_before() {
    let (before, next) = (numbered(0, 100, SegmentEnd::Cut), numbered(100, 5, SegmentEnd::Cut));
    let (before, next) = (first(&before), first(&next));
    before.check_continued_by(&next).unwrap();
    assert_eq!(next.id(), before.id());
    assert_eq!((before.t(), next.t_started()), (100, 100));
    let last = before.get_observations(-1, None).unwrap();
    assert_eq!(next.get_observations(0, None).unwrap(), last);
}

#[test]
fn a_part_continues_one_of_its_episode_and_agent_only() {
    let before = numbered(0, 100, SegmentEnd::Cut);
    let refused = |change: fn(&mut Rollout)| {
        let mut next = numbered(100, 5, SegmentEnd::Cut);
        change(&mut next);
        first(&before).check_continued_by(&first(&next)).unwrap_err()
    };
    let error = refused(|next| next.segments[0].episode = 8);
    assert!(error.to_string().contains("episode 8 in environment 0 does not continue"), "{error}");
    let error = refused(|next| next.segments[0].agent = Some("a".into()));
    assert!(matches!(error, EpisodeError::IdMismatch { .. }), "{error}");
    let error = refused(|next| next.segments[0].env = 1);
    assert!(matches!(error, EpisodeError::IdMismatch { .. }), "{error}");
    let error = refused(|next| next.segments[0].t_started = 101);
    assert!(matches!(error, EpisodeError::TimeMismatch { t: 100, t_started: 101 }), "{error}");
    let error = refused(|next| next.observations = ints([0; 10]));
    assert!(matches!(error, EpisodeError::ObservationMismatch { t: 100, .. }), "{error}");
}

#[test]
fn what_has_ended_is_not_continued() {
    let next = numbered(100, 5, SegmentEnd::Cut);
    for end in [SegmentEnd::Terminated, SegmentEnd::Truncated] {
        let before = numbered(0, 100, end);
        let error = first(&before).check_continued_by(&first(&next)).unwrap_err();
        assert!(matches!(error, EpisodeError::Done { t: 100, .. }), "{error}");
    }
}

fn times(episode: &EpisodeView<'_>) -> (usize, usize) {
    (episode.t_started(), episode.t())
}

#[test]
fn slices_share_the_observation_between_them() {
    for (steps, at) in [(100, 50), (99, 33)] {
        let rollout = numbered(0, steps, SegmentEnd::Cut);
        let episode = first(&rollout);
        let (first, second) =
            (episode.slice(..at, None).unwrap(), episode.slice(at.., None).unwrap());
        let middle = at as usize;
        assert_eq!((times(&first), times(&second)), ((0, middle), (middle, steps)));
        let at = at as i64;
        assert_eq!(first.get_observations(.., None).unwrap(), ints(0..=at));
        assert_eq!(first.get_actions(.., None).unwrap(), floats(0..at));
        assert_eq!(second.get_observations(.., None).unwrap(), ints(at..=steps as i64));
        assert_eq!(second.get_rewards(0, None).unwrap(), [at as f64]);
        first.check_continued_by(&second).unwrap();
    }
}

#[test]
fn slices_keep_time_and_look_back() {
    let rollout = numbered(5, 60, SegmentEnd::Cut);
    let episode = after(&rollout, 10);
    let (first, second) = (episode.slice(..20, None).unwrap(), episode.slice(20.., None).unwrap());
    assert_eq!((times(&first), times(&second)), ((15, 35), (35, 65)));
    let lookback = Index::from(-10..0).neg_index_as_lookback();
    for (piece, items) in [(&first, 5..15), (&second, 25..35)] {
        assert_eq!(piece.len_lookback(), 10);
        assert_eq!(piece.get_observations(lookback.clone(), None).unwrap(), ints(items.clone()));
        assert_eq!(piece.get_actions(lookback.clone(), None).unwrap(), floats(items));
    }
}

#[test]
fn a_slice_looks_back_as_far_as_there_are_data() {
    let rollout = numbered(0, 60, SegmentEnd::Cut);
    let episode = after(&rollout, 10);
    assert_eq!(episode.slice(5.., Some(12)).unwrap().len_lookback(), 12);
    assert_eq!(episode.slice(5.., Some(99)).unwrap().len_lookback(), 15);
    assert_eq!(episode.slice(5.., Some(0)).unwrap().len_lookback(), 0);
}

#[test]
fn bounds_of_a_slice_are_pythons() {
    let rollout = numbered(0, 10, SegmentEnd::Cut);
    let episode = first(&rollout);
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
fn only_the_piece_at_the_end_is_done() {
    for (end, flags) in
        [(SegmentEnd::Terminated, (true, false)), (SegmentEnd::Truncated, (false, true))]
    {
        let rollout = numbered(0, 10, end);
        let episode = first(&rollout);
        assert!(!episode.slice(..9, None).unwrap().is_done());
        for slice in [Slice::from(3..), (3..10).into(), (3..99).into()] {
            let piece = episode.slice(slice, None).unwrap();
            assert_eq!((piece.is_terminated(), piece.is_truncated()), flags);
        }
    }
}
