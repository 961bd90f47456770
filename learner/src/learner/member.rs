//! What makes a learner one of several that share updates.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::prelude::*;
use rekindle_core::ModuleId;
use rekindle_core::any_tensor::to_f32;

use super::update::ModuleData;
use crate::collective::Collective;
use crate::error::Result;
use crate::loss::Losses;
use crate::share::Share;

/// A learner's place in a group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) collective: Box<dyn Collective>,
    /// For the units of each module in this update, the rows that count.
    rows: BTreeMap<ModuleId, Vec<f32>>,
}

/// The losses of a module in one phase.
pub(super) struct PhaseLoss {
    /// The loss that gradients are taken of: of several learners, each has its share.
    pub(super) losses: Losses,
    /// The loss of the whole minibatch, `[1]`, without gradients.
    pub(super) reported: Tensor<1>,
}

impl From<Losses> for PhaseLoss {
    fn from(losses: Losses) -> Self {
        let reported = losses.total.clone().inner();
        Self { losses, reported }
    }
}

impl Member {
    pub(super) fn new(collective: Box<dyn Collective>) -> Self {
        Self { collective, rows: BTreeMap::new() }
    }

    /// Begins an update from some data.
    pub(super) fn begin(&mut self, data: &ModuleData) -> Result<()> {
        self.rows.clear();
        for (id, data) in data {
            self.rows.insert(id.clone(), data.rows_of_units()?);
        }
        Ok(())
    }

    /// Returns the share in a minibatch of some units of a module.
    pub(super) fn share(&self, id: &str, units: &[usize]) -> Share {
        let all = self.rows.get(id).map_or(&[][..], Vec::as_slice);
        let rows: Vec<f32> =
            units.iter().map(|&unit| all.get(unit).copied().unwrap_or(0.0)).collect();
        Share::new(self.collective.rank(), self.collective.size(), &rows)
    }

    /// Weighs the losses of modules by the shares, and combines what they report with what the other learners report,
    /// so that all report and decide the same.
    pub(super) fn combine(
        &mut self,
        computed: Vec<(ModuleId, Losses)>,
        shares: &BTreeMap<ModuleId, Share>,
    ) -> Result<Vec<(ModuleId, PhaseLoss)>> {
        let weight = |id: &ModuleId| shares.get(id).map_or(1.0, |share| share.weight);
        let (mut all, mut weights) = (Vec::new(), Vec::new());
        for (id, losses) in &computed {
            let metrics = losses.metrics.iter().map(|(_, value)| value);
            for value in std::iter::once(&losses.total).chain(metrics) {
                all.push(value.clone().inner());
                weights.push(weight(id) as f32);
            }
        }
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let device = all[0].device();
        // One tensor, so that the host waits once for the device.
        let mut numbers = to_f32(Tensor::cat(all, 0))?;
        numbers.iter_mut().zip(&weights).for_each(|(number, weight)| *number *= weight);
        self.collective.all_reduce_sum(&mut numbers)?;
        let mut numbers = numbers.into_iter();
        let mut next = move || {
            let number = numbers.next().unwrap_or(f32::NAN);
            Tensor::from_floats([number], &device)
        };
        let combined = computed.into_iter().map(|(id, mut losses)| {
            let reported = next();
            losses.total = losses.total * weight(&id);
            for (_, value) in &mut losses.metrics {
                *value = next();
            }
            (id, PhaseLoss { losses, reported })
        });
        Ok(combined.collect())
    }
}

/// Returns the parameters of a module that gradients can reach, with their shapes, in the order of a visitor.
pub(super) fn trainable<M: Module>(module: &M) -> Vec<(ParamId, Vec<usize>)> {
    #[derive(Default)]
    struct Trainable(Vec<(ParamId, Vec<usize>)>);
    impl ModuleVisitor for Trainable {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                self.0.push((param.id, param.lazy_shape().to_vec()));
            }
        }
    }
    let mut trainable = Trainable::default();
    module.visit(&mut trainable);
    trainable.0
}
