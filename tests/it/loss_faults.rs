//! Losses of algorithms and of modules: what is refused, what is guarded, and what is restored.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use burn::module::Module;
use burn::prelude::*;
use rekindle::algorithms::a2c::A2cLoss;
use rekindle::algorithms::ppo::PpoLoss;
use rekindle::algorithms::vpg::VpgLoss;
use rekindle::learner::{LearnerError, OptimizerConfig, OptimizerGroup, Phase};
use rekindle::prelude::*;
use rekindle::rl_module::{ModuleError, Result as ModuleResult};
use serde_json::json;

use crate::support::{data, device, experience, metrics, weights};

fn space() -> Space {
    Space::boxed(-1.0, 1.0, &[3]).unwrap()
}

fn spec(spec: RLModuleSpec) -> RLModuleSpec {
    spec.observation_space(space()).action_space(Space::discrete(2).unwrap())
}

fn build(of: RLModuleSpec) -> AnyRLModule {
    spec(of).build_seeded(&device(), Generator::from_seed(0)).unwrap()
}

fn learner<L: Loss + Clone + Sync + 'static>(
    module: &AnyRLModule,
    loss: L,
) -> Result<Learner, LearnerError> {
    let new_loss = move |_: &str| -> Box<dyn Loss> { Box::new(loss.clone()) };
    let module = module.as_multi_rl_module()?;
    Learner::new(LearnerConfig::default(), new_loss, module, &device())
}

fn rows() -> rekindle::learner::ModuleRollouts {
    data(&[(DEFAULT_MODULE_ID, experience(&space(), 2, 6, 0))])
}

/// A loss that goes wrong in the method that it names.
#[derive(Debug, Clone, Copy)]
struct Faulty(&'static str);

impl Faulty {
    fn meet(self, method: &str) {
        assert!(self.0 != method, "met in {method}");
    }
}

impl Loss for Faulty {
    fn name(&self) -> &str {
        "faulty"
    }

    fn before_update(&mut self, _: u64) {
        self.meet("before_update");
    }

    fn prepare(
        &mut self,
        _: &PrepareContext<'_>,
        data: TrainData,
    ) -> Result<TrainData, LearnerError> {
        self.meet("prepare");
        Ok(data)
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses, LearnerError> {
        self.meet("compute");
        let (logp, device) = (cx.logp()?, cx.device);
        let losses = Losses::new(logp.clone().mean());
        Ok(match self.0 {
            "wide metric" => losses.metric("entropy", logp),
            "short rows" => losses.row_values("td_error", Tensor::zeros([2], device)),
            _ => losses.metric("entropy", logp.mean()),
        })
    }

    fn stops_early(&mut self, _: &Losses) -> Result<bool, LearnerError> {
        self.meet("stops_early");
        Ok(false)
    }

    fn skips_phase(&self, _: usize) -> bool {
        self.meet("skips_phase");
        false
    }

    fn after_minibatch(
        &mut self,
        _: &mut rekindle::learner::AfterMinibatch<'_>,
    ) -> Result<(), LearnerError> {
        self.meet("after_minibatch");
        Ok(())
    }

    fn after_update(
        &mut self,
        _: &mut rekindle::learner::AfterUpdate<'_>,
    ) -> Result<(), LearnerError> {
        self.meet("after_update");
        Ok(())
    }

    fn get_state(&self) -> Result<State, LearnerError> {
        Ok(State::new())
    }
}

#[test]
fn a_panic_in_any_method_of_a_loss_is_an_error_that_names_loss_module_and_method() {
    let module = build(RLModuleSpec::default());
    for method in [
        "before_update",
        "prepare",
        "skips_phase",
        "compute",
        "stops_early",
        "after_minibatch",
        "after_update",
    ] {
        let mut learner = learner(&module, Faulty(method)).unwrap();
        let error = learner.update(&rows(), 0).unwrap_err();
        assert!(matches!(error, LearnerError::Panicked { .. }), "{error}");
        let message = error.to_string();
        for part in [method, "faulty loss", "`default_policy`", &format!("met in {method}")] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}

#[test]
fn metrics_that_are_not_one_number_and_row_values_of_other_rows_are_refused() {
    let module = build(RLModuleSpec::default());
    for (what, expected) in [
        ("wide metric", "reports `entropy` with shape [6], and a metric is one number"),
        ("short rows", "returns 2 row values `td_error` for a minibatch of 6 rows"),
    ] {
        let mut learner = learner(&module, Faulty(what)).unwrap();
        let before = weights(&learner, DEFAULT_MODULE_ID);
        let message = learner.update(&rows(), 0).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert_eq!(weights(&learner, DEFAULT_MODULE_ID), before);
    }
    learner(&module, Faulty("nothing")).unwrap().update(&rows(), 0).unwrap();
}

/// Predicts the first observation from the others by a loss of its own, or goes wrong as its settings say.
#[derive(Module, Debug)]
struct OwnLoss {
    predictor: Mlp,
    #[module(skip)]
    flaw: String,
}

impl RLModule for OwnLoss {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { predictor: cx.mlp(3, &[4], 1), flaw: cx.model_config()? })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let predicted = self.predictor.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with("predicted", predicted))
    }

    fn as_self_supervised_loss(&self) -> Option<&dyn SelfSupervisedLoss> {
        Some(self)
    }
}

