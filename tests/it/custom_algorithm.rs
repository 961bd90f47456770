//! Algorithms from a loss function, variants, and custom plans.

use burn::prelude::*;
use rekindle::algorithms::{
    AlgorithmConfig, AsyncGradients, Asynchronous, CustomTraining, Synchronous, TrainingConfig,
};
use rekindle::learner::{GradClipBy, LearnerError, OptimizerConfig, OptimizerGroup};
use rekindle::prelude::*;

use crate::scripted;

fn device() -> Device {
    DeviceSpec::Cpu.open().unwrap()
}

/// Policy gradients over returns.
fn my_pg() -> AlgorithmConfig<CustomTraining> {
    AlgorithmConfig::from_loss("MyPG", |cx, batch| {
        Ok((cx.logp()? * batch.float::<1>(Columns::RETURNS_TO_GO)?).mean().neg())
    })
    .with_postprocess(|trajectory| trajectory.add_returns_to_go(0.99))
    .environment("CartPole-v1")
    .env_runners(|e| e.num_env_runners(2).batch_mode(BatchMode::CompleteEpisodes))
    .training(|t| t.train_batch_size(64))
    .seed(3)
}

fn message<T: TrainingConfig>(config: &AlgorithmConfig<T>) -> String {
    config.build(&device()).unwrap_err().to_string()
}

#[test]
fn a_loss_function_with_postprocessing_is_an_algorithm_that_is_saved_and_resumed() {
    let mut algo = my_pg().build(&device()).unwrap();
    assert_eq!(algo.name(), "MyPG");
    algo.train().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    algo.save_to_path(&path).unwrap();

    // The code is not in the checkpoint.
    let error = Algorithm::from_checkpoint::<CustomTraining>(&path, &device()).unwrap_err();
    let message = error.to_string();
    let parts = "config.with_loss(…).with_postprocess(…)";
    assert!(message.contains("`MyPG`") && message.contains(parts), "{message}");
    // Code of another name is that of another algorithm. Without a name, the saved one stays.
    let other = |_| my_pg().with_name("Other");
    let error = Algorithm::from_checkpoint_with::<CustomTraining>(&path, &device(), other);
    let message = error.unwrap_err().to_string();
    assert!(message.contains("`MyPG`, not `Other`"), "{message}");
    let unnamed = |config: AlgorithmConfig<CustomTraining>| {
        config.with_loss(|cx, _| Ok(cx.logp()?.mean())).with_postprocess(|_| Ok(()))
    };
    let unnamed = Algorithm::from_checkpoint_with::<CustomTraining>(&path, &device(), unnamed);
    assert_eq!(unnamed.unwrap().name(), "MyPG");
    let given = |_| my_pg();
    let mut resumed =
        Algorithm::from_checkpoint_with::<CustomTraining>(&path, &device(), given).unwrap();
    assert_eq!(resumed.name(), "MyPG");
    algo.train().unwrap();
    resumed.train().unwrap();
    let learners = [&algo, &resumed].map(|algo| algo.learner().get_state().unwrap());
    assert!(learners[0] == learners[1], "the continuation is exact");
}

#[test]
fn stats_gradients_and_optimizers_of_a_variant_take_effect() {
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .training(|t| t.train_batch_size(64).minibatch_size(32).num_epochs(1))
        .with_name("MyPPO")
        .stats(|cx, _| Ok(vec![("mean_logp", cx.logp()?.mean())]))
        .gradients(|gradients, norm| gradients.clip(GradClipBy::Value, 1e-3, norm))
        .optimizers([
            OptimizerGroup::prefixes("actor", ["encoder", "pi"]).lr(1e-3),
            OptimizerGroup::prefixes("critic", ["critic_encoder", "vf"]).lr(0.0),
        ])
        .seed(0);
    let mut algo = config.build(&device()).unwrap();
    let before = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    let result = algo.train().unwrap();
    let after = algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    let metric = |name: &str| result.get(&format!("learners/default_policy/{name}"));
    assert!(metric("mean_logp").is_some_and(|logp| logp < 0.0));
    assert_eq!(metric("actor_learning_rate"), Some(1e-3));
    assert_eq!(metric("critic_learning_rate"), Some(0.0));
    assert!(metric("gradients_critic_global_norm").is_some());
    for (name, weight) in &after {
        let moves = *weight != before[name];
        let of_actor = name.starts_with("encoder") || name.starts_with("pi");
        assert_eq!(moves, of_actor, "{name}");
    }
}

