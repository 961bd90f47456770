//! The kinds of files that are fuzzed.

use std::fs;
use std::path::Path;

use rekindle_checkpoint::{Array, State};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::mutate::Mutator;

/// A file, in parts that are mutated each in its own way.
pub(crate) trait Input: Clone {
    /// Name in the report.
    const NAME: &'static str;

    /// Valid files to start from. Other files that they need are written to `dir`, which is new.
    fn examples(dir: &Path) -> Vec<Self>;

    /// Changes something.
    fn mutate(&mut self, mutator: &mut Mutator, corpus: &[Self]);

    /// The file.
    fn bytes(&self) -> Vec<u8>;
}

/// A state with one of everything.
fn state() -> State {
    let part = State::from_data(&json!({"hidden": [64, 64], "name": "π"})).unwrap();
    State::from_data(&json!({"iteration": 7, "lr": 3e-4, "on": true, "none": null}))
        .unwrap()
        .with_tensor("weight", Array::new([2, 3], vec![0.5f32; 6]).unwrap())
        .with_tensor("bias", vec![1.0f64, f64::NAN])
        .with_tensor("steps", Array::new([], vec![-1i64]).unwrap())
        .with_tensor("count", vec![3i32])
        .with_tensor("bytes", Array::new([0, 3], Vec::<u8>::new()).unwrap())
        .with_tensor("done", vec![true, false])
        .with_component("policy", part.clone())
        .with_component("value", part)
}

/// A safetensors file: the length of the header, the header, the elements.
#[derive(Clone)]
pub(crate) struct TensorFile {
    /// Length of the header as the file states it; `None` for the true length.
    claim: Option<u64>,
    header: Vec<u8>,
    elements: Vec<u8>,
}

impl Input for TensorFile {
    const NAME: &'static str = "tensor files";

    fn examples(dir: &Path) -> Vec<Self> {
        rekindle_checkpoint::write(dir, &state()).unwrap();
        let bytes = fs::read(dir.join("tensors.safetensors")).unwrap();
        let (length, rest) = bytes.split_first_chunk().unwrap();
        let (header, elements) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let all = Self { claim: None, header: header.to_vec(), elements: elements.to_vec() };
        let one = |header: &str, elements: &[u8]| Self {
            claim: None,
            header: header.into(),
            elements: elements.to_vec(),
        };
        let metadata =
            r#"{"__metadata__":{"a":"b"},"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#;
        vec![all, one("{}", b""), one(metadata, b"ab")]
    }

    fn mutate(&mut self, mutator: &mut Mutator, corpus: &[Self]) {
        let other = mutator.pick(corpus).clone();
        for _ in 0..=mutator.below(3) {
            match mutator.below(8) {
                0 => self.claim = Some(mutator.edge()),
                1 => self.claim = None,
                2 | 3 => mutator.bytes(&mut self.elements, &other.elements),
                _ => mutator.text(&mut self.header, &other.header),
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let length = self.claim.unwrap_or(self.header.len() as u64);
        [&length.to_le_bytes(), &self.header[..], &self.elements].concat()
    }
}

/// A manifest next to the files that it lists.
#[derive(Clone)]
pub(crate) struct ManifestFile {
    /// All lines but the last two.
    text: Vec<u8>,
    /// Whether the digest of the text follows, which readers check first.
    sealed: bool,
    /// What else follows.
    rest: Vec<u8>,
}

impl Input for ManifestFile {
    const NAME: &'static str = "manifests";

    fn examples(dir: &Path) -> Vec<Self> {
        rekindle_checkpoint::write(dir, &state()).unwrap();
        let text = fs::read_to_string(dir.join("manifest.json")).unwrap();
        let text = text.split("  \"sha256\": \"").collect::<Vec<_>>();
        // The entries of files have digests, too; the last one is the manifest's own.
        let text = text[..text.len() - 1].join("  \"sha256\": \"").into_bytes();
        vec![Self { text, sealed: true, rest: Vec::new() }]
    }

    fn mutate(&mut self, mutator: &mut Mutator, corpus: &[Self]) {
        let other = mutator.pick(corpus).clone();
        for _ in 0..=mutator.below(3) {
            match mutator.below(16) {
                0 => self.sealed = mutator.one_in(2),
                1 => mutator.bytes(&mut self.rest, &other.text),
                _ => mutator.text(&mut self.text, &other.text),
            }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let seal = if self.sealed { seal(&self.text) } else { String::new() };
        [&self.text[..], seal.as_bytes(), &self.rest].concat()
    }
}

/// The data of a component.
#[derive(Clone)]
pub(crate) struct DataFile(Vec<u8>);

impl Input for DataFile {
    const NAME: &'static str = "data files";

    fn examples(dir: &Path) -> Vec<Self> {
        rekindle_checkpoint::write(dir, &State::from_data("a text").unwrap()).unwrap();
        rekindle_checkpoint::write(dir, &State { data: state().data, ..State::new() }).unwrap();
        vec![Self(fs::read(dir.join("state.json")).unwrap()), Self(b"[1, 2]".to_vec())]
    }

    fn mutate(&mut self, mutator: &mut Mutator, corpus: &[Self]) {
        let other = mutator.pick(corpus).clone();
        for _ in 0..=mutator.below(3) {
            mutator.text(&mut self.0, &other.0);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.clone()
    }
}

/// The manifest of a component with these data and nothing else, as an attacker would make it.
pub(crate) fn manifest_of_data(data: &[u8]) -> Vec<u8> {
    let text = format!(
        "{{\n  \"format\": \"rekindle-checkpoint\",\n  \"format_version\": 1,\n  \
         \"library_version\": \"\",\n  \"files\": [\n    {{\n      \"name\": \"state.json\",\n      \
         \"bytes\": {},\n      \"sha256\": \"{}\"\n    }}\n  ],\n  \"components\": [],\n",
        data.len(),
        sha256(data),
    );
    (text.clone() + &seal(text.as_bytes())).into_bytes()
}

/// The last lines of a manifest.
fn seal(text: &[u8]) -> String {
    format!("  \"sha256\": \"{}\"\n}}\n", sha256(text))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
