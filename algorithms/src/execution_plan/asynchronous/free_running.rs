//! The free-running mode: a thread that learns, and runners that start again at once.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rekindle_env_runner::{
    Amount, EnvRunnerGroup, Experience, Finished, PublishedAt, RunnerError, SampleOptions,
};
use rekindle_learner::Learner;
use rekindle_rl_module::MultiRLModule;

use super::{Asynchronous, CircularBuffer, Pending, Settings, join, learn, spawn};
use crate::execution_plan::context::steps_of;
use crate::execution_plan::lag::Lag;
use crate::execution_plan::{StepReport, TrainingContext};
use crate::{AlgorithmError, CountStepsBy, Result};

/// The newest weights for the runners, with their version.
type Published = Mutex<(MultiRLModule, u64)>;

/// A batch on its way to the learner.
enum Batch {
    /// Experience, with the environment steps sampled until then.
    Collected(Experience, u64),
    /// Experience that waited for this training step.
    Waiting(Pending),
}

impl Asynchronous {
    /// Collects and learns from several batches, each on threads of their own. Steps that were sampled
    /// before a failure count. Experience left by a run with `deterministic` is learned from first.
    pub(super) fn free_running(&mut self, cx: &mut TrainingContext<'_>) -> Result<StepReport> {
        let settings = self.settings;
        let published = Mutex::new(weights(cx.learner));
        let mut collector = Collector {
            settings,
            amount: settings.amount(cx),
            options: Settings::options(cx),
            count_by: cx.config.count_steps_by(),
            published: &published,
            env_steps: cx.env_steps(),
            progress: 0,
            sampled: 0,
            learner_ended: false,
            blocked: Duration::ZERO,
            lag: Lag::default(),
        };
        let (sender, receiver) = sync_channel(settings.queue_size);
        let (buffer, waiting) = (self.buffer.as_mut(), &mut self.pending);
        let (runners, learner) = (&mut *cx.env_runners, &mut *cx.learner);
        let started = Instant::now();
        let (collected, learned) = thread::scope(|scope| {
            let published = &published;
            let learner =
                spawn(scope, move || learn_all(learner, buffer, receiver, published, &settings))?;
            if let Some(waiting) = waiting.take() {
                collector.send(&sender, Batch::Waiting(waiting));
            }
            let collected = collector.collect(runners, sender);
            let sampling = started.elapsed().saturating_sub(collector.blocked);
            Ok::<_, AlgorithmError>(((collected, sampling), join(learner)))
        })?;
        let (Collector { sampled, lag, .. }, (collected, sampling)) = (collector, collected);
        cx.log_times(sampling, learned.time)?;
        cx.env_runners.sync_connectors()?;
        cx.count_steps(sampled);
        lag.log(cx.metrics)?;
        cx.publish_weights()?;
        learned.outcome?;
        collected?;
        Ok(StepReport::new(sampled, learned.env_steps))
    }
}

fn weights(learner: &Learner) -> (MultiRLModule, u64) {
    (learner.module().without_learner_only(), learner.weights_seq_no())
}

/// The work of the learner's thread.
struct Learned {
    outcome: Result<()>,
    /// Environment steps that were learned from.
    env_steps: usize,
    /// Time spent on learning.
    time: Duration,
}

