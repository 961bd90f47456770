use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::file::writer::SerializedFileWriter;
use rekindle_core::{DEFAULT_MODULE_ID, Generator};
use rekindle_env::{AgentId, Buffer, Space};
use rekindle_env_runner::{Experience, ExperienceRecorder, RolloutStates, Segment, SegmentEnd};

use super::header::{Header, KEY};
use super::*;
use crate::source::Recorded;

fn sampled(space: &Space, rows: usize, rng: &mut Generator) -> Buffer {
    let mut buffer = Buffer::zeros(space, rows);
    (0..rows).for_each(|row| space.sample_into(rng, buffer.row_mut(row)).unwrap());
    buffer
}

fn floats(rows: usize, rng: &mut Generator) -> Buffer {
    let numbers = (0..rows).map(|_| rng.standard_normal() as f32).collect();
    Buffer::from_f32(numbers, &[]).unwrap()
}

/// A fragment of `steps` steps of two environments, time-major, with every kind of column. Its segments end as `ends`
/// say, after `t` steps of episode `episode`.
fn fragment(
    spaces: &(Space, Space),
    steps: usize,
    (episode, t): (u64, usize),
    ends: [SegmentEnd; 2],
    rng: &mut Generator,
) -> Rollout {
    let rows = 2 * steps;
    let segment = |env: usize| {
        Segment::new(env..env + steps, ends[env])
            .with_stride(2)
            .with_episode(env, 2 * episode + env as u64)
            .with_t_started(t)
    };
    let mut rollout = Rollout::new(
        sampled(&spaces.0, rows, rng),
        sampled(&spaces.1.with_float_boxes(), rows, rng),
        floats(rows, rng).as_f32().unwrap().to_vec(),
        vec![segment(0), segment(1)],
        sampled(&spaces.0, 2, rng),
    );
    rollout.extras.insert("action_logp".into(), floats(rows, rng));
    let inputs = Space::unbounded(&[2, 3]).unwrap();
    rollout.extras.insert("action_dist_inputs".into(), sampled(&inputs, rows, rng));
    let state = Space::dict([("c", inputs), ("n", Space::discrete(4).unwrap())]).unwrap();
    let states = RolloutStates::new(sampled(&state, rows, rng), sampled(&state, 2, rng));
    rollout.states = Some(Arc::new(states));
    if t > 0 {
        rollout.infos = Some(Buffer::from_dict([("x", floats(rows, rng))]).unwrap());
    }
    rollout.weights_seq_no = episode + 5;
    rollout
}

fn spaces() -> Vec<(Space, Space)> {
    let vector = || Space::unbounded(&[3]).unwrap();
    let nested = Space::dict([
        ("image", Space::image(&[4, 4, 1]).unwrap()),
        ("parts", Space::tuple([vector(), Space::discrete(3).unwrap()]).unwrap()),
        ("bits", Space::multi_binary(5).unwrap()),
    ]);
    vec![
        (vector(), Space::discrete_with_start(3, -1).unwrap()),
        (nested.unwrap(), Space::boxed(-2.0, 2.0, &[2]).unwrap()),
        (Space::discrete(7).unwrap(), Space::multi_discrete([2, 3]).unwrap()),
        (Space::boxed(0.0, 1.0, &[]).unwrap(), Space::int_box(0, 5, &[2]).unwrap()),
    ]
}

fn of(rollout: Rollout) -> Experience {
    let mut experience = Experience::default();
    experience.rollouts.insert(DEFAULT_MODULE_ID.into(), vec![rollout]);
    experience
}

fn of_default(spaces: &(Space, Space)) -> BTreeMap<ModuleId, (Space, Space)> {
    BTreeMap::from([(DEFAULT_MODULE_ID.to_owned(), spaces.clone())])
}