impl SelfSupervisedLoss for OwnLoss {
    fn compute_self_supervised_loss(
        &self,
        batch: &Batch,
        outputs: &Batch,
    ) -> ModuleResult<Tensor<1>> {
        let predicted = outputs.float::<2>("predicted")?.squeeze_dim::<1>(1);
        let rows = predicted.dims()[0];
        let first = batch.float::<2>(Columns::OBS)?.narrow(1, 0, 1).reshape([rows]);
        let errors = (predicted - first).square();
        Ok(match self.flaw.as_str() {
            "rows" => errors,
            "detached" => errors.mean().detach(),
            "panic" => panic!("no prediction"),
            _ => errors.mean(),
        })
    }
}

fn own_loss(flaw: &str) -> AnyRLModule {
    build(RLModuleSpec::of::<OwnLoss>().model_config(json!(flaw)))
}

#[test]
fn a_module_with_a_loss_of_its_own_learns_beside_any_algorithm_and_needs_no_critic() {
    let module = own_loss("");
    let learners = [
        learner(&module, PpoLoss::new(PpoTraining::default().lr(1e-2))),
        learner(&module, A2cLoss::new(A2cTraining::default().lr(1e-2))),
        learner(&module, VpgLoss::new(VpgTraining::default().lr(1e-2))),
    ];
    for learner in learners {
        let mut learner = learner.unwrap();
        let mut losses = Vec::new();
        for _ in 0..30 {
            learner.update(&rows(), 0).unwrap();
            let result = metrics(&mut learner);
            losses.push(result.get("learner/default_policy/total_loss").unwrap());
            // Nothing of the algorithm's loss is called.
            assert_eq!(result.get("learner/default_policy/curr_entropy_coeff"), None);
        }
        assert!(losses[29] < losses[0], "{losses:?}");
    }
}

#[test]
fn a_loss_of_a_module_is_checked_and_guarded_as_others_are() {
    for (flaw, expected) in [
        ("rows", "the self-supervised loss of module `default_policy` has shape [6]"),
        ("detached", "does not depend on the parameters"),
        ("panic", "panicked: no prediction"),
    ] {
        let mut learner = learner(&own_loss(flaw), Faulty("nothing")).unwrap();
        let before = weights(&learner, DEFAULT_MODULE_ID);
        let error = learner.update(&rows(), 0).unwrap_err();
        let is_typed = match flaw {
            "panic" => matches!(&error, LearnerError::Module(ModuleError::Panicked { .. })),
            _ => matches!(&error, LearnerError::InvalidLoss { .. }),
        };
        assert!(is_typed && error.to_string().contains(expected), "{error}");
        assert_eq!(weights(&learner, DEFAULT_MODULE_ID), before, "{flaw}");
    }
}

