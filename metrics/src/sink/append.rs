//! Appending to a file.

use std::fs::File;
use std::io::{self, Write};

/// Appends bytes to a file that was opened to append. On an error, such as a full disk, no part of the bytes remains in
/// the file.
pub(super) fn append_whole(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    file.write_all(bytes).inspect_err(|_| {
        // Remove only the bytes that this call has added.
        if file.metadata().is_ok_and(|now| now.len() < before + bytes.len() as u64) {
            let _ = file.set_len(before);
        }
    })
}
