use rekindle_env::np_random::Generator;
use rekindle_env::{Buffer, Space};
use serde_json::{Value as Json, json};

use super::super::{EpisodeColumns, SingleAgentEpisode};
use super::numbered;

fn random(space: &Space, rows: usize) -> Buffer {
    let mut rng = Generator::from_seed(rows as u64);
    let mut buffer = Buffer::zeros(space, rows);
    (0..rows).for_each(|row| space.sample_into(&mut rng, buffer.row_mut(row)).unwrap());
    buffer
}

fn every_space() -> Vec<Space> {
    let leaves = vec![
        Space::discrete(5).unwrap(),
        Space::boxed(-1.0, 1.0, &[]).unwrap(),
        Space::boxed(-1.0, 1.0, &[2, 3]).unwrap(),
        Space::image(&[2, 2, 1]).unwrap(),
        Space::multi_discrete([2, 3, 4]).unwrap(),
        Space::multi_binary(3).unwrap(),
    ];
    let tuple = Space::tuple(leaves.clone()).unwrap();
    let dict = Space::dict([("inner", tuple.clone()), ("choice", leaves[0].clone())]).unwrap();
    leaves.into_iter().chain([tuple, dict]).collect()
}

fn full(space: &Space) -> EpisodeColumns {
    let rewards = vec![0.1, -1e-300, f64::INFINITY, f64::NEG_INFINITY, -0.0];
    EpisodeColumns {
        id: "e1".to_owned(),
        agent_id: Some("left".to_owned()),
        module_id: None,
        extra_model_outputs: [("again".to_owned(), random(space, 5))].into(),
        len_lookback: 2,
        t_started: 40,
        is_terminated: true,
        is_truncated: false,
        ..EpisodeColumns::new(random(space, 6), random(space, 5), rewards)
    }
}

fn write(episode: &SingleAgentEpisode) -> Json {
    serde_json::to_value(episode).unwrap()
}

fn read(state: Json) -> Result<SingleAgentEpisode, serde_json::Error> {
    serde_json::from_value(state)
}

#[test]
fn a60_every_field_survives_serialization() {
    for space in every_space() {
        let episode = SingleAgentEpisode::try_from(full(&space)).unwrap();
        let text = serde_json::to_string(&episode).unwrap();
        let read: SingleAgentEpisode = serde_json::from_str(&text).unwrap();
        assert_eq!(read, episode, "{space}");
        assert_eq!(read.into_columns(), full(&space), "{space}");
    }
}

#[test]
fn a60_an_episode_before_its_reset_survives_serialization() {
    for space in every_space() {
        let episode = SingleAgentEpisode::new(&space, &space).with_t_started(3);
        assert_eq!(read(write(&episode)).unwrap(), episode);
    }
}

#[test]
fn a60_rewards_that_are_no_numbers_survive_serialization() {
    let mut episode = numbered(1, 0);
    episode.set_rewards(&[f64::NAN], 0).unwrap();
    let state = write(&episode);
    assert_eq!(state["rewards"], json!(["NaN"]));
    assert!(read(state).unwrap().rewards()[0].is_nan());
}

#[test]
fn a60_a_state_that_lacks_a_field_is_refused() {
    let state = write(&numbered(5, 2));
    let fields: Vec<String> = state.as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields.len(), 11);
    for field in fields {
        let mut state = state.clone();
        state.as_object_mut().unwrap().remove(&field);
        assert!(read(state).is_err(), "without {field}");
    }
}

#[test]
fn a60_a_truncated_text_is_refused() {
    let text = write(&numbered(3, 1)).to_string();
    for end in 0..text.len() {
        assert!(serde_json::from_str::<SingleAgentEpisode>(&text[..end]).is_err(), "{end}");
    }
}

#[test]
fn a60_an_inconsistent_state_is_refused() {
    let shorter = write(&numbered(4, 2));
    for field in ["observations", "actions", "rewards", "extra_model_outputs"] {
        let mut state = write(&numbered(5, 2));
        state[field] = shorter[field].clone();
        assert!(read(state).is_err(), "{field}");
    }
    for (field, value) in [
        ("len_lookback", json!(6)),
        ("len_lookback", json!(-1)),
        ("rewards", json!([0.0, 0.0, "much", 0.0, 0.0])),
        ("rewards", json!([0.0, 0.0, null, 0.0, 0.0])),
        ("unknown", json!(0)),
    ] {
        let mut state = write(&numbered(5, 2));
        state[field] = value;
        assert!(read(state).is_err(), "{field}");
    }
}
