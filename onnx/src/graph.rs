//! Graphs and their file format, `onnx.proto`.

use std::collections::BTreeSet;

use crate::OPSET;
use crate::error::{OnnxError, Result};
use crate::protobuf::Message;

/// The version of the file format.
const IR_VERSION: i64 = 8;
/// The name of the dimension that counts rows.
const BATCH: &str = "batch";

/// A tensor of a [`Graph`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(String);

/// The type of the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElementType {
    /// 32-bit floats.
    Float32,
    /// 64-bit floats.
    Float64,
    /// Bytes.
    Uint8,
    /// 64-bit integers.
    Int64,
    /// Truth values.
    Bool,
}

impl ElementType {
    /// Returns the number of the type in ONNX files.
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Float32 => 1,
            Self::Uint8 => 2,
            Self::Int64 => 7,
            Self::Bool => 9,
            Self::Float64 => 11,
        }
    }
}

/// A dimension of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// The number of rows, which each call may choose.
    Batch,
    /// A fixed number.
    Fixed(usize),
}

/// An attribute of a node.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Attribute {
    /// A number.
    Int(i64),
    /// Several numbers.
    Ints(Vec<i64>),
    /// A float.
    Float(f32),
}

/// A graph of ONNX operators with named inputs and outputs. The first dimension of each is the number of rows.
///
/// Nodes are added in the order in which they run, because each names values that already exist.
#[derive(Debug, Clone)]
pub struct Graph {
    proto: Message,
    /// Names of inputs and outputs.
    names: BTreeSet<String>,
    /// Number of values so far.
    count: usize,
}

