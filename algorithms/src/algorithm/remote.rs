//! Runners and learner of one algorithm in different processes.
//!
//! Every process builds the same algorithm. One of them learns, and the others only collect: they take what the learner
//! publishes ([`Algorithm::publication`]), and return batches. Both travel as bytes ([`frame`]). Something else, such as
//! Ray, starts the processes and carries the bytes.

pub(crate) mod frame;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Instant;

use rekindle_checkpoint::{Checkpointable, State};
use rekindle_core::ModuleId;
use rekindle_env_runner::{ConnectorDeltas, PublishedAt, SampleOptions};
use rekindle_learner::{Collective, RemoteLearners};
use rekindle_metrics::{Metrics, MetricsState, Reducer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Algorithm;
use crate::execution_plan::{data_from, data_state, gather_metrics};
use crate::{AlgorithmError, Result};

/// The plain part of what a learner publishes. The modules are a component.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Publication {
    weights_seq_no: u64,
    env_steps: u64,
    connectors: BTreeMap<ModuleId, Value>,
}

/// The plain part of a batch. The columns of each module are a component.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    /// The version of the weights that acted.
    weights_seq_no: u64,
    env_steps: usize,
    metrics: Vec<MetricsState>,
    connector_deltas: Vec<ConnectorDeltas>,
}

const WEIGHTS: &str = "weights";
const BATCH: &str = "a batch";
const MODULES: &str = "rl_module";
const DATA: &str = "data";

impl Algorithm {
    /// Returns what runners of other processes act with, as bytes: the weights with their version, and the learned states
    /// of the connectors.
    ///
    /// # Errors
    /// [`AlgorithmError::NotRemote`] for a plan that does not
    /// [take batches](crate::ExecutionPlan::takes_batches), or environments on a device; otherwise if a state does not
    /// serialize.
    pub fn publication(&self) -> Result<Vec<u8>> {
        self.check_remote()?;
        let state = State::from_data(&Publication {
            weights_seq_no: self.learner.weights_seq_no(),
            env_steps: self.env_steps,
            connectors: self.env_runners.connector_states()?,
        })?;
        let modules = self.learner.module().without_learner_only().get_state()?;
        frame::to_bytes(WEIGHTS, &state.with_component(MODULES, modules))
    }

    /// Makes the runners act with what a learner [published](Self::publication). Returns the version of the weights.
    ///
    /// # Errors
    /// [`AlgorithmError::Frame`] for bytes that are damaged or something else; otherwise if the weights do not fit.
    pub fn adopt(&mut self, publication: &[u8]) -> Result<u64> {
        self.check_remote()?;
        let state = frame::from_bytes(WEIGHTS, publication)?;
        let Publication { weights_seq_no, env_steps, connectors } = state.data_as()?;
        let mut modules = self.learner.module().without_learner_only();
        modules.set_state(state.component(MODULES)?)?;
        self.env_runners.set_modules(&modules, PublishedAt::new(weights_seq_no, env_steps))?;
        self.env_runners.set_connector_states(&connectors)?;
        // What the learner published must not return to it as news.
        self.env_runners.take_connector_deltas()?;
        (self.env_steps, self.adopted) = (env_steps, weights_seq_no);
        Ok(weights_seq_no)
    }

    /// Collects a batch of `train_batch_size` steps with the weights that were [adopted](Self::adopt), and returns it as
    /// bytes, for [`learn_from`](Self::learn_from) in another process.
    ///
    /// # Errors
    /// [`AlgorithmError::NotRemote`]; otherwise if an environment, connector or forward pass fails.
    pub fn collect_batch(&mut self) -> Result<Vec<u8>> {
        self.check_remote()?;
        let size = self.config.training["train_batch_size"].as_u64();
        let size = size.ok_or_else(|| self.not_remote())?;
        let explore = self.config.env_runners.explore;
        let options = SampleOptions::default().explore(explore);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let experience = self.with_plan(|_, cx| cx.collect(size, options))?;
        let data = self.learner.gather(&experience.rollouts)?;
        let state = State::from_data(&Batch {
            weights_seq_no: self.adopted,
            env_steps: experience.env_steps,
            metrics: self.env_runners.take_metrics(),
            connector_deltas: self.env_runners.take_connector_deltas()?,
        })?;
        frame::to_bytes(BATCH, &state.with_component(DATA, data_state(&data)?))
    }

    /// Learns from a [batch](Self::collect_batch) of another process. Returns the environment steps of the batch.
    ///
    /// # Errors
    /// [`AlgorithmError::Frame`] for bytes that are damaged or something else; otherwise if a loss or a forward pass
    /// fails.
    pub fn learn_from(&mut self, batch: &[u8]) -> Result<usize> {
        self.check_remote()?;
        let state = frame::from_bytes(BATCH, batch)?;
        let Batch { weights_seq_no, env_steps, metrics, connector_deltas } = state.data_as()?;
        let data = data_from(state.component(DATA)?)?;
        let started = Instant::now();
        self.metrics.aggregate("env_runners", metrics)?;
        self.env_runners.add_connector_deltas(connector_deltas);
        self.env_runners.sync_connectors()?;
        let lag = self.learner.weights_seq_no().saturating_sub(weights_seq_no);
        self.metrics.log_value("learners/weights_lag_mean", lag as f64, Reducer::MEAN)?;
        self.with_plan(|plan, cx| {
            cx.count_steps(env_steps);
            plan.learn_from_batch(cx, data)
        })?;
        self.log_env_steps_trained(env_steps)?;
        self.metrics.log_time("timers/learner_update_timer", started.elapsed())?;
        Ok(env_steps)
    }

    /// Lets learners in other processes share the updates of this algorithm, and checks that its losses allow it.
    /// `collective` connects the learners, and has rank 0 here.
    ///
    /// # Errors
    /// [`AlgorithmError::Learner`] for a loss whose minibatches cannot be divided, which is tried on drawn experience.
    pub fn lead(
        &mut self,
        collective: Box<dyn Collective>,
        remote: Box<dyn RemoteLearners>,
    ) -> Result<()> {
        self.learner.lead(collective, remote)?;
        self.learner.module().keys().try_for_each(|id| self.dry_run(id))
    }

    /// Ends an iteration of [batches](Self::learn_from) of other processes, which began at `started`: evaluates if an
    /// evaluation is due, and returns the result, as [`train`](Self::train) does.
    ///
    /// # Errors
    /// As for [`train`](Self::train).
    pub fn end_iteration(&mut self, started: Instant) -> Result<Metrics> {
        self.check_remote()?;
        self.publish_weights()?;
        gather_metrics(&mut self.metrics, &mut self.env_runners, &mut self.learner)?;
        let is_due = self.config.evaluation.is_due(self.iteration + 1);
        self.iteration += 1;
        let evaluation = is_due.then(|| self.evaluate()).transpose();
        self.report(started, evaluation)
    }

    /// Checks that the plan learns from batches of other processes, and that they are on the host.
    fn check_remote(&self) -> Result<()> {
        match self.plan.takes_batches() && !self.config.env_runners.on_device {
            true => Ok(()),
            false => Err(self.not_remote()),
        }
    }

    fn not_remote(&self) -> AlgorithmError {
        AlgorithmError::NotRemote { plan: self.plan.name().to_owned() }
    }
}
