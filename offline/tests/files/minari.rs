//! Datasets of Minari. Those in `offline/tests/minari` were recorded by `scripts/minari/datasets.py`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rekindle_core::{DEFAULT_MODULE_ID, Generator};
use rekindle_env::{Buffer, Space};
use rekindle_env_runner::{Experience, ExperienceRecorder, Rollout, Segment, SegmentEnd};
use rekindle_offline::{
    Episode, MinariData, MinariRecorder, OfflineData, OfflineError, OfflineSource,
};

pub(crate) const FORMS: [&str; 3] = ["hdf5", "arrow", "parquet"];

/// Returns a recorded dataset.
pub(crate) fn dataset(form: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/minari/{form}-v0"))
}

/// Copies a dataset, so that a test can change it.
pub(crate) fn copied(form: &str) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
            match from.is_dir() {
                true => copy(&from, &to),
                false => drop(fs::copy(from, to).unwrap()),
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&dataset(form), folder.path());
    folder
}

/// Returns the episodes of a source, in order.
pub(crate) fn all(data: &impl OfflineSource) -> Vec<Rollout> {
    let parts = (0..data.num_parts()).map(|part| data.read(part).unwrap());
    parts.flat_map(|part| part.into_values().flatten()).collect()
}

/// The observations of an episode, as `datasets.py` computes them.
fn observations(episode: usize, rows: usize) -> Buffer {
    let n = || (0..rows).map(move |t| 100 * episode + t);
    let bits = n().flat_map(|n| (0..3).map(move |bit| (n >> bit & 1) as u8));
    let pixels = n().flat_map(|n| (0..6).map(move |index| ((n + index) % 256) as u8));
    let state = n().flat_map(|n| [n as f32 / 8.0, n as f32 / -4.0]);
    let choice = n().map(|n| 1 + n as i64 % 5);
    let choices = n().flat_map(|n| [n as i64 % 3, n as i64 % 4]);
    let state = Buffer::from_tuple(vec![
        Buffer::from_f32(state.collect(), &[2]).unwrap(),
        Buffer::from_i64(choice.collect(), &[]).unwrap(),
        Buffer::from_i64(choices.collect(), &[2]).unwrap(),
    ]);
    Buffer::from_dict([
        ("bits", Buffer::from_u8(bits.collect(), &[3]).unwrap()),
        ("pixels", Buffer::from_u8(pixels.collect(), &[2, 3, 1]).unwrap()),
        ("state", state.unwrap()),
    ])
    .unwrap()
}

#[test]
fn datasets_of_minari_are_read_in_all_forms() {
    for form in FORMS {
        let data = MinariData::open(dataset(form)).unwrap().normalize_actions(false);
        let (observation_space, action_space) = &data.module_spaces()[DEFAULT_MODULE_ID];
        assert_eq!(
            observation_space.to_string(),
            "Dict('bits': MultiBinary(3), 'pixels': Box(0, 255, (2, 3, 1), uint8), 'state': \
             Tuple(Box(-inf, inf, (2,), float32), Discrete(5, start=1), MultiDiscrete([3 4])))"
        );
        assert_eq!(action_space.to_string(), "Box([-2.0 0.0], [2.0 4.0], (2,), float32)");
        assert_eq!((data.num_parts(), data.num_steps(), data.steps_of(2)), (3, 11, 5), "{form}");
        for (episode, rollout) in all(&data).into_iter().enumerate() {
            let steps = [4, 2, 5][episode];
            let expected = observations(episode, steps + 1);
            assert_eq!(rollout.observations, expected.slice(0..steps).unwrap(), "{form}");
            assert_eq!(rollout.final_observations, expected.slice(steps..steps + 1).unwrap());
            let actions = (0..steps).flat_map(|t| [(t % 5) as f32 - 2.0, (t % 5) as f32]);
            assert_eq!(rollout.actions.as_f32().unwrap(), actions.collect::<Vec<_>>());
            let rewards = (0..steps).map(|t| episode as f32 + t as f32 / 2.0);
            assert_eq!(rollout.rewards, rewards.collect::<Vec<_>>());
            let end = if episode == 1 { SegmentEnd::Truncated } else { SegmentEnd::Terminated };
            assert_eq!((rollout.segments[0].end, rollout.segments[0].len), (end, steps));
            // The first info follows the reset. Infos that are not single numbers are left out.
            let infos = rollout.infos.unwrap();
            assert_eq!(infos.as_dict().unwrap().keys().collect::<Vec<_>>(), ["x"]);
            let x = (1..=steps).map(|t| t as f32 / 4.0);
            assert_eq!(infos.get("x").unwrap().as_f32().unwrap(), x.collect::<Vec<_>>());
        }
    }
}

