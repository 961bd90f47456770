//! Leaves of spaces: how their numbers are stored by NumPy and by a [`Buffer`].

use half::f16;
use rekindle_env::{Buffer, EnvError};
use serde::Serialize;
use serde_json::Value as Json;

use crate::error::{GymnasiumError, Result};
use crate::shared_memory::SharedMemory;

/// An element type of NumPy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dtype {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Float16,
    Float32,
    Float64,
}

impl Dtype {
    /// The type with NumPy's name, if it is a number of a fixed size.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "uint8" => Self::Uint8,
            "uint16" => Self::Uint16,
            "uint32" => Self::Uint32,
            "uint64" => Self::Uint64,
            "float16" => Self::Float16,
            "float32" => Self::Float32,
            "float64" => Self::Float64,
            _ => return None,
        })
    }

    /// Bytes per element.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Bool | Self::Int8 | Self::Uint8 => 1,
            Self::Int16 | Self::Uint16 | Self::Float16 => 2,
            Self::Int32 | Self::Uint32 | Self::Float32 => 4,
            Self::Int64 | Self::Uint64 | Self::Float64 => 8,
        }
    }
}

/// The column type of a [`Buffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    Float,
    Byte,
    Int,
}

/// A leaf of a space.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leaf {
    /// The keys and positions that lead to the leaf, as Python names them.
    pub(crate) keys: Vec<Json>,
    /// The keys and positions as text, as a [`Buffer`] names them.
    pub(crate) path: Vec<String>,
    pub(crate) dtype: Dtype,
    /// The shape of an element in Python.
    pub(crate) shape: Vec<usize>,
    /// Numbers per element.
    pub(crate) width: usize,
    pub(crate) storage: Storage,
    /// The offset that is added to each number for Python. Empty means no offset.
    pub(crate) start: Vec<i64>,
}

impl Leaf {
    /// Bytes of an element in shared memory.
    pub(crate) fn row_bytes(&self) -> usize {
        self.width * self.dtype.size()
    }

    /// Reads `count` elements at `offset` of the memory into the rows of a buffer from `to` on.
    ///
    /// # Errors
    /// If the elements are not in the memory, or the rows not in the buffer.
    pub(crate) fn read(
        &self,
        memory: &SharedMemory,
        offset: usize,
        count: usize,
        buffer: &mut Buffer,
        to: usize,
    ) -> Result<()> {
        let part = part_mut(buffer, &self.path)?;
        let cells = to * self.width..(to + count) * self.width;
        match self.storage {
            Storage::Float => {
                let out = part.as_f32_mut()?.get_mut(cells).ok_or_else(too_small)?;
                match self.dtype {
                    Dtype::Float32 => memory.read(offset, out, |x: f32| x),
                    Dtype::Float64 => memory.read(offset, out, |x: f64| x as f32),
                    _ => memory.read(offset, out, |bits: u16| f16::from_bits(bits).to_f32()),
                }
            }
            Storage::Byte => {
                let out = part.as_u8_mut()?.get_mut(cells).ok_or_else(too_small)?;
                memory.read(offset, out, |x: u8| x)
            }
            Storage::Int => {
                let out = part.as_i64_mut()?.get_mut(cells).ok_or_else(too_small)?;
                match self.dtype {
                    Dtype::Int64 => memory.read(offset, out, |x: i64| x),
                    Dtype::Int32 => memory.read(offset, out, |x: i32| i64::from(x)),
                    Dtype::Int16 => memory.read(offset, out, |x: i16| i64::from(x)),
                    Dtype::Int8 => memory.read(offset, out, |x: i8| i64::from(x)),
                    Dtype::Uint16 => memory.read(offset, out, |x: u16| i64::from(x)),
                    Dtype::Uint32 => memory.read(offset, out, |x: u32| i64::from(x)),
                    Dtype::Uint64 => {
                        memory.read(offset, out, |x: u64| i64::try_from(x).unwrap_or(i64::MAX))
                    }
                    _ => memory.read(offset, out, |x: u8| i64::from(x)),
                }?;
                for (x, start) in out.iter_mut().zip(self.start.iter().cycle()) {
                    *x = x.wrapping_sub(*start);
                }
                Ok(())
            }
        }
    }

    /// Writes `count` rows of a buffer, from `from` on, to `offset` of the memory.
    ///
    /// # Errors
    /// If the elements do not fit into the memory, or the rows are not in the buffer.
    pub(crate) fn write(
        &self,
        memory: &SharedMemory,
        offset: usize,
        count: usize,
        buffer: &Buffer,
        from: usize,
    ) -> Result<()> {
        let part = part(buffer, &self.path)?;
        let cells = from * self.width..(from + count) * self.width;
        match self.storage {
            Storage::Float => {
                let from = part.as_f32()?.get(cells).ok_or_else(too_small)?;
                match self.dtype {
                    Dtype::Float32 => memory.write(offset, from, |x| x),
                    Dtype::Float64 => memory.write(offset, from, f64::from),
                    _ => memory.write(offset, from, |x| f16::from_f32(x).to_bits()),
                }
            }
            Storage::Byte => {
                let from = part.as_u8()?.get(cells).ok_or_else(too_small)?;
                match self.dtype {
                    Dtype::Bool => memory.write(offset, from, |x| u8::from(x != 0)),
                    _ => memory.write(offset, from, |x| x),
                }
            }
            Storage::Int => {
                let from = part.as_i64()?.get(cells).ok_or_else(too_small)?;
                if !self.start.is_empty() {
                    let starts = self.start.iter().cycle();
                    let shifted: Vec<i64> =
                        from.iter().zip(starts).map(|(x, start)| x.wrapping_add(*start)).collect();
                    return self.write_ints(memory, offset, &shifted);
                }
                self.write_ints(memory, offset, from)
            }
        }
    }

