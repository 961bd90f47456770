//! Reading files of unknown origin: converted panics, and bounds of memory.

use std::fs::{self, File};
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::basic::CompressionCodec;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use rekindle_core::panics;

use crate::error::{OfflineError, Result};

/// Bytes that a column may claim, however few are stored.
const FREE: u64 = 64 << 20;

/// Bytes that a column may claim for each stored one. Deflate compresses up to 1032 bytes into one.
const LARGEST_RATIO: u64 = 1032;

/// Values that the pages of a file may claim together, however few bytes it has.
const FREE_VALUES: u64 = 64 << 20;

/// Runs a reader of a file that may be damaged.
///
/// # Errors
/// [`OfflineError::File`] with the error of the reader or the message of its panic.
pub(crate) fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    let outcome = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let reason = format!("it cannot be decoded: {}", panics::message(&*panic));
        Err(OfflineError::Damaged { reason })
    });
    outcome.map_err(|error| error.in_file(path))
}

/// Returns the number of bytes of a file. Opening a pipe would wait for a writer, and a device may never end.
///
/// # Errors
/// [`OfflineError::Damaged`] for anything but a file.
pub(crate) fn length(path: &Path) -> Result<u64> {
    let metadata = fs::metadata(path)?;
    match metadata.is_file() {
        true => Ok(metadata.len()),
        false => Err(OfflineError::Damaged { reason: "it is not a regular file".into() }),
    }
}

/// Checks that stored bytes may be those of a number of bytes, before memory is filled with them. `None` is more than
/// can be counted.
///
/// # Errors
/// [`OfflineError::Oversized`].
pub(crate) fn check_size(claimed: Option<u64>, stored: u64) -> Result<()> {
    match claimed {
        Some(claimed) if claimed <= stored.saturating_mul(LARGEST_RATIO).max(FREE) => Ok(()),
        _ => Err(OfflineError::Oversized { stored, claimed: claimed.unwrap_or(u64::MAX) }),
    }
}

/// Checks that the compression of a Parquet file is one that is read.
///
/// # Errors
/// [`OfflineError::Compressed`].
pub(crate) fn check_compression(metadata: &ParquetMetaData) -> Result<()> {
    let columns = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let mut codecs = columns.map(ColumnChunkMetaData::compression_codec);
    let is_read =
        |codec: &_| matches!(codec, CompressionCodec::UNCOMPRESSED | CompressionCodec::SNAPPY);
    match codecs.find(|codec| !is_read(codec)) {
        Some(codec) => {
            let remedy = "with Snappy or without compression";
            Err(OfflineError::Compressed { codec: format!("{codec:?}"), remedy })
        }
        None => Ok(()),
    }
}

/// A Parquet file whose pages are checked before memory is reserved for them.
#[derive(Debug, Clone)]
pub(crate) struct CheckedFile {
    file: Arc<Mutex<File>>,
    len: u64,
    /// Values of all pages so far. Many small pages must not fill memory either.
    values: Arc<AtomicU64>,
}

impl CheckedFile {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let len = length(path)?;
        let file = File::open(path)?;
        Ok(Self { file: Arc::new(Mutex::new(file)), len, values: Arc::default() })
    }

    fn read(&self, start: u64, len: usize) -> parquet::errors::Result<Vec<u8>> {
        if start.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Err(ParquetError::EOF(format!("{len} bytes at {start} of {}", self.len)));
        }
        let mut bytes = vec![0; len];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Length for CheckedFile {
    fn len(&self) -> u64 {
        self.len
    }
}

/// Bytes of a page header that are read at once. Headers without statistics are shorter.
const HEADER: usize = 4096;

impl ChunkReader for CheckedFile {
    type T = Box<dyn Read>;

    /// Reads the header of a page, and checks the sizes in it.
    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let left = self.len.saturating_sub(start);
        let head = self.read(start, HEADER.min(usize::try_from(left).unwrap_or(HEADER)))?;
        if let Some(page) = PageSizes::of(&head) {
            let all = self.values.fetch_add(page.values, Ordering::Relaxed) + page.values;
            let check = match all <= self.len.saturating_mul(LARGEST_RATIO).max(FREE_VALUES) {
                true => page.check(),
                false => Err(OfflineError::Oversized { stored: self.len, claimed: all }),
            };
            check.map_err(|error| ParquetError::External(Box::new(error)))?;
        }
        let rest = Rest { file: self.clone(), at: start + head.len() as u64 };
        Ok(Box::new(Cursor::new(head).chain(rest)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.read(start, length).map(Bytes::from)
    }
}

/// The bytes of a file from a position on.
struct Rest {
    file: CheckedFile,
    at: u64,
}

impl Read for Rest {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.file.len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let len = left.min(bytes.len());
        let read = self.file.read(self.at, len).map_err(std::io::Error::other)?;
        bytes[..len].copy_from_slice(&read);
        self.at += len as u64;
        Ok(len)
    }
}

/// What a page header claims.
#[derive(Debug, Default, PartialEq, Eq)]
struct PageSizes {
    stored: u64,
    bytes: u64,
    values: u64,
}

impl PageSizes {
    /// Reads the first fields of a page header in Thrift's compact protocol: its type, its sizes, its checksum, and the
    /// number of its values. `None` for anything else, which the reader of the header refuses.
    fn of(head: &[u8]) -> Option<Self> {
        const I32: u8 = 5;
        const STRUCT: u8 = 12;
        let mut fields = Fields { bytes: head, last: 0 };
        let mut numbers = [0; 3];
        for (index, number) in numbers.iter_mut().enumerate() {
            let field = fields.next()?;
            (field == (index as u8 + 1, I32)).then_some(())?;
            *number = fields.number()?;
        }
        let mut field = fields.next()?;
        if field == (4, I32) {
            fields.number()?;
            field = fields.next()?;
        }
        let mut inner = Fields { bytes: fields.bytes, last: 0 };
        let values = match field {
            (5 | 7 | 8, STRUCT) if inner.next()? == (1, I32) => inner.number()?,
            _ => 0,
        };
        let [_, bytes, stored] = numbers;
        Some(Self { stored, bytes, values })
    }

    fn check(&self) -> Result<()> {
        check_size(Some(self.bytes), self.stored)?;
        check_size(Some(self.values), self.stored)
    }
}

/// Fields of a struct in Thrift's compact protocol.
struct Fields<'a> {
    bytes: &'a [u8],
    last: u8,
}

impl Fields<'_> {
    /// Returns the number and the type of the next field.
    fn next(&mut self) -> Option<(u8, u8)> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        // Larger steps have a number of their own, which no field here needs.
        let step = (first >> 4 != 0).then_some(first >> 4)?;
        self.last = self.last.checked_add(step)?;
        Some((self.last, first & 15))
    }

    /// Reads an integer that is not negative.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..35).step_by(7) {
            let (&byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            number |= u64::from(byte & 127) << shift;
            if byte & 128 == 0 {
                return (number & 1 == 0).then_some(number >> 1);
            }
        }
        None
    }
}
