//! Learners in other processes, whose operations are methods of Python's objects: `torch.distributed` adds up
//! gradients, and Ray carries messages.
//!
//! Numbers are copied into a `bytearray`, on which Python works in place, and back. So Python never holds memory of
//! Rust, and nothing is pickled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::buffer::PyBuffer;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyString};
use rekindle::algorithms::LearnerMessages;
use rekindle::learner::{Collective, Fault};

/// The exception that a method raised last. It becomes the cause of the error that the learner returns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raised(Arc<Mutex<Option<PyErr>>>);

impl Raised {
    pub(crate) fn take(&self) -> Option<PyErr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps an exception.
    fn fault(&self, py: Python<'_>, error: PyErr) -> Fault {
        let fault = Fault::Fatal(error.value(py).to_string());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        fault
    }
}

/// A collective whose operations are methods of a Python object.
#[derive(Debug)]
pub(crate) struct PythonCollective {
    object: Py<PyAny>,
    rank: usize,
    size: usize,
    /// The memory of operations, by size.
    memory: HashMap<usize, Py<PyByteArray>>,
    raised: Raised,
}

impl PythonCollective {
    /// Takes an object with the attributes `rank` and `size`, and the operations as methods.
    pub(crate) fn new(object: &Bound<'_, PyAny>, raised: Raised) -> PyResult<Self> {
        let py = object.py();
        let rank = object.getattr(intern!(py, "rank"))?.extract()?;
        let size = object.getattr(intern!(py, "size"))?.extract()?;
        let object = object.clone().unbind();
        Ok(Self { object, rank, size, memory: HashMap::new(), raised })
    }

    /// Calls a method that changes bytes in place.
    fn in_place(
        &mut self,
        py: Python<'_>,
        method: &Bound<'_, PyString>,
        bytes: &mut [u8],
        root: Option<usize>,
    ) -> PyResult<()> {
        let memory = self
            .memory
            .entry(bytes.len())
            .or_insert_with(|| PyByteArray::new(py, bytes).unbind())
            .bind(py);
        PyBuffer::<u8>::get(memory)?.copy_from_slice(py, bytes)?;
        match root {
            None => self.object.call_method1(py, method, (memory,))?,
            Some(root) => self.object.call_method1(py, method, (memory, root))?,
        };
        PyBuffer::<u8>::get(memory)?.copy_to_slice(py, bytes)
    }

    fn call<T>(
        &mut self,
        operation: impl FnOnce(&mut Self, Python<'_>) -> PyResult<T>,
    ) -> Result<T, Fault> {
        Python::attach(|py| operation(self, py).map_err(|error| self.raised.fault(py, error)))
    }
}

impl Collective for PythonCollective {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_reduce_sum(&mut self, buffer: &mut [f32]) -> Result<(), Fault> {
        self.call(|this, py| {
            // As one operation: gloo divides it into parts itself, and is slower if that is done before.
            this.in_place(py, intern!(py, "all_reduce_sum"), bytemuck::cast_slice_mut(buffer), None)
        })
    }

    fn broadcast(&mut self, buffer: &mut [u8], root: usize) -> Result<(), Fault> {
        self.call(|this, py| this.in_place(py, intern!(py, "broadcast"), buffer, Some(root)))
    }

    fn agree_max(&mut self, flag: u32) -> Result<u32, Fault> {
        self.call(|this, py| {
            let largest = this.object.call_method1(py, intern!(py, "agree_max"), (flag,))?;
            largest.extract(py)
        })
    }

    fn abort(&mut self, reason: &str) {
        // A failure of this is not the cause.
        let abort = |py: Python<'_>| self.object.call_method1(py, intern!(py, "abort"), (reason,));
        let _ = Python::attach(|py| abort(py).map(drop));
    }

    fn rebuild(&mut self) -> Result<(), Fault> {
        let reason = "a group in other processes is replaced by a new one, by `Training.lead`";
        Err(Fault::Fatal(reason.into()))
    }
}

/// Messages that a Python object carries.
#[derive(Debug)]
pub(crate) struct PythonMessages {
    object: Py<PyAny>,
    num_others: usize,
    raised: Raised,
}

impl PythonMessages {
    /// Takes an object with the methods `send` and `receive`.
    pub(crate) fn new(object: Py<PyAny>, num_others: usize, raised: Raised) -> Self {
        Self { object, num_others, raised }
    }

    fn call<T>(&self, call: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T, Fault> {
        Python::attach(|py| call(py).map_err(|error| self.raised.fault(py, error)))
    }
}

impl LearnerMessages for PythonMessages {
    fn num_others(&self) -> usize {
        self.num_others
    }

    fn send(&mut self, message: Vec<u8>) -> Result<(), Fault> {
        self.call(|py| {
            let message = PyBytes::new(py, &message);
            self.object.call_method1(py, intern!(py, "send"), (message,)).map(drop)
        })
    }

    fn receive(&mut self) -> Result<Vec<Vec<u8>>, Fault> {
        self.call(|py| {
            let answers = self.object.call_method0(py, intern!(py, "receive"))?;
            let answers = answers.bind(py).try_iter()?;
            answers.map(|answer| Ok(answer?.cast::<PyBytes>()?.as_bytes().to_vec())).collect()
        })
    }
}
