//! Minibatches of sequences, for modules with memory.

use std::cell::OnceCell;

use burn::prelude::*;
use rekindle_core::{Batch, Column, Columns};
use rekindle_learner::Result;
use rekindle_learner::replay::{BURN_IN_STATE, BURNED_IN, NEXT_ROWS};

/// The rows of the sequences of a minibatch.
///
/// Each sequence has `P = burn_in + L` rows. A network runs once over the last `L` of all sequences, from the stored
/// state or from that after a burn-in. The outputs for what follows a row are those of a later row.
pub(crate) struct Sequences {
    count: usize,
    burn_in: usize,
    device: Device,
    /// The rows that follow the burn-in, `[S · L]`.
    learned: Tensor<1, Int>,
    /// For each row of the minibatch the row of the outputs, `[S · P]`. Rows of the burn-in, which do not count,
    /// have those of the first row after it.
    outputs: Tensor<1, Int>,
    /// For each row of the minibatch the first row of its sequence in the outputs, `[S · P]`.
    firsts: Tensor<1, Int>,
    /// Made once for all networks.
    of_burn_in: OnceCell<BurnIn>,
}

/// The burn-in of all sequences, without gradients.
struct BurnIn {
    inputs: Batch,
    /// For each sequence the row of its state among the stored states and those after the burn-in, which follow
    /// them.
    chosen: Tensor<1, Int>,
}

impl Sequences {
    /// Returns the rows of a minibatch of sequences; `None` for a minibatch of single rows.
    pub(crate) fn of(batch: &Batch, burn_in: usize) -> Result<Option<Self>> {
        if !batch.contains(NEXT_ROWS) {
            return Ok(None);
        }
        let count = batch.column(Columns::STATE_IN)?.rows().max(1);
        let rewards = batch.float::<1>(Columns::REWARDS)?;
        let (padded, device) = (rewards.dims()[0] / count, rewards.device());
        let burn_in = burn_in.min(padded);
        let steps = padded - burn_in;
        let ints = |rows: Vec<i64>| {
            let len = rows.len();
            Tensor::<1, Int>::from_data(TensorData::new(rows, [len]), &device)
        };
        let each = |width: usize, row: &dyn Fn(usize, usize) -> usize| {
            let rows = (0..count).flat_map(|s| (0..width).map(move |t| (s, t)));
            ints(rows.map(|(s, t)| row(s, t) as i64).collect())
        };
        Ok(Some(Self {
            count,
            burn_in,
            learned: each(steps, &|s, t| s * padded + burn_in + t),
            outputs: each(padded, &|s, t| s * steps + t.saturating_sub(burn_in)),
            firsts: each(padded, &|s, _| s * steps),
            of_burn_in: OnceCell::new(),
            device,
        }))
    }

    /// Selects the rows over which networks run.
    pub(crate) fn learned(&self, column: &Column) -> Result<Column> {
        Ok(column.select_rows(&self.learned)?)
    }

    /// Returns for each row of the minibatch the row of the outputs.
    pub(crate) fn output_rows(&self) -> Tensor<1, Int> {
        self.outputs.clone()
    }

    /// Returns for each row of the minibatch the row of the outputs for what follows it, without autodiff.
    pub(crate) fn next_rows(&self, batch: &Batch) -> Result<Tensor<1, Int>> {
        Ok((batch.int::<1>(NEXT_ROWS)? + self.firsts.clone()).inner())
    }

    /// Returns the state of a network after the burn-in, without gradients. A sequence without burn-in has the stored
    /// state. `run` returns the outputs of the network for a batch.
    pub(crate) fn state(
        &self,
        batch: &Batch,
        run: impl FnOnce(&Batch) -> Result<Batch>,
    ) -> Result<Column> {
        let stored = batch.column(Columns::STATE_IN)?.clone().inner()?;
        if self.burn_in == 0 || !batch.contains(BURN_IN_STATE) {
            return Ok(stored);
        }
        let BurnIn { inputs, chosen } = match self.of_burn_in.get() {
            Some(burn_in) => burn_in,
            None => {
                let burn_in = self.burn_in(batch)?;
                self.of_burn_in.get_or_init(|| burn_in)
            }
        };
        let outputs = run(inputs)?;
        Ok(stored.cat(outputs.column(Columns::STATE_OUT)?)?.select_rows(chosen)?)
    }

    fn burn_in(&self, batch: &Batch) -> Result<BurnIn> {
        let padded = self.outputs.dims()[0] / self.count;
        let rows = (0..self.count).flat_map(|s| (0..self.burn_in).map(move |t| s * padded + t));
        let rows: Vec<i64> = rows.map(|row| row as i64).collect();
        let shape = [rows.len()];
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, shape), &self.device);
        let select =
            |name| -> Result<Column> { Ok(batch.column(name)?.select_rows(&rows)?.inner()?) };
        let inputs = Batch::new()
            .with(Columns::OBS, select(Columns::OBS)?)
            .with(Columns::ACTIONS, select(Columns::ACTIONS)?)
            .with(Columns::STATE_IN, batch.column(BURN_IN_STATE)?.clone().inner()?);
        let burned_in = batch.float::<1>(BURNED_IN)?.inner().int();
        let own: Vec<i64> = (0..self.count as i64).collect();
        let own = TensorData::new(own, [self.count]);
        let own = Tensor::<1, Int>::from_data(own, &burned_in.device());
        Ok(BurnIn { inputs, chosen: burned_in * self.count as i64 + own })
    }
}
