//! `tensors.safetensors`: the named arrays of one component.
//!
//! The `safetensors` crate reads and writes the header, and checks shapes, types and offsets. The elements
//! are streamed in chunks here, so neither saving nor reading holds a second copy of the tensors in memory.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use crate::array::{Array, ArrayData};
use crate::digest::CHUNK;
use crate::error::{CheckpointError, Result};
use crate::manifest::MAX_HEADER_BYTES;

/// The key that safetensors reserves.
const RESERVED_NAME: &str = "__metadata__";

/// Checks that the name of a tensor is not reserved by the format.
pub(super) fn check_name(name: &str) -> Result<()> {
    if name == RESERVED_NAME {
        let reason = "safetensors keeps it for itself";
        return Err(CheckpointError::InvalidName { name: name.to_owned(), reason });
    }
    Ok(())
}

/// Writes the arrays to `output`. The `path` appears only in messages.
pub(super) fn encode(
    path: &Path,
    tensors: &BTreeMap<String, Array>,
    output: &mut impl Write,
) -> Result<()> {
    // Wide types come first, so that every array is aligned in the file. Names are sorted already.
    let mut ordered: Vec<_> = tensors.iter().collect();
    ordered.sort_by_key(|(_, array)| std::cmp::Reverse(dtype(array)));

    let header = header(path, &ordered)?;
    let written = output
        .write_all(&(header.len() as u64).to_le_bytes())
        .and_then(|()| output.write_all(&header))
        .and_then(|()| ordered.iter().try_for_each(|(_, array)| write_data(array.data(), output)));
    written.map_err(CheckpointError::io("write", path))
}

fn header(path: &Path, ordered: &[(&String, &Array)]) -> Result<Vec<u8>> {
    let mut end = 0;
    let infos = ordered.iter().map(|(name, array)| {
        let start = end;
        end += array.data().len() * dtype(array).bitsize() / 8;
        let shape = array.shape().to_vec();
        (name.to_string(), TensorInfo { dtype: dtype(array), shape, data_offsets: (start, end) })
    });
    let malformed = |reason| CheckpointError::malformed(path, reason);
    let metadata = Metadata::new(None, infos.collect()).map_err(|e| malformed(e.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|e| malformed(e.to_string()))?;
    // The elements begin at a multiple of eight bytes. The length before the header takes eight.
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() > MAX_HEADER_BYTES {
        let what = "the list of a component's tensors, in bytes";
        return Err(CheckpointError::LimitExceeded { what, limit: MAX_HEADER_BYTES });
    }
    Ok(header)
}

fn dtype(array: &Array) -> Dtype {
    match array.data() {
        ArrayData::F32(_) => Dtype::F32,
        ArrayData::F64(_) => Dtype::F64,
        ArrayData::I64(_) => Dtype::I64,
        ArrayData::I32(_) => Dtype::I32,
        ArrayData::U8(_) => Dtype::U8,
        ArrayData::Bool(_) => Dtype::BOOL,
    }
}

fn write_data(data: &ArrayData, output: &mut impl Write) -> std::io::Result<()> {
    match data {
        ArrayData::F32(values) => write_elements(values, f32::to_le_bytes, output),
        ArrayData::F64(values) => write_elements(values, f64::to_le_bytes, output),
        ArrayData::I64(values) => write_elements(values, i64::to_le_bytes, output),
        ArrayData::I32(values) => write_elements(values, i32::to_le_bytes, output),
        ArrayData::U8(values) => output.write_all(values),
        ArrayData::Bool(values) => write_elements(values, |b| [u8::from(b)], output),
    }
}

fn write_elements<T: Copy, const N: usize>(
    values: &[T],
    to_bytes: impl Fn(T) -> [u8; N],
    output: &mut impl Write,
) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(CHUNK.min(values.len() * N));
    for values in values.chunks(CHUNK / N) {
        buffer.clear();
        buffer.extend(values.iter().flat_map(|value| to_bytes(*value)));
        output.write_all(&buffer)?;
    }
    Ok(())
}

