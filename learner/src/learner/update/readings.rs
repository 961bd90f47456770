//! What is reported of minibatches, read from the device once an update.

use std::borrow::Cow;
use std::collections::BTreeMap;

use burn::prelude::*;
use burn::tensor::{DType, Transaction};
use rekindle_core::{CoreError, ModuleId};

use crate::error::Result;
use crate::global_norm::GlobalNorm;

/// Metrics of one module by name.
pub(super) type ModuleMetrics = BTreeMap<Cow<'static, str>, f64>;

/// Metrics of one minibatch, by module (or name of shared parameters).
pub(super) type MinibatchMetrics = BTreeMap<ModuleId, ModuleMetrics>;

/// What one minibatch left on the device, not yet read.
#[derive(Default)]
pub(in crate::learner) struct Readings {
    known: MinibatchMetrics,
    /// `[1]` each.
    scalars: Vec<(ModuleId, Cow<'static, str>, Tensor<1>)>,
    steps: Vec<(OptimizerKey, Outcome)>,
    rows: Vec<RowValues<Tensor<1>>>,
}

/// The optimizer of some parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OptimizerKey {
    /// The module, or the name of shared parameters.
    pub(super) owner: String,
    /// The name of the optimizer.
    pub(super) name: String,
}

/// Whether a step was taken.
#[expect(clippy::large_enum_variant, reason = "there are a few per minibatch")]
pub(super) enum Outcome {
    Taken,
    Refused,
    /// The device decided: taken if this number, `[1]`, is finite.
    Guarded(Tensor<1>),
}

/// Values of the rows of a minibatch, for the execution plan.
#[derive(Debug)]
pub(in crate::learner) struct RowValues<T> {
    pub(super) module_id: ModuleId,
    pub(super) name: &'static str,
    /// The rows of the data; `None` for padding.
    pub(in crate::learner) rows: Vec<Option<usize>>,
    pub(in crate::learner) values: T,
}

/// The values of rows of all minibatches.
pub(in crate::learner) type RowHistory = Vec<Vec<RowValues<Vec<f32>>>>;

/// What one minibatch reports.
pub(in crate::learner) struct Minibatch {
    pub(super) metrics: MinibatchMetrics,
    /// The steps that were not taken, and whether the optimizer counted them.
    pub(super) refused: Vec<(OptimizerKey, bool)>,
    pub(super) rows: Vec<RowValues<Vec<f32>>>,
}

impl Readings {
    pub(super) fn insert(
        &mut self,
        id: &str,
        name: impl Into<Cow<'static, str>>,
        value: Tensor<1>,
    ) {
        self.scalars.push((id.to_owned(), name.into(), value.inner()));
    }

    pub(super) fn insert_norm(&mut self, group: &str, name: Cow<'static, str>, norm: &GlobalNorm) {
        match norm {
            GlobalNorm::Known(norm) => {
                self.known.entry(group.to_owned()).or_default().insert(name, *norm);
            }
            GlobalNorm::OnDevice(norm) => self.insert(group, name, norm.clone()),
        }
    }

    pub(super) fn insert_step(&mut self, optimizer: OptimizerKey, outcome: Outcome) {
        self.steps.push((optimizer, outcome));
    }

    pub(super) fn insert_rows(&mut self, values: RowValues<Tensor<1>>) {
        self.rows.push(RowValues { values: values.values.inner(), ..values });
    }

    /// Reads all minibatches; waits once for the device.
    pub(in crate::learner) fn read(all: Vec<Self>) -> Result<Vec<Minibatch>> {
        let mut transaction = Transaction::default();
        for readings in &all {
            for tensor in readings.tensors() {
                transaction = transaction.register(tensor.clone());
            }
        }
        let values = transaction.try_execute();
        let values = values.map_err(|error| CoreError::DeviceRead(format!("{error:?}")))?;
        let mut values = values.into_iter().map(floats);
        let mut next = move || values.next().unwrap_or_else(|| Ok(Vec::new()));
        all.into_iter().map(|readings| readings.with_values(&mut next)).collect()
    }

    /// The tensors to read, in the order of [`with_values`](Self::with_values).
    fn tensors(&self) -> impl Iterator<Item = &Tensor<1>> {
        let scalars = self.scalars.iter().map(|(.., scalar)| scalar);
        let steps = self.steps.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Guarded(sum) => Some(sum),
            Outcome::Taken | Outcome::Refused => None,
        });
        scalars.chain(steps).chain(self.rows.iter().map(|of_rows| &of_rows.values))
    }

    fn with_values(self, next: &mut impl FnMut() -> Result<Vec<f32>>) -> Result<Minibatch> {
        let mut metrics = self.known;
        let first = |values: Vec<f32>| values.first().copied().map_or(f64::NAN, f64::from);
        for (id, name, _) in self.scalars {
            metrics.entry(id).or_default().insert(name, first(next()?));
        }
        let mut refused = Vec::new();
        for (optimizer, outcome) in self.steps {
            match outcome {
                Outcome::Taken => {}
                Outcome::Refused => refused.push((optimizer, false)),
                Outcome::Guarded(_) if first(next()?).is_finite() => {}
                Outcome::Guarded(_) => refused.push((optimizer, true)),
            }
        }
        let mut rows = Vec::with_capacity(self.rows.len());
        for RowValues { module_id, name, rows: of, .. } in self.rows {
            rows.push(RowValues { module_id, name, rows: of, values: next()? });
        }
        Ok(Minibatch { metrics, refused, rows })
    }
}

fn floats(data: TensorData) -> Result<Vec<f32>> {
    let data = if data.dtype() == DType::F32 { data } else { data.convert::<f32>() };
    let values = data.as_slice::<f32>().map_err(|e| CoreError::DeviceRead(format!("{e:?}")))?;
    Ok(values.to_vec())
}
