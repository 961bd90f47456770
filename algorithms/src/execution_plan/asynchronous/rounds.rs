//! The deterministic mode: collecting and learning side by side, in rounds.

use std::panic::resume_unwind;
use std::thread;

use super::{Asynchronous, Lag, Settings, learn};
use crate::Result;
use crate::execution_plan::{StepReport, TrainingContext};

impl Asynchronous {
    /// Learns from the last batch while the runners collect the next one, several times. The batch of the
    /// last round waits for the next step.
    pub(super) fn rounds(&mut self, cx: &mut TrainingContext<'_>) -> Result<StepReport> {
        let mut report = StepReport::default();
        let mut lag = Lag::default();
        for _ in 0..self.settings.batches_per_step {
            let (amount, options) = (self.settings.amount(cx), Settings::options(cx));
            let settings = self.settings;
            let (pending, buffer) = (self.pending.take(), self.buffer.as_mut());
            let (learner, runners) = (&mut *cx.learner, &mut *cx.env_runners);
            let trained =
                pending.as_ref().map_or(0, |(data, _)| data.values().map(|d| d.rows()).sum());
            let (learned, collected) = thread::scope(|scope| {
                let learner = scope.spawn(move || match pending {
                    Some((data, env_steps)) => learn(learner, buffer, data, env_steps).map(|_| ()),
                    None => Ok(()),
                });
                let mut collected = runners.sample(amount, options);
                while let Ok(so_far) = &mut collected
                    && so_far.env_steps < settings.train_batch_size
                {
                    match runners.sample(amount, options) {
                        Ok(more) => so_far.extend(more),
                        Err(error) => collected = Err(error),
                    }
                }
                (learner.join().unwrap_or_else(|panic| resume_unwind(panic)), collected)
            });
            learned?;
            let experience = collected?;
            cx.env_runners.sync_connectors()?;
            cx.count_steps(experience.env_steps)?;
            lag.add(&experience, cx.learner.weights_seq_no());
            report.env_steps_sampled += experience.env_steps;
            report.env_steps_trained += trained;
            let data = cx.learner.gather(&experience.rollouts)?;
            self.pending = Some((data, cx.env_steps()));
            if cx.learner.weights_seq_no() % settings.broadcast_interval == 0 {
                cx.publish_weights()?;
            }
        }
        lag.log(cx.metrics)?;
        cx.log_learner()?;
        Ok(report)
    }
}
