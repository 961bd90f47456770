//! MLPs of equal shape over the same rows, in one operation.

use super::layers::{Layer, LayerParameters};
use super::{backward, forward};
use crate::cpu::scratch::Scratch;
use crate::host_op::{HostOp, Pass};

/// Several MLPs over the same rows as one operation. Its inputs are the rows, then the weights
/// (`[members, inputs, outputs]`) and biases (`[members, outputs]`) of each layer.
#[derive(Debug)]
pub(crate) struct EnsembleOp {
    pub(crate) layers: Vec<Layer>,
    pub(crate) members: usize,
}

impl EnsembleOp {
    /// Returns the inputs of one member: the rows, and its own parameters.
    fn of_member<'a, const N: usize>(
        &self,
        member: usize,
        inputs: [&'a [f32]; N],
    ) -> [&'a [f32]; N] {
        let mut own = inputs;
        for parameters in own.iter_mut().skip(1) {
            *parameters = part(parameters, member, self.members);
        }
        own
    }

    fn layers<'a, const N: usize>(&self, own: [&'a [f32]; N]) -> Vec<LayerParameters<'a>> {
        let layers = self.layers.iter().zip(own.get(1..).unwrap_or_default().chunks_exact(2));
        let dense = |(&layer, p): (&Layer, &[&'a [f32]])| LayerParameters {
            layer,
            weights: p[0],
            bias: p[1],
        };
        layers.map(dense).collect()
    }
}

/// Returns one of several equal parts.
fn part(all: &[f32], index: usize, parts: usize) -> &[f32] {
    let len = all.len() / parts.max(1);
    all.get(index * len..(index + 1) * len).unwrap_or_default()
}

impl<const N: usize> HostOp<N> for EnsembleOp {
    /// For each member, the outputs of all layers but the last.
    type Saved = Vec<Vec<Scratch>>;

    fn forward(&self, inputs: [&[f32]; N], tracked: bool) -> (Vec<f32>, Self::Saved) {
        let (mut outputs, mut saved) = (Vec::new(), Vec::new());
        for member in 0..self.members {
            let own = self.of_member(member, inputs);
            let x = own.first().copied().unwrap_or_default();
            let (output, of_member) = forward(x, &self.layers(own), tracked);
            outputs.extend(output);
            saved.push(of_member);
        }
        (outputs, saved)
    }

    fn backward(&self, pass: Pass<'_, Self::Saved, N>) -> [Option<Vec<f32>>; N] {
        let mut total = [const { None }; N];
        for (member, saved) in pass.saved.iter().enumerate() {
            let own = self.of_member(member, pass.inputs);
            let x = own.first().copied().unwrap_or_default();
            let of_member = Pass {
                inputs: own,
                output: part(pass.output, member, self.members),
                saved,
                gradient: part(pass.gradient, member, self.members),
                needs: pass.needs,
            };
            let found = backward(x, &self.layers(own), of_member);
            for (index, (total, found)) in total.iter_mut().zip(found).enumerate() {
                add(total, found, index == 0);
            }
        }
        total
    }
}

/// Adds the gradient of a member: those of the common rows are summed, those of parameters follow one another.
fn add(total: &mut Option<Vec<f32>>, found: Option<Vec<f32>>, is_sum: bool) {
    match (total, found) {
        (Some(sum), Some(found)) if is_sum => {
            sum.iter_mut().zip(found).for_each(|(sum, found)| *sum += found);
        }
        (Some(all), Some(found)) => all.extend(found),
        (total, found) => *total = found,
    }
}
