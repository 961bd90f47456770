//! Reading safetensors files that other programs wrote.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use crate::array::Array;
use crate::error::{CheckpointError, Result};
use crate::tensor_file;

/// Reads all tensors of a `.safetensors` file that any program wrote.
///
/// Floats of 16 bits (`F16` and `BF16`) are widened to 32 bits. Metadata in the file is ignored.
/// The path may be a symbolic link, as in the caches of model hubs. For any content, this function
/// does not panic and allocates at most twice the length of the file. There is no digest to compare
/// with: only checkpoints have one.
///
/// # Errors
/// [`CheckpointError::Io`] if the file cannot be read, [`CheckpointError::NotSafetensors`] if it is
/// damaged, has another format, or holds an element type other than `F16`, `BF16`, `F32`, `F64`,
/// `I32`, `I64`, `U8` and `BOOL`.
pub fn read_safetensors(path: impl AsRef<Path>) -> Result<BTreeMap<String, Array>> {
    let path = path.as_ref();
    // Checked before opening: opening a pipe would wait for its writer.
    let metadata = fs::metadata(path).map_err(CheckpointError::io("read", path))?;
    if !metadata.is_file() {
        let reason = "it is not a regular file".to_owned();
        return Err(CheckpointError::NotSafetensors { path: path.to_path_buf(), reason });
    }
    let file = File::open(path).map_err(CheckpointError::io("read", path))?;
    tensor_file::decode(path, &mut BufReader::new(file), metadata.len()).map_err(
        |error| match error {
            CheckpointError::Malformed { path, reason } => {
                CheckpointError::NotSafetensors { path, reason }
            }
            other => other,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.safetensors");
        fs::write(&path, bytes).unwrap();
        let error = read_safetensors(&path).unwrap_err();
        assert!(error.to_string().contains("policy.safetensors"), "{error}");
        error.to_string()
    }

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn a_file_with_metadata_is_read_through_a_link() {
        let header = r#"{"__metadata__":{"torch":"2"},
            "w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blob");
        fs::write(&path, file(header, &[0, 0, 128, 63, 0, 0, 0, 64])).unwrap();
        let expected = Array::new([1, 2], vec![1.0f32, 2.0]).unwrap();
        assert_eq!(read_safetensors(&path).unwrap()["w"], expected);
        #[cfg(unix)]
        {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(&path, &link).unwrap();
            assert_eq!(read_safetensors(&link).unwrap()["w"], expected);
        }
    }

    #[test]
    fn tensors_of_16_bits_are_read_as_the_same_numbers() {
        let header = r#"{"h":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},
            "b":{"dtype":"BF16","shape":[1],"data_offsets":[2,4]}}"#;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("half.safetensors");
        fs::write(&path, file(header, &[0x00, 0xc1, 0x20, 0xc0])).unwrap();
        let read = read_safetensors(&path).unwrap();
        assert_eq!(read["h"], Array::from(vec![-2.5f32]));
        assert_eq!(read["b"], Array::from(vec![-2.5f32]));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_the_reason() {
        for bytes in [&b""[..], b"short", b"PK\x03\x04 a pickle in a zip file"] {
            error_of(bytes);
        }
        let header = r#"{"w":{"dtype":"F8_E5M2","shape":[1],"data_offsets":[0,1]}}"#;
        let message = error_of(&file(header, &[0]));
        assert!(message.contains("F8_E5M2") && message.contains("save_file"), "{message}");

        let folder = tempfile::tempdir().unwrap();
        let error = read_safetensors(folder.path()).unwrap_err();
        assert!(matches!(error, CheckpointError::NotSafetensors { .. }), "{error}");
        let error = read_safetensors(folder.path().join("none")).unwrap_err();
        assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
    }
}