/// Reads the arrays from `input`, which has `len` bytes. The `path` appears only in messages.
///
/// Floats of 16 bits are widened to 32 bits. At most twice `len` bytes are allocated for elements,
/// regardless of the header.
pub(super) fn decode(
    path: &Path,
    input: &mut impl Read,
    len: u64,
) -> Result<BTreeMap<String, Array>> {
    let malformed = |reason: String| CheckpointError::malformed(path, reason);

    let mut header_len = [0; 8];
    input.read_exact(&mut header_len).map_err(CheckpointError::io("read", path))?;
    let header_len = u64::from_le_bytes(header_len);
    let data_len = len.checked_sub(8).and_then(|rest| rest.checked_sub(header_len));
    let (Some(data_len), true) = (data_len, header_len <= MAX_HEADER_BYTES as u64) else {
        return Err(malformed(format!("a header of {header_len} bytes does not fit")));
    };
    let mut header = vec![0; header_len as usize];
    input.read_exact(&mut header).map_err(CheckpointError::io("read", path))?;

    // `Metadata` rejects shapes that overflow, and offsets with gaps, overlaps or a wrong length.
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|e| malformed(e.to_string()))?;
    if metadata.data_len() as u64 != data_len {
        return Err(malformed("the header does not describe all of the elements".to_owned()));
    }
    let mut tensors = BTreeMap::new();
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let len = info.shape.iter().product();
        let data = read_data(path, &name, info.dtype, len, input)?;
        tensors.insert(name, Array::new(info.shape.as_slice(), data)?);
    }
    Ok(tensors)
}

fn read_data(
    path: &Path,
    name: &str,
    dtype: Dtype,
    len: usize,
    input: &mut impl Read,
) -> Result<ArrayData> {
    let data = match dtype {
        Dtype::F32 => read_elements(len, f32::from_le_bytes, input).map(ArrayData::F32),
        Dtype::F64 => read_elements(len, f64::from_le_bytes, input).map(ArrayData::F64),
        // Every 16-bit float is a 32-bit float, so nothing is rounded.
        Dtype::F16 => {
            let widen = |bytes| half::f16::from_le_bytes(bytes).to_f32();
            read_elements(len, widen, input).map(ArrayData::F32)
        }
        Dtype::BF16 => {
            let widen = |bytes| half::bf16::from_le_bytes(bytes).to_f32();
            read_elements(len, widen, input).map(ArrayData::F32)
        }
        Dtype::I64 => read_elements(len, i64::from_le_bytes, input).map(ArrayData::I64),
        Dtype::I32 => read_elements(len, i32::from_le_bytes, input).map(ArrayData::I32),
        Dtype::U8 => read_elements(len, |[byte]| byte, input).map(ArrayData::U8),
        Dtype::BOOL => {
            let mut valid = true;
            let to_bool = |[byte]: [u8; 1]| {
                valid &= byte <= 1;
                byte == 1
            };
            let values = read_elements(len, to_bool, input);
            if !valid {
                let reason = format!("tensor `{name}` has a boolean other than 0 and 1");
                return Err(CheckpointError::malformed(path, reason));
            }
            values.map(ArrayData::Bool)
        }
        other => {
            let reason = format!(
                "tensor `{name}` is of type {other}; supported are F16, BF16, F32, F64, I32, I64, U8 \
                 and BOOL"
            );
            return Err(CheckpointError::malformed(path, reason));
        }
    };
    data.map_err(CheckpointError::io("read", path))
}

