//! ONNX graphs: built node by node, and written as a file that ONNX runtimes read.
//!
//! The crate holds the operators that policies need, and knows neither Burn nor modules. Modules, encoders,
//! distributions and connectors add their own nodes; see `export_onnx` of each trait.
//!
//! ```
//! use rekindle_onnx::{Dim, ElementType, Graph};
//!
//! let mut graph = Graph::new("double");
//! let x = graph.input("x", ElementType::Float32, &[Dim::Batch, Dim::Fixed(3)])?;
//! let two = graph.scalar(2.0);
//! let y = graph.mul(&x, &two);
//! graph.output("y", &y, ElementType::Float32, &[Dim::Batch, Dim::Fixed(3)])?;
//! assert!(graph.to_bytes(&[("purpose", "example")]).len() > 50);
//! # Ok::<(), rekindle_onnx::OnnxError>(())
//! ```
#![forbid(unsafe_code)]

mod error;
mod graph;
mod operators;
mod protobuf;
mod values;

pub use error::{OnnxError, Result};
pub use graph::{Attribute, Dim, ElementType, Graph, Value};
pub use values::{PolicyOutputs, Values};

/// The version of the ONNX operators that graphs use.
pub const OPSET: i64 = 17;
