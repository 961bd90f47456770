//! Any bytes as the data of a component: an error or data that can be saved and read again, and that
//! become values of Rust types or errors.
#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rekindle_checkpoint::{from_value, read, to_value, write};
use serde::{Deserialize, Serialize};

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| rekindle_fuzz::folder("data"));

#[derive(Debug, Serialize, Deserialize)]
enum Part {
    Unit,
    One(f64),
    Two(Option<f32>, Box<Part>),
    Many { numbers: Vec<f64>, by_key: BTreeMap<i32, bool> },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    Float(f64),
    Text(String),
    Parts(Vec<Part>),
    Map(BTreeMap<String, Any>),
}

fuzz_target!(|bytes: &[u8]| {
    let (first, again) = (FOLDER.join("first"), FOLDER.join("again"));
    fs::create_dir_all(&first).expect("a directory in a directory of our own");
    fs::write(first.join("state.json"), bytes).expect("a file in a directory of our own");
    fs::write(first.join("manifest.json"), rekindle_fuzz::manifest_of_data(bytes))
        .expect("a file in a directory of our own");
    let Ok(state) = read(&first) else { return };
    write(&again, &state).expect("what was read can be saved");
    assert_eq!(read(&again).expect("what was saved can be read"), state);
    if let Ok(any) = from_value::<Any>(&state.data)
        && let Ok(value) = to_value(&any)
    {
        let restored: Any = from_value(&value).expect("what was converted converts back");
        assert_eq!(format!("{restored:?}"), format!("{any:?}"));
    }
});
