//! The videos of a run.

use std::fs;
use std::io;
use std::path::Path;

use super::server::Answer;

const FOLDER: &str = "videos";
/// Maximum number of videos of a run that are shown: the latest ones.
const MAX_VIDEOS: usize = 12;
/// The largest video that is sent, in bytes. A video is sent as a whole.
const MAX_SIZE: u64 = 64 << 20;

/// Returns the names of the latest videos of a run, in order. Links are left out, because they could lead out of the
/// directory.
pub(super) fn names(run: &Path) -> Vec<String> {
    let folder = run.join(FOLDER);
    if !fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.is_dir()) {
        return Vec::new();
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let names = files.filter_map(|entry| entry.file_name().into_string().ok());
    // A video that is being written has a name that begins with a dot.
    let mut names: Vec<_> =
        names.filter(|name| kind(name).is_some() && !name.starts_with('.')).collect();
    names.sort();
    names.split_off(names.len().saturating_sub(MAX_VIDEOS))
}

/// Answers with a video of a run.
pub(super) fn answer(run: &Path, file: &str) -> Answer {
    let name = names(run).into_iter().find(|name| name == file);
    let Some((name, kind)) = name.and_then(|name| kind(&name).map(|kind| (name, kind))) else {
        return Answer::error("404 Not Found", "unknown video");
    };
    match read(&run.join(FOLDER).join(name)) {
        Ok(bytes) => Answer::new(kind, bytes),
        Err(error) => Answer::error("500 Internal Server Error", &error.to_string()),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let size = fs::metadata(path)?.len();
    if size > MAX_SIZE {
        return Err(io::Error::other(format!("a video of {size} bytes is too large to be shown")));
    }
    fs::read(path)
}

/// Returns the media type of a video by its name.
fn kind(name: &str) -> Option<&'static str> {
    match Path::new(name).extension()?.to_str()? {
        "gif" => Some("image/gif"),
        "mp4" => Some("video/mp4"),
        _ => None,
    }
}
