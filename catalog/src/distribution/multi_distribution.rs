//! The distribution over the actions of `Dict` and `Tuple` spaces.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use burn::prelude::*;
use rekindle_core::{Batch, Column, Generator};
use rekindle_env::{Row, RowMut};
use rekindle_onnx::{Graph, Value, Values};

use super::{Distribution, check_inputs};
use crate::error::{CatalogError, Result};

/// Independent distributions, one for each part of a nested space. The inputs are the concatenated
/// inputs of the parts, by sorted key for a `Dict`.
///
/// Log-probabilities, entropies and divergences are sums over the parts. If a part lacks one, so
/// does the whole. A part may be a `MultiDistribution` too.
#[derive(Debug, Clone)]
pub struct MultiDistribution {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
struct Part {
    place: Place,
    /// Name of the part's column. Positions of a `Tuple` are `"0"`, `"1"`, ….
    column: String,
    /// Range of the part's inputs.
    inputs: Range<usize>,
    distribution: Arc<dyn Distribution>,
}

/// Place of a part in an action.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The key with the name of the column.
    Key,
    /// A position in a `Tuple`.
    Position(usize),
}

impl Part {
    fn row<'a>(&self, action: Row<'a>) -> Result<Row<'a>> {
        Ok(match self.place {
            Place::Key => action.get(&self.column)?,
            Place::Position(position) => action.index(position)?,
        })
    }

    fn row_mut<'a>(&self, action: &'a mut RowMut<'_>) -> Result<RowMut<'a>> {
        Ok(match self.place {
            Place::Key => action.get_mut(&self.column)?,
            Place::Position(position) => action.index_mut(position)?,
        })
    }
}

impl MultiDistribution {
    /// Creates the distribution over a `Dict` space.
    #[must_use]
    pub fn dict(parts: BTreeMap<String, Arc<dyn Distribution>>) -> Self {
        Self::new(parts.into_iter().map(|(key, part)| (Place::Key, key, part)))
    }

    /// Creates the distribution over a `Tuple` space.
    #[must_use]
    pub fn tuple(parts: impl IntoIterator<Item = Arc<dyn Distribution>>) -> Self {
        let parts = parts.into_iter().enumerate();
        Self::new(parts.map(|(i, part)| (Place::Position(i), i.to_string(), part)))
    }

    fn new(parts: impl Iterator<Item = (Place, String, Arc<dyn Distribution>)>) -> Self {
        let mut start = 0;
        let parts = parts.map(|(place, column, distribution)| {
            let inputs = start..start + distribution.required_input_dim();
            start = inputs.end;
            Part { place, column, inputs, distribution }
        });
        Self { parts: parts.collect() }
    }

    /// Returns the columns of the parts of a batch of actions.
    fn columns<'a>(&self, actions: &'a Column) -> Result<&'a Batch> {
        match actions {
            Column::Nested(batch) => Ok(batch),
            Column::Tensor(_) => Err(CatalogError::NotNested {
                columns: self.parts.iter().map(|part| part.column.clone()).collect(),
                found: actions.describe(),
            }),
        }
    }

    /// Sums `term` over the parts. It takes a part and its inputs.
    fn sum(
        &self,
        inputs: &Tensor<2>,
        term: impl Fn(&Part, Tensor<2>) -> Result<Tensor<1>>,
    ) -> Result<Tensor<1>> {
        let [rows, found] = inputs.dims();
        check_inputs(self, found)?;
        let zero = Tensor::zeros([rows], &inputs.device());
        self.parts.iter().try_fold(zero, |sum, part| {
            Ok(sum + term(part, inputs.clone().slice([0..rows, part.inputs.clone()]))?)
        })
    }
}

