//! The Python module `rekindle._rekindle`, which the package `rekindle` re-exports.
//!
//! | module | holds |
//! |---|---|
//! | `bundle` | `PolicyBundle`: acting with a trained policy |
//! | `training` | `Training`: what `train` and `resume` return |
//! | `collective` | learners in other processes, whose operations are methods of Python |
//! | `settings` | settings from dicts and files |
//! | `checkpoint` | `Checkpoint`: reading saved states |
//! | `evaluation` | `Evaluation`: the episodes of an evaluation |
//! | `observations`, `actions`, `numpy` | NumPy arrays to rows of a space, and back |
//! | `data` | plain data to Python's objects, and back |
//! | `error`, `log` | exceptions, and warnings through `logging` |
//!
//! Work that may take long runs detached from the interpreter, so that other threads of Python go on.
#![deny(unsafe_code)]

mod actions;
mod bundle;
mod checkpoint;
mod collective;
mod data;
mod error;
mod evaluation;
mod log;
mod numpy;
mod observations;
mod settings;
mod training;

use pyo3::prelude::*;

#[pymodule]
fn _rekindle(module: &Bound<'_, PyModule>) -> PyResult<()> {
    log::install();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<bundle::PolicyBundle>()?;
    module.add_class::<checkpoint::Checkpoint>()?;
    module.add_class::<evaluation::Evaluation>()?;
    module.add_class::<training::Training>()?;
    module.add_function(wrap_pyfunction!(training::train, module)?)?;
    module.add_function(wrap_pyfunction!(training::resume, module)?)?;
    module.add_function(wrap_pyfunction!(training::read_metrics, module)?)?;
    module.add_function(wrap_pyfunction!(settings::algorithms, module)?)?;
    module.add_function(wrap_pyfunction!(settings::default_settings, module)?)?;
    module.add_function(wrap_pyfunction!(settings::complete_settings, module)?)?;
    Ok(())
}
