//! The plan of A3C: every runner computes gradients of its own experience.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rekindle_checkpoint::State;
use rekindle_env_runner::{Experience, Finished, PublishedAt, RunnerError, SampleOptions};
use rekindle_learner::{Learner, LearnerError, LearnerGradients};

use super::lag::Lag;
use super::{ExecutionPlan, StepReport, TrainingContext, check_size};
use crate::{AlgorithmError, EnvRunnersConfig, Result};

/// Each runner has a copy of the modules, computes gradients of its own fragments on its thread, and receives
/// the new weights when its gradients are applied. The other runners keep their weights (Mnih et al., 2016).
///
/// It takes any loss with one phase: `A2cConfig::new().with_execution_plan(AsyncGradients::new(5))` is A3C,
/// and with `PpoConfig` it is PPO with the plan of A3C. Each fragment is one batch and one update:
/// `train_batch_size`, epochs and minibatches have no effect. Refused at build are losses with several phases
/// or with state on which gradients depend ([`Loss::gradients_apart`](rekindle_learner::Loss::gradients_apart)),
/// such as APPO's, learner connectors, modules that learn from a batch by themselves, complete episodes, and a
/// `rollout_fragment_length`.
///
/// A training step ends when all runners are idle. Experience of a runner that fails is lost with its
/// gradients. With [`deterministic`](Self::deterministic), gradients are applied in the order of the
/// runners, and equal seeds give equal runs.
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

    fn collects_batches(&self) -> bool {
        false
    }

    fn check(&self, learner: &Learner, env_runners: &EnvRunnersConfig) -> Result<()> {
        check_size(self.name(), "fragment", self.fragment)?;
        let of = format!("the execution plan `{}`", self.name());
        env_runners.check_truncates_episodes(&of)?;
        learner.check_gradient_worker().map_err(|source| {
            let plan = self.name().into();
            AlgorithmError::PlanDoesNotFit { plan, source: Box::new(source) }
        })?;
        let config = learner.config();
        if config.num_epochs > 1 || config.minibatch_size.is_some() {
            tracing::info!(
                "asynchronous gradients learn once from each fragment, as a whole: epochs and minibatches have no effect"
            );
        }
        Ok(())
    }

    /// Runners compute the gradients.
    fn shares_updates(&self) -> bool {
        false
    }

    fn training_step(&mut self, cx: &mut TrainingContext<'_>) -> Result<StepReport> {
        let begun = Instant::now();
        let mut step = TrainingStep::new(*self);
        step.start_idle(cx);
        if step.num_started == 0 {
            return step.outcome.and(Err(RunnerError::NoHealthyRunner.into()));
        }
        loop {
            match cx.env_runners.next_finished() {
                Ok(Some(finished)) => step.insert(finished),
                // What was started is done, or late and given up.
                Ok(None) => {}
                Err(error) => step.fail(error.into()),
            }
            let in_flight = cx.env_runners.started();
            step.order.retain(|i| in_flight.contains(i) || step.finished.contains_key(i));
            while let Some(finished) = step.next_turn() {
                let index = finished.runner;
                let worker = step.learn(cx, finished);
                step.start(cx, index, worker);
            }
            step.start_idle(cx);
            if cx.env_runners.started().is_empty() {
                break;
            }
        }
        cx.env_runners.sync_connectors()?;
        cx.count_steps(step.sampled);
        cx.log_times(begun.elapsed().saturating_sub(step.learning), step.learning)?;
        step.lag.log(cx.metrics)?;
        cx.publish_weights()?;
        step.outcome.map(|()| StepReport::new(step.sampled, step.trained))
    }

    fn get_state(&self) -> Result<State> {
        Ok(State::new())
    }
}

/// A running training step. After a failure, no runner is started, and the step ends when all runners are
/// idle.
struct TrainingStep {
    plan: AsyncGradients,
    outcome: Result<()>,
    num_started: usize,
    /// Runners that have started, in that order.
    order: VecDeque<usize>,
    /// Runners that wait for their turn.
    finished: BTreeMap<usize, Finished>,
    /// Environment steps, those that were learned from, and the time for that.
    sampled: usize,
    trained: usize,
    learning: Duration,
    lag: Lag,
}

