//! Shards: built one at a time, written once, and linked into later checkpoints.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rekindle_checkpoint::{
    ArrayData, CheckpointError, SaveRecord, Shard, State, read, read_component, write,
};

/// A shard that counts how often it is built.
#[derive(Debug, Default, Clone)]
struct Numbers {
    values: Vec<f32>,
    record: SaveRecord,
    built: Arc<AtomicUsize>,
}

impl Shard for Numbers {
    fn get_state(&self) -> Result<State, CheckpointError> {
        self.built.fetch_add(1, Ordering::Relaxed);
        Ok(State::from_data("numbers")?.with_tensor("values", self.values.clone()))
    }

    fn save_record(&self) -> Option<&SaveRecord> {
        Some(&self.record)
    }
}

/// Two shards in a component, and the number of times that each was built since the last call.
struct Buffer([Arc<Numbers>; 2]);

impl Buffer {
    fn new() -> Self {
        Self(
            [1.0, 2.0]
                .map(|value| Arc::new(Numbers { values: vec![value; 9], ..Default::default() })),
        )
    }

    fn state(&self) -> State {
        let mut inner = State::from_data(&2).unwrap();
        for (index, shard) in self.0.iter().enumerate() {
            inner.insert_shard(index.to_string(), shard.clone());
        }
        State::new().with_component("buffer", inner)
    }

    fn change(&mut self, shard: usize, value: f32) {
        let shard = Arc::make_mut(&mut self.0[shard]);
        shard.record.clear();
        shard.values[0] = value;
    }

    fn built(&self) -> [usize; 2] {
        [0, 1].map(|shard| self.0[shard].built.swap(0, Ordering::Relaxed))
    }
}

fn file(checkpoint: &Path, shard: usize) -> PathBuf {
    checkpoint.join(format!("buffer/{shard}/tensors.safetensors"))
}

#[cfg(unix)]
fn same_file(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    fs::metadata(a).unwrap().ino() == fs::metadata(b).unwrap().ino()
}

/// Reads the shards as components.
fn plain(buffer: &Buffer) -> State {
    let mut state = buffer.state();
    let inner = state.components.get_mut("buffer").unwrap();
    for (name, shard) in std::mem::take(&mut inner.shards) {
        inner.insert_component(name, shard.get_state().unwrap());
    }
    buffer.built();
    state
}

#[test]
fn shards_are_read_as_shards_and_components_as_components() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = Buffer::new();
    write(dir.path().join("a"), &buffer.state()).unwrap();
    write(dir.path().join("b"), &plain(&buffer)).unwrap();
    let [a, b] = ["a", "b"].map(|name| read(dir.path().join(name)).unwrap());
    assert!(a == buffer.state() && a == b && a == plain(&buffer));
    let shards = |state: &State| state.component("buffer").unwrap().shards.len();
    assert_eq!([shards(&a), shards(&b)], [2, 0]);
    let [a, b] = ["a", "b"].map(|name| fs::read(file(&dir.path().join(name), 1)).unwrap());
    assert_eq!(a, b, "both are the same bytes");
    let shard = read_component(dir.path().join("a"), "buffer/1").unwrap();
    assert_eq!(shard.tensor("values").unwrap().as_slice::<f32>().unwrap(), [2.0; 9]);
}

#[cfg(unix)]
#[test]
fn a_shard_that_was_read_is_moved_out_and_linked_unless_its_file_was_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let buffer = Buffer::new();
    write(path("a"), &buffer.state()).unwrap();
    let mut state = read(path("a")).unwrap();
    // A copy of the checkpoint links all shards.
    write(path("b"), &state).unwrap();
    assert!(
        [0, 1].iter().all(|shard| same_file(&file(&path("a"), *shard), &file(&path("b"), *shard)))
    );

    let inner = state.components.get_mut("buffer").unwrap();
    let (mut taken, record) = inner.take_part("0").unwrap();
    assert_eq!(inner.shards.len(), 1);
    let (_, ArrayData::F32(values)) = taken.take_tensor("values").unwrap().into_parts() else {
        panic!("floats were saved");
    };
    let owner = Numbers { values, record, ..Default::default() };
    let built = owner.built.clone();
    let state = State::new().with_component("buffer", {
        let mut inner = State::new();
        inner.insert_shard("0", Arc::new(owner));
        inner
    });
    write(path("c"), &state).unwrap();
    assert!(
        same_file(&file(&path("a"), 0), &file(&path("c"), 0)) && built.load(Ordering::Relaxed) == 0
    );

    // Between the read and the save, the file was replaced by one of another content.
    let mut state = read(path("c")).unwrap();
    for name in ["a", "b", "c"] {
        fs::remove_file(file(&path(name), 0)).unwrap();
        fs::write(file(&path(name), 0), "damage").unwrap();
    }
    write(path("d"), &state).unwrap();
    let inner = state.components.get_mut("buffer").unwrap();
    let error = inner.take_part("1").unwrap_err();
    assert!(matches!(error, CheckpointError::NoSuchComponent { .. }), "{error}");
    let found = read_component(path("d"), "buffer/0").unwrap();
    assert_eq!(found.tensor("values").unwrap().as_slice::<f32>().unwrap(), [1.0; 9]);
}