fn read_elements<T, const N: usize>(
    len: usize,
    mut from_bytes: impl FnMut([u8; N]) -> T,
    input: &mut impl Read,
) -> std::io::Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(len)?;
    let mut buffer = vec![0; CHUNK.min(len * N)];
    while values.len() < len {
        let bytes = CHUNK.min((len - values.len()) * N);
        let buffer = &mut buffer[..bytes];
        input.read_exact(buffer)?;
        values.extend(buffer.as_chunks().0.iter().map(|bytes| from_bytes(*bytes)));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use safetensors::SafeTensors;

    use super::*;

    fn example() -> BTreeMap<String, Array> {
        let large: Vec<f64> = (0..20_000).map(f64::from).collect();
        BTreeMap::from([
            ("f32".to_owned(), Array::new([2, 2], vec![1.5f32, -0.0, f32::MAX, 1e-45]).unwrap()),
            ("more than a chunk".to_owned(), Array::new([100, 200], large).unwrap()),
            ("i64".to_owned(), Array::new([], vec![i64::MIN]).unwrap()),
            ("i32".to_owned(), Array::from(vec![1, -1])),
            ("u8".to_owned(), Array::new([0, 3], Vec::<u8>::new()).unwrap()),
            ("bool".to_owned(), Array::from(vec![true, false, true])),
        ])
    }

    fn encoded(tensors: &BTreeMap<String, Array>) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(Path::new("t"), tensors, &mut bytes).unwrap();
        bytes
    }

    fn decode_bytes(mut bytes: &[u8]) -> Result<BTreeMap<String, Array>> {
        let len = bytes.len() as u64;
        decode(Path::new("t"), &mut bytes, len)
    }

    fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    #[test]
    fn arrays_round_trip() {
        assert_eq!(decode_bytes(&encoded(&example())).unwrap(), example());
    }

    #[test]
    fn non_finite_floats_keep_their_bits() {
        let bits = [0x7fc0_0001u32, 0xff80_0000, 0x7f80_0000, 0xffff_ffff];
        let values: Vec<f32> = bits.iter().copied().map(f32::from_bits).collect();
        let tensors = BTreeMap::from([("x".to_owned(), Array::from(values))]);
        let read = decode_bytes(&encoded(&tensors)).unwrap();
        let read = read["x"].as_slice::<f32>().unwrap();
        assert!(read.iter().map(|x| x.to_bits()).eq(bits));
    }

    /// The bytes are what the `safetensors` crate itself would write and accepts.
    #[test]
    fn the_file_is_ordinary_safetensors() {
        let bytes = encoded(&example());
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.len(), 6);
        assert_eq!(file.tensor("f32").unwrap().shape(), [2, 2]);
        assert_eq!(safetensors::serialize(file.iter(), None).unwrap(), bytes);
    }

    #[test]
    fn what_arrays_cannot_hold_is_refused() {
        let info = |dtype: &str, bytes| {
            format!(r#"{{"x":{{"dtype":"{dtype}","shape":[1],"data_offsets":[0,{bytes}]}}}}"#)
        };
        for bytes in [
            with_header(&info("F8_E4M3", 1), &[0]),
            with_header(&info("U16", 2), &[0; 2]),
            with_header(&info("BOOL", 1), &[2]),
            with_header(&info("F32", 4), &[0; 5]),
            with_header(&info("F32", 8), &[0; 8]),
            with_header("{}", &[0]),
            u64::MAX.to_le_bytes().to_vec(),
            [0xff; 8].repeat(4),
        ] {
            let error = decode_bytes(&bytes).unwrap_err();
            assert!(matches!(error, CheckpointError::Malformed { .. }), "{error}");
        }
    }

    /// An end so close to 2^64 that `SafeTensors::deserialize` overflows when it adds the header.
    #[test]
    fn enormous_offsets_are_refused() {
        let step = 1u64 << 60;
        let entry = |i: u64| {
            let (start, end) = (i * step, (i * step).saturating_add(step));
            let len = end - start;
            format!(r#""{i}":{{"dtype":"U8","shape":[{len}],"data_offsets":[{start},{end}]}}"#)
        };
        let entries: Vec<_> = (0..16).map(entry).collect();
        let bytes = with_header(&format!("{{{}}}", entries.join(",")), b"");
        let error = decode_bytes(&bytes).unwrap_err();
        assert!(error.to_string().contains("does not describe all"), "{error}");
    }

    /// The bits of IEEE 754 binary16, and of the upper half of binary32.
    #[test]
    fn floats_of_16_bits_are_widened() {
        let values = [1.0f32, -2.5, 65504.0, 6.103_515_6e-5, 5.960_464_5e-8, f32::INFINITY];
        let f16 = [0x3c00u16, 0xc100, 0x7bff, 0x0400, 0x0001, 0x7c00];
        let bf16 = [0x3f80u16, 0xc020, 0x477f, 0x3880, 0x3380, 0x7f80];
        let exact_bf16 = [1.0f32, -2.5, 65280.0, 6.103_515_6e-5, 5.960_464_5e-8, f32::INFINITY];
        for (dtype, bits, expected) in [("F16", f16, values), ("BF16", bf16, exact_bf16)] {
            let data: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
            let header =
                format!(r#"{{"x":{{"dtype":"{dtype}","shape":[2,3],"data_offsets":[0,12]}}}}"#);
            let read = decode_bytes(&with_header(&header, &data)).unwrap();
            assert_eq!(read["x"], Array::new([2, 3], expected.to_vec()).unwrap(), "{dtype}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode_bytes(&bytes);
        }

        #[test]
        fn arbitrary_headers_never_panic(
            dtype in prop::sample::select(vec!["F32", "F64", "U8", "BOOL", "F4", "BF16", "?"]),
            shape in prop::collection::vec(prop_oneof![0..4u64, any::<u64>()], 0..4),
            start in prop_oneof![Just(0), any::<u64>()],
            end in prop_oneof![0..64u64, any::<u64>()],
            data in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let header = format!(
                r#"{{"x":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}}}"#
            );
            let _ = decode_bytes(&with_header(&header, &data));
        }

        #[test]
        fn mutations_never_panic(at: prop::sample::Index, value: u8, keep: prop::sample::Index) {
            let mut small = example();
            small.remove("more than a chunk");
            let mut bytes = encoded(&small);
            let (at, keep) = (at.index(bytes.len()), keep.index(bytes.len()) + 1);
            bytes[at] = value;
            let _ = decode_bytes(&bytes);
            let _ = decode_bytes(&bytes[..keep]);
        }
    }
}
