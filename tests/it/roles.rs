//! Roles that learners may require of modules: action values, target networks, custom losses.

use crate::support::{Cloning, data, device, experience, metrics, weights};
use burn::module::Module;
use burn::prelude::*;
use rekindle::core::weights::Weights;
use rekindle::learner::LearnerError;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

fn space() -> Space {
    Space::boxed(-1.0, 1.0, &[4]).unwrap()
}

fn spec<M: RLModule + Module + 'static>() -> RLModuleSpec {
    RLModuleSpec::of::<M>().observation_space(space()).action_space(Space::discrete(2).unwrap())
}

fn build<M: RLModule + Module + 'static>() -> AnyRLModule {
    spec::<M>().build_seeded(&device(), Generator::from_seed(0)).unwrap()
}

fn one<L>(module: AnyRLModule, loss: L) -> Result<Learner, LearnerError>
where
    L: Loss + Clone + Sync + 'static,
{
    let module = module.as_multi_rl_module()?;
    let new_loss = move |_: &str| -> Box<dyn Loss> { Box::new(loss.clone()) };
    Learner::new(LearnerConfig::default(), new_loss, module, &device())
}

fn cloning(roles: Vec<Role>) -> Cloning {
    Cloning { roles, ..Cloning::lr(1e-2) }
}

/// A Q network and its target network.
#[derive(Module, Debug)]
struct Dqn {
    qf: Mlp,
    target_qf: Mlp,
}

impl RLModule for Dqn {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { qf: cx.mlp(4, &[8], 2), target_qf: cx.mlp(4, &[8], 2) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        self.compute_q_values(batch)
    }

    fn forward_exploration(
        &self,
        batch: &Batch,
        _cx: &mut ExplorationContext,
    ) -> ModuleResult<Batch> {
        let values = self.qf.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::ACTIONS, values.argmax(1).squeeze_dim::<1>(1)))
    }

    fn as_q_net(&self) -> Option<&dyn QNet> {
        Some(self)
    }

    fn as_target_network(&self) -> Option<&dyn TargetNetwork> {
        Some(self)
    }
}

impl QNet for Dqn {
    fn compute_q_values(&self, batch: &Batch) -> ModuleResult<Batch> {
        let values = self.qf.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::QF_PREDS, values))
    }
}

impl TargetNetwork for Dqn {
    fn target_network_pairs(&self) -> &'static [(&'static str, &'static str)] {
        &[("qf", "target_qf")]
    }

    fn forward_target(&self, batch: &Batch) -> ModuleResult<Batch> {
        let values = self.target_qf.forward(batch.float::<2>(Columns::OBS)?);
        Ok(Batch::new().with(Columns::QF_PREDS, values))
    }
}

/// Squared error to `r + γ·max Q⁻`, on the same observations.
#[derive(Debug, Clone)]
struct QLearning;

impl Loss for QLearning {
    fn name(&self) -> &str {
        "Q-learning"
    }

