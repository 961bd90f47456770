use super::super::{EpisodeError, Index, SingleAgentEpisode, Slice};
use super::{floats, ints, numbered};

/// Rows 0 to 5, of which two are look-back, after writing `new` at `index`, in every kind of column.
fn set(new: &[i64], index: impl Into<Index>) -> Result<Vec<i64>, EpisodeError> {
    let index = index.into();
    let mut episode = numbered(6, 2);
    let rewards: Vec<f64> = new.iter().map(|&reward| reward as f64).collect();
    episode.set_rewards(&rewards, index.clone())?;
    let rows: Vec<i64> = episode.columns().rewards.iter().map(|&reward| reward as i64).collect();

    let new = new.iter().copied();
    episode.set_actions(&floats(new.clone()), index.clone())?;
    assert_eq!(episode.columns().actions, floats(rows.clone()));
    episode.set_extra_model_outputs("action_logp", &floats(new.clone()), index.clone())?;
    assert_eq!(episode.columns().extra_model_outputs["action_logp"], floats(rows.clone()));

    let mut episode = numbered(5, 2);
    episode.set_observations(&ints(new), index)?;
    assert_eq!(episode.columns().observations, ints(rows.clone()));
    Ok(rows)
}

#[test]
fn a64_slices_are_overwritten() {
    assert_eq!(set(&[200, 300], 0..2).unwrap(), [0, 1, 200, 300, 4, 5]);
    assert_eq!(set(&[20, 30, 40, 50], ..).unwrap(), [0, 1, 20, 30, 40, 50]);
}

#[test]
fn a64_negative_targets_are_overwritten() {
    assert_eq!(set(&[9], -1).unwrap(), [0, 1, 2, 3, 4, 9]);
    assert_eq!(set(&[7, 8], -3..-1).unwrap(), [0, 1, 2, 7, 8, 5]);
    assert_eq!(set(&[7, 8], [-1, 0]).unwrap(), [0, 1, 8, 3, 4, 7]);
}

#[test]
fn a64_reverse_steps_are_overwritten() {
    let reversed = Slice::new(Some(3), Some(1)).step_by(-1);
    assert_eq!(set(&[7, 8], reversed).unwrap(), [0, 1, 2, 3, 8, 7]);
    let all = Slice::from(..).step_by(-1);
    assert_eq!(set(&[1, 2, 3, 4], all).unwrap(), [0, 1, 4, 3, 2, 1]);
}

#[test]
fn a64_the_look_back_is_overwritten() {
    assert_eq!(set(&[7, 8], Index::from(-2..0).neg_index_as_lookback()).unwrap()[..2], [7, 8]);
    assert_eq!(set(&[7], Index::from(-1).neg_index_as_lookback()).unwrap()[..2], [0, 7]);
    assert_eq!(set(&[7], -6).unwrap()[..2], [7, 1]);
}

#[test]
fn a64_as_many_items_as_places_are_needed() {
    for (new, at) in [(&[1][..], 0..2), (&[1, 2, 3], 0..2), (&[1, 2], 3..5), (&[1], 9..10)] {
        let refused = set(new, at);
        assert!(matches!(refused, Err(EpisodeError::SizeMismatch { .. })), "{refused:?}");
    }
    let mut episode = numbered(6, 2);
    for new in [floats([1]), floats([1, 2, 3])] {
        let refused = episode.set_actions(&new, 0..2);
        assert!(matches!(refused, Err(EpisodeError::SizeMismatch { expected: 2, .. })));
    }
    assert_eq!(episode.columns(), numbered(6, 2).with_id(episode.id()).columns());
    for at in [4, -7, isize::MAX, isize::MIN] {
        assert!(matches!(set(&[1], at), Err(EpisodeError::IndexOutOfRange { .. })));
    }
}

#[test]
fn a_setter_that_fails_changes_nothing() {
    let before = numbered(6, 2);
    let mut episode = before.clone();
    assert!(episode.set_rewards(&[1.0, 2.0], [0, 9]).is_err());
    assert!(episode.set_observations(&floats([1]), 0).is_err());
    assert!(episode.set_actions(&ints([1, 2]), 0..2).is_err());
    assert!(episode.insert_extra_model_outputs("vf_preds", floats(0..4)).is_err());
    let refused = episode.set_extra_model_outputs("vf_preds", &floats([1]), 0);
    assert!(matches!(refused, Err(EpisodeError::UnknownExtra { .. })));
    assert_eq!(episode, before);
}

#[test]
fn an_extra_model_output_can_be_added_later() {
    let mut episode: SingleAgentEpisode = numbered(6, 2);
    episode.insert_extra_model_outputs("advantages", floats(10..16)).unwrap();
    let read = episode.extra("advantages").unwrap();
    assert_eq!(read.as_f32().unwrap(), [12.0, 13.0, 14.0, 15.0]);
}
