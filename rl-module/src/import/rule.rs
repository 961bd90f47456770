//! Rules that give foreign parameters new names.

use rekindle_core::named::below;
use rekindle_core::weights::Weights;

use super::edit::Edit;

/// A rule of a [`NameMap`](super::NameMap).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// A prefix in place of another.
    Rename { from: String, to: String },
    /// Layers in the order in which they are applied.
    Sequence(Sequence),
}

impl Rule {
    /// Returns the prefixes to replace in the names of these weights, old and new.
    pub(super) fn targets(&self, weights: &Weights) -> Vec<(String, String)> {
        match self {
            Self::Rename { from, to } => vec![(from.clone(), to.clone())],
            Self::Sequence(sequence) => sequence.targets(weights),
        }
    }

    /// Returns the changes of values that the rule implies, by foreign name.
    pub(super) fn edits(&self, weights: &Weights) -> Option<(String, Edit)> {
        match self {
            Self::Rename { .. } => None,
            Self::Sequence(sequence) => sequence.channels_last(weights),
        }
    }
}

/// Foreign layers that become an MLP, after convolutions or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sequence {
    /// Prefixes of the layers, in the order in which they are applied.
    from: Vec<String>,
    /// The `Cnn` that the convolutions become.
    cnn: Option<String>,
    /// The `Mlp` that the linear layers become.
    mlp: String,
    /// The name of the last linear layer, if it is not one of the `Mlp`.
    output: Option<String>,
}

impl Sequence {
    pub(super) fn mlp(from: impl Into<Vec<String>>, mlp: String) -> Self {
        Self { from: from.into(), cnn: None, mlp, output: None }
    }

    pub(super) fn cnn(from: String, to: &str) -> Self {
        let cnn = Some(format!("{to}.cnn"));
        Self { from: vec![from], cnn, mlp: format!("{to}.mlp"), output: None }
    }

    pub(super) fn with_output(self, output: String) -> Self {
        Self { output: Some(output), ..self }
    }

    /// The layers in their order.
    fn layers(&self, weights: &Weights) -> Vec<Layer> {
        let below_prefix = |prefix: &String| {
            let mut layers: Vec<_> = weights
                .iter()
                .filter_map(|(name, array)| {
                    let layer = name.strip_suffix(".weight")?;
                    let order = natural_order(below(layer, prefix)?);
                    let (name, shape) = (layer.to_owned(), array.shape().to_vec());
                    Some((order, Layer { name, kind: LayerKind::of(&shape)?, shape }))
                })
                .collect();
            layers.sort_by(|(a, _), (b, _)| a.cmp(b));
            layers.into_iter().map(|(_, layer)| layer)
        };
        self.from.iter().flat_map(below_prefix).collect()
    }

    fn targets(&self, weights: &Weights) -> Vec<(String, String)> {
        let layers = self.layers(weights);
        let last = layers.iter().rposition(|layer| layer.kind == LayerKind::Linear);
        // The layers and norms so far, in the `Cnn` and in the `Mlp`.
        let (mut convolved, mut dense) = (Counter::default(), Counter::default());
        let mut targets = Vec::new();
        for (index, layer) in layers.into_iter().enumerate() {
            let to = match (layer.kind, &self.output, &self.cnn) {
                (LayerKind::Linear, Some(output), _) if Some(index) == last => output.clone(),
                (LayerKind::Linear, ..) => dense.next_layer(&self.mlp),
                (LayerKind::Convolution, _, Some(cnn)) => convolved.next_layer(cnn),
                (LayerKind::Convolution, _, None) => continue,
                (LayerKind::Norm, _, Some(cnn)) if dense.layers == 0 => convolved.next_norm(cnn),
                (LayerKind::Norm, ..) => dense.next_norm(&self.mlp),
            };
            targets.push((layer.name, to));
        }
        targets
    }

    /// The reordering of the first linear layer's columns, if it reads flattened convolutions.
    fn channels_last(&self, weights: &Weights) -> Option<(String, Edit)> {
        self.cnn.as_ref()?;
        let layers = self.layers(weights);
        let linear = layers.iter().position(|layer| layer.kind == LayerKind::Linear)?;
        let mut before = layers[..linear].iter().rev();
        let convolution = before.find(|layer| layer.kind == LayerKind::Convolution)?;
        let channels = convolution.shape[0];
        Some((format!("{}.weight", layers[linear].name), Edit::ChannelsLast { channels }))
    }
}

/// Returns the linear layers below a prefix, in the order of their names.
pub(super) fn linear_layers(weights: &Weights, prefix: &str) -> Vec<String> {
    let layers = Sequence::mlp([prefix.to_owned()], String::new()).layers(weights).into_iter();
    let linear = layers.filter(|layer| layer.kind == LayerKind::Linear);
    linear.map(|layer| layer.name).collect()
}

/// A layer of another library.
struct Layer {
    /// The name of its weight, without `.weight`.
    name: String,
    kind: LayerKind,
    shape: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LayerKind {
    Convolution,
    Linear,
    Norm,
}

impl LayerKind {
    /// Recognizes a layer by the shape of its weight.
    fn of(shape: &[usize]) -> Option<Self> {
        match shape.len() {
            4 => Some(Self::Convolution),
            2 => Some(Self::Linear),
            1 => Some(Self::Norm),
            _ => None,
        }
    }
}

/// Counts the layers and norms of one network.
#[derive(Default)]
struct Counter {
    layers: usize,
    norms: usize,
}

impl Counter {
    fn next_layer(&mut self, network: &str) -> String {
        self.layers += 1;
        format!("{network}.layers.{}", self.layers - 1)
    }

    fn next_norm(&mut self, network: &str) -> String {
        self.norms += 1;
        format!("{network}.norms.{}", self.norms - 1)
    }
}

/// A key that sorts `.2` before `.10`.
fn natural_order(name: &str) -> Vec<(Option<usize>, String)> {
    name.split('.').map(|level| (level.parse().ok(), level.to_owned())).collect()
}
