//! What is read or written in another way than expected, and what the message says.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rekindle_core::DEFAULT_MODULE_ID;
use rekindle_env_runner::{ExperienceRecorder, SegmentEnd};
use rekindle_offline::{
    MinariData, MinariRecorder, OfflineData, OfflineError, OfflineSource, ParquetData,
};

use crate::minari::{FORMS, copied, dataset, edit, fragment, refused, simple};

#[test]
fn paths_around_and_inside_a_dataset_are_read_or_answered_with_the_path_to_name() {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/minari");
    // Files that hold the whole dataset are that dataset.
    let expected = MinariData::open(dataset("hdf5")).unwrap();
    for path in ["data", "data/main_data.hdf5", "data/metadata.json"] {
        let path = dataset("hdf5").join(path);
        assert!(MinariData::is_dataset(&path), "{}", path.display());
        let found = MinariData::open(&path).unwrap();
        assert_eq!(found.fingerprint(), expected.fingerprint(), "{}", path.display());
    }
    let messages = |path: &Path| {
        assert!(!MinariData::is_dataset(path), "{}", path.display());
        [MinariData::open(path).unwrap_err(), ParquetData::open(path).unwrap_err()]
    };
    for form in ["arrow", "parquet"] {
        for path in
            ["data/1".to_owned(), "data/1/metadata.json".into(), format!("data/1/part-0.{form}")]
        {
            for error in messages(&dataset(form).join(&path)) {
                let OfflineError::InDataset { dataset: found, .. } = &error else {
                    panic!("{path}: {error}")
                };
                assert_eq!(found, &fs::canonicalize(dataset(form)).unwrap());
            }
        }
    }
    for error in messages(&all) {
        let OfflineError::HoldsDatasets { datasets, .. } = &error else { panic!("{error}") };
        // The first ones in order.
        let expected = ["arrow-half", "arrow", "hdf5-half", "hdf5", "parquet-half"].map(dataset);
        assert_eq!(datasets, &expected);
        assert!(error.to_string().contains("hdf5-v0"), "{error}");
    }
    // Older datasets have no file with metadata.
    let folder = copied("hdf5");
    fs::remove_file(folder.path().join("data/metadata.json")).unwrap();
    for error in messages(&folder.path().join("data/main_data.hdf5")) {
        assert!(matches!(error, OfflineError::NoDataset { .. }), "{error}");
    }
    let missing = all.join("missing");
    for error in messages(&missing) {
        assert!(matches!(error, OfflineError::Missing { .. }), "{error}");
    }
    let error = ParquetData::open(dataset("parquet")).unwrap_err().to_string();
    assert!(error.contains("it is a Minari dataset"), "{error}");
}

#[test]
fn a_dataset_without_episodes_says_so() {
    for form in FORMS {
        let folder = copied(form);
        edit(folder.path(), "\"total_episodes\": 3", "\"total_episodes\": 0");
        let (error, message) = refused(folder.path());
        assert!(matches!(error, OfflineError::NoEpisodes { .. }), "{message}");
        assert!(message.contains("has no episodes; record some"), "{message}");
    }
}

#[test]
fn numbers_of_steps_that_no_file_holds_are_refused() {
    let spaces = || BTreeMap::from([(DEFAULT_MODULE_ID.to_owned(), simple())]);
    for steps in [u64::MAX, u64::MAX / 2, 1 << 49] {
        let folder = copied("parquet");
        let path = folder.path().join("data/1/metadata.json");
        fs::write(&path, format!("{{\"id\": 1, \"total_steps\": {steps}}}")).unwrap();
        let (error, message) = refused(folder.path());
        assert!(matches!(error, OfflineError::File { .. }), "{message}");
        assert!(message.contains(&format!("it claims {steps} steps")), "{message}");
        // A recorder that goes on adds the steps of the episodes that stay.
        let recorder = MinariRecorder::resume(folder.path()).unwrap();
        let state = serde_json::from_str("{\"0\":{\"default_policy\":3}}").unwrap();
        recorder.set_spaces(spaces()).unwrap();
        let error = recorder.rewind(&state).unwrap_err().to_string();
        assert!(error.contains("data/1/metadata.json: it claims"), "{error}");
    }
    for other in ["-1", "1.5", "\"two\"", "1e30"] {
        let folder = copied("arrow");
        let path = folder.path().join("data/1/metadata.json");
        fs::write(&path, format!("{{\"id\": 1, \"total_steps\": {other}}}")).unwrap();
        let (_, message) = refused(folder.path());
        assert!(message.contains("not a number of steps"), "{message}");
    }
}

