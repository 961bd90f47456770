//! Losses and functions around them that go wrong, at build and in the middle of training.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use burn::module::Module;
use burn::prelude::*;
use rekindle::algorithms::{AlgorithmConfig, CustomTraining, ImpalaConfig, TrainingConfig};
use rekindle::core::AnyTensor;
use rekindle::env_runner::SegmentEnd;
use rekindle::learner::{Gradients, LearnerError};
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

use crate::support::{data, device, experience, metrics, weights};

/// A loss that goes wrong as it says.
#[derive(Debug, Clone, Copy)]
struct Wrong(&'static str);

impl Loss for Wrong {
    fn name(&self) -> &str {
        "wrong"
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses, LearnerError> {
        let logp = cx.logp()?;
        Ok(Losses::new(match self.0 {
            "one value per row" => logp,
            "two values" => logp.narrow(0, 0, 2),
            "a constant" => Tensor::ones([1], cx.device),
            "detached" => logp.mean().detach(),
            "not a number" => logp.mean().log(),
            "infinite" => logp.mean() * f64::INFINITY,
            _ => logp.mean().neg(),
        }))
    }

    fn get_state(&self) -> Result<State, LearnerError> {
        Ok(State::new())
    }
}

fn learner(what: &'static str) -> Learner {
    let module = RLModuleSpec::default()
        .observation_space(Space::boxed(-1.0, 1.0, &[3]).unwrap())
        .action_space(Space::discrete(2).unwrap())
        .build_seeded(&device(), Generator::from_seed(0))
        .unwrap();
    let new_loss = move |_: &str| -> Box<dyn Loss> { Box::new(Wrong(what)) };
    let module = module.as_multi_rl_module().unwrap();
    Learner::new(LearnerConfig::default(), new_loss, module, &device()).unwrap()
}

/// There is no dry run here: the first update meets the loss.
#[test]
fn a_loss_of_another_shape_or_without_gradients_is_refused_in_an_update_and_changes_nothing() {
    let rows = experience(&Space::boxed(-1.0, 1.0, &[3]).unwrap(), 2, 5, 0);
    let rows = data(&[(DEFAULT_MODULE_ID, rows)]);
    for (what, expected) in [
        ("one value per row", "has shape [5], and a loss is one number"),
        ("two values", "has shape [2], and a loss is one number"),
        ("a constant", "does not depend on the parameters of the module"),
        ("detached", "does not depend on the parameters of the module"),
    ] {
        let mut learner = learner(what);
        let before = weights(&learner, DEFAULT_MODULE_ID);
        let error = learner.update(&rows, 0).unwrap_err();
        assert!(matches!(error, LearnerError::InvalidLoss { .. }), "{what}: {error}");
        let message = error.to_string();
        assert!(message.contains("the wrong loss of module `default_policy`"), "{message}");
        assert!(message.contains(expected), "{message}");
        assert_eq!(weights(&learner, DEFAULT_MODULE_ID), before, "{what}");
    }
}

#[test]
fn a_loss_that_is_not_finite_is_skipped_and_counted_and_takes_no_step() {
    let rows = experience(&Space::boxed(-1.0, 1.0, &[3]).unwrap(), 2, 5, 0);
    let rows = data(&[(DEFAULT_MODULE_ID, rows)]);
    for (what, skipped) in [("not a number", Some(1.0)), ("infinite", Some(1.0)), ("", None)] {
        let mut learner = learner(what);
        let before = learner.get_state().unwrap();
        learner.update(&rows, 0).unwrap();
        let key = "learner/default_policy/num_non_finite_updates_lifetime";
        assert_eq!(metrics(&mut learner).get(key), skipped, "{what}");
        let after = learner.get_state().unwrap();
        for component in ["rl_module", "optimizer"] {
            let stays = before.components[component] == after.components[component];
            assert_eq!(stays, skipped.is_some(), "{what}: {component}");
        }
    }
}

fn my_pg() -> AlgorithmConfig<CustomTraining> {
    AlgorithmConfig::from_loss("MyPG", |cx, batch| {
        Ok((cx.logp()? * batch.float::<1>(Columns::RETURNS_TO_GO)?).mean().neg())
    })
    .with_postprocess(|trajectory| trajectory.add_returns_to_go(0.99))
    .environment("CartPole-v1")
    .env_runners(|e| e.batch_mode(BatchMode::CompleteEpisodes))
    .model("fcnet_hiddens", vec![8])
    .training(|t| t.train_batch_size(64))
    .seed(3)
}

/// The number of skipped updates so far, and whether the weights changed in this iteration.
fn trained(algo: &mut Algorithm) -> (Option<f64>, bool) {
    let of = |algo: &Algorithm| algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    let before = of(algo);
    let result = algo.train().unwrap();
    let skipped = result.get("learners/default_policy/num_non_finite_updates_lifetime");
    (skipped, of(algo) != before)
}

#[test]
fn training_goes_on_when_a_loss_is_finite_again() {
    let is_nan = Arc::new(AtomicBool::new(false));
    let of_loss = Arc::clone(&is_nan);
    let config = my_pg().with_loss(move |cx, _| {
        let factor = if of_loss.load(SeqCst) { f64::NAN } else { 1.0 };
        Ok(cx.logp()?.mean() * factor)
    });
    let mut algo = config.build(&device()).unwrap();
    is_nan.store(true, SeqCst);
    assert_eq!(trained(&mut algo), (Some(1.0), false));
    assert_eq!(trained(&mut algo), (Some(2.0), false));
    is_nan.store(false, SeqCst);
    assert_eq!(trained(&mut algo), (Some(2.0), true));
}

#[test]
fn a_loss_that_is_not_finite_is_counted_in_the_asynchronous_plan() {
    for deterministic in [false, true] {
        let config = ImpalaConfig::new()
            .environment("CartPole-v1")
            .model("fcnet_hiddens", vec![8])
            .training(|t| t.train_batch_size(40).fragment_length(5).deterministic(deterministic))
            .with_name("Diverging")
            .with_loss(|cx, _| Ok(cx.logp()?.mean() * f64::NAN));
        let mut algo = config.build(&device()).unwrap();
        let (mut last, mut changed) = (None, false);
        for _ in 0..2 {
            let (skipped, moves) = trained(&mut algo);
            assert!(skipped > last, "{skipped:?} after {last:?}");
            (last, changed) = (skipped, changed | moves);
        }
        assert!(!changed);
    }
}

/// Dividing by a norm of 0 is a mistake that is easily made.
#[test]
fn gradients_that_a_function_made_not_finite_are_skipped_and_counted() {
    for (factor, expected) in [(f64::NAN, (Some(1.0), false)), (1.0, (None, true))] {
        let config = my_pg().gradients(move |gradients, _| {
            let mut scaled = Gradients::default();
            for param in gradients.params() {
                let Some(gradient) = gradients.get(*param) else { continue };
                let gradient: AnyTensor = gradient.map_flat(|g| g * factor)?;
                scaled.insert(*param, gradient);
            }
            Ok(scaled)
        });
        assert_eq!(trained(&mut config.build(&device()).unwrap()), expected, "{factor}");
    }
}

fn message<T: TrainingConfig>(config: &AlgorithmConfig<T>) -> String {
    config.build(&device()).unwrap_err().to_string()
}

#[test]
fn a_postprocess_that_adds_columns_of_other_lengths_or_to_some_trajectories_is_refused_at_build() {
    let short = my_pg().with_postprocess(|t| t.insert("weight", vec![1.0; t.len() - 1]));
    let short = message(&short);
    let expected = "added the column `weight` with 3 numbers to a trajectory of 4 steps; add one";
    assert!(short.contains(expected), "{short}");
    let some = my_pg().with_postprocess(|t| match t.end() {
        SegmentEnd::Terminated => t.insert("weight", vec![1.0; t.len()]),
        SegmentEnd::Truncated | SegmentEnd::Cut => Ok(()),
    });
    let some = message(&some);
    assert!(some.contains("have no column `weight`"), "{some}");
}

/// Acts, and has no other role.
#[derive(Module, Debug)]
struct ActorOnly {
    policy: Mlp,
}

impl RLModule for ActorOnly {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { policy: cx.mlp(4, &[8], 2) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, logits))
    }
}