    fn required_roles(&self) -> Vec<Role> {
        vec![Role::QNet, Role::TargetNetwork]
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        vec![OptimizerGroup::default().lr(1e-2)]
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses, LearnerError> {
        let values = cx.module.q_net(self.name())?.compute_q_values(cx.batch())?;
        let target = cx.module.forward_target(cx.batch())?.float::<2>(Columns::QF_PREDS)?;
        let error = values.float::<2>(Columns::QF_PREDS)?.max_dim(1)
            - target.max_dim(1).mul_scalar(0.9)
            - cx.batch().float::<1>(Columns::REWARDS)?.unsqueeze_dim(1);
        Ok(error.square().mean().into())
    }

    fn get_state(&self) -> Result<State, LearnerError> {
        Ok(State::new())
    }
}

fn part(weights: &Weights, prefix: &str) -> Vec<f32> {
    let part = weights.iter().filter(|(name, _)| name.starts_with(prefix));
    part.flat_map(|(_, array)| array.as_slice::<f32>().unwrap().to_vec()).collect()
}

#[test]
fn the_learner_moves_target_networks_and_gradients_do_not() {
    let mut learner = one(build::<Dqn>(), QLearning).unwrap();
    let parts = |learner: &Learner| {
        let weights = weights(learner, DEFAULT_MODULE_ID);
        (part(&weights, "qf"), part(&weights, "target_qf"))
    };
    let (main, target) = parts(&learner);
    assert_eq!(main, target, "targets begin as copies");

    let experience = data(&[(DEFAULT_MODULE_ID, experience(&space(), 2, 16, 0))]);
    for _ in 0..5 {
        learner.update(&experience, 0).unwrap();
    }
    let (moved, still) = parts(&learner);
    assert_ne!(moved, main);
    assert_eq!(still, target);

    learner.sync_targets(0.25).unwrap();
    for ((new, main), old) in parts(&learner).1.iter().zip(&moved).zip(&target) {
        assert!((new - (0.25 * main + 0.75 * old)).abs() < 1e-6);
    }
    learner.sync_targets(1.0).unwrap();
    assert_eq!(parts(&learner).1, moved);
    learner.update(&experience, 0).unwrap();
    assert_ne!(parts(&learner).0, moved, "the main network still learns");
    assert_eq!(parts(&learner).1, moved);
    assert!(learner.sync_targets(2.0).unwrap_err().to_string().contains("`tau` is 2"));
}

#[test]
fn action_values_come_in_their_column() {
    let module = build::<Dqn>();
    let obs = Tensor::<2>::zeros([3, 4], &device());
    let values = module.q_net("a test").unwrap().compute_q_values(&Batch::new().with("obs", obs));
    assert_eq!(values.unwrap().float::<2>(Columns::QF_PREDS).unwrap().dims(), [3, 2]);
    assert!(module.downcast_ref::<Dqn>().is_some());
    assert!(module.downcast_ref::<Curiosity>().is_none());
}

#[test]
fn a_learner_refuses_modules_that_lack_a_role_or_only_act() {
    let actor = build::<ActorCritic>();
    let message = one(actor, QLearning).unwrap_err().to_string();
    for expected in ["`rekindle.ActorCritic`", "QNet", "the Q-learning learner", "as_q_net"] {
        assert!(message.contains(expected), "{message}");
    }
    let roles = vec![Role::ValueFunction];
    let message = one(build::<Dqn>(), cloning(roles)).unwrap_err().to_string();
    assert!(message.contains("as_value_function"), "{message}");
    let roles = vec![Role::SelfSupervisedLoss];
    let message = one(build::<Dqn>(), cloning(roles)).unwrap_err().to_string();
    assert!(message.contains("as_self_supervised_loss"), "{message}");

    let acting = spec::<ActorCritic>().inference_only(true).build(&device()).unwrap();
    let message = one(acting, Cloning::lr(1e-2)).unwrap_err().to_string();
    for expected in ["`default_policy`", "`rekindle.ActorCritic`", "`inference_only`"] {
        assert!(message.contains(expected), "{message}");
    }
}

/// Predicts the next observation. The prediction error is the curiosity.
#[derive(Module, Debug)]
struct Curiosity {
    forward_model: Mlp,
}

impl RLModule for Curiosity {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { forward_model: cx.mlp(5, &[32], 4) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        let obs = batch.float::<2>(Columns::OBS)?;
        let action = batch.int::<1>(Columns::ACTIONS)?.float().unsqueeze_dim(1);
        let predicted = self.forward_model.forward(Tensor::cat(vec![obs, action], 1));
        Ok(Batch::new().with(Columns::NEXT_OBS, predicted))
    }