#[test]
fn each_optimizer_of_a_module_has_its_own_clipping_and_schedule() {
    let group = |name: &str, prefixes: [&'static str; 2], bound: f64| {
        let group = OptimizerGroup::prefixes(name, prefixes).rule(OptimizerConfig::sgd());
        group.grad_clip(bound).grad_clip_by(GradClipBy::Value)
    };
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .training(|t| t.train_batch_size(64).minibatch_size(64).num_epochs(1))
        .optimizers([
            group("actor", ["encoder", "pi"], 1e-5).lr([(0, 1.0), (64, 1.0), (128, 0.0)]),
            group("critic", ["critic_encoder", "vf"], 1e-3).lr(0.5),
        ])
        .seed(0);
    let mut algo = config.build(&device()).unwrap();
    let weights = |algo: &Algorithm| algo.module(DEFAULT_MODULE_ID).unwrap().state_dict().unwrap();
    let mut steps = Vec::new();
    for _ in 0..2 {
        let before = weights(&algo);
        algo.train().unwrap();
        let mut largest = [0.0f32; 2];
        for (name, weight) in weights(&algo) {
            let of_actor = name.starts_with("encoder") || name.starts_with("pi");
            let [after, before] = [&weight, &before[&name]].map(|w| w.as_slice::<f32>().unwrap());
            let pairs = after.iter().zip(before);
            let moved = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let largest = &mut largest[usize::from(!of_actor)];
            *largest = largest.max(moved);
        }
        steps.push(largest);
    }
    // A step is the bound times the rate, but for the rounding of the weight.
    let close = |found: f32, expected: f32| (found - expected).abs() < 2e-7;
    assert!(close(steps[0][0], 1e-5) && close(steps[0][1], 5e-4), "{steps:?}");
    assert!(steps[1][0] == 0.0 && close(steps[1][1], 5e-4), "{steps:?}");
}

/// Agent `a` gets t at step t, agent `b` twice as much, and the module of `b` does not learn.
#[test]
fn a_postprocessing_function_reads_the_steps_of_other_agents() {
    scripted::game("test/Team-v0", &[("a", 1), ("b", 1)], |t, out| {
        for agent in 0..out.num_agents() {
            out.observe(agent)?.write_f32(&[0.0])?;
            out.add_reward(agent, (t * (agent + 1)) as f64)?;
        }
        if t == 10 {
            out.terminate_all();
        }
        Ok(())
    });
    let config = AlgorithmConfig::from_loss("Team", |cx, batch| {
        Ok((cx.logp()? * batch.float::<1>("team")?).mean().neg())
    })
    .with_postprocess(|trajectory| {
        let mut team = trajectory.rewards()?.to_vec();
        for other in trajectory.other_agents() {
            assert_eq!((other.module_id(), other.len()), ("b", team.len()));
            assert_eq!(other.agent().map(|agent| &**agent), Some("b"));
            team.iter_mut().zip(other.rewards()?).for_each(|(sum, reward)| *sum += reward);
        }
        trajectory.insert("team", team)
    })
    .stats(|_, batch| {
        let team = batch.float::<1>("team")?;
        Ok(vec![("least", team.clone().min()), ("most", team.max())])
    })
    .environment("test/Team-v0")
    .env_runners(|e| e.num_env_runners(2).batch_mode(BatchMode::CompleteEpisodes))
    .multi_agent(|m| {
        let m = m.policies(["a", "b"]).policy_mapping(PolicyMapping::ByAgent);
        m.policies_to_train(["a"])
    })
    .model("fcnet_hiddens", vec![4])
    .training(|t| t.train_batch_size(40))
    .seed(0);
    let result = config.build(&device()).unwrap().train().unwrap();
    let of = |name: &str| result.get(&format!("learners/a/{name}"));
    assert_eq!((of("least"), of("most")), (Some(3.0), Some(30.0)));
}

