//! The layers of a pass.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{HostPass, HostRows, HostState};
use crate::conv::ConvLayer;
use crate::cpu::{
    CellKind, ConvShape, Images, LAYERS, LayerParameters, PackedLayer, Prepared, RecurrentShape,
    Scale, Scratch, conv_into, pack_filters, pack_gates, recurrent_step,
};
use crate::host_op::elements;
use crate::mlp::{DenseLayer, fit};
use crate::packed::packed;
use crate::recurrent::{LEAST_HIDDEN, RecurrentLayer};

#[derive(Debug, Clone)]
pub(super) enum Stage {
    Dense {
        layers: Vec<DenseLayer>,
        prepared: Arc<Prepared>,
    },
    Conv {
        layers: Vec<(ConvLayer, ConvShape, Arc<Scratch>)>,
        scale: Option<Scale>,
    },
    Recurrent {
        layer: Box<RecurrentLayer>,
        kind: CellKind,
        weights: [Arc<Scratch>; 2],
    },
    /// Log standard deviations after the means: free ones, or those of the layers, clipped.
    LogStds {
        free: Option<Vec<f32>>,
        clip: f32,
        outputs: usize,
    },
}

/// Returns the layers with their parameters; `None` if one is not in host memory.
fn parameters(layers: &[DenseLayer]) -> Option<SmallVec<[LayerParameters<'_>; LAYERS]>> {
    layers.iter().map(DenseLayer::parameters).collect()
}

impl HostPass {
    fn of(inputs: usize, stage: Stage) -> Self {
        Self { inputs, stages: vec![stage] }
    }

    /// Returns the pass of fully connected layers; `None` for parameters on another device or with gradients, and for
    /// layers that do not fit together.
    #[must_use]
    pub fn dense(layers: Vec<DenseLayer>) -> Option<Self> {
        let inputs = layers.first()?.dims()[0];
        let empty = layers.iter().any(|layer| layer.dims().contains(&0));
        if empty || !fit(inputs, &layers) {
            return None;
        }
        let prepared = Arc::new(Prepared::new(&parameters(&layers)?));
        Some(Self::of(inputs, Stage::Dense { layers, prepared }))
    }

    /// Returns the pass of convolutions over images `dims` (height, width and channels), with the map
    /// `(x − scale[0]) / scale[1]` before the first one; `None` for parameters on another device or with gradients, and
    /// for layers that do not fit together.
    #[must_use]
    pub fn conv(dims: [usize; 3], scale: Option<[f32; 2]>, layers: Vec<ConvLayer>) -> Option<Self> {
        let mut size = dims;
        let mut found = Vec::with_capacity(layers.len());
        for layer in layers {
            let shape = layer.shape(size)?;
            let [weights, bias] = layer.parameters();
            elements(bias)?;
            let pack = |weights: &[f32]| pack_filters(shape, weights);
            let panels = match packed(weights, pack) {
                Some(panels) => panels,
                None => Arc::new(pack(elements(weights)?)),
            };
            size = shape.output;
            found.push((layer, shape, panels));
        }
        let scale = scale.map(|[low, width]| Scale { low, width });
        let is_empty = found.is_empty();
        let stage = Stage::Conv { layers: found, scale };
        (!is_empty).then(|| Self::of(dims.iter().product(), stage))
    }

    /// Returns the pass of one step of a recurrent layer, an LSTM if it has a cell, otherwise a GRU; `None` for
    /// parameters on another device or with gradients, and for fewer than 8 units.
    #[must_use]
    pub fn recurrent(layer: RecurrentLayer, has_cell: bool) -> Option<Self> {
        let kind = if has_cell { CellKind::Lstm } else { CellKind::Gru };
        let shape = layer.step_shape(kind, 1);
        if layer.hidden() < LEAST_HIDDEN || !layer.fits(&shape) || shape.inputs == 0 {
            return None;
        }
        let [of_inputs, of_state] = layer.weights();
        let pack = |weight: &[f32]| pack_gates(shape, weight);
        let panels = |weight| match packed(weight, pack) {
            Some(panels) => Some(panels),
            None => Some(Arc::new(pack(elements(weight)?))),
        };
        let weights = [panels(of_inputs)?, panels(of_state)?];
        layer.bias_elements()?;
        let inputs = shape.inputs;
        Some(Self::of(inputs, Stage::Recurrent { layer: Box::new(layer), kind, weights }))
    }

    /// Adds the log standard deviations `free` after the outputs. Without `free`, the second half of the outputs are the
    /// log standard deviations. Both are clipped to `±clip`. `None` for a number of outputs that does not fit, and unless
    /// `clip` is at least 0.
    #[must_use]
    pub fn with_log_stds(mut self, free: Option<Vec<f32>>, clip: Option<f32>) -> Option<Self> {
        let before = self.outputs();
        let clip = clip.unwrap_or(f32::INFINITY);
        let (fits, outputs) = match &free {
            Some(free) => (free.len() == before, 2 * before),
            None => (before.is_multiple_of(2), before),
        };
        // Also no number.
        let fits = fits && clip >= 0.0;
        self.stages.push(Stage::LogStds { free, clip, outputs });
        fits.then_some(self)
    }