    fn as_self_supervised_loss(&self) -> Option<&dyn SelfSupervisedLoss> {
        Some(self)
    }
}

impl SelfSupervisedLoss for Curiosity {
    fn compute_self_supervised_loss(
        &self,
        batch: &Batch,
        outputs: &Batch,
    ) -> ModuleResult<Tensor<1>> {
        // The environment negates observations and adds the action.
        let action = batch.int::<1>(Columns::ACTIONS)?.float().unsqueeze_dim::<2>(1);
        let next = batch.float::<2>(Columns::OBS)?.neg() + action;
        Ok((outputs.float::<2>(Columns::NEXT_OBS)? - next).square().mean())
    }
}

#[test]
fn a_module_with_its_own_loss_learns_by_it_beside_one_of_the_algorithm() {
    let mut learner = one(build::<ActorCritic>(), cloning(vec![Role::ValueFunction]));
    let learner = learner.as_mut().unwrap();
    learner.add_module("icm", build::<Curiosity>(), false).unwrap();
    let rows = experience(&space(), 2, 64, 0);
    let both = data(&[(DEFAULT_MODULE_ID, rows.clone()), ("icm", rows)]);
    let mut losses = Vec::new();
    for _ in 0..300 {
        learner.update(&both, 0).unwrap();
        let result = metrics(learner);
        assert!(result.get("learner/icm/vf_loss").is_none());
        assert!(result.get("learner/default_policy/vf_loss").is_some());
        losses.push(result.get("learner/icm/total_loss").unwrap());
    }
    assert!(losses[0] > 0.3 && losses[299] < 0.01, "{} to {}", losses[0], losses[299]);
}

#[test]
fn a_module_without_target_networks_has_no_target_pass() {
    let message = build::<Curiosity>().forward_target(&Batch::new()).unwrap_err().to_string();
    assert!(message.contains("as_target_network"), "{message}");
}

/// As [`QLearning`], with targets that follow after each minibatch.
#[derive(Debug, Clone)]
struct Following;

impl Loss for Following {
    fn name(&self) -> &str {
        "following"
    }

    fn optimizers(&self) -> Vec<OptimizerGroup> {
        QLearning.optimizers()
    }

    fn compute(&mut self, cx: &LossContext<'_>) -> Result<Losses, LearnerError> {
        QLearning.compute(cx)
    }

    fn after_minibatch(
        &mut self,
        cx: &mut rekindle::learner::AfterMinibatch<'_>,
    ) -> Result<(), LearnerError> {
        cx.update_targets(0.25);
        Ok(())
    }

    fn get_state(&self) -> Result<State, LearnerError> {
        Ok(State::new())
    }
}

#[test]
fn targets_that_follow_minibatches_do_not_depend_on_how_many_an_update_has() {
    let rows = experience(&space(), 2, 24, 0).remove(0);
    let eight = |from: usize| {
        let mut part = experience(&space(), 2, 8, 0).remove(0);
        part.observations = rows.observations.slice(from..from + 8).unwrap();
        part.final_observations = part.observations.slice(0..1).unwrap();
        vec![part]
    };
    let module = || build::<Dqn>().as_multi_rl_module().unwrap();
    let new = |minibatch_size| {
        let config = LearnerConfig::default().minibatch_size(minibatch_size);
        let loss = |_: &str| -> Box<dyn Loss> { Box::new(Following) };
        Learner::new(config, loss, module(), &device()).unwrap()
    };
    let mut once = new(Some(8));
    once.update(&data(&[(DEFAULT_MODULE_ID, vec![rows.clone()])]), 0).unwrap();
    let mut thrice = new(None);
    for from in [0, 8, 16] {
        thrice.update(&data(&[(DEFAULT_MODULE_ID, eight(from))]), 0).unwrap();
    }
    let [once, thrice] = [once, thrice].map(|learner| weights(&learner, DEFAULT_MODULE_ID));
    assert_eq!(once, thrice);
    assert_ne!(part(&once, "target_qf"), part(&once, "qf"));
}