#[test]
fn floats_of_16_bits_are_read_in_all_forms() {
    for form in FORMS {
        let data = MinariData::open(dataset(&format!("{form}-half"))).unwrap();
        for (episode, rollout) in all(&data).into_iter().enumerate() {
            let numbers = (0..[4, 2, 5][episode]).map(|t| (100 * episode + t) as f32);
            let expected: Vec<_> = numbers.flat_map(|n| [n / 8.0, n / -4.0]).collect();
            assert_eq!(rollout.observations.as_f32().unwrap(), expected, "{form}");
        }
    }
}

#[test]
fn actions_are_read_in_the_units_of_modules() {
    let data = MinariData::open(dataset("hdf5")).unwrap();
    let actions = all(&data).remove(0).actions;
    assert_eq!(actions.as_f32().unwrap()[..4], [-1.0, -1.0, -0.5, -0.5]);
}

/// Reading a damaged dataset fails with the message, when it is opened or when the episode is read.
pub(crate) fn refused(folder: &Path) -> (OfflineError, String) {
    let outcome = MinariData::open(folder)
        .and_then(|data| (0..data.num_parts()).try_for_each(|part| data.read(part).map(|_| ())));
    let error = outcome.unwrap_err();
    let message = error.to_string();
    (error, message)
}