/// All episodes of a source, in the order of their numbers.
fn all(data: &ParquetData) -> Vec<Rollout> {
    let parts = (0..data.num_parts()).map(|part| data.read(part).unwrap());
    let mut all: Vec<_> = parts.flat_map(Recorded::into_values).flatten().collect();
    all.sort_by_key(|episode| {
        let segment = &episode.segments[0];
        (segment.agent.clone(), segment.episode, segment.t_started)
    });
    all
}

/// NaN equals NaN here.
fn assert_equal(found: &[Rollout], expected: &[Rollout]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(format!("{found:?}"), format!("{expected:?}"));
    }
}

#[test]
fn recorded_episodes_are_read_bit_for_bit_in_every_space() {
    for (index, spaces) in spaces().iter().enumerate() {
        let mut rng = Generator::from_seed(index as u64);
        let folder = tempfile::tempdir().unwrap();
        let recorder = ParquetRecorder::create(folder.path(), of_default(spaces)).unwrap();
        let (mut data, mut parts) = (crate::episodes::Assembler::default(), Vec::new());
        use SegmentEnd::{Cut, Terminated, Truncated};
        for (steps, at, ends) in [
            (3, (0, 0), [Cut, Terminated]),
            (2, (0, 3), [Truncated, Cut]),
            (4, (1, 0), [Terminated, Cut]),
        ] {
            let rollout = fragment(spaces, steps, at, ends, &mut rng);
            parts.extend(data.add(DEFAULT_MODULE_ID, &rollout).unwrap());
            recorder.record(0, &of(rollout)).unwrap();
        }
        parts.extend(data.flush().into_iter().map(|(_, part)| part));
        drop(recorder);
        let read = ParquetData::open(folder.path()).unwrap();
        assert_eq!(read.module_spaces(), &of_default(spaces));
        parts.sort_by_key(|part| (part.segments[0].episode, part.segments[0].t_started));
        // The first episode of environment 0 was joined from two fragments. That of environment 1 went on after it
        // had ended, which no runner does, and is a part of its own.
        let lens: Vec<_> = parts.iter().map(|part| part.rewards.len()).collect();
        assert_eq!(lens, [5, 3, 2, 4, 4]);
        // Numbers of the environment that some steps lack are NaN in all of a file.
        for part in parts.iter_mut().filter(|part| part.infos.is_none()) {
            let missing = Buffer::from_f32(vec![f32::NAN; part.rewards.len()], &[]).unwrap();
            part.infos = Some(Buffer::from_dict([("x", missing)]).unwrap());
        }
        assert_equal(&all(&read), &parts);
        assert_eq!(read.num_steps(), 18);
    }
}

#[test]
fn agents_and_runners_have_episodes_and_files_of_their_own() {
    let spaces = spaces().remove(0);
    let mut rng = Generator::from_seed(3);
    let modules: BTreeMap<_, _> =
        ["a", "b"].map(|id| (id.to_owned(), spaces.clone())).into_iter().collect();
    let folder = tempfile::tempdir().unwrap();
    let recorder = ParquetRecorder::create(folder.path(), modules).unwrap().max_file_size(1);
    for runner in 0..2 {
        let mut experience = Experience::default();
        for id in ["a", "b"] {
            let ends = [SegmentEnd::Terminated, SegmentEnd::Cut];
            let mut rollout = fragment(&spaces, 3, (0, 0), ends, &mut rng);
            for segment in &mut rollout.segments {
                segment.agent = Some(AgentId::from(format!("{id}_1")));
            }
            rollout.runner = runner;
            experience.rollouts.insert(id.into(), vec![rollout]);
        }
        recorder.record(runner, &experience).unwrap();
    }
    // Complete episodes fill a file, and those that go on wait.
    let data = ParquetData::open(folder.path()).unwrap();
    assert_eq!((data.num_parts(), data.num_steps()), (4, 12));
    recorder.flush().unwrap();
    let data = ParquetData::open(folder.path()).unwrap();
    assert_eq!((data.num_parts(), data.num_steps()), (8, 24));
    let agents: Vec<_> = all(&data).iter().map(|e| e.segments[0].agent.clone()).collect();
    assert_eq!(agents.iter().flatten().filter(|agent| agent.as_str() == "b_1").count(), 4);
    // The same module from another directory.
    let other = ParquetData::open_all([folder.path().join("a"), folder.path().join("b")]).unwrap();
    assert_eq!(other.fingerprint(), data.fingerprint());
    assert!(folder.path().join("b/0001-000001.parquet").exists());
}

