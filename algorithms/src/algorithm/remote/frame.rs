//! States as bytes.
//!
//! | bytes | hold |
//! |---|---|
//! | 8 | `rekindle` |
//! | 4 | version of this layout, little-endian like all numbers |
//! | 32 | SHA-256 of the rest |
//! | 8 | length of the tree |
//! | … | the tree as JSON: kind, plain data and components |
//! | … | the tensors of all components as safetensors, named `<number of the component>/<name>` |

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rekindle_checkpoint::{Array, ArrayData, State};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{AlgorithmError, Result};

const MAGIC: &[u8; 8] = b"rekindle";
const VERSION: u32 = 1;
const DIGEST: usize = 32;
/// Where the digest begins.
const AT_DIGEST: usize = MAGIC.len() + 4;
/// Where the length of the tree begins.
const AT_LENGTH: usize = AT_DIGEST + DIGEST;
/// Where the tree begins.
const AT_TREE: usize = AT_LENGTH + 8;

/// A component without its tensors.
#[derive(Serialize, Deserialize)]
struct Node {
    data: Value,
    components: BTreeMap<String, Self>,
}

#[derive(Serialize, Deserialize)]
struct Tree {
    kind: String,
    root: Node,
}

/// Writes a state as bytes with a digest, for another process. `kind` says what the state is of, such as "an answer". The
/// reader checks it.
///
/// # Errors
/// [`AlgorithmError::Frame`] for tensors of a type that has no form as bytes.
pub fn to_bytes(kind: &'static str, state: &State) -> Result<Vec<u8>> {
    let failed = |reason: String| AlgorithmError::Frame { what: kind, reason };
    let mut tensors = Vec::new();
    let root = node(state, &mut 0, &mut tensors)?;
    let tree = serde_json::to_vec(&Tree { kind: kind.to_owned(), root })
        .map_err(|error| failed(error.to_string()))?;
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        view.map(|view| (name.as_str(), view)).map_err(|error| failed(error.to_string()))
    });
    let tensors = safetensors::serialize(views.collect::<Result<Vec<_>>>()?, None)
        .map_err(|error| failed(error.to_string()))?;

    let mut bytes = Vec::with_capacity(AT_TREE + tree.len() + tensors.len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend([0; DIGEST]);
    bytes.extend((tree.len() as u64).to_le_bytes());
    bytes.extend(tree);
    bytes.extend(tensors);
    let digest = Sha256::digest(&bytes[AT_LENGTH..]);
    bytes[AT_DIGEST..AT_LENGTH].copy_from_slice(&digest);
    Ok(bytes)
}

/// Reads a state of a kind that [`state_to_bytes`](crate::state_to_bytes) wrote. Bytes that were changed or cut off are
/// never decoded.
///
/// # Errors
/// [`AlgorithmError::Frame`] for bytes that are damaged, of another version, or those of another kind.
pub fn from_bytes(kind: &'static str, bytes: &[u8]) -> Result<State> {
    let failed = |reason: String| AlgorithmError::Frame { what: kind, reason };
    let header = bytes.get(..AT_TREE).filter(|header| header.starts_with(MAGIC));
    let header = header.ok_or_else(|| failed("these are no bytes of rekindle".into()))?;
    let version = u32::from_le_bytes(array(&header[MAGIC.len()..AT_DIGEST]));
    if version != VERSION {
        let reason = format!(
            "its layout has version {version}, not {VERSION}; run one version of rekindle everywhere"
        );
        return Err(failed(reason));
    }
    if Sha256::digest(&bytes[AT_LENGTH..])[..] != header[AT_DIGEST..AT_LENGTH] {
        return Err(failed("its digest does not fit, so it was damaged on its way".into()));
    }
    let length = u64::from_le_bytes(array(&header[AT_LENGTH..AT_TREE]));
    let rest = &bytes[AT_TREE..];
    let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
    let (tree, tensors) =
        rest.split_at(length.ok_or_else(|| failed("its tree has no end".into()))?);
    let tree: Tree = serde_json::from_slice(tree).map_err(|error| failed(error.to_string()))?;
    if tree.kind != kind {
        return Err(failed(format!("these are the bytes of {}", tree.kind)));
    }
    let file = SafeTensors::deserialize(tensors).map_err(|error| failed(error.to_string()))?;
    let mut of_components: HashMap<usize, BTreeMap<String, Array>> = HashMap::new();
    for (name, view) in file.iter() {
        let owner =
            name.split_once('/').and_then(|(number, name)| Some((number.parse().ok()?, name)));
        let (number, name) = owner.ok_or_else(|| failed(format!("a tensor is named `{name}`")))?;
        let array = to_array(&view).map_err(failed)?;
        of_components.entry(number).or_default().insert(name.to_owned(), array);
    }
    Ok(state(tree.root, &mut 0, &mut of_components))
}

