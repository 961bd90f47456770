//! Episodes that are files of Arrow's inter-process format.

use std::fs;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block, root_as_footer};
use arrow_schema::DataType;

use super::columns::{Column, EpisodeColumns, Numbers, Part, damaged};
use crate::decode::length;
use crate::error::{OfflineError, Result};

/// The batches of an episode.
#[derive(Debug)]
pub(super) struct Episode(Vec<StructArray>);

/// Bytes at the end of a file: the length of the footer, and a mark.
const TAIL: usize = 10;

impl Episode {
    /// Reads files of an episode, whose rows follow one another.
    pub(super) fn open(paths: &[impl AsRef<Path>]) -> Result<Self> {
        let mut batches = Vec::new();
        for path in paths {
            length(path.as_ref())?;
            let bytes = Buffer::from_vec(fs::read(path)?);
            batches.extend(read(&bytes)?.into_iter().map(StructArray::from));
        }
        Ok(Self(batches))
    }
}

/// Reads the batches of a file. They share its bytes.
fn read(bytes: &Buffer) -> Result<Vec<RecordBatch>> {
    let truncated = || OfflineError::Decode { format: "Arrow", reason: "it is truncated".into() };
    let part = |start: usize, len: usize| {
        let end = start.checked_add(len).filter(|end| *end <= bytes.len());
        end.map(|_| bytes.slice_with_length(start, len)).ok_or_else(truncated)
    };
    let tail = bytes.last_chunk::<TAIL>().ok_or_else(truncated)?;
    let footer_len = read_footer_length(*tail)?;
    let start = (bytes.len() - TAIL).checked_sub(footer_len).ok_or_else(truncated)?;
    let footer = part(start, footer_len)?;
    let footer = root_as_footer(&footer)
        .map_err(|error| OfflineError::Decode { format: "Arrow", reason: error.to_string() })?;
    let schema = footer.schema().ok_or_else(|| damaged("it has no schema"))?;
    let mut decoder = FileDecoder::new(try_fb_to_schema(schema)?.into(), footer.version());
    let block = |block: &Block| {
        let [offset, head, body] =
            [block.offset(), i64::from(block.metaDataLength()), block.bodyLength()]
                .map(usize::try_from);
        match (offset, head, body) {
            (Ok(offset), Ok(head), Ok(body)) => {
                part(offset, head.checked_add(body).ok_or_else(truncated)?)
            }
            _ => Err(truncated()),
        }
    };
    for dictionary in footer.dictionaries().iter().flatten() {
        decoder.read_dictionary(dictionary, &block(dictionary)?)?;
    }
    let mut batches = Vec::new();
    for batch in footer.recordBatches().iter().flatten() {
        batches.extend(decoder.read_record_batch(batch, &block(batch)?)?);
    }
    Ok(batches)
}

impl EpisodeColumns for Episode {
    fn column(&self, path: &[Part]) -> Result<Column> {
        let mut all: Option<Column> = None;
        for batch in &self.0 {
            let found = column(batch, path)?;
            match &mut all {
                Some(all) => all.append(found)?,
                None => all = Some(found),
            }
        }
        all.ok_or_else(|| damaged("it has no rows"))
    }

    fn infos(&self) -> Result<Vec<String>> {
        let infos = self.0.first().and_then(|batch| batch.column_by_name("infos"));
        let infos = infos.and_then(|infos| infos.as_struct_opt());
        Ok(infos.map_or_else(Vec::new, |infos| {
            infos.column_names().into_iter().map(ToOwned::to_owned).collect()
        }))
    }

    fn is_padded(&self) -> bool {
        true
    }
}

fn column(batch: &StructArray, path: &[Part]) -> Result<Column> {
    let mut at = batch;
    let mut found: Option<&ArrayRef> = None;
    for part in path {
        if let Some(array) = found {
            at = array.as_struct_opt().ok_or_else(|| damaged("it has no parts"))?;
        }
        let name = match part {
            Part::Key(key) => key.clone(),
            Part::Position(position) => position.to_string(),
        };
        let array = at.column_by_name(&name).ok_or_else(|| damaged("it is missing"))?;
        if array.null_count() > 0 {
            return Err(damaged("it has rows without a value"));
        }
        found = Some(array);
    }
    let array = found.ok_or_else(|| damaged("it is missing"))?;
    let rows = array.len();
    let (shape, values) = match array.data_type() {
        DataType::FixedSizeList(_, _) => {
            let list = array.as_fixed_size_list();
            let width = usize::try_from(list.value_length()).unwrap_or(0);
            (vec![width], list.values().slice(0, rows * width))
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            let width = offsets.windows(2).map(|pair| pair[1] - pair[0]).next().unwrap_or(0);
            if offsets.windows(2).any(|pair| pair[1] - pair[0] != width) {
                return Err(damaged("its rows have different lengths"));
            }
            let (start, width) = (offsets[0] as usize, width as usize);
            (vec![width], list.values().slice(start, rows * width))
        }
        DataType::Binary | DataType::LargeBinary => return Err(OfflineError::Jpeg),
        _ => (Vec::new(), array.clone()),
    };
    if values.null_count() > 0 {
        return Err(damaged("it has rows without a value"));
    }
    Ok(Column { rows, shape, numbers: numbers(&values)? })
}

fn numbers(array: &ArrayRef) -> Result<Numbers> {
    fn all<T: ArrowPrimitiveType>(array: &ArrayRef) -> Vec<T::Native> {
        array.as_primitive::<T>().values().to_vec()
    }
    fn signed<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &ArrayRef) -> Numbers {
        Numbers::Signed(array.as_primitive::<T>().values().iter().map(|x| (*x).into()).collect())
    }
    fn unsigned<T: ArrowPrimitiveType<Native: Into<u64>>>(array: &ArrayRef) -> Numbers {
        Numbers::Unsigned(array.as_primitive::<T>().values().iter().map(|x| (*x).into()).collect())
    }
    Ok(match array.data_type() {
        DataType::Float16 => {
            let halves = array.as_primitive::<Float16Type>().values();
            Numbers::F32(halves.iter().map(|half| half.to_f32()).collect())
        }
        DataType::Float32 => Numbers::F32(all::<Float32Type>(array)),
        DataType::Float64 => Numbers::F64(all::<Float64Type>(array)),
        DataType::Int64 => Numbers::Signed(all::<Int64Type>(array)),
        DataType::Int8 => signed::<Int8Type>(array),
        DataType::Int16 => signed::<Int16Type>(array),
        DataType::Int32 => signed::<Int32Type>(array),
        DataType::UInt8 => Numbers::Byte(all::<UInt8Type>(array)),
        DataType::UInt16 => unsigned::<UInt16Type>(array),
        DataType::UInt32 => unsigned::<UInt32Type>(array),
        DataType::UInt64 => unsigned::<UInt64Type>(array),
        DataType::Boolean => {
            let bits = array.as_boolean().values();
            Numbers::Byte(bits.iter().map(u8::from).collect())
        }
        other => return Err(damaged(format!("it holds {other} instead of numbers"))),
    })
}
