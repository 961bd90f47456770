//! Files that were damaged at random: reading them never panics, and never fills memory.
//!
//! `cargo test` tries 300 inputs of each kind; `cargo xtask fuzz --inputs 1000000` tries more. Inputs are reproducible
//! from the seed.

use std::collections::HashSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rekindle_core::Generator;
use rekindle_env::{Buffer, Space};
use rekindle_env_runner::SegmentEnd;
use rekindle_offline::{Episode, MinariData, OfflineData, OfflineSource, ParquetData, Result};

use crate::memory;
use crate::minari::dataset;
use crate::mutate::Mutator;

/// Inputs that are kept to be mutated further, at most.
const CORPUS: usize = 64;

/// Bytes that reading may hold. A column may claim 64 MiB, and more for a file that is larger than these.
const MOST_MEMORY: usize = 1 << 30;

/// How the bytes of a file are changed.
#[derive(Clone, Copy)]
enum Kind {
    Binary,
    Text,
}

fn read_all(data: &impl OfflineSource) -> Result<usize> {
    (0..data.num_parts()).try_fold(0, |steps, part| {
        let recorded = data.read(part)?;
        Ok(steps + recorded.values().flatten().map(|rollout| rollout.env_steps()).sum::<usize>())
    })
}

fn read_minari(folder: &Path) -> Result<usize> {
    read_all(&MinariData::open(folder)?)
}

fn read_parquet(folder: &Path) -> Result<usize> {
    read_all(&ParquetData::open(folder)?)
}

/// A recording with columns of all kinds.
fn recording(folder: &Path) {
    let space = Space::dict([
        ("image", Space::image(&[4, 4, 1]).unwrap()),
        (
            "place",
            Space::tuple([Space::unbounded(&[3]).unwrap(), Space::discrete(3).unwrap()]).unwrap(),
        ),
    ])
    .unwrap();
    let mut data = OfflineData::new(space.clone(), Space::discrete(2).unwrap());
    let mut rng = Generator::from_seed(0);
    for steps in [3, 5] {
        let mut observations = Buffer::zeros(&space, steps + 1);
        (0..=steps).for_each(|row| space.sample_into(&mut rng, observations.row_mut(row)).unwrap());
        data.push_episode(Episode {
            observations,
            actions: Buffer::from_i64(vec![1; steps], &[]).unwrap(),
            rewards: vec![1.0; steps],
            end: SegmentEnd::Truncated,
        })
        .unwrap();
    }
    data.save_parquet(folder).unwrap();
}

#[test]
fn recordings() {
    let folder = folder();
    recording(folder.path());
    let file = folder.path().join("default_policy/0000-000000.parquet");
    fuzz("recordings", folder.path(), &[file], Kind::Binary, read_parquet);
}