impl Graph {
    /// Creates a graph without nodes.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { proto: Message::new().text(2, name), names: BTreeSet::new(), count: 0 }
    }

    /// Adds an input.
    ///
    /// # Errors
    /// [`OnnxError::DuplicateName`].
    pub fn input(&mut self, name: &str, kind: ElementType, dims: &[Dim]) -> Result<Value> {
        self.add_interface(11, name, kind, dims)?;
        Ok(Value(name.to_owned()))
    }

    /// Makes a value an output.
    ///
    /// # Errors
    /// [`OnnxError::DuplicateName`].
    pub fn output(
        &mut self,
        name: &str,
        value: &Value,
        kind: ElementType,
        dims: &[Dim],
    ) -> Result<()> {
        self.add_interface(12, name, kind, dims)?;
        self.add_node("Identity", &[value], &[], &[name.to_owned()]);
        Ok(())
    }

    /// Adds the input `state_in.NAME`: a recurrent state, which is 0 before the first step of an episode.
    ///
    /// # Shapes
    /// Result `[B, dims…]`.
    ///
    /// # Errors
    /// [`OnnxError::DuplicateName`], for example if a policy has two recurrent encoders.
    pub fn state_in(&mut self, name: &str, dims: &[usize]) -> Result<Value> {
        let dims = rows_of(dims);
        self.input(&format!("state_in.{name}"), ElementType::Float32, &dims)
    }

    /// Adds the output `state_out.NAME`: the state that the next step reads as `state_in.NAME`.
    ///
    /// # Errors
    /// [`OnnxError::DuplicateName`].
    pub fn state_out(&mut self, name: &str, value: &Value, dims: &[usize]) -> Result<()> {
        let dims = rows_of(dims);
        self.output(&format!("state_out.{name}"), value, ElementType::Float32, &dims)
    }

    fn add_interface(
        &mut self,
        field: u64,
        name: &str,
        kind: ElementType,
        dims: &[Dim],
    ) -> Result<()> {
        if !self.names.insert(name.to_owned()) {
            return Err(OnnxError::DuplicateName(name.to_owned()));
        }
        let shape = dims.iter().fold(Message::new(), |shape, dim| {
            let dim = match *dim {
                Dim::Batch => Message::new().text(2, BATCH),
                Dim::Fixed(number) => Message::new().int(1, number as i64),
            };
            shape.message(1, &dim)
        });
        let tensor = Message::new().int(1, kind.code()).message(2, &shape);
        let info = Message::new().text(1, name).message(2, &Message::new().message(1, &tensor));
        self.append(|proto| proto.message(field, &info));
        Ok(())
    }

    /// Adds an operator with one result, and returns the result.
    pub fn node(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> Value {
        let output = self.new_name();
        self.add_node(operator, inputs, attributes, std::slice::from_ref(&output));
        Value(output)
    }

    fn add_node(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
        outputs: &[String],
    ) {
        let node = inputs.iter().fold(Message::new(), |node, input| node.text(1, &input.0));
        let node = outputs.iter().fold(node, |node, output| node.text(2, output));
        let name = outputs.first().map_or("", String::as_str);
        let node = node.text(3, &format!("{operator}_{name}")).text(4, operator);
        let node = attributes.iter().fold(node, |node, (name, attribute)| {
            let message = Message::new().text(1, name);
            let message = match attribute {
                Attribute::Float(number) => message.float(2, *number).int(20, 1),
                Attribute::Int(number) => message.int(3, *number).int(20, 2),
                Attribute::Ints(numbers) => message.ints(8, numbers.iter().copied()).int(20, 7),
            };
            node.message(5, &message)
        });
        self.append(|proto| proto.message(1, &node));
    }

    /// Adds a constant of floats, row-major.
    pub fn floats(&mut self, data: &[f32], dims: &[usize]) -> Value {
        let bytes = data.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.constant(ElementType::Float32, bytes, dims)
    }

    /// Adds a constant of 64-bit floats, row-major.
    pub fn doubles(&mut self, data: &[f64], dims: &[usize]) -> Value {
        let bytes = data.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.constant(ElementType::Float64, bytes, dims)
    }

    /// Adds a constant of integers, row-major.
    pub fn ints(&mut self, data: &[i64], dims: &[usize]) -> Value {
        let bytes = data.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.constant(ElementType::Int64, bytes, dims)
    }

    /// Adds a constant float without dimensions.
    pub fn scalar(&mut self, number: f32) -> Value {
        self.floats(&[number], &[])
    }

    fn constant(&mut self, kind: ElementType, bytes: Vec<u8>, dims: &[usize]) -> Value {
        let name = self.new_name();
        let tensor = Message::new()
            .ints(1, dims.iter().map(|dim| *dim as i64))
            .int(2, kind.code())
            .text(8, &name)
            .bytes(9, &bytes);
        self.append(|proto| proto.message(5, &tensor));
        Value(name)
    }

    fn new_name(&mut self) -> String {
        self.count += 1;
        format!("v{}", self.count)
    }

    fn append(&mut self, field: impl FnOnce(Message) -> Message) {
        self.proto = field(std::mem::take(&mut self.proto));
    }

    /// Returns the content of an ONNX file with the graph and some metadata.
    #[must_use]
    pub fn to_bytes(&self, metadata: &[(&str, &str)]) -> Vec<u8> {
        let opset = Message::new().text(1, "").int(2, OPSET);
        let model = Message::new()
            .int(1, IR_VERSION)
            .text(2, "rekindle")
            .text(3, env!("CARGO_PKG_VERSION"))
            .message(7, &self.proto)
            .message(8, &opset);
        let model = metadata.iter().fold(model, |model, (key, value)| {
            model.message(14, &Message::new().text(1, key).text(2, value))
        });
        model.into_bytes()
    }
}

/// Returns the dimensions of rows of a shape.
fn rows_of(dims: &[usize]) -> Vec<Dim> {
    [Dim::Batch].into_iter().chain(dims.iter().map(|dim| Dim::Fixed(*dim))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_or_output_of_a_taken_name_is_refused() {
        let mut graph = Graph::new("graph");
        let dims = [Dim::Batch, Dim::Fixed(2)];
        let x = graph.input("x", ElementType::Float32, &dims).unwrap();
        let again = graph.output("x", &x, ElementType::Float32, &dims).unwrap_err();
        assert!(again.to_string().contains("two inputs or outputs called `x`"), "{again}");
    }
}