type Tensor = (String, Dtype, Vec<usize>, Vec<u8>);

/// Adds the tensors of a state to the list, and returns the rest. Components are numbered in this order.
fn node(state: &State, next: &mut usize, tensors: &mut Vec<Tensor>) -> Result<Node> {
    let number = *next;
    *next += 1;
    for (name, array) in &state.tensors {
        let (dtype, bytes) = to_le_bytes(array.data()).ok_or_else(|| {
            let reason = format!("tensors of {} have no form as bytes", array.data().dtype());
            AlgorithmError::Frame { what: "a tensor", reason }
        })?;
        tensors.push((format!("{number}/{name}"), dtype, array.shape().to_vec(), bytes));
    }
    let mut components = BTreeMap::new();
    // In the order in which the reader counts them.
    let names: BTreeSet<&String> = state.components.keys().chain(state.shards.keys()).collect();
    for name in names {
        let part = state.part(name)?;
        components.insert(name.clone(), node(&part, next, tensors)?);
    }
    Ok(Node { data: state.data.clone(), components })
}

fn state(
    node: Node,
    next: &mut usize,
    tensors: &mut HashMap<usize, BTreeMap<String, Array>>,
) -> State {
    let mut read = State::new();
    read.data = node.data;
    read.tensors = tensors.remove(next).unwrap_or_default();
    *next += 1;
    for (name, node) in node.components {
        read.components.insert(name, state(node, next, tensors));
    }
    read
}

fn to_le_bytes(data: &ArrayData) -> Option<(Dtype, Vec<u8>)> {
    fn bytes<T: Copy, const N: usize>(values: &[T], to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
        values.iter().flat_map(|value| to(*value)).collect()
    }
    Some(match data {
        ArrayData::F32(values) => (Dtype::F32, bytes(values, f32::to_le_bytes)),
        ArrayData::F64(values) => (Dtype::F64, bytes(values, f64::to_le_bytes)),
        ArrayData::I64(values) => (Dtype::I64, bytes(values, i64::to_le_bytes)),
        ArrayData::I32(values) => (Dtype::I32, bytes(values, i32::to_le_bytes)),
        ArrayData::U8(values) => (Dtype::U8, values.clone()),
        ArrayData::Bool(values) => (Dtype::BOOL, bytes(values, |value| [u8::from(value)])),
        _ => return None,
    })
}

fn to_array(view: &TensorView<'_>) -> std::result::Result<Array, String> {
    fn values<T, const N: usize>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks().0.iter().map(|bytes| from(*bytes)).collect()
    }
    let (bytes, shape) = (view.data(), view.shape().to_vec());
    let array = match view.dtype() {
        Dtype::F32 => Array::new(shape, values(bytes, f32::from_le_bytes)),
        Dtype::F64 => Array::new(shape, values(bytes, f64::from_le_bytes)),
        Dtype::I64 => Array::new(shape, values(bytes, i64::from_le_bytes)),
        Dtype::I32 => Array::new(shape, values(bytes, i32::from_le_bytes)),
        Dtype::U8 => Array::new(shape, bytes.to_vec()),
        Dtype::BOOL => Array::new(shape, values(bytes, |[byte]: [u8; 1]| byte != 0)),
        other => return Err(format!("a tensor is of type {other}")),
    };
    array.map_err(|error| error.to_string())
}

/// Returns bytes of a known length as an array.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}