/// Learns from batches until no more are sent or one fails, and publishes the weights.
fn learn_all(
    learner: &mut Learner,
    mut buffer: Option<&mut CircularBuffer>,
    batches: Receiver<Batch>,
    published: &Published,
    settings: &Settings,
) -> Learned {
    let mut broadcast = learner.weights_seq_no();
    let mut learned = Learned { outcome: Ok(()), env_steps: 0, time: Duration::ZERO };
    for batch in batches {
        let started = Instant::now();
        let (data, env_steps, sampled) = match batch {
            Batch::Waiting(Pending { data, env_steps, sampled }) => (Ok(data), env_steps, sampled),
            Batch::Collected(batch, env_steps) => {
                (learner.gather(&batch.rollouts), env_steps, batch.env_steps)
            }
        };
        let outcome = data
            .map_err(AlgorithmError::from)
            .and_then(|data| learn(learner, buffer.as_deref_mut(), data, env_steps));
        learned.time += started.elapsed();
        if outcome.is_err() {
            learned.outcome = outcome;
            break;
        }
        learned.env_steps += sampled;
        if learner.weights_seq_no() - broadcast >= settings.broadcast_interval {
            broadcast = learner.weights_seq_no();
            *published.lock().unwrap_or_else(PoisonError::into_inner) = weights(learner);
        }
    }
    learned
}

/// Keeps the runners at work, and sends what they collect in batches.
struct Collector<'a> {
    settings: Settings,
    amount: Amount,
    options: SampleOptions,
    count_by: CountStepsBy,
    published: &'a Published,
    /// Environment steps sampled before.
    env_steps: u64,
    /// Steps so far, in the unit in which batches are counted.
    progress: usize,
    /// Environment steps sampled so far.
    sampled: usize,
    /// Whether the learner has failed and receives nothing more. It reports why.
    learner_ended: bool,
    /// Time spent on waiting for the learner.
    blocked: Duration,
    lag: Lag,
}

impl Collector<'_> {
    /// Ends when all runners are idle after enough is collected, a runner has failed, or the learner has.
    fn collect(&mut self, runners: &mut EnvRunnerGroup, batches: SyncSender<Batch>) -> Result<()> {
        let wanted = self.settings.train_batch_size.saturating_mul(self.settings.batches_per_step);
        let mut batch = Experience::default();
        let mut outcome = Ok(());
        loop {
            let goes_on = outcome.is_ok() && !self.learner_ended && self.progress < wanted;
            if goes_on {
                outcome = self.start(runners);
            }
            let experience = match runners.next_finished() {
                Ok(Some(Finished { experience, .. })) => experience,
                // All runners that had started were recreated or ignored.
                Ok(None) if goes_on && outcome.is_ok() => continue,
                Ok(None) => break,
                Err(error) => {
                    outcome = outcome.and(Err(error.into()));
                    continue;
                }
            };
            self.sampled += experience.env_steps;
            self.progress += steps_of(self.count_by, &experience);
            let (_, version) = *self.published.lock().unwrap_or_else(PoisonError::into_inner);
            self.lag.add(&experience, version);
            batch.extend(experience);
            if steps_of(self.count_by, &batch) >= self.settings.train_batch_size {
                self.send_collected(&batches, std::mem::take(&mut batch));
            }
        }
        if batch.env_steps > 0 {
            // A smaller batch, so that nothing is left over.
            self.send_collected(&batches, batch);
        }
        outcome
    }

    fn send_collected(&mut self, batches: &SyncSender<Batch>, experience: Experience) {
        self.send(batches, Batch::Collected(experience, self.env_steps()));
    }

    /// Sends a batch, and waits while the queue is full.
    fn send(&mut self, batches: &SyncSender<Batch>, batch: Batch) {
        let started = Instant::now();
        let sent = batches.send(batch);
        self.blocked += started.elapsed();
        self.learner_ended |= sent.is_err();
    }

    /// Environment steps sampled since the start of training.
    fn env_steps(&self) -> u64 {
        self.env_steps + self.sampled as u64
    }

    /// Starts the idle runners with the newest weights.
    fn start(&self, runners: &mut EnvRunnerGroup) -> Result<()> {
        let (modules, version) =
            self.published.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for index in runners.idle() {
            runners.set_modules_of(index, &modules, PublishedAt::new(version, self.env_steps()))?;
            runners.start(index, self.amount, self.options);
        }
        match runners.started().is_empty() {
            true => Err(RunnerError::NoHealthyRunner.into()),
            false => Ok(()),
        }
    }
}