#[test]
fn a_restored_recorder_goes_on_where_the_checkpoint_was() {
    let spaces = spaces().remove(0);
    let folder = tempfile::tempdir().unwrap();
    let mut rng = Generator::from_seed(4);
    let ends = [SegmentEnd::Terminated; 2];
    let parts: Vec<_> =
        (0..3).map(|episode| of(fragment(&spaces, 3, (episode, 0), ends, &mut rng))).collect();
    let recorder = ParquetRecorder::create(folder.path(), of_default(&spaces)).unwrap();
    recorder.record(0, &parts[0]).unwrap();
    recorder.flush().unwrap();
    let state = recorder.state();
    recorder.record(0, &parts[1]).unwrap();
    drop(recorder);
    let before = ParquetData::open(folder.path()).unwrap();
    assert_eq!(before.num_steps(), 12);

    let message = ParquetRecorder::create(folder.path(), of_default(&spaces)).unwrap_err();
    assert!(message.to_string().contains("has recordings already"), "{message}");
    let recorder = ParquetRecorder::resume(folder.path(), of_default(&spaces)).unwrap();
    recorder.rewind(&state).unwrap();
    recorder.record(0, &parts[2]).unwrap();
    drop(recorder);
    let data = ParquetData::open(folder.path()).unwrap();
    let episodes: Vec<_> = all(&data).iter().map(|e| e.segments[0].episode).collect();
    assert_eq!(episodes, [0, 1, 4, 5]);
    let json = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<RecorderState>(&json).unwrap(), state);
}

/// A directory with one file of two episodes, and the path of the file.
fn one_file() -> (tempfile::TempDir, std::path::PathBuf) {
    let spaces = spaces().remove(1);
    let folder = tempfile::tempdir().unwrap();
    let ends = [SegmentEnd::Terminated, SegmentEnd::Truncated];
    let rollout = fragment(&spaces, 3, (0, 0), ends, &mut Generator::from_seed(5));
    let mut data = OfflineData::new(spaces.0, spaces.1);
    data.push_rollout(DEFAULT_MODULE_ID, &rollout).unwrap();
    data.save_parquet(folder.path()).unwrap();
    let path = folder.path().join("default_policy/0000-000000.parquet");
    (folder, path)
}

fn message(path: &Path) -> String {
    let read = |data: ParquetData| (0..data.num_parts()).try_for_each(|p| data.read(p).map(drop));
    ParquetData::open(path).and_then(read).unwrap_err().to_string()
}

#[test]
fn data_in_memory_are_saved_and_read_back() {
    let (folder, path) = one_file();
    let read = ParquetData::open(folder.path()).unwrap();
    let spaces = spaces().remove(1);
    let mut again = OfflineData::new(spaces.0, spaces.1);
    (0..read.num_parts()).for_each(|part| again.push(&read.read(part).unwrap()).unwrap());
    let episodes: Vec<_> = again.episodes().map(|(_, episode)| episode.clone()).collect();
    assert_equal(&all(&read), &episodes);
    let message = again.save_parquet(folder.path()).unwrap_err().to_string();
    assert!(message.contains("has recordings already"), "{message}");
    assert!(path.exists());
}

