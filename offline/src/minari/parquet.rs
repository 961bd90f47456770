//! Episodes that are Parquet files.

use std::collections::BTreeSet;
use std::path::Path;

use half::f16;
use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{
    BoolType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::columns::{Column, EpisodeColumns, Numbers, Part, damaged};
use crate::decode::{CheckedFile, check_compression, check_size};
use crate::error::{OfflineError, Result};

/// The files of an episode.
pub(super) struct Episode(Vec<SerializedFileReader<CheckedFile>>);

impl Episode {
    /// Opens files of an episode, whose rows follow one another.
    pub(super) fn open(paths: &[impl AsRef<Path>]) -> Result<Self> {
        let open = |path: &_| {
            let file = SerializedFileReader::new(CheckedFile::open(AsRef::as_ref(path))?)?;
            check_compression(file.metadata())?;
            Ok(file)
        };
        Ok(Self(paths.iter().map(open).collect::<Result<_>>()?))
    }
}

impl EpisodeColumns for Episode {
    fn column(&self, path: &[Part]) -> Result<Column> {
        let path: Vec<_> = path
            .iter()
            .map(|part| match part {
                Part::Key(key) => key.clone(),
                Part::Position(position) => position.to_string(),
            })
            .collect();
        let mut all: Option<Column> = None;
        for file in &self.0 {
            let schema = file.metadata().file_metadata().schema_descr();
            let mut found = schema.columns().iter().enumerate().filter(|(_, column)| {
                let rest = column.path().parts().strip_prefix(path.as_slice());
                // The element of a list has two more names.
                let is_list = column.max_rep_level() > 0;
                rest.is_some_and(|rest| rest.len() == if is_list { 2 } else { 0 })
            });
            let (index, descriptor) = match (found.next(), found.next()) {
                (Some(found), None) => found,
                (None, _) => return Err(damaged("it is missing")),
                _ => return Err(damaged("it has parts")),
            };
            for group in 0..file.num_row_groups() {
                let group = file.get_row_group(group)?;
                let found = column(&*group, index, descriptor)?;
                match &mut all {
                    Some(all) => all.append(found)?,
                    None => all = Some(found),
                }
            }
        }
        all.ok_or_else(|| damaged("it has no rows"))
    }

    fn infos(&self) -> Result<Vec<String>> {
        let Some(file) = self.0.first() else { return Ok(Vec::new()) };
        let columns = file.metadata().file_metadata().schema_descr().columns();
        let names = columns.iter().filter_map(|column| match column.path().parts() {
            [infos, name, ..] if infos == "infos" => Some(name.clone()),
            _ => None,
        });
        // The parts of an info are columns of their own.
        let names: BTreeSet<String> = names.collect();
        Ok(names.into_iter().collect())
    }

    fn is_padded(&self) -> bool {
        true
    }
}

/// Reads a column of a row group.
fn column(
    reader: &dyn RowGroupReader,
    index: usize,
    descriptor: &ColumnDescriptor,
) -> Result<Column> {
    let group = reader.metadata();
    let rows = usize::try_from(group.num_rows()).map_err(|_| damaged("it has no rows"))?;
    let is_list = descriptor.max_rep_level() > 0;
    let stored = u64::try_from(group.column(index).compressed_size()).unwrap_or(0);
    let values = u64::try_from(group.column(index).num_values()).ok();
    check_size(values.and_then(|values| values.checked_mul(4)), stored)?;
    check_size((rows as u64).checked_mul(8), stored)?;
    let unsigned = matches!(
        descriptor.converted_type(),
        ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64
    );
    let numbers = match descriptor.physical_type() {
        Physical::FLOAT => Numbers::F32(read::<FloatType>(reader, index, rows, descriptor)?),
        Physical::DOUBLE => Numbers::F64(read::<DoubleType>(reader, index, rows, descriptor)?),
        Physical::BOOLEAN => {
            let bits = read::<BoolType>(reader, index, rows, descriptor)?;
            Numbers::Byte(bits.into_iter().map(u8::from).collect())
        }
        Physical::INT32 => {
            let numbers = read::<Int32Type>(reader, index, rows, descriptor)?;
            match descriptor.converted_type() {
                // Smaller integers have 32 bits in the file.
                ConvertedType::UINT_8 => {
                    Numbers::Byte(numbers.into_iter().map(|number| number as u8).collect())
                }
                _ if unsigned => {
                    let numbers = numbers.into_iter().map(|number| u64::from(number as u32));
                    Numbers::Unsigned(numbers.collect())
                }
                _ => Numbers::Signed(numbers.into_iter().map(i64::from).collect()),
            }
        }
        Physical::INT64 => {
            let numbers = read::<Int64Type>(reader, index, rows, descriptor)?;
            match unsigned {
                true => {
                    Numbers::Unsigned(numbers.into_iter().map(|number| number as u64).collect())
                }
                false => Numbers::Signed(numbers),
            }
        }
        Physical::FIXED_LEN_BYTE_ARRAY
            if descriptor.logical_type_ref() == Some(&LogicalType::Float16) =>
        {
            let numbers = read::<FixedLenByteArrayType>(reader, index, rows, descriptor)?;
            let halves = numbers.iter().map(|bytes| match bytes.data() {
                [low, high] => Ok(f16::from_le_bytes([*low, *high]).to_f32()),
                _ => Err(damaged("its 16-bit floats do not have two bytes")),
            });
            Numbers::F32(halves.collect::<Result<_>>()?)
        }
        Physical::BYTE_ARRAY => return Err(OfflineError::Jpeg),
        other => return Err(damaged(format!("it holds {other} instead of numbers"))),
    };
    let shape = match is_list {
        true => vec![numbers.len() / rows.max(1)],
        false => Vec::new(),
    };
    Ok(Column { rows, shape, numbers })
}

/// Reads the values of a column: one for each row, or lists of equal lengths.
fn read<T: DataType>(
    reader: &dyn RowGroupReader,
    index: usize,
    rows: usize,
    descriptor: &ColumnDescriptor,
) -> Result<Vec<T::T>> {
    let (deepest, is_list) = (descriptor.max_def_level(), descriptor.max_rep_level() > 0);
    let mut column = get_typed_column_reader::<T>(reader.get_column_reader(index)?);
    let (mut values, mut defined, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    let mut found = 0;
    while found < rows {
        let (records, _, _) = column.read_records(
            rows - found,
            (deepest > 0).then_some(&mut defined),
            is_list.then_some(&mut starts),
            &mut values,
        )?;
        if records == 0 {
            return Err(damaged(format!("it has {found} rows instead of {rows}")));
        }
        found += records;
    }
    if deepest > 0 && (defined.len() != values.len() || defined.iter().any(|at| *at != deepest)) {
        return Err(damaged("it has rows without a value"));
    }
    if is_list {
        let width = values.len() / rows.max(1);
        let is_regular = starts.len() == values.len()
            && width * rows == values.len()
            && starts
                .iter()
                .enumerate()
                .all(|(at, level)| (at % width.max(1) == 0) == (*level == 0));
        if !is_regular {
            return Err(damaged("its rows have different lengths"));
        }
    }
    Ok(values)
}
