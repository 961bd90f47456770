//! Passes of a policy that acts, over slices in host memory.

#[cfg(feature = "flex")]
mod stage;

/// Observations, one row after the other.
#[derive(Debug, Clone, Copy)]
pub enum HostRows<'a> {
    /// Numbers.
    Floats(&'a [f32]),
    /// Bytes, which convolutions read.
    Bytes(&'a [u8]),
}

impl HostRows<'_> {
    #[cfg(feature = "flex")]
    fn len(self) -> usize {
        match self {
            Self::Floats(floats) => floats.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// The states of a recurrent layer: hidden states, and cell states of an LSTM. Those of a GRU are empty.
///
/// # Shapes
/// All `[B, hidden]`.
#[derive(Debug)]
pub struct HostState<'a> {
    /// The states before the step.
    pub before: [&'a [f32]; 2],
    /// The states after the step, to be written.
    pub after: [&'a mut [f32]; 2],
}

/// Layers one after the other, as a policy that acts needs them: without gradients, and without allocating
/// after the first call, with up to 8 layers and 8 threads.
///
/// The numbers are those of [`mlp`](crate::mlp()), [`conv`](crate::conv()) and
/// [`RecurrentLayer`](crate::RecurrentLayer), bit for bit. Weights are brought into the layout of the kernels once,
/// when the pass is made, so a pass belongs to these weights: make another one when they change.
///
/// Passes exist only on the CPU. On other devices, all constructors return `None`.
#[cfg(feature = "flex")]
#[derive(Debug, Clone)]
pub struct HostPass {
    inputs: usize,
    stages: Vec<stage::Stage>,
}

/// Layers one after the other, as a policy that acts needs them. They exist only on the CPU. This build has no CPU
/// backend.
#[cfg(not(feature = "flex"))]
#[derive(Debug, Clone)]
pub enum HostPass {}

#[cfg(not(feature = "flex"))]
mod other_devices {
    use super::{HostPass, HostRows, HostState};
    use crate::{ConvLayer, DenseLayer, RecurrentLayer};

    impl HostPass {
        /// Returns `None`.
        #[must_use]
        pub fn dense(_layers: Vec<DenseLayer>) -> Option<Self> {
            None
        }

        /// Returns `None`.
        #[must_use]
        pub fn conv(
            _dims: [usize; 3],
            _scale: Option<[f32; 2]>,
            _layers: Vec<ConvLayer>,
        ) -> Option<Self> {
            None
        }

        /// Returns `None`.
        #[must_use]
        pub fn recurrent(_layer: RecurrentLayer, _has_cell: bool) -> Option<Self> {
            None
        }

        /// Adds log standard deviations.
        #[must_use]
        pub fn with_log_stds(self, _free: Option<Vec<f32>>, _clip: Option<f32>) -> Option<Self> {
            match self {}
        }

        /// Adds layers.
        #[must_use]
        pub fn then(self, _next: Self) -> Option<Self> {
            match self {}
        }

        /// Whether one of the layers has a state.
        #[must_use]
        pub fn is_recurrent(&self) -> bool {
            match *self {}
        }

        /// Returns the number of outputs of a row.
        #[must_use]
        pub fn outputs(&self) -> usize {
            match *self {}
        }

        /// Computes the outputs of some rows.
        #[must_use]
        pub fn run(
            &self,
            _x: HostRows<'_>,
            _rows: usize,
            _state: Option<HostState<'_>>,
            _out: &mut [f32],
        ) -> bool {
            match *self {}
        }
    }
}

#[cfg(test)]
#[cfg(feature = "flex")]
mod tests;