#[test]
fn files_that_are_no_recordings_are_refused_by_name() {
    let (folder, path) = one_file();
    let empty = tempfile::tempdir().unwrap();
    let found = message(empty.path());
    assert!(found.contains("has no files `*.parquet`"), "{found}");
    let found = message(&folder.path().join("missing.parquet"));
    assert!(found.contains("missing.parquet` does not exist; name a directory"), "{found}");
    let whole = fs::read(&path).unwrap();
    for bytes in [&b"PAR1"[..], b"", b"no parquet at all, but some text", &whole[..whole.len() / 2]]
    {
        fs::write(&path, bytes).unwrap();
        let found = message(&path);
        assert!(found.contains("0000-000000.parquet: it is not a valid Parquet file"), "{found}");
    }
}

#[test]
fn damaged_files_are_errors_or_other_data_but_no_panic() {
    let (_folder, path) = one_file();
    let whole = fs::read(&path).unwrap();
    let mut rng = Generator::from_seed(6);
    let mut refused = 0;
    for _ in 0..500 {
        let mut bytes = whole.clone();
        for _ in 0..rng.integers(1, 8) {
            let at = rng.integers(0, bytes.len() as i64) as usize;
            match rng.integers(0, 3) {
                0 => bytes[at] ^= 1 << rng.integers(0, 8),
                1 => bytes[at] = rng.integers(0, 256) as u8,
                _ => bytes.truncate(at.max(1)),
            }
        }
        fs::write(&path, &bytes).unwrap();
        let read =
            |data: ParquetData| (0..data.num_parts()).try_for_each(|p| data.read(p).map(drop));
        refused += usize::from(ParquetData::open(&path).and_then(read).is_err());
    }
    assert!(refused > 250, "{refused}");
}

#[test]
fn a_row_group_with_more_steps_than_rows_is_refused() {
    let (_folder, path) = one_file();
    let mut bytes = fs::read(&path).unwrap();
    let steps = b"\"steps\":[6]";
    let at = bytes.windows(steps.len()).position(|window| window == steps).unwrap();
    bytes[at + steps.len() - 2] = b'9';
    fs::write(&path, bytes).unwrap();
    let found = message(&path);
    assert!(found.contains("8 rows claim to be 9 steps"), "{found}");
}

#[test]
fn a_file_without_row_groups_has_no_episodes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0000-000000.parquet");
    let (_kept, with_rows) = one_file();
    let reader = SerializedFileReader::new(fs::File::open(with_rows).unwrap()).unwrap();
    let mut header: Header = {
        let values = reader.metadata().file_metadata().key_value_metadata().unwrap();
        serde_json::from_str(values[0].value.as_ref().unwrap()).unwrap()
    };
    header.steps.clear();
    let value = KeyValue::new(KEY.to_owned(), serde_json::to_string(&header).unwrap());
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![value])).build();
    let schema = reader.metadata().file_metadata().schema_descr().root_schema_ptr();
    let file = fs::File::create(&path).unwrap();
    SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap().close().unwrap();
    let found = message(folder.path());
    assert!(found.contains("has no episodes; record some"), "{found}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_failed_write_names_the_file_and_its_cause() {
    let (folder, path) = one_file();
    let data = ParquetData::open(folder.path()).unwrap();
    let spaces = spaces().remove(1);
    let mut again = OfflineData::new(spaces.0, spaces.1);
    (0..data.num_parts()).for_each(|part| again.push(&data.read(part).unwrap()).unwrap());
    // A disk that is always full.
    let other = folder.path().join("other");
    fs::create_dir_all(other.join("default_policy")).unwrap();
    let temporary = other.join("default_policy/.0000-000000.parquet.tmp");
    std::os::unix::fs::symlink("/dev/full", temporary).unwrap();
    let error = again.save_parquet(&other).unwrap_err();
    let OfflineError::Write { path: found, source } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(found.file_name(), path.file_name());
    assert!(error.to_string().starts_with("cannot write "), "{error}");
    // Where a file has the name of the directory.
    let error = again.save_parquet(&path).unwrap_err();
    assert!(matches!(error, OfflineError::Write { .. }), "{error}");
}