/// Changes the compression of a column in the metadata of a Parquet file.
fn compress(path: &Path, column: &str, codec: u8) {
    let mut bytes = fs::read(path).unwrap();
    // In Thrift's compact protocol, the path of a column is followed by the codec as an integer.
    let before = [column.as_bytes(), &[0x15]].concat();
    let at = bytes.windows(before.len()).rposition(|window| window == before).unwrap();
    let place = at + before.len();
    assert!(bytes[place] == 0 || bytes[place] == 2, "neither uncompressed nor Snappy");
    bytes[place] = codec * 2;
    fs::write(path, bytes).unwrap();
}

#[test]
fn compressed_parquet_files_say_what_to_write_instead() {
    let own = || {
        let folder = tempfile::tempdir().unwrap();
        let mut data = OfflineData::new(simple().0, simple().1);
        data.push(&fragment(2, (0, 0), SegmentEnd::Terminated, "x").rollouts).unwrap();
        data.save_parquet(folder.path()).unwrap();
        let file = folder.path().join("default_policy/0000-000000.parquet");
        (folder, file)
    };
    for (codec, name) in [(2, "GZIP"), (4, "BROTLI"), (6, "ZSTD"), (7, "LZ4_RAW")] {
        let folder = copied("parquet");
        compress(&folder.path().join("data/0/part-0.parquet"), "rewards", codec);
        let (_, of_minari) = refused(folder.path());
        assert!(of_minari.contains("episode 0: it is compressed with"), "{of_minari}");
        let (_folder, file) = own();
        compress(&file, "rewards", codec);
        let of_recording = ParquetData::open(&file).unwrap_err().to_string();
        for message in [of_minari, of_recording] {
            let expected = format!(
                "it is compressed with {name}, which is not read; write it with Snappy or without compression"
            );
            assert!(message.contains(&expected), "{message}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_failed_write_names_the_file_and_keeps_the_episodes() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = MinariRecorder::create(folder.path(), simple()).unwrap();
    for episode in 0..3 {
        let fragment = fragment(2, (episode, 0), SegmentEnd::Terminated, "x");
        recorder.record(0, &fragment).unwrap();
    }
    // The file of the second episode is on a disk that is always full.
    let second = folder.path().join("data/1");
    fs::create_dir(&second).unwrap();
    std::os::unix::fs::symlink("/dev/full", second.join("part-0.parquet")).unwrap();
    let error = recorder.flush().unwrap_err();
    let OfflineError::Write { path, source } = &error else { panic!("{error}") };
    assert_eq!((path, source.kind()), (&second, std::io::ErrorKind::StorageFull));
    assert!(error.to_string().starts_with("cannot write "), "{error}");
    fs::remove_file(second.join("part-0.parquet")).unwrap();
    recorder.flush().unwrap();
    let data = MinariData::open(folder.path()).unwrap();
    assert_eq!((data.num_parts(), data.num_steps()), (3, 6));
}

#[test]
fn other_filters_of_hdf5_say_what_to_write_instead() {
    let blosc = hdf5_pure::FormatError::UnsupportedFilter(32001);
    let error = OfflineError::from(hdf5_pure::Error::Format(blosc));
    let expected = "it is compressed with the HDF5 filter 32001, which is not read; write it without compression, or with deflate (gzip) or LZF";
    assert_eq!(error.to_string(), expected);
}
