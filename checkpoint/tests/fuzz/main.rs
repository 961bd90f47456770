//! Fuzzes the readers of files of unknown origin: manifests, data and tensors of checkpoints.
//!
//! A plain deterministic fuzzer without instrumentation: it mutates valid files with an eye for
//! their structure and keeps an input to mutate further if reading it gave an answer that was not
//! seen before. Any number of inputs is reproducible from the seed. For every input it checks that
//! reading
//! * does not panic,
//! * never holds more memory than a small multiple of the input's length, and
//! * if it succeeds, gives what the `safetensors` crate reads, and a state that can be saved and is
//!   read again bit for bit.
//!
//! `cargo test` tries 20 000 inputs of each kind; `cargo xtask fuzz --inputs 1000000` tries more.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

mod inputs;
mod memory;
mod mutate;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use rekindle_checkpoint::{Array, ArrayData, CheckpointError, State, read_safetensors};
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;

use crate::inputs::{DataFile, Input, ManifestFile, TensorFile};
use crate::mutate::Mutator;

/// Maximum number of inputs that are kept to be mutated further.
const CORPUS: usize = 256;

/// The memory that reading may hold: parsed JSON is larger than its text, and buffers have a size.
fn memory_limit(input: usize) -> usize {
    512 * input + 512 * 1024
}

#[test]
fn tensor_files() {
    fuzz::<TensorFile>(|dir, bytes| {
        let path = dir.join("tensors.safetensors");
        fs::write(&path, bytes).unwrap();
        let (result, peak) = memory::peak_of(|| read_safetensors(&path));
        if let Ok(tensors) = &result {
            assert_same(tensors, &SafeTensors::deserialize(bytes).unwrap());
        }
        (result.map(|tensors| State { tensors, ..State::new() }), peak)
    });
}

/// Compares our reading of a file with the `safetensors` crate's, byte for byte.
fn assert_same(ours: &BTreeMap<String, Array>, theirs: &SafeTensors<'_>) {
    assert_eq!(ours.len(), theirs.len());
    for (name, array) in ours {
        let view = theirs.tensor(name).unwrap();
        assert_eq!(array.shape(), view.shape());
        let bytes: Vec<u8> = match array.data() {
            // Widened when read.
            ArrayData::F32(values) if view.dtype() != Dtype::F32 => {
                let bits = values.iter().map(|x| x.to_bits());
                let halves = view.data().as_chunks().0.iter();
                assert!(bits.eq(halves.map(|half| widen(view.dtype(), *half).to_bits())));
                continue;
            }
            ArrayData::F32(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            ArrayData::F64(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            ArrayData::I64(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            ArrayData::I32(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            ArrayData::U8(values) => values.clone(),
            ArrayData::Bool(values) => values.iter().map(|&x| u8::from(x)).collect(),
            other => panic!("{other:?}"),
        };
        assert_eq!(bytes, view.data());
    }
}

fn widen(dtype: Dtype, half: [u8; 2]) -> f32 {
    match dtype {
        Dtype::F16 => half::f16::from_le_bytes(half).to_f32(),
        Dtype::BF16 => half::bf16::from_le_bytes(half).to_f32(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn manifests() {
    fuzz::<ManifestFile>(|dir, bytes| {
        fs::write(dir.join("manifest.json"), bytes).unwrap();
        memory::peak_of(|| rekindle_checkpoint::read(dir))
    });
}

#[test]
fn data_files() {
    fuzz::<DataFile>(|dir, bytes| {
        fs::write(dir.join("state.json"), bytes).unwrap();
        fs::write(dir.join("manifest.json"), inputs::manifest_of_data(bytes)).unwrap();
        memory::peak_of(|| rekindle_checkpoint::read(dir))
    });
}

type Read = (Result<State, CheckpointError>, usize);

/// Reads mutated inputs of one kind and checks every answer.
fn fuzz<I: Input>(read: impl Fn(&Path, &[u8]) -> Read) {
    let setting = |name: &str, default| match std::env::var(name) {
        Ok(value) => value.parse().unwrap(),
        Err(_) => default,
    };
    let count: u64 = setting("REKINDLE_FUZZ_INPUTS", 20_000);
    let seed: u64 = setting("REKINDLE_FUZZ_SEED", 0);
    let (dir, again) = (folder(), folder());
    let (path, again) = (dir.path().join("read"), again.path().join("again"));
    let mut corpus = I::examples(&path);
    let examples = corpus.len();
    let mut mutator = Mutator::new(seed);
    let (mut answers, mut accepted) = (HashSet::new(), 0u64);
    let start = Instant::now();
    for number in 0..count {
        let mut input = if number < examples as u64 {
            corpus[number as usize].clone()
        } else {
            // Kept inputs are usually broken, so half of the inputs start from a valid file.
            let known = if mutator.one_in(2) { examples } else { corpus.len() };
            mutator.pick(&corpus[..known]).clone()
        };
        if number >= examples as u64 {
            input.mutate(&mut mutator, &corpus);
        }
        let bytes = input.bytes();
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let (result, peak) = read(&path, &bytes);
            let limit = memory_limit(bytes.len());
            assert!(peak <= limit, "reading {} bytes held {peak} bytes of memory", bytes.len());
            if let Ok(state) = &result {
                rekindle_checkpoint::write(&again, state).unwrap();
                assert_eq!(bits(&rekindle_checkpoint::read(&again).unwrap()), bits(state));
            }
            result
        }));
        let Ok(result) = attempt else {
            let bytes = bytes.escape_ascii();
            panic!("input {number} of seed {seed} failed, see above; it is b\"{bytes}\"");
        };
        accepted += u64::from(result.is_ok());
        if answers.insert(answer(&result)) {
            if corpus.len() == CORPUS {
                corpus.swap_remove(examples + mutator.below(CORPUS - examples));
            }
            corpus.push(input);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let (name, answers, rate) = (I::NAME, answers.len(), count as f64 / seconds);
    println!(
        "{name}: {count} inputs in {seconds:.0} s ({rate:.0} a second), {accepted} accepted, \
         {answers} different answers"
    );
    assert!(accepted > 0 && answers > 10, "the mutations reach nothing");
}

/// Returns a key that differs between inputs with different results: the error without quoted text
/// and numbers, or the numbers of tensors and components.
fn answer(result: &Result<State, CheckpointError>) -> String {
    match result {
        Ok(state) => format!("{} {}", state.tensors.len(), state.components.len()),
        Err(error) => {
            let message = error.to_string();
            // Only the beginning, because quoted text may contain quotes.
            let said = message.split(['`', '"']).step_by(2).take(2);
            said.flat_map(str::chars).filter(|c| !c.is_ascii_digit()).collect()
        }
    }
}

/// A state as text in which every bit of every number counts: NaN equals itself here.
fn bits(state: &State) -> String {
    let tensors = state.tensors.iter().map(|(name, array)| {
        let data = match array.data() {
            ArrayData::F32(values) => {
                format!("{:?}", values.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
            }
            ArrayData::F64(values) => {
                format!("{:?}", values.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
            }
            exact => format!("{exact:?}"),
        };
        format!("{name:?} {:?} {} {data}\n", array.shape(), array.data().dtype())
    });
    let tensors: String = tensors.collect();
    let components = state.components.iter().map(|(name, part)| format!("{name:?} {}", bits(part)));
    format!("{:?}\n{tensors}{}", state.data, components.collect::<String>())
}

/// A temporary directory, in memory where the system has one: saving waits for disks.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