#[test]
fn mistakes_in_a_loss_surface_when_the_algorithm_is_built() {
    let from = |loss: fn(&LossContext<'_>, &Batch) -> Result<Tensor<1>, LearnerError>| {
        AlgorithmConfig::from_loss("Wrong", loss).environment("CartPole-v1").seed(0)
    };
    for (config, expected) in [
        (from(|cx, _| cx.logp()), "has shape [8], and a loss is one number: reduce it"),
        (from(|_, batch| Ok(batch.float::<1>("advantage")?)), "column `advantage` is not in"),
        (from(|_, batch| Ok(batch.float::<1>(Columns::REWARDS)?.mean())), "does not depend on"),
        (from(|cx, _| Ok(cx.logp()?.detach().mean())), "does not depend on the parameters"),
        (from(|cx, _| cx.scalar("log_alpha")), "owns the scalar `log_alpha`"),
    ] {
        let message = message(&config);
        assert!(message.contains(expected), "{message}");
    }
    let cut = my_pg().env_runners(|e| e.batch_mode(BatchMode::TruncateEpisodes));
    assert!(message(&cut).contains("sample complete episodes"), "{}", message(&cut));
    let short = my_pg().with_postprocess(|t| t.insert(Columns::RETURNS_TO_GO, vec![0.0]));
    assert!(
        message(&short).contains("with 1 numbers to a trajectory of 4 steps"),
        "{}",
        message(&short)
    );
    let none = AlgorithmConfig::<CustomTraining>::new().environment("CartPole-v1");
    assert!(message(&none).contains("`AlgorithmConfig::from_loss`"), "{}", message(&none));
    let unknown = my_pg().optimizers([OptimizerGroup::prefixes("critic", ["vq"])]);
    assert!(message(&unknown).contains("`critic` steps"), "{}", message(&unknown));
}

/// Without an error, training would go on and learn nothing.
#[test]
fn optimizers_that_would_take_no_step_are_refused_at_build() {
    let values = || my_pg().with_loss(|cx, _| Ok(cx.values()?.square().mean()));
    let of_policy = || OptimizerGroup::prefixes("actor", ["pi", "encoder"]);
    let of_critic = || OptimizerGroup::prefixes("critic", ["vf", "critic_encoder"]);
    let message = |config: AlgorithmConfig<CustomTraining>| message(&config);
    let scalar = OptimizerGroup::scalars("temperature", [("alpha", 1.0)]);
    for config in [
        my_pg().optimizers([]),
        values().optimizers([of_policy()]),
        values().optimizers([of_policy(), scalar.clone()]),
    ] {
        let found = message(config);
        assert!(found.contains("no parameter that its optimizers step"), "{found}");
    }
    let with_scalar = values().with_loss(|cx, _| cx.scalar("alpha"));
    for config in [
        values().optimizers([of_policy(), of_critic()]),
        with_scalar.optimizers([of_policy(), scalar]),
    ] {
        config.build(&device()).unwrap();
    }

    // Overrides of a module do not change optimizers that were replaced.
    let of_module = |field: &str| {
        let config = my_pg().environment("MultiAgentCartPole-v1").optimizers([of_policy()]);
        let config = config.env_config(EnvConfig::new().with("num_agents", 2));
        config.multi_agent(|m| {
            let m = m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent);
            m.override_module("1", field, 0.5)
        })
    };
    let found = message(of_module("lr"));
    assert!(found.contains("module `1`") && found.contains("`optimizers` has replaced"), "{found}");
}

/// Collects twice for each update.
#[derive(Debug, Clone)]
struct Twice;

impl ExecutionPlan for Twice {
    fn name(&self) -> &str {
        "Twice"
    }

    fn training_step(
        &mut self,
        cx: &mut TrainingContext<'_>,
    ) -> Result<StepReport, rekindle::algorithms::AlgorithmError> {
        let mut experience = cx.sample(32)?;
        experience.extend(cx.sample(32)?);
        cx.update(&experience)?;
        cx.publish_weights()?;
        Ok(StepReport::of(&experience))
    }

    fn get_state(&self) -> Result<State, rekindle::algorithms::AlgorithmError> {
        Ok(State::new())
    }
}