#[test]
fn a_module_without_a_role_that_the_loss_needs_is_refused_at_build_with_both_names() {
    let spec = RLModuleSpec::of::<ActorOnly>;
    let mut values = my_pg().with_loss(|cx, _| Ok(cx.values()?.mean())).rl_module(spec());
    values.model_config.clear();
    let messages = [
        (message(&values), "the loss"),
        (message(&A2cConfig::new().environment("CartPole-v1").rl_module(spec())), "A2C"),
        (message(&ImpalaConfig::new().environment("CartPole-v1").rl_module(spec())), "IMPALA"),
        (message(&VpgConfig::new().environment("CartPole-v1").rl_module(spec())), "VPG"),
    ];
    for (message, loss) in messages {
        assert!(message.contains("ActorOnly` lacks the role ValueFunction"), "{message}");
        assert!(message.contains(loss), "{message}");
        assert!(message.contains("return it from `RLModule::as_value_function`"), "{message}");
    }
}

#[test]
fn a_column_that_a_postprocess_adds_is_missing_without_one() {
    for (column, method) in [
        (Columns::RETURNS_TO_GO, "add_returns_to_go(gamma)"),
        (Columns::ADVANTAGES, "add_advantages(gamma, lambda)"),
        (Columns::VALUE_TARGETS, "add_advantages(gamma, lambda)"),
    ] {
        let config = AlgorithmConfig::<CustomTraining>::from_loss("Mine", move |cx, batch| {
            Ok((cx.logp()? * batch.float::<1>(column)?).mean())
        });
        let error = message(&config.environment("CartPole-v1"));
        let expected = format!("no column `{column}`, which the Mine loss needs; add it with");
        assert!(error.contains(&expected) && error.contains(method), "{error}");
    }
}