    /// Returns the pass of these layers followed by those of `next`; `None` if they do not fit together, or if both have
    /// a recurrent layer.
    #[must_use]
    pub fn then(mut self, next: Self) -> Option<Self> {
        if self.outputs() != next.inputs || (self.is_recurrent() && next.is_recurrent()) {
            return None;
        }
        for stage in next.stages {
            match (self.stages.last_mut(), stage) {
                (
                    Some(Stage::Dense { layers, prepared }),
                    Stage::Dense { layers: following, .. },
                ) => {
                    layers.extend(following);
                    *prepared = Arc::new(Prepared::new(&parameters(layers)?));
                }
                (_, stage) => self.stages.push(stage),
            }
        }
        Some(self)
    }

    /// Whether one of the layers has a state.
    #[must_use]
    pub fn is_recurrent(&self) -> bool {
        self.stages.iter().any(|stage| matches!(stage, Stage::Recurrent { .. }))
    }

    /// Returns the number of outputs of a row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.stages.last().map_or(self.inputs, Stage::outputs)
    }

    /// Computes the outputs of some rows, and the states after the step if a layer is recurrent. Returns `false`,
    /// without having computed anything, if the length of a slice does not match `rows`, for bytes that the first layer
    /// does not read, and for a state without a recurrent layer.
    ///
    /// # Shapes
    /// `x`: `[rows, inputs]`; `out`: `[rows, outputs]`.
    #[must_use]
    pub fn run(
        &self,
        x: HostRows<'_>,
        rows: usize,
        mut state: Option<HostState<'_>>,
        out: &mut [f32],
    ) -> bool {
        let reads = matches!(x, HostRows::Floats(_))
            || matches!(self.stages.first(), Some(Stage::Conv { .. }));
        let fits = x.len() == rows * self.inputs && out.len() == rows * self.outputs();
        let states_fit = state.is_some() == self.is_recurrent()
            && self.stages.iter().all(|stage| stage.states_fit(rows, state.as_ref()));
        if rows == 0 || !reads || !fits || !states_fit {
            return false;
        }
        let mut between: Option<Scratch> = None;
        for (index, stage) in self.stages.iter().enumerate() {
            let is_last = index + 1 == self.stages.len();
            let mut next = Scratch::new(if is_last { 0 } else { rows * stage.outputs() });
            let x = between.as_deref().map_or(x, HostRows::Floats);
            stage.run(x, rows, &mut state, if is_last { &mut *out } else { &mut next[..] });
            between = Some(next);
        }
        true
    }
}

impl Stage {
    fn outputs(&self) -> usize {
        match self {
            Self::Dense { layers, .. } => layers.last().map_or(0, |layer| layer.dims()[1]),
            Self::Conv { layers, .. } => {
                layers.last().map_or(0, |(_, shape, _)| shape.output_len())
            }
            Self::Recurrent { layer, .. } => layer.hidden(),
            Self::LogStds { outputs, .. } => *outputs,
        }
    }

    fn states_fit(&self, rows: usize, state: Option<&HostState<'_>>) -> bool {
        let Self::Recurrent { layer, kind, .. } = self else { return true };
        let len = rows * layer.hidden();
        let lens = [len, if *kind == CellKind::Lstm { len } else { 0 }];
        state.is_some_and(|state| {
            state.before.map(<[f32]>::len) == lens
                && state.after.each_ref().map(|s| s.len()) == lens
        })
    }

    /// Computes the outputs of inputs that fit.
    fn run(
        &self,
        x: HostRows<'_>,
        rows: usize,
        state: &mut Option<HostState<'_>>,
        out: &mut [f32],
    ) {
        let floats = match x {
            HostRows::Floats(floats) => floats,
            HostRows::Bytes(_) => &[],
        };
        match self {
            Self::Dense { layers, prepared } => {
                // They were in host memory when the pass was made.
                if let Some(layers) = parameters(layers) {
                    prepared.forward(floats, &layers, out);
                }
            }
            Self::Conv { layers, scale } => {
                let x = match x {
                    HostRows::Floats(floats) => Images::Floats(floats),
                    HostRows::Bytes(bytes) => Images::Bytes(bytes),
                };
                let layers = layers.iter().map(|(layer, shape, panels)| {
                    (*shape, &panels[..], elements(layer.parameters()[1]).unwrap_or_default())
                });
                conv_into(x, layers, *scale, out);
            }
            Self::Recurrent { layer, kind, weights } => {
                let Some(HostState { before, after: [hidden, cell] }) = state else { return };
                let weights = weights.each_ref().map(|weights| &weights[..]);
                let biases = layer.bias_elements().unwrap_or_default();
                let shape: RecurrentShape = layer.step_shape(*kind, rows);
                let layer = PackedLayer { weights, biases };
                recurrent_step(shape, layer, floats, *before, [hidden, cell]);
                out.copy_from_slice(hidden);
            }
            Self::LogStds { free, clip, outputs } => {
                let means = outputs / 2;
                let rows = out.chunks_exact_mut(*outputs);
                let before = free.as_ref().map_or(*outputs, |_| means);
                for (row, x) in rows.zip(floats.chunks_exact(before)) {
                    row[..means].copy_from_slice(&x[..means]);
                    let log_stds = free.as_deref().unwrap_or(&x[x.len() - means..]);
                    for (log_std, x) in row[means..].iter_mut().zip(log_stds) {
                        *log_std = x.clamp(-clip, *clip);
                    }
                }
            }
        }
    }
}
