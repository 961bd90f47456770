//! What is reported of minibatches, read from the device once an update.

use std::collections::{BTreeMap, BTreeSet};

use burn::prelude::*;
use burn::tensor::{DType, Transaction};
use rekindle_core::{CoreError, ModuleId};

use crate::{GlobalNorm, Result};

/// Metrics of one minibatch by module (or name of shared parameters) and name.
pub(super) type MinibatchMetrics = BTreeMap<ModuleId, BTreeMap<&'static str, f64>>;

/// The metrics of one minibatch, not yet read.
#[derive(Default)]
pub(super) struct Readings {
    known: MinibatchMetrics,
    /// On the device: `[1]` each.
    scalars: Vec<(ModuleId, &'static str, Tensor<1>)>,
    guarded: BTreeSet<String>,
    refused: BTreeSet<String>,
}

/// The metrics of one minibatch.
pub(super) struct Minibatch {
    pub(super) metrics: MinibatchMetrics,
    /// The names of the parameters whose step only the device knows to be taken.
    pub(super) guarded: BTreeSet<String>,
    /// The names of the parameters whose gradients were too large to be applied.
    pub(super) refused: BTreeSet<String>,
}

impl Readings {
    pub(super) fn insert(&mut self, id: &str, name: &'static str, value: Tensor<1>) {
        self.scalars.push((id.to_owned(), name, value.inner()));
    }

    pub(super) fn insert_norm(&mut self, group: &str, name: &'static str, norm: &GlobalNorm) {
        match norm {
            GlobalNorm::Known(norm) => {
                self.known.entry(group.to_owned()).or_default().insert(name, *norm);
            }
            GlobalNorm::OnDevice(norm) => {
                self.insert(group, name, norm.clone());
                self.guarded.insert(group.to_owned());
            }
        }
    }

    /// Records that the gradients of a group were too large to be applied.
    pub(super) fn refuse(&mut self, group: String) {
        self.refused.insert(group);
    }

    /// Reads all minibatches; waits once for the device.
    pub(super) fn read(all: Vec<Self>) -> Result<Vec<Minibatch>> {
        let mut transaction = Transaction::default();
        for (.., scalar) in all.iter().flat_map(|readings| &readings.scalars) {
            transaction = transaction.register(scalar.clone());
        }
        let values = transaction.try_execute();
        let values = values.map_err(|error| CoreError::DeviceRead(format!("{error:?}")))?;
        let mut values = values.into_iter();
        let read = |Self { known, scalars, guarded, refused }: Self| {
            let mut metrics = known;
            for ((id, name, _), value) in scalars.into_iter().zip(&mut values) {
                let value =
                    if value.dtype() == DType::F32 { value } else { value.convert::<f32>() };
                let value =
                    value.as_slice::<f32>().map_err(|e| CoreError::DeviceRead(format!("{e:?}")))?;
                let value = value.first().copied().unwrap_or(f32::NAN);
                metrics.entry(id).or_default().insert(name, f64::from(value));
            }
            Ok(Minibatch { metrics, guarded, refused })
        };
        all.into_iter().map(read).collect()
    }
}
