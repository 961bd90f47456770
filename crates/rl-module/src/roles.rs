//! Roles: what a learner may need from a module beyond its three passes.

use std::fmt;

use burn::prelude::Tensor;
use rekindle_core::Batch;

use crate::Result;

/// A module that estimates state values; RLlib's `ValueFunctionAPI`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no value function",
    note = "implement `ValueFunction` for `{Self}` and return `Some(self)` from `RLModule::as_value_function`"
)]
pub trait ValueFunction {
    /// Values `V(o)` of the observations of a batch.
    ///
    /// `embeddings` is the column of that name of the training pass over the same batch, if the
    /// module put one out: a shared encoder need not run twice.
    ///
    /// # Shapes
    /// Observations `[B, …]`; embeddings `[B, features]`; result `[B]`.
    ///
    /// # Errors
    /// If a column is missing or of another shape than the module was built for.
    fn compute_values(&self, batch: &Batch, embeddings: Option<Tensor<2>>) -> Result<Tensor<1>>;
}

/// A role by name, for the requirements of learners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// [`ValueFunction`].
    ValueFunction,
}

impl Role {
    /// The method of `RLModule` that gives the role out.
    pub fn accessor(self) -> &'static str {
        match self {
            Self::ValueFunction => "as_value_function",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ValueFunction => "ValueFunction",
        })
    }
}
