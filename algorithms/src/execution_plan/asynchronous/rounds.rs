//! The deterministic mode: collecting and learning side by side, in rounds.

use std::thread;
use std::time::Instant;

use rekindle_env_runner::{Amount, EnvRunnerGroup, Experience, SampleOptions};

use super::{Asynchronous, Pending, Settings, join, learn, spawn};
use crate::execution_plan::context::missing_steps;
use crate::execution_plan::lag::Lag;
use crate::execution_plan::{StepReport, TrainingContext};
use crate::{CountStepsBy, Result};

impl Asynchronous {
    /// Learns from the last batch while the runners collect the next one, several times. The batch of the
    /// last round waits for the next step.
    pub(super) fn rounds(&mut self, cx: &mut TrainingContext<'_>) -> Result<StepReport> {
        let mut report = StepReport::default();
        let mut lag = Lag::default();
        for _ in 0..self.settings.batches_per_step {
            self.round(cx, &mut report, &mut lag)?;
        }
        // A restored algorithm starts with the newest weights, too.
        cx.publish_weights()?;
        lag.log(cx.metrics)?;
        Ok(report)
    }

    /// Learns from one batch and collects one. Experience that was collected before a failure counts, and
    /// waits for the next round.
    fn round(
        &mut self,
        cx: &mut TrainingContext<'_>,
        report: &mut StepReport,
        lag: &mut Lag,
    ) -> Result<()> {
        let settings = self.settings;
        let (amount, options) = (settings.amount(cx), Settings::options(cx));
        let count_by = cx.config.count_steps_by();
        let trained = self.pending.as_ref().map_or(0, |pending| pending.sampled);
        let (pending, buffer) = (&mut self.pending, self.buffer.as_mut());
        let (learner, runners) = (&mut *cx.learner, &mut *cx.env_runners);
        let before = learner.weights_seq_no();
        let (learned, collected) = thread::scope(|scope| {
            let learner = spawn(scope, move || {
                let started = Instant::now();
                // Taken here, so that it stays if the thread does not start.
                let learned = match pending.take() {
                    Some(Pending { data, env_steps, .. }) => {
                        learn(learner, buffer, data, env_steps)
                    }
                    None => Ok(()),
                };
                (learned, started.elapsed())
            })?;
            let started = Instant::now();
            let collected = collect(runners, &settings, amount, options, count_by);
            Ok::<_, crate::AlgorithmError>((join(learner), (collected, started.elapsed())))
        })?;
        let (learned, learning) = learned;
        let ((experience, collected), sampling) = collected;
        cx.log_times(sampling, learning)?;
        cx.env_runners.sync_connectors()?;
        cx.count_steps(experience.env_steps);
        lag.add(&experience, cx.learner.weights_seq_no());
        report.env_steps_sampled += experience.env_steps;
        let mut gathered = Ok(());
        if experience.env_steps > 0 {
            let (env_steps, sampled) = (cx.env_steps(), experience.env_steps);
            gathered = cx.learner.gather(&experience.rollouts).map(|data| {
                self.pending = Some(Pending { data, env_steps, sampled });
            });
        }
        learned?;
        report.env_steps_trained += trained;
        gathered?;
        collected?;
        let interval = settings.broadcast_interval;
        if cx.learner.weights_seq_no() / interval != before / interval {
            cx.publish_weights()?;
        }
        Ok(())
    }
}

/// Collects a batch with all runners. Returns what was collected, also before a failure.
fn collect(
    runners: &mut EnvRunnerGroup,
    settings: &Settings,
    amount: Amount,
    options: SampleOptions,
    count_by: CountStepsBy,
) -> (Experience, Result<()>) {
    let mut experience = Experience::default();
    while missing_steps(settings.train_batch_size, count_by, &experience).is_some() {
        match runners.sample(amount, options) {
            Ok(more) => experience.extend(more),
            Err(error) => return (experience, Err(error.into())),
        }
    }
    (experience, Ok(()))
}
