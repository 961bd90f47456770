//! Lines of a file of any length, in bounded time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Files up to this size are read whole.
const SMALL: u64 = 4 << 20;
/// The longest line that is read, so that a broken file does not fill the memory.
const MAX_LINE: u64 = 1 << 20;

/// Returns about `max` complete lines of a file, evenly spread and in order, including the last line.
///
/// Only the returned lines of a large file are read. They follow evenly spread positions in the file.
pub(crate) fn spread_lines(path: &Path, max: usize) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if length <= SMALL {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> =
            text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).collect();
        let count = lines.len();
        let chosen = |index: &usize| count <= max || index.is_multiple_of(count.div_ceil(max));
        let indices = (0..count).filter(|index| chosen(index) || index + 1 == count);
        return Ok(indices.map(|index| lines[index].to_owned()).collect());
    }
    let mut lines = Vec::with_capacity(max);
    let mut reader = BufReader::new(file);
    let mut end = 0;
    for place in 0..max as u64 {
        // The product may exceed 64 bits.
        let offset = (u128::from(length) * u128::from(place) / max as u128) as u64;
        if offset < end {
            continue;
        }
        if let Some((line, after)) = line_after(&mut reader, offset)? {
            end = after;
            lines.push(line);
        }
    }
    // Read the remaining lines, or those of the last `MAX_LINE` bytes, and add the last one.
    let mut last = None;
    let mut offset = end.max(length.saturating_sub(MAX_LINE));
    let mut next = line_after(&mut reader, offset)?;
    while let Some((line, after)) = next {
        (last, offset) = (Some(line), after);
        next = line_at(&mut reader, offset)?;
    }
    lines.extend(last);
    Ok(lines)
}

/// Returns the first complete line that begins at an offset or later, and the offset after the line.
fn line_after(reader: &mut BufReader<File>, offset: u64) -> io::Result<Option<(String, u64)>> {
    if offset == 0 {
        return line_at(reader, 0);
    }
    // Start at the byte before, so that a line that begins exactly at the offset counts.
    match line_at(reader, offset - 1)? {
        Some((_, start)) => line_at(reader, start),
        None => Ok(None),
    }
}

/// Returns the complete line from an offset on, and the offset after the line.
fn line_at(reader: &mut BufReader<File>, offset: u64) -> io::Result<Option<(String, u64)>> {
    reader.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes)?;
    let after = offset + bytes.len() as u64;
    Ok((bytes.pop() == Some(b'\n')).then(|| (String::from_utf8_lossy(&bytes).into_owned(), after)))
}