impl TrainingStep {
    fn new(plan: AsyncGradients) -> Self {
        Self {
            plan,
            outcome: Ok(()),
            num_started: 0,
            order: VecDeque::new(),
            finished: BTreeMap::new(),
            sampled: 0,
            trained: 0,
            learning: Duration::ZERO,
            lag: Lag::default(),
        }
    }

    /// Keeps the first failure.
    fn fail(&mut self, error: AlgorithmError) {
        if self.outcome.is_ok() {
            self.outcome = Err(error);
        }
    }

    fn insert(&mut self, finished: Finished) {
        let index = finished.runner;
        if !self.order.contains(&index) {
            // The runner was late, and the plan no longer waited for it.
            self.order.push_back(index);
        }
        self.finished.insert(index, finished);
    }

    /// Returns the next runner whose turn it is.
    fn next_turn(&mut self) -> Option<Finished> {
        let index = match self.plan.deterministic {
            true => *self.order.front()?,
            false => *self.finished.keys().next()?,
        };
        let finished = self.finished.remove(&index)?;
        self.order.retain(|other| *other != index);
        Some(finished)
    }

    /// Starts the runners that neither work nor wait for their turn.
    fn start_idle(&mut self, cx: &mut TrainingContext<'_>) {
        for index in cx.env_runners.idle() {
            if !self.finished.contains_key(&index) {
                self.start(cx, index, None);
            }
        }
    }

    /// Starts a runner with the current weights, unless the training step comes to its end.
    fn start(&mut self, cx: &mut TrainingContext<'_>, index: usize, worker: Option<Learner>) {
        if self.outcome.is_err() || self.num_started >= self.plan.updates_per_step {
            return;
        }
        match self.try_start(cx, index, worker) {
            Ok(true) => {
                self.num_started += 1;
                self.order.push_back(index);
            }
            Ok(false) => {}
            Err(error) => self.fail(error),
        }
    }

    fn try_start(
        &self,
        cx: &mut TrainingContext<'_>,
        index: usize,
        worker: Option<Learner>,
    ) -> Result<bool> {
        let mut worker = match worker {
            Some(mut worker) => {
                cx.learner.update_worker(&mut worker)?;
                worker
            }
            None => cx.learner.gradient_worker()?,
        };
        let env_steps = cx.env_steps() + self.sampled as u64;
        let modules = cx.learner.module().without_learner_only();
        let at = PublishedAt::new(cx.learner.weights_seq_no(), env_steps);
        cx.env_runners.set_modules_of(index, &modules, at)?;
        let work = move |experience: &Experience| -> Output {
            let gradients = worker
                .gather(&experience.rollouts)
                .and_then(|data| worker.prepare(data, env_steps))
                .and_then(|data| worker.compute_gradients(&data, env_steps));
            (worker, gradients)
        };
        let steps =
            self.plan.fragment.saturating_mul(cx.config.env_runners.num_envs_per_env_runner);
        let amount = cx.config.count_steps_by().amount(steps);
        let explore = cx.config.env_runners.explore;
        let options = SampleOptions::default().explore(explore);
        Ok(cx.env_runners.start_then(index, amount, options, work))
    }

    /// Applies the gradients of a runner, and returns its copy of the learner.
    fn learn(&mut self, cx: &mut TrainingContext<'_>, finished: Finished) -> Option<Learner> {
        let Finished { experience, output, .. } = finished;
        self.sampled += experience.env_steps;
        let output = output?.map_err(|error| self.fail(error.into())).ok()?;
        let (mut worker, gradients) = *output.downcast::<Output>().ok()?;
        self.lag.add(&experience, cx.learner.weights_seq_no());
        let begun = Instant::now();
        let env_steps = cx.env_steps() + self.sampled as u64;
        let outcome = gradients
            .and_then(|gradients| cx.learner.apply_gradients(gradients, env_steps))
            .map_err(AlgorithmError::from)
            .and_then(|()| Ok(cx.metrics.aggregate("learners", [worker.take_metrics()])?));
        self.learning += begun.elapsed();
        match outcome {
            Ok(()) => self.trained += experience.env_steps,
            Err(error) => self.fail(error),
        }
        Some(worker)
    }
}
