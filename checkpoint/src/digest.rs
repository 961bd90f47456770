//! SHA-256 digests, and files that compute theirs during writing and reading.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{CheckpointError, Result};
use crate::shard::Stamp;

/// Bytes moved at once between a file and memory.
pub(super) const CHUNK: usize = 64 * 1024;

/// A SHA-256 digest. Its text form has 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Digest([u8; 32]);

impl Digest {
    /// The number of characters of the text form.
    pub(super) const HEX_LEN: usize = 64;

    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub(super) fn from_hex(text: &[u8]) -> Option<Self> {
        let (pairs, rest) = text.as_chunks::<2>();
        if !rest.is_empty() || pairs.len() != 32 {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            *byte = (nibble(*high)? << 4) | nibble(*low)?;
        }
        Some(Self(digest))
    }
}

/// Returns the value of a digit. Upper-case digits are rejected: with one text form per digest,
/// every flipped bit is noticed.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::from_hex(text.as_bytes()).ok_or("a SHA-256 is 64 lower-case hexadecimal digits")
    }
}

/// A new file that is hashed while it is written.
#[derive(Debug)]
pub(super) struct HashingWriter {
    file: io::BufWriter<File>,
    hasher: Sha256,
    bytes: u64,
}

impl HashingWriter {
    /// Creates the file; it must not exist.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = io::BufWriter::with_capacity(CHUNK, File::create_new(path)?);
        Ok(Self { file, hasher: Sha256::new(), bytes: 0 })
    }

    /// Forces the file to the disk, which also reports deferred errors of writing.
    pub(super) fn finish(self) -> io::Result<(u64, Digest)> {
        self.file.into_inner()?.sync_all()?;
        Ok((self.bytes, Digest(self.hasher.finalize().into())))
    }
}

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file of known length that is hashed while it is read.
///
/// Its contents must not be used before [`finish`](Self::finish) has succeeded.
#[derive(Debug)]
pub(super) struct HashingReader {
    path: PathBuf,
    file: io::Take<File>,
    hasher: Sha256,
}

impl HashingReader {
    /// Opens a regular file of exactly `bytes` bytes.
    pub(super) fn open(path: &Path, bytes: u64) -> Result<Self> {
        let found = regular_file_len(path)?;
        if found != bytes {
            let path = path.to_path_buf();
            return Err(CheckpointError::SizeMismatch { path, expected: bytes, found });
        }
        let file = File::open(path).map_err(CheckpointError::io("open", path))?.take(bytes);
        Ok(Self { path: path.to_path_buf(), file, hasher: Sha256::new() })
    }

    /// Returns a stamp that differs from that of any file written later.
    pub(super) fn stamp(&self) -> Result<Stamp> {
        let metadata = self.file.get_ref().metadata();
        Ok(Stamp::of(&metadata.map_err(CheckpointError::io("read", &self.path))?))
    }

    /// Reads the remaining bytes and compares the digest of the whole file.
    pub(super) fn finish(mut self, expected: Digest) -> Result<()> {
        let copied = io::copy(&mut self, &mut io::sink());
        copied.map_err(CheckpointError::io("read", &self.path))?;
        if Digest(self.hasher.finalize().into()) == expected {
            Ok(())
        } else {
            Err(CheckpointError::ChecksumMismatch { path: self.path })
        }
    }
}

impl Read for HashingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// Returns the length of a regular file.
///
/// Called before opening, because opening a pipe would wait for a writer forever.
pub(super) fn regular_file_len(path: &Path) -> Result<u64> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if is_absent(&error) => {
            return Err(CheckpointError::MissingFile { path: path.to_path_buf() });
        }
        Err(error) => return Err(CheckpointError::io("read", path)(error)),
    };
    if metadata.is_file() {
        Ok(metadata.len())
    } else {
        Err(CheckpointError::Irregular { path: path.to_path_buf(), expected: "file" })
    }
}

/// Whether an error means that there is nothing at a path.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_text_form_is_the_usual_one_and_the_only_one() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), ABC);
        assert_eq!(Digest::from_hex(ABC.as_bytes()), Some(digest));
        assert_eq!(Digest::from_hex(ABC.to_uppercase().as_bytes()), None);
        assert_eq!(Digest::from_hex(&ABC.as_bytes()[1..]), None);
        assert_eq!(Digest::from_hex(b""), None);
    }

    #[test]
    fn a_file_is_hashed_on_both_ways() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut writer = HashingWriter::create(&path).unwrap();
        writer.write_all(b"abc").unwrap();
        assert_eq!(writer.finish().unwrap(), (3, Digest::of(b"abc")));

        assert!(HashingReader::open(&path, 3).unwrap().finish(Digest::of(b"abc")).is_ok());
        let other = HashingReader::open(&path, 3).unwrap().finish(Digest::of(b"abd"));
        assert!(matches!(other, Err(CheckpointError::ChecksumMismatch { .. })));
        let longer = HashingReader::open(&path, 4);
        assert!(matches!(longer, Err(CheckpointError::SizeMismatch { found: 3, .. })));
    }
}