pub(crate) fn edit(folder: &Path, from: &str, to: &str) {
    let path = folder.join("data/metadata.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let empty = tempfile::tempdir().unwrap();
    let (error, message) = refused(empty.path());
    assert!(matches!(error, OfflineError::NoDataset { .. }), "{message}");
    for (form, from, to, parts) in [
        ("hdf5", "\"hdf5\"", "\"zarr\"", ["metadata.json", "`zarr`"]),
        ("hdf5", "MultiBinary", "Text", ["metadata.json: column `observation_space`", "`Text`"]),
        ("hdf5", "float64", "complex64", ["observation_space", "Box of complex64"]),
        ("hdf5", "\"total_episodes\": 3", "\"total_episodes\": 4", ["main_data.hdf5", "episode_3"]),
        ("arrow", "\"total_episodes\": 3", "\"total_episodes\": 4", ["data/3", "No such file"]),
        ("hdf5", "[2, 3, 1]", "[3, 2, 1]", ["episode 0: column `observations.pixels`", "shape"]),
        (
            "arrow",
            "\"n\": 3",
            "\"n\": 2",
            ["episode 0: column `observations.bits`", "[3] instead of [2]"],
        ),
        ("hdf5", "\"n\": 5", "\"n\": 2", ["column `obs`", "episode 0"]),
        ("parquet", "\"bits\"", "\"buttons\"", ["column `observations.buttons`", "missing"]),
        ("hdf5", "\"state\"", "\"place\"", ["column `observations.place.0`", "missing"]),
    ] {
        // Quotes are escaped in the spaces.
        let escape =
            |text: &str| match text.contains("total") || form == "hdf5" && to.contains("zarr") {
                true => text.to_owned(),
                false => text.replace('"', "\\\""),
            };
        let folder = copied(form);
        edit(folder.path(), &escape(from), &escape(to));
        let (error, message) = refused(folder.path());
        assert!(matches!(error, OfflineError::File { .. }), "{message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{from} {to}: {message}");
    }
}

#[test]
fn truncated_and_foreign_files_are_errors_that_name_the_file() {
    for (form, file) in [
        ("hdf5", "data/main_data.hdf5"),
        ("arrow", "data/1/part-0.arrow"),
        ("parquet", "data/1/part-0.parquet"),
        ("parquet", "data/1/metadata.json"),
        ("hdf5", "data/metadata.json"),
    ] {
        for foreign in [true, false] {
            let folder = copied(form);
            let path = folder.path().join(file);
            let bytes = fs::read(&path).unwrap();
            let damaged =
                if foreign { b"something else".to_vec() } else { bytes[..bytes.len() / 2].into() };
            fs::write(&path, damaged).unwrap();
            let (error, message) = refused(folder.path());
            let OfflineError::File { path: found, .. } = error else { panic!("{message}") };
            assert!(path.starts_with(&found), "{}: {message}", path.display());
        }
    }
}

fn nested() -> (Space, Space) {
    let observations = Space::dict([
        ("image", Space::image(&[32, 32]).unwrap()),
        (
            "parts",
            Space::tuple([Space::unbounded(&[3]).unwrap(), Space::discrete(3).unwrap()]).unwrap(),
        ),
        ("bits", Space::multi_binary(5).unwrap()),
        ("count", Space::int_box(-3, 5, &[2]).unwrap()),
    ]);
    (observations.unwrap(), Space::boxed(-2.0, 2.0, &[2]).unwrap())
}

fn sampled(space: &Space, rows: usize, rng: &mut Generator) -> Buffer {
    let mut buffer = Buffer::zeros(space, rows);
    (0..rows).for_each(|row| space.sample_into(rng, buffer.row_mut(row)).unwrap());
    buffer
}

#[test]
fn saved_episodes_are_read_bit_for_bit_in_every_space() {
    let spaces = [
        nested(),
        (Space::unbounded(&[3]).unwrap(), Space::discrete_with_start(3, -1).unwrap()),
        (Space::discrete(7).unwrap(), Space::multi_discrete([2, 3]).unwrap()),
        (Space::boxed(0.0, 1.0, &[]).unwrap(), Space::multi_binary(2).unwrap()),
    ];
    let mut rng = Generator::from_seed(0);
    for spaces in &spaces {
        let mut data = OfflineData::new(spaces.0.clone(), spaces.1.clone());
        for end in [SegmentEnd::Terminated, SegmentEnd::Truncated] {
            let mut actions = sampled(&spaces.1, 4, &mut rng);
            if let Ok(actions) = actions.as_f32().map(<[f32]>::to_vec) {
                // Numbers that scaling to [−2, 2] and back does not round.
                let units = actions.iter().map(|a| (a * 64.0).round() / 128.0);
                data.push_episode(Episode {
                    observations: sampled(&spaces.0, 5, &mut rng),
                    actions: Buffer::from_f32(units.collect(), &[2]).unwrap(),
                    rewards: vec![0.5, -1.0, 0.1, 3.0],
                    end,
                })
                .unwrap();
                continue;
            }
            data.push_episode(Episode {
                observations: sampled(&spaces.0, 5, &mut rng),
                actions: std::mem::replace(&mut actions, Buffer::zeros(&spaces.1, 0)),
                rewards: vec![0.5, -1.0, 0.1, 3.0],
                end,
            })
            .unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        data.save_minari(folder.path()).unwrap();
        let read = MinariData::open(folder.path()).unwrap();
        assert_eq!(read.module_spaces(), data.module_spaces());
        for (found, (_, expected)) in all(&read).iter().zip(data.episodes()) {
            assert_eq!(found.observations, expected.observations);
            assert_eq!(found.actions, expected.actions);
            assert_eq!(found.rewards, expected.rewards);
            assert_eq!(found.final_observations, expected.final_observations);
            assert_eq!(found.segments[0].end, expected.segments[0].end);
        }
        assert!(matches!(data.save_minari(folder.path()), Err(OfflineError::Exists { .. })));
    }
}

/// A fragment of one environment: `steps` steps after `t` steps of an episode, with log-probabilities and an info.
pub(crate) fn fragment(
    steps: usize,
    (episode, t): (u64, usize),
    end: SegmentEnd,
    info: &str,
) -> Experience {
    let number = |t: usize| episode as f32 * 100.0 + t as f32;
    let column = |from: usize| (from..from + steps).map(number).collect::<Vec<_>>();
    let segment = Segment::new(0..steps, end).with_episode(0, episode).with_t_started(t);
    let mut rollout = Rollout::new(
        Buffer::from_f32(column(t), &[1]).unwrap(),
        Buffer::from_i64(vec![1; steps], &[]).unwrap(),
        column(t),
        vec![segment],
        Buffer::from_f32(vec![number(t + steps)], &[1]).unwrap(),
    );
    rollout.extras.insert("action_logp".into(), Buffer::from_f32(column(t), &[]).unwrap());
    let infos = [(info, Buffer::from_f32(column(t), &[]).unwrap())];
    rollout.infos = Some(Buffer::from_dict(infos).unwrap());
    let mut experience = Experience::default();
    experience.rollouts.insert(DEFAULT_MODULE_ID.into(), vec![rollout]);
    experience
}

pub(crate) fn simple() -> (Space, Space) {
    (Space::unbounded(&[1]).unwrap(), Space::discrete(2).unwrap())
}

#[test]
fn recorded_fragments_are_joined_and_a_rewound_recording_goes_on() {
    use SegmentEnd::{Cut, Terminated, Truncated};
    let folder = tempfile::tempdir().unwrap();
    let recorder = MinariRecorder::create(folder.path(), simple()).unwrap();
    recorder.record(0, &fragment(2, (0, 0), Cut, "x")).unwrap();
    recorder.record(1, &fragment(3, (7, 0), Terminated, "x")).unwrap();
    recorder.record(0, &fragment(1, (0, 2), Truncated, "x")).unwrap();
    recorder.flush().unwrap();
    let state = recorder.state();
    // An episode with other infos: one is missing, and one is new.
    recorder.record(0, &fragment(2, (1, 0), Cut, "y")).unwrap();
    recorder.flush().unwrap();

    let data = MinariData::open(folder.path()).unwrap();
    let episodes = all(&data);
    let lengths: Vec<_> = episodes.iter().map(|episode| episode.rewards.len()).collect();
    assert_eq!(lengths, [3, 3, 2]);
    let ends: Vec<_> = episodes.iter().map(|episode| episode.segments[0].end).collect();
    assert_eq!(ends, [Terminated, Truncated, Truncated]);
    let joined = &episodes[1];
    assert_eq!(joined.observations.as_f32().unwrap(), [0.0, 1.0, 2.0]);
    assert_eq!(joined.extras["action_logp"].as_f32().unwrap(), [0.0, 1.0, 2.0]);
    let info = |episode: &Rollout| episode.infos.as_ref().unwrap().get("x").unwrap().clone();
    assert_eq!(info(joined).as_f32().unwrap(), [0.0, 1.0, 2.0]);
    let missing = info(&episodes[2]);
    assert!(missing.as_f32().unwrap().iter().all(|number| number.is_nan()));

    drop(recorder);
    let recorder = MinariRecorder::resume(folder.path()).unwrap();
    recorder.set_spaces(BTreeMap::from([(DEFAULT_MODULE_ID.to_owned(), simple())])).unwrap();
    recorder.rewind(&state).unwrap();
    assert_eq!(MinariData::open(folder.path()).unwrap().num_steps(), 6);
    recorder.record(0, &fragment(4, (1, 0), Terminated, "y")).unwrap();
    recorder.flush().unwrap();
    let data = MinariData::open(folder.path()).unwrap();
    assert_eq!((data.num_parts(), data.num_steps()), (3, 10));
    // The infos are still those of the first episode.
    let last = all(&data).remove(2);
    assert_eq!(last.infos.as_ref().unwrap().as_dict().unwrap().keys().collect::<Vec<_>>(), ["x"]);
    assert!(info(&last).as_f32().unwrap().iter().all(|number| number.is_nan()));
    assert_eq!(last.extras["action_logp"].rows(), 4);
    assert!(matches!(
        MinariRecorder::create(folder.path(), simple()),
        Err(OfflineError::Exists { .. })
    ));
}

#[test]
fn a_clipped_action_has_no_log_probability() {
    let spaces = (Space::unbounded(&[1]).unwrap(), Space::boxed(-2.0, 2.0, &[1]).unwrap());
    let mut experience = fragment(3, (0, 0), SegmentEnd::Terminated, "x");
    let mut rollout = experience.rollouts.remove(DEFAULT_MODULE_ID).unwrap().remove(0);
    rollout.actions = Buffer::from_f32(vec![0.5, 3.0, -1.0], &[1]).unwrap();
    let mut data = OfflineData::new(spaces.0, spaces.1);
    data.push_rollout(DEFAULT_MODULE_ID, &rollout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    data.save_minari(folder.path()).unwrap();
    let read = all(&MinariData::open(folder.path()).unwrap()).remove(0);
    assert_eq!(read.actions.as_f32().unwrap(), [0.5, 1.0, -1.0]);
    let logp = read.extras["action_logp"].as_f32().unwrap();
    assert!(logp[0] == 0.0 && logp[1].is_nan() && logp[2] == 2.0, "{logp:?}");
}

#[test]
fn an_episode_without_an_end_and_one_with_nan_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut rollout = fragment(2, (0, 0), SegmentEnd::Terminated, "x");
    let of_module = rollout.rollouts.get_mut(DEFAULT_MODULE_ID).unwrap();
    of_module[0].observations = Buffer::from_f32(vec![1.0, f32::NAN], &[1]).unwrap();
    let recorder = MinariRecorder::create(folder.path(), simple()).unwrap();
    recorder.record(0, &rollout).unwrap();
    recorder.flush().unwrap();
    let (_, message) = refused(folder.path());
    let expected = "data/0: row 1 of column `obs` of episode 0 holds NaN";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_dataset_holds_one_module() {
    let data = OfflineData::of_modules([("a", simple())]);
    let folder = tempfile::tempdir().unwrap();
    let error = data.save_minari(folder.path()).unwrap_err();
    assert!(matches!(&error, OfflineError::SeveralModules { module } if module == "a"), "{error}");
}

#[test]
fn recorded_columns_come_back_in_their_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = MinariRecorder::create(folder.path(), simple()).unwrap();
    let columns = || {
        [
            ("action_dist_inputs", Buffer::from_f32((0..6).map(|x| x as f32).collect(), &[2])),
            ("action_prob", Buffer::from_f32(vec![0.5; 3], &[])),
            ("qf_logits", Buffer::from_f32((0..12).map(|x| x as f32).collect(), &[2, 2])),
            ("choice", Buffer::from_i64(vec![3, 1, 2], &[])),
            ("one", Buffer::from_f32(vec![1.0, 2.0, 3.0], &[1])),
        ]
        .map(|(name, column)| (name.to_owned(), column.unwrap()))
    };
    let record = |episode| {
        let mut experience = fragment(3, (episode, 0), SegmentEnd::Terminated, "x");
        let rollouts = experience.rollouts.get_mut(DEFAULT_MODULE_ID).unwrap();
        rollouts[0].extras.extend(columns());
        recorder.record(0, &experience).unwrap();
        recorder.flush().unwrap();
    };
    record(0);
    // Columns are known after a restart, too.
    let state = recorder.state();
    recorder.rewind(&state).unwrap();
    record(1);
    let episodes = all(&MinariData::open(folder.path()).unwrap());
    assert_eq!(episodes.len(), 2);
    for episode in episodes {
        for (name, column) in columns() {
            assert_eq!(episode.extras.get(&name), Some(&column), "{name}");
        }
        let infos = episode.infos.unwrap();
        assert_eq!(infos.as_dict().unwrap().keys().collect::<Vec<_>>(), ["x"]);
    }
}
