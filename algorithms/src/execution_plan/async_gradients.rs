//! The plan of A3C: every runner computes gradients of its own experience.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};

use rekindle_env_runner::{Amount, Experience, Finished, RunnerError, SampleOptions};
use rekindle_learner::{Learner, LearnerError, LearnerGradients};

use super::{ExecutionPlan, StepReport, TrainingContext};
use crate::{AlgorithmError, CountStepsBy, Result};

/// Each runner has a copy of the modules, computes gradients of its own fragments on its thread, and receives
/// the new weights when its gradients are applied; the other runners go on with theirs (Mnih et al., 2016).
///
/// It takes any loss with one phase: `PpoConfig::new().with_execution_plan(AsyncGradients::new(20))` is PPO
/// with the plan of A3C. Each fragment is one batch: epochs and minibatches have no effect.
///
/// A training step ends when all runners are idle. With [`deterministic`](Self::deterministic), gradients
/// are applied in the order of the runners, and equal seeds give equal runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsyncGradients {
    fragment: usize,
    updates_per_step: usize,
    deterministic: bool,
}

impl AsyncGradients {
    /// Creates a plan whose runners compute gradients of `fragment` steps of each of their environments.
    #[must_use]
    pub fn new(fragment: usize) -> Self {
        Self { fragment, updates_per_step: 32, deterministic: false }
    }

    /// Sets the number of updates of a training step. Defaults to 32.
    #[must_use]
    pub fn updates_per_step(mut self, updates_per_step: usize) -> Self {
        self.updates_per_step = updates_per_step.max(1);
        self
    }

    /// Sets whether gradients are applied in the order of the runners. Defaults to `false`: in the order in
    /// which they arrive.
    #[must_use]
    pub fn deterministic(mut self, deterministic: bool) -> Self {
        self.deterministic = deterministic;
        self
    }
}

/// What a runner's thread returns: its copy of the learner, and the gradients.
type Output = (Learner, Result<LearnerGradients, LearnerError>);

impl ExecutionPlan for AsyncGradients {
    fn name(&self) -> &str {
        "AsyncGradients"
    }

    fn training_step(&mut self, cx: &mut TrainingContext<'_>) -> Result<StepReport> {
        let steps = self.fragment * cx.config.env_runners.num_envs_per_env_runner;
        let amount = match cx.config.count_steps_by() {
            CountStepsBy::EnvSteps => Amount::Timesteps(steps),
            CountStepsBy::AgentSteps => Amount::AgentSteps(steps),
        };
        let explore = cx.config.env_runners.explore;
        let options = SampleOptions { explore, ..SampleOptions::default() };
        let mut started = 0;
        let mut sampled = 0;
        let mut outcome = Ok(());
        let mut turns = Turns::default();
        for index in cx.env_runners.idle() {
            let worker = cx.learner.gradient_worker()?;
            start(cx, index, worker, amount, options)?;
            turns.expect(index);
            started += 1;
        }
        if started == 0 {
            return Err(RunnerError::NoHealthyRunner.into());
        }
        while let Some(finished) = next(cx, &mut outcome) {
            turns.arrived.insert(finished.runner, finished);
            while let Some(finished) = turns.take(self.deterministic) {
                let (index, env_steps) = (finished.runner, finished.experience.env_steps);
                sampled += env_steps;
                let worker = match apply(cx, finished) {
                    Ok(worker) => worker,
                    Err(error) => {
                        outcome = outcome.and(Err(error));
                        continue;
                    }
                };
                if outcome.is_ok() && started < self.updates_per_step {
                    let worker = match worker {
                        Some(worker) => worker,
                        None => cx.learner.gradient_worker()?,
                    };
                    start(cx, index, worker, amount, options)?;
                    turns.expect(index);
                    started += 1;
                }
            }
        }
        cx.env_runners.sync_connectors()?;
        cx.log_learner()?;
        cx.publish_weights()?;
        outcome.map(|()| StepReport::new(sampled, sampled))
    }
}

/// The order in which gradients are applied.
#[derive(Default)]
struct Turns {
    /// Runners that have started, in that order.
    order: VecDeque<usize>,
    arrived: BTreeMap<usize, Finished>,
}

impl Turns {
    fn expect(&mut self, index: usize) {
        self.order.push_back(index);
    }

    /// Returns the next result whose turn it is.
    fn take(&mut self, in_order: bool) -> Option<Finished> {
        let index = match in_order {
            true => *self.order.front()?,
            false => *self.arrived.keys().next()?,
        };
        let finished = self.arrived.remove(&index)?;
        self.order.retain(|other| *other != index);
        Some(finished)
    }
}

/// Waits for the next runner. A failure that is not tolerated is kept until all others are idle.
fn next(cx: &mut TrainingContext<'_>, outcome: &mut Result<()>) -> Option<Finished> {
    loop {
        match cx.env_runners.next_finished() {
            Ok(finished) => return finished,
            Err(error) if outcome.is_ok() => *outcome = Err(error.into()),
            Err(_) => {}
        }
    }
}

/// Lets a runner act with the current weights and compute gradients of what it collects.
fn start(
    cx: &mut TrainingContext<'_>,
    index: usize,
    mut worker: Learner,
    amount: Amount,
    options: SampleOptions,
) -> Result<()> {
    let modules = cx.learner.module().without_learner_only();
    cx.env_runners.set_modules_of(index, &modules, cx.learner.weights_seq_no())?;
    let env_steps = cx.env_steps();
    let work = move |experience: &Experience| -> Box<dyn Any + Send> {
        let gradients = worker
            .gather(&experience.rollouts)
            .and_then(|data| worker.prepare(data, env_steps))
            .and_then(|data| worker.compute_gradients(&data, env_steps));
        Box::new((worker, gradients))
    };
    cx.env_runners.start_then(index, amount, options, work);
    Ok(())
}

/// Applies the gradients of a runner. Returns its copy of the learner with the new weights.
fn apply(cx: &mut TrainingContext<'_>, finished: Finished) -> Result<Option<Learner>> {
    cx.count_steps(finished.experience.env_steps)?;
    let output = finished.output.and_then(|output| output.downcast::<Output>().ok());
    let Some(output) = output else { return Ok(None) };
    let (mut worker, gradients) = *output;
    let gradients = gradients.map_err(AlgorithmError::from)?;
    cx.learner.apply_gradients(gradients, cx.env_steps())?;
    cx.learner.update_worker(&mut worker)?;
    Ok(Some(worker))
}
