//! Reading safetensors files that other programs wrote.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use crate::array::Array;
use crate::error::{CheckpointError, Result};
use crate::tensor_file;

/// Reads all tensors of one `.safetensors` file of any origin.
///
/// Metadata in the file is ignored. The file may be reached through a symbolic link, as model
/// caches have them. Whatever the bytes, this does not panic and allocates no more than the file
/// is long. Nothing is compared with a digest: that is what checkpoints are for.
///
/// # Errors
/// [`CheckpointError::Io`] if the file cannot be read, [`CheckpointError::NotSafetensors`] if it is
/// damaged, of another format, or holds a type of numbers that [`Array`] does not.
pub fn read_safetensors(path: impl AsRef<Path>) -> Result<BTreeMap<String, Array>> {
    let path = path.as_ref();
    // Asked before opening, because opening a pipe would wait for its writer.
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
    fn what_cannot_be_read_is_named_with_the_reason() {
        for bytes in [&b""[..], b"short", b"PK\x03\x04 a pickle in a zip file"] {
            error_of(bytes);
        }
        let header = r#"{"w":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#;
        let message = error_of(&file(header, &[0, 0]));
        assert!(message.contains("F16") && message.contains("save_file"), "{message}");

        let folder = tempfile::tempdir().unwrap();
        let error = read_safetensors(folder.path()).unwrap_err();
        assert!(matches!(error, CheckpointError::NotSafetensors { .. }), "{error}");
        let error = read_safetensors(folder.path().join("none")).unwrap_err();
        assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
    }
}