    /// Writes integers in the type of NumPy. Numbers beyond its range are not in the space.
    fn write_ints(&self, memory: &SharedMemory, offset: usize, from: &[i64]) -> Result<()> {
        match self.dtype {
            Dtype::Int64 | Dtype::Uint64 => memory.write(offset, from, |x| x),
            Dtype::Int32 | Dtype::Uint32 => memory.write(offset, from, |x| x as u32),
            Dtype::Int16 | Dtype::Uint16 => memory.write(offset, from, |x| x as u16),
            _ => memory.write(offset, from, |x| x as u8),
        }
    }
}

/// The column of a leaf.
pub(crate) fn part<'a>(buffer: &'a Buffer, path: &[String]) -> Result<&'a Buffer, EnvError> {
    path.iter().try_fold(buffer, |part, key| match part.as_dict() {
        Ok(_) => part.get(key),
        Err(_) => part.index(key.parse().unwrap_or(usize::MAX)),
    })
}

fn part_mut<'a>(buffer: &'a mut Buffer, path: &[String]) -> Result<&'a mut Buffer, EnvError> {
    path.iter().try_fold(buffer, |part, key| part.part_mut(key))
}

#[cold]
fn too_small() -> GymnasiumError {
    let (what, expected, found) = ("rows of a buffer", Vec::new(), Vec::new());
    EnvError::ShapeMismatch { what, expected, found }.into()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    fn leaf(dtype: Dtype, storage: Storage, width: usize, start: &[i64]) -> Leaf {
        let shape = vec![width];
        let (keys, path, start) = (vec![], vec![], start.to_vec());
        Leaf { keys, path, dtype, shape, width, storage, start }
    }

    /// Writes a buffer to memory and reads it into a buffer of zeros.
    fn round_trip(leaf: &Leaf, buffer: &Buffer) -> Buffer {
        let memory = SharedMemory::create(4096).unwrap();
        leaf.write(&memory, 64, buffer.rows(), buffer, 0).unwrap();
        let mut copy = Buffer::zeros(&space_of(buffer), buffer.rows());
        leaf.read(&memory, 64, buffer.rows(), &mut copy, 0).unwrap();
        copy
    }

    fn space_of(buffer: &Buffer) -> rekindle_env::Space {
        use rekindle_env::{BoxDType, BoxSpace, Space};
        let shape = buffer.shape().unwrap();
        let dtype = match buffer {
            buffer if buffer.as_f32().is_ok() => BoxDType::Float32,
            buffer if buffer.as_u8().is_ok() => BoxDType::Uint8,
            _ => BoxDType::Int64,
        };
        Space::Box(BoxSpace::uniform(0.0, 1.0, shape).unwrap().with_dtype(dtype).unwrap())
    }

    #[test]
    fn numbers_of_every_type_survive() {
        let floats = Buffer::from_f32(vec![0.5, -2.0, 1.25, 0.0], &[2]).unwrap();
        for dtype in [Dtype::Float16, Dtype::Float32, Dtype::Float64] {
            assert_eq!(round_trip(&leaf(dtype, Storage::Float, 2, &[]), &floats), floats);
        }
        let bytes = Buffer::from_u8(vec![0, 1, 1, 0], &[2]).unwrap();
        for dtype in [Dtype::Bool, Dtype::Int8, Dtype::Uint8] {
            assert_eq!(round_trip(&leaf(dtype, Storage::Byte, 2, &[]), &bytes), bytes);
        }
        let signed = Buffer::from_i64(vec![-7, 100, -128, 127], &[2]).unwrap();
        for dtype in [Dtype::Int8, Dtype::Int16, Dtype::Int32, Dtype::Int64] {
            assert_eq!(round_trip(&leaf(dtype, Storage::Int, 2, &[]), &signed), signed);
        }
        let unsigned = Buffer::from_i64(vec![7, 100, 255, 0], &[2]).unwrap();
        for dtype in [Dtype::Uint8, Dtype::Uint16, Dtype::Uint32, Dtype::Uint64] {
            assert_eq!(round_trip(&leaf(dtype, Storage::Int, 2, &[]), &unsigned), unsigned);
        }
    }

    #[test]
    fn python_sees_numbers_from_their_start_on() {
        let choices = Buffer::from_i64(vec![0, 1, 2, 3], &[2]).unwrap();
        let leaf = leaf(Dtype::Int64, Storage::Int, 2, &[10, -5]);
        let memory = SharedMemory::create(4096).unwrap();
        leaf.write(&memory, 0, 2, &choices, 0).unwrap();
        let mut seen = [0; 4];
        memory.read(0, &mut seen, |x: i64| x).unwrap();
        assert_eq!(seen, [10, -4, 12, -2]);
        assert_eq!(round_trip(&leaf, &choices), choices);
    }

    #[test]
    fn rows_beyond_the_memory_or_the_buffer_are_errors() {
        let memory = SharedMemory::create(4096).unwrap();
        let leaf = leaf(Dtype::Float32, Storage::Float, 2, &[]);
        let mut buffer = Buffer::from_f32(vec![0.0; 4], &[2]).unwrap();
        assert!(leaf.read(&memory, 4088, 2, &mut buffer, 0).is_err());
        assert!(leaf.read(&memory, usize::MAX, 2, &mut buffer, 0).is_err());
        assert!(leaf.read(&memory, 0, 2, &mut buffer, 1).is_err());
        assert!(leaf.write(&memory, 4088, 2, &buffer, 0).is_err());
        assert!(leaf.write(&memory, 0, 3, &buffer, 0).is_err());
    }
}