#[test]
fn a_plan_is_swapped_and_a_checkpoint_asks_for_the_same_one() {
    let ppo = || {
        PpoConfig::new()
            .environment("CartPole-v1")
            .training(|t| t.train_batch_size(64).minibatch_size(64).num_epochs(2))
            .seed(0)
    };
    let mut algo = ppo().with_execution_plan(Twice).build(&device()).unwrap();
    let result = algo.train().unwrap();
    assert_eq!(result.get("env_runners/num_env_steps_sampled"), Some(64.0));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("saved");
    algo.save_to_path(&path).unwrap();
    let error = Algorithm::from_checkpoint::<PpoTraining>(&path, &device()).unwrap_err();
    assert!(error.to_string().contains("config.with_execution_plan(…)"), "{error}");
    let other = |config: PpoConfig| config.with_execution_plan(Synchronous::new(64));
    let error = Algorithm::from_checkpoint_with::<PpoTraining>(&path, &device(), other);
    let message = error.unwrap_err().to_string();
    assert!(message.contains("`Twice`") && message.contains("`Synchronous`"), "{message}");
    let same = |config: PpoConfig| config.with_execution_plan(Twice);
    Algorithm::from_checkpoint_with::<PpoTraining>(&path, &device(), same).unwrap();

    // PPO on the plan of IMPALA.
    let plan = Asynchronous::new(64, 8).deterministic(true).batches_per_step(2);
    let mut algo = ppo().with_execution_plan(plan).build(&device()).unwrap();
    algo.train().unwrap();
    let result = algo.train().unwrap();
    assert!(result.get("learners/default_policy/total_loss").is_some_and(f64::is_finite));
}

#[path = "../../examples/custom_execution_plan.rs"]
#[allow(dead_code, reason = "the example has a `main`")]
mod custom_execution_plan;

#[test]
fn the_example_of_a_plan_runs_and_continues_exactly() {
    let own = custom_execution_plan::PpoPlan::new(256);
    let of_a3c = AsyncGradients::new(32).deterministic(true).updates_per_step(4);
    assert!(custom_execution_plan::train(own, 2).unwrap().1);
    assert!(custom_execution_plan::train(of_a3c, 2).unwrap().1);
}

/// Keeps the number of its steps, but does not read it.
#[derive(Debug, Clone, Default)]
struct HalfSaved {
    steps: u64,
}

impl ExecutionPlan for HalfSaved {
    fn name(&self) -> &str {
        "HalfSaved"
    }

    fn training_step(
        &mut self,
        cx: &mut TrainingContext<'_>,
    ) -> Result<StepReport, rekindle::algorithms::AlgorithmError> {
        self.steps += 1;
        Ok(StepReport::of(&cx.sample(8)?))
    }

    fn get_state(&self) -> Result<State, rekindle::algorithms::AlgorithmError> {
        match self.steps {
            0 => Ok(State::new()),
            steps => Ok(State::from_data(&steps)?),
        }
    }
}

#[test]
fn a_plan_whose_state_is_not_read_is_refused_on_restore_and_says_what_to_implement() {
    let build = || {
        let config = PpoConfig::new().environment("CartPole-v1").model("fcnet_hiddens", vec![4]);
        config.with_execution_plan(HalfSaved::default()).build(&device()).unwrap()
    };
    let (mut algo, mut restored) = (build(), build());
    let new = algo.get_state().unwrap();
    algo.train().unwrap();
    let message = restored.set_state(&algo.get_state().unwrap()).unwrap_err().to_string();
    for part in ["execution plan `HalfSaved`", "implement `set_state`"] {
        assert!(message.contains(part), "{message}");
    }
    restored.set_state(&new).unwrap();
}

#[test]
fn a_loss_of_ones_own_names_the_columns_that_it_reads() {
    let columns = |config: AlgorithmConfig<CustomTraining>| {
        let config = config.environment("CartPole-v1").model("fcnet_hiddens", vec![4]);
        let algo = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
        algo.learner().loss(DEFAULT_MODULE_ID).unwrap().required_columns().to_vec()
    };
    let config = || AlgorithmConfig::from_loss("Reads", |cx, _| Ok(cx.logp()?.mean().neg()));
    assert!(columns(config()).is_empty());
    assert_eq!(columns(config().reads(&[Columns::ACTION_LOGP])), [Columns::ACTION_LOGP]);
    // A variant reads what its algorithm reads.
    let variant = PpoConfig::new().environment("CartPole-v1").stats(|_, _| Ok(Vec::new()));
    let algo = variant.build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    let found = algo.learner().loss(DEFAULT_MODULE_ID).unwrap().required_columns();
    assert_eq!(found, [Columns::ACTION_DIST_INPUTS, Columns::ACTION_LOGP]);
}
