//! Any bytes as a `.safetensors` file: an error or tensors that can be saved and read again.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use rekindle_checkpoint::{State, read, read_safetensors, write};

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| rekindle_fuzz::folder("tensors"));

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let path = FOLDER.join("tensors.safetensors");
    fs::write(&path, bytes).expect("a file in a directory of our own");
    let Ok(tensors) = read_safetensors(&path) else { return Corpus::Keep };
    let state = State { tensors, ..State::new() };
    let again = FOLDER.join("again");
    write(&again, &state).expect("what was read can be saved");
    let read = read(&again).expect("what was saved can be read");
    // As text: a NaN does not equal itself.
    assert_eq!(format!("{read:?}"), format!("{state:?}"));
    Corpus::Keep
});