fn of_minari(form: &str, files: &[&str], kind: Kind) {
    let folder = folder();
    for file in walk(&dataset(form)) {
        let to = folder.path().join(file.strip_prefix(dataset(form)).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&file, to).unwrap();
    }
    let files: Vec<_> = files.iter().map(|file| folder.path().join(file)).collect();
    let name = match kind {
        Kind::Binary => format!("{form} of Minari"),
        Kind::Text => format!("metadata of Minari's {form}"),
    };
    fuzz(&name, folder.path(), &files, kind, read_minari);
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn hdf5() {
    of_minari("hdf5", &["data/main_data.hdf5"], Kind::Binary);
}

#[test]
fn arrow() {
    of_minari("arrow", &["data/0/part-0.arrow", "data/1/part-0.arrow"], Kind::Binary);
}

#[test]
fn parquet() {
    of_minari("parquet", &["data/0/part-0.parquet", "data/1/part-0.parquet"], Kind::Binary);
}

#[test]
fn metadata() {
    of_minari("arrow", &["data/metadata.json", "data/0/metadata.json"], Kind::Text);
}

/// Reads mutated files of one kind, each beside the valid other ones, and checks every answer.
fn fuzz(
    name: &str,
    folder: &Path,
    files: &[PathBuf],
    kind: Kind,
    read: impl Fn(&Path) -> Result<usize>,
) {
    let setting = |name: &str, default| match std::env::var(name) {
        Ok(value) => value.parse().unwrap(),
        Err(_) => default,
    };
    let count: u64 = setting("REKINDLE_FUZZ_INPUTS", 300);
    let seed: u64 = setting("REKINDLE_FUZZ_SEED", 0);
    let valid: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(read(folder).unwrap() > 0);
    let mut mutator = Mutator::new(seed);
    let mut corpus: Vec<(usize, Vec<u8>)> = Vec::new();
    let (mut answers, mut accepted, mut largest) = (HashSet::new(), 0, 0);
    let start = Instant::now();
    for number in 0..count {
        // Kept inputs are usually broken, so half of the inputs start from a valid file.
        let (file, mut bytes) = match corpus.is_empty() || mutator.one_in(2) {
            true => {
                let file = mutator.below(files.len());
                (file, valid[file].clone())
            }
            false => mutator.pick(&corpus).clone(),
        };
        let other = mutator.pick(&valid).clone();
        for _ in 0..=mutator.below(3) {
            match kind {
                Kind::Text => mutator.text(&mut bytes, &other),
                Kind::Binary => mutate_number(&mut bytes, &mut mutator, &other),
            }
        }
        fs::write(&files[file], &bytes).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| memory::peak_of(|| read(folder))));
        fs::write(&files[file], &valid[file]).unwrap();
        let failed = || {
            let path = std::env::temp_dir().join(format!("rekindle-fuzz-{number}-of-{seed}"));
            fs::write(&path, &bytes).unwrap();
            format!("input {number} of seed {seed} is in {}", path.display())
        };
        let Ok((answer, peak)) = outcome else { panic!("a panic: {}", failed()) };
        assert!(peak <= MOST_MEMORY, "{peak} bytes of memory: {}", failed());
        largest = largest.max(peak);
        accepted += u64::from(answer.is_ok());
        let answer = match answer {
            Ok(steps) => steps.to_string(),
            Err(error) => {
                error.to_string().chars().filter(|c| c.is_alphabetic()).take(160).collect()
            }
        };
        if answers.insert(answer) {
            if corpus.len() == CORPUS {
                corpus.swap_remove(mutator.below(CORPUS));
            }
            corpus.push((file, bytes));
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{name}: {count} inputs in {seconds:.0} s, {accepted} accepted, {} different answers, at most {} MiB of memory",
        answers.len(),
        largest >> 20
    );
    assert!(accepted > 0 && answers.len() > 5, "the mutations reach nothing");
}

/// Changes bytes that mean something: in files of numbers most are zero.
fn mutate_number(bytes: &mut Vec<u8>, mutator: &mut Mutator, other: &[u8]) {
    if mutator.one_in(3) || bytes.is_empty() {
        return mutator.bytes(bytes, other);
    }
    let mut at = mutator.below(bytes.len());
    for _ in 0..20 {
        if bytes[at] != 0 {
            break;
        }
        at = mutator.below(bytes.len());
    }
    let width = 1 << mutator.below(4);
    let number = match mutator.one_in(2) {
        true => mutator.edge().to_le_bytes(),
        false => [*mutator.pick(&[0, 1, 0x7f, 0x80, 0xff]); 8],
    };
    let end = bytes.len().min(at + width);
    bytes[at..end].copy_from_slice(&number[..end - at]);
}

/// A temporary directory, in memory where the system has one.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A row group that claims a billion rows in a few bytes is refused before memory is filled: an attacker's file, and
/// one of columns that are all the same number.
#[test]
fn row_groups_like_zip_bombs_are_typed_errors() {
    // Recorded by pyarrow: one list of 2^26 equal numbers in each of two rows, which takes 3 KB.
    let folder = crate::minari::copied("parquet");
    let bomb = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bomb.parquet");
    fs::copy(bomb, folder.path().join("data/0/part-0.parquet")).unwrap();
    let (outcome, peak) = memory::peak_of(|| read_minari(folder.path()));
    let message = outcome.unwrap_err().to_string();
    assert!(message.contains("stored bytes claim to be"), "{message}");
    assert!(peak < 128 << 20, "{peak}");
}