impl Distribution for MultiDistribution {
    fn name(&self) -> &'static str {
        "MultiDistribution"
    }

    fn required_input_dim(&self) -> usize {
        self.parts.last().map_or(0, |part| part.inputs.end)
    }

    fn sample(&self, inputs: &[f32], rng: &mut Generator, mut action: RowMut<'_>) -> Result<()> {
        check_inputs(self, inputs.len())?;
        self.parts.iter().try_for_each(|part| {
            let row = part.row_mut(&mut action)?;
            part.distribution.sample(&inputs[part.inputs.clone()], rng, row)
        })
    }

    fn sample_and_logp(
        &self,
        inputs: &[f32],
        rng: &mut Generator,
        mut action: RowMut<'_>,
    ) -> Result<f32> {
        check_inputs(self, inputs.len())?;
        self.parts.iter().try_fold(0.0, |sum, part| {
            let row = part.row_mut(&mut action)?;
            let inputs = &inputs[part.inputs.clone()];
            Ok(sum + part.distribution.sample_and_logp(inputs, rng, row)?)
        })
    }

    fn deterministic(&self, inputs: &[f32], mut action: RowMut<'_>) -> Result<()> {
        check_inputs(self, inputs.len())?;
        self.parts.iter().try_for_each(|part| {
            let row = part.row_mut(&mut action)?;
            part.distribution.deterministic(&inputs[part.inputs.clone()], row)
        })
    }

    fn has_density(&self) -> bool {
        self.parts.iter().all(|part| part.distribution.has_density())
    }

    fn export_onnx(&self, graph: &mut Graph, inputs: &Value) -> Result<Values> {
        let parts = self.parts.iter().map(|part| {
            let inputs = graph.slice(inputs, part.inputs.clone());
            Ok((part.column.clone(), part.distribution.export_onnx(graph, &inputs)?))
        });
        Ok(Values::Parts(parts.collect::<Result<_>>()?))
    }

    fn row_logp(&self, inputs: &[f32], action: Row<'_>) -> Result<f32> {
        check_inputs(self, inputs.len())?;
        self.parts.iter().try_fold(0.0, |sum, part| {
            let inputs = &inputs[part.inputs.clone()];
            Ok(sum + part.distribution.row_logp(inputs, part.row(action)?)?)
        })
    }

    fn logp(&self, inputs: Tensor<2>, actions: &Column) -> Result<Tensor<1>> {
        let columns = self.columns(actions)?;
        self.sum(&inputs, |part, inputs| {
            part.distribution.logp(inputs, columns.column(&part.column)?)
        })
    }

    fn entropy(&self, inputs: Tensor<2>) -> Result<Tensor<1>> {
        self.sum(&inputs, |part, inputs| part.distribution.entropy(inputs))
    }

    fn kl(&self, p: Tensor<2>, q: Tensor<2>) -> Result<Tensor<1>> {
        let [rows, found] = q.dims();
        check_inputs(self, found)?;
        self.sum(&p, |part, p| {
            part.distribution.kl(p, q.clone().slice([0..rows, part.inputs.clone()]))
        })
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::any_tensor::to_f32;
    use rekindle_core::host_batch::upload;
    use rekindle_env::{Buffer, Space};

    use super::super::Deterministic;
    use super::*;
    use crate::catalog::{Catalog, DefaultCatalog};

    fn space() -> Space {
        let tuple = Space::tuple([Space::multi_binary(2).unwrap(), Space::discrete(2).unwrap()]);
        Space::dict([
            ("turn", Space::boxed(-1.0, 1.0, &[2]).unwrap()),
            ("gear", Space::discrete(3).unwrap()),
            ("lights", tuple.unwrap()),
        ])
        .unwrap()
    }

    fn one(tensor: Result<Tensor<1>>) -> f32 {
        to_f32(tensor.unwrap()).unwrap()[0]
    }

    /// Keys sorted: 3 logits of `gear`; 2 bits and 2 logits of `lights`; `[means, log_stds]`.
    const ROW: [f32; 11] = [1.0, 2.0, 3.0, 0.3, -0.3, 0.5, 0.0, 0.1, -0.1, -0.5, 0.2];

    #[test]
    fn parts_are_read_in_the_order_of_sorted_keys_and_summed() {
        let dist = DefaultCatalog.action_distribution(&space()).unwrap();
        assert_eq!(dist.required_input_dim(), ROW.len());
        assert!(!dist.is_gaussian());
        let mut action = Buffer::zeros(&space(), 1);
        dist.deterministic(&ROW, action.row_mut(0)).unwrap();
        let row = action.row(0);
        assert_eq!(row.get("gear").unwrap().as_discrete().unwrap(), 2);
        assert_eq!(row.get("turn").unwrap().as_f32().unwrap(), [0.1, -0.1]);
        let lights = row.get("lights").unwrap();
        assert_eq!(lights.index(0).unwrap().as_u8().unwrap(), [1, 0]);
        assert_eq!(lights.index(1).unwrap().as_discrete().unwrap(), 0);

        let part = |key: &str, range: Range<usize>| {
            let space = space().as_dict().unwrap().get(key).unwrap().clone();
            let part = DefaultCatalog.action_distribution(&space).unwrap();
            let inputs = Tensor::<1>::from_floats(&ROW[range.clone()], &Device::flex()).unsqueeze();
            let logp = part.row_logp(&ROW[range], row.get(key).unwrap()).unwrap();
            [logp, one(part.entropy(inputs))]
        };
        let parts = [part("gear", 0..3), part("lights", 3..7), part("turn", 7..11)];
        let [logp, entropy] = [0, 1].map(|i| parts.iter().map(|part| part[i]).sum::<f32>());
        let inputs = || Tensor::<1>::from_floats(ROW, &Device::flex()).unsqueeze();
        let column = upload(&action, &Device::flex()).unwrap();
        assert!(matches!(column, Column::Nested(_)));
        for (found, expected) in [
            (dist.row_logp(&ROW, row).unwrap(), logp),
            (one(dist.logp(inputs(), &column)), logp),
            (one(dist.entropy(inputs())), entropy),
            (one(dist.kl(inputs(), inputs())), 0.0),
        ] {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn actions_that_are_not_nested_are_refused_with_the_parts_there_are() {
        let dist = DefaultCatalog.action_distribution(&space()).unwrap();
        let inputs = Tensor::<2>::zeros([1, 11], &Device::flex());
        let flat = Tensor::<2>::zeros([1, 6], &Device::flex()).into();
        let message = dist.logp(inputs.clone(), &flat).unwrap_err().to_string();
        assert!(message.contains("[gear, lights, turn]"), "{message}");
        let message = dist.logp(inputs, &Batch::new().into()).unwrap_err().to_string();
        assert!(message.contains("column `gear`"), "{message}");
        assert!(
            dist.sample(
                &[0.0],
                &mut Generator::from_seed(0),
                Buffer::zeros(&space(), 1).row_mut(0)
            )
            .is_err()
        );
    }

    #[test]
    fn what_one_part_lacks_the_whole_lacks_and_the_part_is_named() {
        let point: Arc<dyn Distribution> = Arc::new(Deterministic::new(2));
        let dist = MultiDistribution::tuple([point]);
        let message = dist.entropy(Tensor::zeros([1, 2], &Device::flex())).unwrap_err().to_string();
        assert!(message.contains("Deterministic has no entropy"), "{message}");
    }
}