/// Two scalars with an optimizer each, or what is wrong with them.
#[derive(Debug, Clone, Copy)]
struct TwoScalars(&'static str);

impl Loss for TwoScalars {
    fn name(&self) -> &str {
        "two-scalar"
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        let scalar = |optimizer: &str, name: &str, lr: f64| {
            let group = OptimizerGroup::scalars(optimizer, [(name, 1.0)]);
            group.lr(lr).rule(OptimizerConfig::sgd())
        };
        let second = if self.0 == "twice" { "x" } else { "y" };
        vec![OptimizerGroup::default(), scalar("of_x", "x", 0.1), scalar("of_y", second, 0.01)]
    }

    fn phases(&self) -> Vec<Phase> {
        vec![Phase::new("total", ["default_optimizer", "of_x", "of_y"])]
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses, LearnerError> {
        Ok((cx.logp()?.mean() + cx.scalar("x")? + cx.scalar("y")? * 2.0).into())
    }

    fn get_state(&self) -> Result<State, LearnerError> {
        Ok(State::new())
    }
}

#[test]
fn each_scalar_is_stepped_by_the_optimizer_that_owns_it() {
    let module = build(RLModuleSpec::default());
    let mut learner = learner(&module, TwoScalars("")).unwrap();
    let scalars = |learner: &Learner| {
        let state = learner.get_state().unwrap();
        let of_module = state.component("scalars/default_policy").unwrap();
        ["x", "y"].map(|name| of_module.tensor(name).unwrap().as_slice::<f32>().unwrap()[0])
    };
    learner.update(&rows(), 0).unwrap();
    // x − 0.1·1 and y − 0.01·2.
    let [x, y] = scalars(&learner);
    assert!((x - 0.9).abs() < 1e-6 && (y - 0.98).abs() < 1e-6, "{x} {y}");
    let names = ["gradients_of_x_global_norm", "gradients_of_y_global_norm"];
    let result = metrics(&mut learner);
    let norms = names.map(|name| result.get(&format!("learner/default_policy/{name}")).unwrap());
    assert_eq!(norms, [1.0, 2.0]);
    let state = learner.get_state().unwrap();
    let mut restored = self::learner(&module, TwoScalars("")).unwrap();
    restored.set_state(&state).unwrap();
    for learner in [&mut learner, &mut restored] {
        learner.update(&rows(), 0).unwrap();
    }
    assert_eq!(scalars(&learner), scalars(&restored));
}

#[test]
fn a_scalar_of_two_optimizers_is_refused_by_name() {
    let module = build(RLModuleSpec::default());
    let message = learner(&module, TwoScalars("twice")).unwrap_err().to_string();
    for part in ["`default_policy`", "`of_y`", "`x`"] {
        assert!(message.contains(part), "{message}");
    }
}

/// Counts its updates, and has no state before the first. Refuses a state above a limit.
#[derive(Debug, Clone)]
struct Counting {
    updates: u64,
    limit: Arc<AtomicU64>,
}

impl Loss for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses, LearnerError> {
        Ok(cx.logp()?.mean().into())
    }

    fn after_update(
        &mut self,
        cx: &mut rekindle::learner::AfterUpdate<'_>,
    ) -> Result<(), LearnerError> {
        self.updates += 1;
        cx.report("updates", self.updates as f64);
        Ok(())
    }

    fn get_state(&self) -> Result<State, LearnerError> {
        match self.updates {
            0 => Ok(State::new()),
            updates => Ok(State::from_data(&updates)?),
        }
    }

    fn set_state(&mut self, state: &State) -> Result<(), LearnerError> {
        self.updates = state.data_as()?;
        match self.updates > self.limit.load(SeqCst) {
            true => Err(LearnerError::custom("above the limit")),
            false => Ok(()),
        }
    }
}

#[test]
fn restoring_resets_losses_without_state_and_a_failed_restore_changes_nothing() {
    let limit = Arc::new(AtomicU64::new(9));
    let loss = Counting { updates: 0, limit: limit.clone() };
    let mut learner = learner(&build(RLModuleSpec::default()), loss).unwrap();
    let updates = |learner: &mut Learner| {
        learner.update(&rows(), 0).unwrap();
        metrics(learner).get("learner/default_policy/updates").unwrap()
    };
    let new = learner.get_state().unwrap();
    assert_eq!([updates(&mut learner), updates(&mut learner)], [1.0, 2.0]);
    let two = learner.get_state().unwrap();
    learner.set_state(&new).unwrap();
    assert_eq!(updates(&mut learner), 1.0, "a loss without a state starts anew");

    limit.store(1, SeqCst);
    let before = learner.get_state().unwrap();
    assert!(learner.set_state(&two).unwrap_err().to_string().contains("above the limit"));
    assert_eq!(learner.get_state().unwrap(), before);
    assert_eq!(updates(&mut learner), 2.0);
}
