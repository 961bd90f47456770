//! The loss of a module, with what the learner keeps for it.

use std::collections::BTreeSet;

use rekindle_core::rng::{Purpose, stream};
use rekindle_core::{Batch, Generator};
use rekindle_rl_module::{AnyRLModule, Role};

use super::Learner;
use super::own_learning::OwnLearning;
use super::own_loss::OwnLoss;
use crate::collective::Collective;
use crate::connector::Pipeline;
use crate::error::{LearnerError, Result};
use crate::guard::guard_loss;
use crate::loss::{Loss, LossContext, Losses, Phase, PrepareContext};
use crate::optimizer_group::{OptimizerGroup, Parameters};
use crate::scalars::Scalars;
use crate::share::Share;
use crate::train_data::TrainData;

/// The loss of a module, with what the learner keeps for it.
#[derive(Debug)]
pub(crate) struct ModuleLoss {
    pub(crate) loss: Box<dyn Loss>,
    pub(crate) optimizers: Vec<OptimizerGroup>,
    pub(crate) phases: Vec<Phase>,
    /// The scalars that its optimizers step.
    pub(crate) scalars: Scalars,
    /// What its experience passes before the loss.
    pub(crate) connectors: Pipeline,
    /// The stream of its random numbers.
    pub(crate) rng: Generator,
}

impl ModuleLoss {
    /// Runs the learner connectors on the experience of the module.
    pub(super) fn connect(
        &mut self,
        cx: &PrepareContext<'_>,
        data: TrainData,
    ) -> Result<TrainData> {
        self.connectors.transform(cx, data)
    }

    /// Completes the experience of the module with the columns that the loss reads.
    pub(super) fn prepare(
        &mut self,
        cx: &PrepareContext<'_>,
        data: TrainData,
    ) -> Result<TrainData> {
        self.guarded(cx.module_id, "prepare", |loss| loss.prepare(cx, data))
    }

    /// Computes the loss of one phase on one minibatch, and checks it. `shared` is the share of this learner in the
    /// minibatch, and what connects it with the others.
    pub(super) fn compute(
        &mut self,
        at: PrepareContext<'_>,
        batch: &Batch,
        phase: usize,
        shared: Option<(&Share, &mut (dyn Collective + 'static))>,
    ) -> Result<Losses> {
        let scalars = self.scalars.tensors();
        let mut cx = LossContext::new(at, batch, &scalars, &mut self.rng);
        cx.phase = phase;
        if let Some((share, collective)) = shared {
            cx = cx.shared(share, collective);
        }
        let id = cx.module_id;
        let losses = guard_loss(&mut *self.loss, id, "compute", |loss| loss.compute(&cx))?;
        losses.check(id, self.loss.name(), batch.rows())?;
        Ok(losses)
    }

    /// Runs a method of the loss, and converts a panic into an error.
    pub(super) fn guarded<T>(
        &mut self,
        id: &str,
        method: &'static str,
        run: impl FnOnce(&mut dyn Loss) -> Result<T>,
    ) -> Result<T> {
        guard_loss(&mut *self.loss, id, method, run)
    }

    /// Whether the module learns from a batch by itself.
    pub(super) fn learns_by_itself(&self) -> bool {
        self.phases.is_empty()
    }
}

impl Learner {
    /// Creates the loss of a module, with initial scalars and a stream of its own.
    pub(super) fn new_module_loss(&self, id: &str, module: &AnyRLModule) -> Result<ModuleLoss> {
        let rng = stream(self.config.seed, 0, hash(id), Purpose::Loss);
        let connectors = Pipeline::new(id, &self.config.connectors)?;
        if module.has_role(Role::LearnOnBatch) {
            return Ok(ModuleLoss {
                loss: Box::new(OwnLearning),
                optimizers: Vec::new(),
                phases: Vec::new(),
                scalars: Scalars::default(),
                connectors,
                rng,
            });
        }
        let mut loss = (self.new_loss)(id);
        if module.has_role(Role::SelfSupervisedLoss) {
            loss = Box::new(OwnLoss::new(loss));
        }
        let (optimizers, phases) = (loss.optimizers(), loss.phases());
        check(id, &optimizers, &phases)?;
        let scalars = optimizers.iter().filter_map(|optimizer| match &optimizer.parameters {
            Parameters::Scalars(scalars) => Some(scalars.clone()),
            Parameters::All | Parameters::Prefixes(_) => None,
        });
        let scalars = Scalars::new(scalars.flatten(), &self.device);
        Ok(ModuleLoss { loss, optimizers, phases, scalars, connectors, rng })
    }
}

/// Checks the settings of the optimizers, and that the phases name them.
fn check(id: &str, optimizers: &[OptimizerGroup], phases: &[Phase]) -> Result<()> {
    let refuse = |reason| Err(LearnerError::Optimizers { id: id.into(), reason });
    for (index, optimizer) in optimizers.iter().enumerate() {
        optimizer.validate()?;
        if optimizers[..index].iter().any(|other| other.name == optimizer.name) {
            let name = &optimizer.name;
            return refuse(format!("two are named `{name}`; give each a name of its own"));
        }
    }
    let mut scalars = BTreeSet::new();
    for optimizer in optimizers {
        let Parameters::Scalars(of_optimizer) = &optimizer.parameters else { continue };
        if let Some((scalar, _)) = of_optimizer.iter().find(|(scalar, _)| !scalars.insert(scalar)) {
            let name = &optimizer.name;
            return refuse(format!(
                "`{name}` steps the scalar `{scalar}` a second time; name each scalar in one optimizer, once"
            ));
        }
    }
    let of_modules = optimizers.iter().filter(|optimizer| !optimizer.has_scalars()).count();
    let all = optimizers.iter().find(|o| o.parameters == Parameters::All);
    if let Some(all) = all.filter(|_| of_modules > 1) {
        let name = &all.name;
        return refuse(format!(
            "`{name}` steps all parameters, and another one some of them; give each the prefixes of its own"
        ));
    }
    if phases.is_empty() {
        return refuse("its loss has no phase; return at least one from `phases`".into());
    }
    let known = || optimizers.iter().map(|o| o.name.as_str()).collect::<Vec<_>>().join(", ");
    for (phase, name) in phases.iter().flat_map(|p| p.optimizers.iter().map(move |name| (p, name)))
    {
        if !optimizers.iter().any(|optimizer| optimizer.name == *name) {
            let (phase, known) = (&phase.name, known());
            return refuse(format!("phase `{phase}` steps `{name}`, which is none of [{known}]"));
        }
    }
    let is_stepped = |o: &OptimizerGroup| phases.iter().any(|p| p.optimizers.contains(&o.name));
    if let Some(unused) = optimizers.iter().find(|optimizer| !is_stepped(optimizer)) {
        let name = &unused.name;
        let phases = phases.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
        return refuse(format!(
            "none of the phases [{phases}] steps `{name}`; remove it, or give it the name of an optimizer of a phase"
        ));
    }
    Ok(())
}

/// FNV-1a: a hash that is the same on every machine and in every release.
fn hash(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
