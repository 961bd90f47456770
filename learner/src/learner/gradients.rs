//! Gradients that one learner computes and another applies, as in A3C.

use std::collections::BTreeMap;
use std::fmt;

use burn::module::Module;
use rekindle_core::{Generator, ModuleId};
use rekindle_kernels::eager;
use rekindle_rl_module::MultiRLModule;

use super::Learner;
use super::optimizers::Optimizers;
use super::update::ModuleData;
use super::update::readings::Readings;
use super::update::step::Step;
use crate::error::{LearnerError, Result};
use crate::tracked::Tracked;

/// The gradients of one batch, with the metrics of its loss.
pub struct LearnerGradients {
    steps: Vec<Step>,
    readings: Readings,
    rows: BTreeMap<ModuleId, usize>,
}

impl fmt::Debug for LearnerGradients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gradients of {:?} rows for {} optimizers", self.rows, self.steps.len())
    }
}

impl Learner {
    /// Checks that gradients can be computed separately from updates.
    ///
    /// # Errors
    /// [`LearnerError::NoGradientsApart`] for a loss with several phases, whose later gradients depend on
    /// earlier steps; for a loss that keeps state on which gradients depend
    /// ([`Loss::gradients_apart`](crate::Loss::gradients_apart)); for a module with learner connectors, whose
    /// state would be that of a worker; and for a module that learns from a batch by itself.
    pub fn check_gradient_worker(&self) -> Result<()> {
        for (id, of_module) in &self.losses {
            let loss = of_module.loss.name();
            let reason = if of_module.learns_by_itself() {
                "it learns from a batch by itself".into()
            } else if of_module.phases.len() > 1 {
                format!("the {loss} loss has several phases")
            } else if !of_module.loss.gradients_apart() {
                format!("the {loss} loss keeps state between updates on which its gradients depend")
            } else if !of_module.connectors.is_empty() {
                "it has learner connectors, which would see a part of the experience each".into()
            } else {
                continue;
            };
            return Err(LearnerError::NoGradientsApart { id: id.clone(), reason });
        }
        Ok(())
    }

    /// Creates a learner with the same modules and losses that computes gradients for this one, on another
    /// thread. The random numbers of its losses are drawn from those of this one.
    ///
    /// # Errors
    /// As [`check_gradient_worker`](Self::check_gradient_worker).
    pub fn gradient_worker(&mut self) -> Result<Self> {
        self.check_gradient_worker()?;
        let mut losses = BTreeMap::new();
        for id in self.losses.keys() {
            losses.insert(id.clone(), self.new_module_loss(id, self.module.module(id)?)?);
        }
        for (id, of_module) in &mut self.losses {
            if let Some(of_worker) = losses.get_mut(id) {
                of_worker.rng = Generator::from_seed(of_module.rng.next_u64());
            }
        }
        let mut worker = Self {
            config: self.config.clone(),
            new_loss: self.new_loss.clone(),
            losses,
            module: Tracked::new(MultiRLModule::clone(&self.module)),
            device: self.device.clone(),
            optimizers: Tracked::new(Optimizers::clone(&self.optimizers)),
            shuffle_rng: self.shuffle_rng.clone(),
            replaced: self.replaced.clone(),
            weights_seq_no: self.weights_seq_no,
            metrics: rekindle_metrics::MetricsLogger::new(),
            member: None,
            group: None,
        };
        self.update_worker(&mut worker)?;
        Ok(worker)
    }

    /// Gives a gradient worker the current weights and the state of the losses. No number is copied, but
    /// the parameters are leaves of their own: Burn's graphs of threads that share leaves are merged, and
    /// may wait for each other forever. A worker from before a change of the modules or settings is replaced.
    ///
    /// # Errors
    /// If a loss does not take its own state.
    pub fn update_worker(&mut self, worker: &mut Self) -> Result<()> {
        let is_current = worker.config == self.config
            && worker.replaced == self.replaced
            && worker.losses.keys().eq(self.losses.keys());
        if !is_current {
            *worker = self.gradient_worker()?;
            return Ok(());
        }
        *worker.module = MultiRLModule::clone(&self.module).fork(&self.device);
        worker.weights_seq_no = self.weights_seq_no;
        for (id, of_module) in &self.losses {
            if let Some(of_worker) = worker.losses.get_mut(id) {
                of_worker.scalars = of_module.scalars.clone().fork(&self.device);
                of_worker.loss.set_state(&of_module.loss.get_state()?)?;
            }
        }
        Ok(())
    }

    /// Computes the gradients of prepared experience as one batch, without a step.
    ///
    /// # Errors
    /// If a loss or a forward pass fails; [`LearnerError::NotAlone`] if several learners share updates.
    pub fn compute_gradients(
        &mut self,
        data: &ModuleData,
        env_steps: u64,
    ) -> Result<LearnerGradients> {
        self.check_alone("compute_gradients")?;
        let _eager = eager::scope(self.config.eager);
        let rows = data.iter().map(|(id, data)| (id.clone(), data.rows())).collect();
        let (steps, readings) = self.whole_batch(data, env_steps)?;
        Ok(LearnerGradients { steps, readings, rows })
    }

    /// Takes the steps that gradients ask for, which a [worker](Self::gradient_worker) of this learner
    /// computed: one update, counted and reported as any other. Gradients of modules that were removed are
    /// dropped. Without rows, the update is skipped and counted as [`update`](Self::update) does.
    ///
    /// # Errors
    /// If a gradient does not fit its parameter; [`LearnerError::NotAlone`] if several learners share updates.
    pub fn apply_gradients(&mut self, gradients: LearnerGradients, env_steps: u64) -> Result<()> {
        self.check_alone("apply_gradients")?;
        let _eager = eager::scope(self.config.eager);
        let LearnerGradients { steps, mut readings, rows } = gradients;
        if rows.values().all(|rows| *rows == 0) {
            return self.count_without_rows();
        }
        for step in steps {
            self.apply(step, env_steps, &mut readings)?;
        }
        self.after_minibatch(rows.keys(), env_steps)?;
        let history = Readings::read(vec![readings])?;
        self.finish_update(&rows, history, 1, env_steps)
    }
}
