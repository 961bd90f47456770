//! Any text as a manifest, followed by the right digest, next to valid files.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rekindle_checkpoint::{State, exists, read, read_component, write};

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = rekindle_fuzz::folder("manifest");
    let part = State::from_data(&7).expect("a number is data");
    let state = State::from_data("text")
        .expect("text is data")
        .with_tensor("w", vec![1f32, 2.0])
        .with_component("policy", part);
    let checkpoint = folder.join("checkpoint");
    write(&checkpoint, &state).expect("a save to a directory of our own");
    checkpoint
});

fuzz_target!(|text: &[u8]| {
    let path = FOLDER.join("manifest.json");
    // A valid manifest already has its digest. Otherwise it is added, because readers require it.
    let mut bytes = text.to_vec();
    if !text.ends_with(b"\"\n}\n") {
        bytes.extend(rekindle_fuzz::seal(text));
    }
    fs::write(&path, &bytes).expect("a file in a directory of our own");
    let _ = exists(&*FOLDER);
    let _ = read_component(&*FOLDER, "policy");
    if let Ok(state) = read(&*FOLDER) {
        let again = FOLDER.with_file_name("again");
        write(&again, &state).expect("what was read can be saved");
        assert_eq!(read(&again).expect("what was saved can be read"), state);
    }
});
