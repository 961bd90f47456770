use super::super::{EpisodeColumns, EpisodeError, SingleAgentEpisode};
use super::{add_step, floats, fresh, ints, numbered, numbered_columns, played, spaces, try_step};

#[test]
fn a56_a_new_episode_starts_at_t_0() {
    let (observed, chosen) = spaces();
    let episode = SingleAgentEpisode::new(&observed, &chosen);
    assert_eq!((episode.t(), episode.t_started(), episode.len()), (0, 0, 0));
    assert!(!episode.is_reset() && !episode.is_done() && episode.is_empty());
}

#[test]
fn a56_a_new_episode_may_start_later() {
    let (observed, chosen) = spaces();
    let episode = SingleAgentEpisode::new(&observed, &chosen).with_t_started(10);
    assert_eq!((episode.t(), episode.t_started()), (10, 10));
}

#[test]
fn a56_100_steps_of_data_are_100_steps() {
    let episode = numbered(100, 0);
    assert_eq!((episode.len(), episode.t(), episode.env_steps()), (100, 100, 100));
}

#[test]
fn a56_a_look_back_of_10_leaves_90_steps_and_keeps_the_data() {
    let episode = numbered(100, 10);
    assert_eq!((episode.len(), episode.t()), (90, 90));
    assert_eq!(episode.columns().rewards.len(), 100);
    assert_eq!((episode.rewards().len(), episode.observations().rows()), (90, 91));
    assert_eq!(episode.with_t_started(50).t(), 140);
}

#[test]
fn a56_a_finished_episode_rejects_more_data() {
    for (terminated, truncated) in [(true, false), (false, true), (true, true)] {
        let mut episode = played(3);
        add_step(&mut episode, 3, terminated, truncated);
        assert_eq!((episode.is_terminated(), episode.is_truncated()), (terminated, truncated));
        let refused = try_step(&mut episode, 4, false, false);
        assert!(matches!(refused, Err(EpisodeError::Done { t: 4, .. })), "{refused:?}");
        assert_eq!(episode.len(), 4);
    }
}

#[test]
fn a_step_needs_a_reset_and_a_reset_comes_once() {
    let (observed, chosen) = spaces();
    let mut episode = SingleAgentEpisode::new(&observed, &chosen);
    let refused = try_step(&mut episode, 0, false, false);
    assert!(matches!(refused, Err(EpisodeError::NotReset { .. })));

    let first = ints([7]);
    episode.add_env_reset(first.row(0)).unwrap();
    assert_eq!(episode.last_observation().unwrap().discrete().unwrap(), 7);
    let refused = episode.add_env_reset(first.row(0));
    assert!(matches!(refused, Err(EpisodeError::AlreadyReset { .. })));
}

#[test]
fn columns_leave_the_look_back_out() {
    let episode = numbered(5, 2);
    assert_eq!(episode.observations().as_i64().unwrap(), [2, 3, 4, 5]);
    assert_eq!(episode.actions().as_f32().unwrap(), [2.0, 3.0, 4.0]);
    assert_eq!(episode.rewards(), [2.0, 3.0, 4.0]);
    assert_eq!(episode.extra("action_logp").unwrap().as_f32().unwrap(), [2.0, 3.0, 4.0]);
    assert_eq!(episode.observations().row(1).discrete().unwrap(), 3);
    assert_eq!(episode.actions().to_buffer().unwrap(), floats(2..5));
    assert!(episode.observations().row(4).discrete().is_err());
    assert!(matches!(episode.extra("vf_preds"), Err(EpisodeError::UnknownExtra { .. })));
    assert_eq!(episode.get_return(), 9.0);
}

#[test]
fn one_extra_number_is_a_scalar_and_several_are_a_vector() {
    let mut episode = fresh();
    let (observation, action) = (ints([1]), floats([0]));
    let extras: [(&str, &[f32]); 2] = [("action_logp", &[-0.5]), ("inputs", &[0.1, 0.2])];
    episode.add_env_step(observation.row(0), action.row(0), 0.0, false, false, &extras).unwrap();
    let columns = &episode.columns().extra_model_outputs;
    assert!(columns["action_logp"].shape().unwrap().is_empty());
    assert_eq!(columns["inputs"].shape().unwrap(), [2]);
}

#[test]
fn a_step_that_does_not_fit_changes_nothing() {
    let (int, float) = (ints([1]), floats([1]));
    let logp: (&str, &[f32]) = ("action_logp", &[0.0]);
    for before in [fresh(), played(3)] {
        let mut episode = before.clone();
        let mut step = |observation, action, extras: &[(&str, &[f32])]| {
            episode.add_env_step(observation, action, 0.0, true, true, extras).unwrap_err()
        };
        step(float.row(0), float.row(0), &[logp]);
        step(int.row(0), int.row(0), &[logp]);
        step(int.row(0), float.row(1), &[logp]);
        step(int.row(0), float.row(0), &[logp, logp]);
        assert_eq!(episode, before);
    }

    let before = played(3);
    let mut episode = before.clone();
    let wrong: [&[(&str, &[f32])]; 4] = [
        &[],
        &[("vf_preds", &[0.0])],
        &[logp, ("vf_preds", &[0.0])],
        &[("action_logp", &[0.0, 0.0])],
    ];
    for extras in wrong {
        episode.add_env_step(int.row(0), float.row(0), 0.0, true, true, extras).unwrap_err();
    }
    assert_eq!(episode, before);
}

#[test]
fn columns_of_other_lengths_are_refused() {
    type Damage = fn(&mut EpisodeColumns);
    let damages: [Damage; 8] = [
        |columns| columns.observations.truncate(5),
        |columns| columns.observations.extend_zeros(1),
        |columns| columns.observations.clear(),
        |columns| columns.actions.truncate(4),
        |columns| columns.rewards.push(0.0),
        |columns| columns.rewards.clear(),
        |columns| columns.extra_model_outputs.values_mut().for_each(|column| column.truncate(4)),
        |columns| columns.len_lookback = 6,
    ];
    assert!(SingleAgentEpisode::from_columns(numbered_columns(5, 5)).is_ok());
    for (case, damage) in damages.into_iter().enumerate() {
        let mut columns = numbered_columns(5, 2);
        damage(&mut columns);
        assert!(SingleAgentEpisode::from_columns(columns).is_err(), "case {case}");
    }

    let mut columns = EpisodeColumns::new(ints([]), floats([]), Vec::new());
    assert!(SingleAgentEpisode::from_columns(columns.clone()).is_ok());
    columns.is_truncated = true;
    let refused = SingleAgentEpisode::from_columns(columns);
    assert!(matches!(refused, Err(EpisodeError::DoneWithoutData)));
}

#[test]
fn ids_are_unique_until_set() {
    let (one, other) = (fresh(), fresh());
    assert_ne!(one.id(), other.id());
    assert_eq!(one.id().len(), 32);
    let named = one.with_id("e1").with_agent_id("left").with_module_id("shared");
    assert_eq!(
        (named.id(), named.agent_id(), named.module_id()),
        ("e1", Some("left"), Some("shared"))
    );
}
