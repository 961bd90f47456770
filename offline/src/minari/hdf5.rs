//! Datasets whose episodes are groups of one HDF5 file.

use std::path::{Path, PathBuf};

use half::f16;
use hdf5_pure::{
    DType, Dataset, Datatype, DatatypeByteOrder, Error, File, FormatError, Group, Layout,
};

use super::columns::{Column, EpisodeColumns, Numbers, Part, damaged};
use super::metadata::sum;
use crate::decode::{check_size, guarded, length};
use crate::error::{OfflineError, Result};

/// The name of the file.
pub(super) const FILE: &str = "main_data.hdf5";

/// An open file.
#[derive(Debug)]
pub(super) struct Hdf5 {
    pub(super) path: PathBuf,
    /// Bytes of the file.
    len: u64,
    episodes: Vec<Group>,
}

/// An episode of a file.
pub(super) struct Episode<'a> {
    file: &'a Hdf5,
    group: &'a Group,
}

impl Hdf5 {
    /// Opens the file and finds its episodes `episode_0` to `episode_<count - 1>`.
    pub(super) fn open(folder: &Path, count: usize) -> Result<Self> {
        let path = folder.join(FILE);
        let (len, episodes) = guarded(&path, || {
            length(&path)?;
            let file = File::open_streaming(&path)?;
            let len = file.file_size();
            let mut found = Vec::new();
            for (name, group) in file.root().iter_groups()? {
                let number = name.strip_prefix("episode_").and_then(|number| number.parse().ok());
                if let Some(number) = number.filter(|number: &usize| *number < count) {
                    found.push((number, group));
                }
            }
            found.sort_by_key(|(number, _)| *number);
            match found.iter().enumerate().find(|(index, (number, _))| index != number) {
                Some((missing, _)) => Err(lacks(missing)),
                None if found.len() < count => Err(lacks(found.len())),
                None => Ok((len, found.into_iter().map(|(_, group)| group).collect())),
            }
        })?;
        Ok(Self { path, len, episodes })
    }

    pub(super) fn episode(&self, index: usize) -> Option<Episode<'_>> {
        self.episodes.get(index).map(|group| Episode { file: self, group })
    }
}

fn lacks(episode: usize) -> OfflineError {
    damaged(format!("it lacks the group `episode_{episode}`"))
}

impl Episode<'_> {
    /// Returns the number of steps.
    pub(super) fn steps(&self) -> Result<u64> {
        let shape = self.group.dataset("rewards")?.shape()?;
        let rows = shape.first().ok_or_else(|| damaged("the column `rewards` has no rows"))?;
        sum(0, *rows)
    }
}

impl EpisodeColumns for Episode<'_> {
    fn column(&self, path: &[Part]) -> Result<Column> {
        let parts = path.iter().map(|part| match part {
            Part::Key(key) => key.clone(),
            Part::Position(position) => format!("_index_{position}"),
        });
        let dataset = self.group.dataset(&parts.collect::<Vec<_>>().join("/"));
        let dataset = dataset.map_err(|error| match error {
            Error::Format(FormatError::PathNotFound(_)) => damaged("it is missing"),
            error => error.into(),
        })?;
        let (rows, shape) = shape(&dataset)?;
        Ok(Column { rows, shape, numbers: numbers(&dataset, self.file.len)? })
    }

    fn infos(&self) -> Result<Vec<String>> {
        match self.group.groups()?.iter().any(|name| name == "infos") {
            true => {
                let infos = self.group.group("infos")?;
                Ok(infos.datasets()?.into_iter().chain(infos.groups()?).collect())
            }
            false => Ok(Vec::new()),
        }
    }

    fn is_padded(&self) -> bool {
        false
    }
}

/// Returns the number of rows and their shape.
fn shape(dataset: &Dataset) -> Result<(usize, Vec<usize>)> {
    let sizes = dataset.shape()?.into_iter().map(usize::try_from);
    let sizes = sizes.collect::<std::result::Result<Vec<_>, _>>();
    let sizes = sizes.map_err(|_| damaged("it is too large"))?;
    match sizes.split_first() {
        Some((rows, shape)) => Ok((*rows, shape.to_vec())),
        None => Err(damaged("it has no rows")),
    }
}

/// Returns the bytes that a column takes in a file of `file_len` bytes.
///
/// # Errors
/// Those that end outside the file. The decoder reserves memory for them before it reads.
fn stored_bytes(dataset: &Dataset, file_len: u64) -> Result<u64> {
    let pieces: Vec<_> = match dataset.layout()? {
        Layout::Compact { size } => return Ok(size),
        // Without an address it was never written, and is read as zeros.
        Layout::Contiguous { address, size } => address.map(|at| (at, size)).into_iter().collect(),
        Layout::Chunked { .. } => {
            let chunks = dataset.chunks()?.into_iter();
            chunks.map(|chunk| (chunk.address, chunk.storage_size)).collect()
        }
        _ => return Err(damaged("it is stored in another file")),
    };
    let mut stored = 0_u64;
    for (address, size) in pieces {
        if address.checked_add(size).is_none_or(|end| end > file_len) {
            return Err(damaged(format!(
                "{size} bytes at {address} end outside the file, which has {file_len}"
            )));
        }
        stored = stored.saturating_add(size);
    }
    // A damaged index may list the same bytes several times.
    Ok(stored.min(file_len))
}

/// Reads the numbers of a column of a file of `file_len` bytes.
fn numbers(dataset: &Dataset, file_len: u64) -> Result<Numbers> {
    let count = dataset.shape()?.iter().try_fold(1_u64, |all, size| all.checked_mul(*size));
    let bytes = count.and_then(|count| count.checked_mul(dataset.element_size().ok()?.max(8)));
    check_size(bytes, stored_bytes(dataset, file_len)?)?;
    Ok(match dataset.dtype()? {
        DType::F32 => Numbers::F32(dataset.read_f32()?),
        DType::F64 => Numbers::F64(dataset.read_f64()?),
        DType::U8 => Numbers::Byte(dataset.read_u8()?),
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => Numbers::Signed(dataset.read_i64()?),
        DType::U16 | DType::U32 | DType::U64 => Numbers::Unsigned(dataset.read_u64()?),
        // Booleans of h5py.
        DType::Enum(names) if names == ["FALSE", "TRUE"] && dataset.element_size()? == 1 => {
            Numbers::Byte(dataset.read_raw()?)
        }
        DType::Other(kind) if is_half(&kind) => Numbers::F32(halves(&dataset.read_raw()?, &kind)),
        DType::Other(kind) if matches!(*kind, Datatype::VariableLength { .. }) => {
            return Err(OfflineError::Jpeg);
        }
        DType::VariableLengthString => return Err(OfflineError::Jpeg),
        other => return Err(damaged(format!("it holds {other} instead of numbers"))),
    })
}

/// Bits of the exponent of NumPy's `float16`.
const HALF_EXPONENT: u8 = 5;

fn is_half(kind: &Datatype) -> bool {
    matches!(kind, Datatype::FloatingPoint { size: 2, layout, .. } if layout.exponent_size == HALF_EXPONENT)
}

fn halves(bytes: &[u8], kind: &Datatype) -> Vec<f32> {
    let is_big =
        matches!(kind, Datatype::FloatingPoint { byte_order: DatatypeByteOrder::BigEndian, .. });
    let (pairs, _) = bytes.as_chunks::<2>();
    let numbers = pairs.iter().map(|pair| match is_big {
        true => f16::from_be_bytes(*pair),
        false => f16::from_le_bytes(*pair),
    });
    numbers.map(f16::to_f32).collect()
}