#[test]
fn states_are_equal_if_their_parts_are() {
    let buffer = Buffer::new();
    let mut other = Buffer::new();
    assert_eq!(buffer.state(), other.state());
    other.change(1, 5.0);
    assert_ne!(buffer.state(), other.state());
    let mut fewer = plain(&buffer);
    fewer.components.get_mut("buffer").unwrap().components.remove("1");
    assert_ne!(buffer.state(), fewer);
}

#[cfg(unix)]
#[test]
fn a_shard_that_has_not_changed_is_linked_and_older_checkpoints_keep_their_contents() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    let mut buffer = Buffer::new();
    write(&first, &buffer.state()).unwrap();
    assert_eq!(buffer.built(), [1, 1]);
    let saved = plain(&buffer);
    buffer.change(1, 7.0);
    write(&second, &buffer.state()).unwrap();
    assert_eq!(buffer.built(), [0, 1]);
    assert!(same_file(&file(&first, 0), &file(&second, 0)));
    assert!(!same_file(&file(&first, 1), &file(&second, 1)));
    assert_eq!(read(&first).unwrap(), saved);
    assert_eq!(read(&second).unwrap(), plain(&buffer));

    // The same path again, which removes the files that were linked, and then the checkpoint beside it.
    for value in [8.0, 9.0] {
        buffer.change(1, value);
        write(&second, &buffer.state()).unwrap();
        assert_eq!(buffer.built(), [0, 1]);
        assert_eq!(read(&second).unwrap(), plain(&buffer));
    }
    assert_eq!(read(&first).unwrap(), saved);
    fs::remove_dir_all(&first).unwrap();
    write(&second, &buffer.state()).unwrap();
    assert_eq!(buffer.built(), [0, 0]);
    assert_eq!(read(&second).unwrap(), plain(&buffer));
}

#[test]
fn a_shard_whose_files_are_gone_or_were_replaced_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let buffer = Buffer::new();
    write(path("a"), &buffer.state()).unwrap();
    buffer.built();

    fs::remove_dir_all(path("a")).unwrap();
    write(path("b"), &buffer.state()).unwrap();
    assert_eq!(buffer.built(), [1, 1]);

    // Another run has saved to the path meanwhile.
    let mut other = Buffer::new();
    other.change(0, -1.0);
    other.change(1, -1.0);
    write(path("b"), &other.state()).unwrap();
    write(path("c"), &buffer.state()).unwrap();
    assert_eq!(buffer.built(), [1, 1]);
    assert_eq!(read(path("c")).unwrap(), plain(&buffer));
    assert_eq!(read(path("b")).unwrap(), plain(&other));

    // Damage does not spread.
    let mut bytes = fs::read(file(&path("c"), 0)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::remove_file(file(&path("c"), 0)).unwrap();
    fs::write(file(&path("c"), 0), bytes).unwrap();
    write(path("d"), &buffer.state()).unwrap();
    assert_eq!(buffer.built(), [1, 0]);
    assert_eq!(read(path("d")).unwrap(), plain(&buffer));
}

#[test]
fn a_save_that_fails_records_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = Buffer::new();
    let path = dir.path().join("a");
    let state = buffer.state().with_component("bad/name", State::new());
    write(&path, &state).unwrap_err();
    fs::write(&path, "in the way").unwrap();
    write(&path, &buffer.state()).unwrap_err();
    fs::remove_file(&path).unwrap();
    write(&path, &buffer.state()).unwrap();
    assert_eq!(buffer.built(), [1, 1]);
    assert_eq!(read(&path).unwrap(), plain(&buffer));
}

#[test]
fn names_of_shards_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let shard = || Arc::new(Numbers::default());
    let mut state = State::new().with_component("a", State::new());
    state.insert_shard("a", shard());
    let error = write(dir.path().join("x"), &state).unwrap_err().to_string();
    assert!(error.contains("`a`") && error.contains("shard"), "{error}");
    let mut state = State::new();
    state.insert_shard("..", shard());
    let error = write(dir.path().join("x"), &state).unwrap_err();
    assert!(matches!(error, CheckpointError::InvalidName { .. }), "{error}");
}
