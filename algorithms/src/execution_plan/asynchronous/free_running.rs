//! The free-running mode: a thread that learns, and runners that start again at once.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rekindle_env_runner::{Amount, EnvRunnerGroup, Experience, RunnerError, SampleOptions};
use rekindle_learner::{Learner, ModuleRollouts};
use rekindle_rl_module::MultiRLModule;

use super::{Asynchronous, CircularBuffer, Lag, Settings, learn};
use crate::Result;
use crate::execution_plan::{StepReport, TrainingContext};

/// The newest weights for the runners, with their version.
type Published = Mutex<(MultiRLModule, u64)>;

/// A batch on its way to the learner, with the environment steps sampled until then.
type Batch = (ModuleRollouts, u64);

impl Asynchronous {
    /// Collects and learns from several batches, each on threads of their own.
    pub(super) fn free_running(&mut self, cx: &mut TrainingContext<'_>) -> Result<StepReport> {
        let settings = self.settings;
        let published = Mutex::new(weights(cx.learner));
        let mut collector = Collector {
            settings,
            amount: settings.amount(cx),
            options: Settings::options(cx),
            published: &published,
            env_steps: cx.env_steps(),
            sampled: 0,
            lag: Lag::default(),
        };
        let (sender, receiver) = sync_channel(settings.queue_size);
        let buffer = self.buffer.as_mut();
        let (runners, learner) = (&mut *cx.env_runners, &mut *cx.learner);
        let (collected, learned) = thread::scope(|scope| {
            let published = &published;
            let learner =
                scope.spawn(move || learn_all(learner, buffer, receiver, published, &settings));
            let collected = collector.collect(runners, sender);
            (collected, learner.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        let Collector { sampled, lag, .. } = collector;
        learned?;
        collected?;
        cx.env_runners.sync_connectors()?;
        cx.count_steps(sampled)?;
        lag.log(cx.metrics)?;
        cx.publish_weights()?;
        cx.log_learner()?;
        Ok(StepReport::new(sampled, sampled))
    }
}

fn weights(learner: &Learner) -> (MultiRLModule, u64) {
    (learner.module().without_learner_only(), learner.weights_seq_no())
}

/// Learns from batches until no more are sent, and publishes the weights.
fn learn_all(
    learner: &mut Learner,
    mut buffer: Option<&mut CircularBuffer>,
    batches: Receiver<Batch>,
    published: &Published,
    settings: &Settings,
) -> Result<()> {
    let mut broadcast = learner.weights_seq_no();
    for (rollouts, env_steps) in batches {
        let data = learner.gather(&rollouts)?;
        learn(learner, buffer.as_deref_mut(), data, env_steps)?;
        if learner.weights_seq_no() - broadcast >= settings.broadcast_interval {
            broadcast = learner.weights_seq_no();
            *published.lock().unwrap_or_else(PoisonError::into_inner) = weights(learner);
        }
    }
    Ok(())
}

/// Keeps the runners at work, and sends what they collect in batches.
struct Collector<'a> {
    settings: Settings,
    amount: Amount,
    options: SampleOptions,
    published: &'a Published,
    /// Environment steps sampled before.
    env_steps: u64,
    /// Environment steps sampled so far.
    sampled: usize,
    lag: Lag,
}

impl Collector<'_> {
    /// Ends when enough is collected and all runners are idle, or when the learner has failed.
    fn collect(&mut self, runners: &mut EnvRunnerGroup, batches: SyncSender<Batch>) -> Result<()> {
        let wanted = self.settings.train_batch_size * self.settings.batches_per_step;
        let mut batch = Experience::default();
        loop {
            if self.sampled < wanted {
                self.start(runners)?;
            }
            let Some((_, experience)) = runners.next_finished()? else {
                if self.sampled < wanted {
                    // All runners that had started were abandoned.
                    continue;
                }
                break;
            };
            self.sampled += experience.env_steps;
            let (_, version) = *self.published.lock().unwrap_or_else(PoisonError::into_inner);
            self.lag.add(&experience, version);
            batch.extend(experience);
            if batch.env_steps >= self.settings.train_batch_size {
                let full = std::mem::take(&mut batch);
                if batches.send((full.rollouts, self.env_steps + self.sampled as u64)).is_err() {
                    // The learner reports why it ended.
                    self.sampled = self.sampled.max(wanted);
                }
            }
        }
        if batch.env_steps > 0 {
            // A smaller batch, so that nothing is left over. The learner may have ended.
            let _ = batches.send((batch.rollouts, self.env_steps + self.sampled as u64));
        }
        Ok(())
    }

    /// Starts the idle runners with the newest weights.
    fn start(&self, runners: &mut EnvRunnerGroup) -> Result<()> {
        let (modules, version) =
            self.published.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for index in runners.idle() {
            runners.set_modules_of(index, &modules, version)?;
            runners.start(index, self.amount, self.options);
        }
        match runners.num_started() {
            0 => Err(RunnerError::NoHealthyRunner.into()),
            _ => Ok(()),
        }
    }
}
