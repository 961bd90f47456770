//! Modules that explore by the number of environment steps and by streams of their own.

use burn::module::Module;
use burn::prelude::*;
use rekindle::algorithms::{AlgorithmConfig, Asynchronous, CustomTraining};
use rekindle::catalog::Mlp;
use rekindle::checkpoint;
use rekindle::prelude::*;
use rekindle::rl_module::Result as ModuleResult;

use crate::support::device;

/// Environment steps in which ε falls from 1 to 0.
const DECAY: f32 = 256.0;
/// Environment steps of a training step.
const BATCH: usize = 64;

fn epsilon(env_steps: u64) -> f32 {
    (1.0 - env_steps as f32 / DECAY).max(0.0)
}

/// Takes a random action with probability ε and the likeliest one otherwise. Records ε.
#[derive(Module, Debug)]
struct EpsilonGreedy {
    policy: Mlp,
}

impl EpsilonGreedy {
    fn greedy(&self, batch: &Batch) -> ModuleResult<(Tensor<2>, Tensor<1, Int>)> {
        let logits = self.policy.forward(batch.float::<2>(Columns::OBS)?);
        Ok((logits.clone(), logits.argmax(1).squeeze_dim(1)))
    }
}

impl RLModule for EpsilonGreedy {
    fn setup(cx: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self { policy: cx.mlp(cx.observation_space().flat_dim(), &[8], 2) })
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        Ok(Batch::new().with(Columns::ACTION_DIST_INPUTS, self.greedy(batch)?.0))
    }

    fn forward_exploration(
        &self,
        batch: &Batch,
        cx: &mut ExplorationContext,
    ) -> ModuleResult<Batch> {
        let (logits, greedy) = self.greedy(batch)?;
        let (rows, device) = (batch.rows(), logits.device());
        let epsilon = epsilon(cx.env_steps());
        let mut random = Vec::with_capacity(rows);
        for row in 0..rows {
            let rng = cx.rng(row)?;
            // Both numbers are drawn either way, so that the stream does not depend on ε.
            let (u, action) = (rng.random() as f32, rng.integers(0, 2) as i32);
            random.push(if u < epsilon { action } else { -1 });
        }
        let random = Tensor::<1, Int>::from_data(random.as_slice(), &device);
        let actions = greedy.mask_where(random.clone().greater_equal_elem(0), random);
        Ok(Batch::new()
            .with(Columns::ACTIONS, actions)
            .with(Columns::ACTION_DIST_INPUTS, logits)
            .with("epsilon", Tensor::<1>::full([rows], epsilon, &device)))
    }

    fn forward_inference(&self, batch: &Batch) -> ModuleResult<Batch> {
        Ok(Batch::new().with(Columns::ACTIONS, self.greedy(batch)?.1))
    }
}

fn config(runners: usize) -> AlgorithmConfig<CustomTraining> {
    AlgorithmConfig::from_loss("Wanders", |cx, batch| {
        Ok((cx.logp()? * batch.float::<1>(Columns::REWARDS)?).mean().neg())
    })
    .stats(|_, batch| Ok(vec![("epsilon", batch.float::<1>("epsilon")?.mean())]))
    .rl_module(RLModuleSpec::of::<EpsilonGreedy>())
    .environment("CartPole-v1")
    .env_runners(|e| e.num_env_runners(runners).num_envs_per_env_runner(2))
    .training(|t| t.train_batch_size(BATCH))
    .seed(5)
}

fn two_agents(config: AlgorithmConfig<CustomTraining>) -> AlgorithmConfig<CustomTraining> {
    config
        .environment("MultiAgentCartPole-v1")
        .env_config(EnvConfig::new().with("num_agents", 2))
        .multi_agent(|m| m.policies(["0", "1"]).policy_mapping(PolicyMapping::ByAgent))
}

/// Trains an iteration, and returns the ε that its experience was collected with.
fn train(algo: &mut Algorithm, module: &str) -> f64 {
    let result = algo.train().unwrap();
    result.get(&format!("learners/{module}/epsilon")).unwrap()
}

#[test]
fn epsilon_follows_the_steps_of_all_runners_as_of_the_last_publication() {
    for runners in [1, 2] {
        let mut algo = config(runners).build(&device()).unwrap();
        for iteration in 0..5 {
            let expected = epsilon((iteration * BATCH) as u64);
            assert_eq!(train(&mut algo, DEFAULT_MODULE_ID), f64::from(expected), "{runners}");
        }
    }
    // Both agents act in every step of the environment.
    let mut algo = two_agents(config(2)).build(&device()).unwrap();
    for iteration in 0..3 {
        let expected = epsilon((iteration * BATCH) as u64);
        assert_eq!(train(&mut algo, "0"), f64::from(expected));
    }
    // The rounds of the deterministic mode collect one batch before they learn from the last one.
    let plan = Asynchronous::new(BATCH, 16).deterministic(true).batches_per_step(1);
    let mut algo = config(2).with_execution_plan(plan).build(&device()).unwrap();
    algo.train().unwrap();
    let found: Vec<_> = (0..3).map(|_| train(&mut algo, DEFAULT_MODULE_ID)).collect();
    assert_eq!(found, [0, 64, 128].map(|steps| f64::from(epsilon(steps))));
}

#[test]
fn exploration_by_a_schedule_and_its_streams_resumes_bit_for_bit() {
    let plan = Asynchronous::new(BATCH, 16).deterministic(true).batches_per_step(1);
    let of_plan =
        |config: AlgorithmConfig<CustomTraining>| config.with_execution_plan(plan.clone());
    for (name, config) in [
        ("single", config(2)),
        ("multi", two_agents(config(2))),
        ("asynchronous", of_plan(config(2))),
        ("asynchronous multi", of_plan(two_agents(config(2)))),
    ] {
        rekindle::rl_module::register_module::<EpsilonGreedy>();
        let folder = tempfile::tempdir().unwrap();
        let mut straight = config.build(&device()).unwrap();
        for _ in 0..2 {
            straight.train().unwrap();
        }
        straight.save_to_path(folder.path().join("half")).unwrap();
        let mut resumed = Algorithm::from_checkpoint_with::<CustomTraining>(
            folder.path().join("half"),
            &device(),
            |_| config.clone(),
        )
        .unwrap();
        for algo in [&mut straight, &mut resumed] {
            (0..2).for_each(|_| drop(algo.train().unwrap()));
        }
        let straight = straight.get_state().unwrap();
        resumed.save_to_path(folder.path().join("whole")).unwrap();
        let resumed = checkpoint::read(folder.path().join("whole")).unwrap();
        for component in ["learner", "env_runners"] {
            let (straight, resumed) = (straight.component(component), resumed.component(component));
            assert_eq!(straight.unwrap(), resumed.unwrap(), "{name}: {component}");
        }
        let runner = straight.component("env_runners/runner_0").unwrap();
        assert!(runner.data["exploration_rngs"].as_object().unwrap().len() >= 2, "{name}");
    }
}

#[test]
fn modules_that_draw_nothing_have_no_streams() {
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .training(|t| t.train_batch_size(64).minibatch_size(64).num_epochs(1))
        .seed(0);
    let mut algo = config.build(&device()).unwrap();
    algo.train().unwrap();
    let state = algo.get_state().unwrap();
    let runner = state.component("env_runners/runner_0").unwrap();
    assert!(runner.data.get("action_rngs").is_some());
    assert!(runner.data.get("exploration_rngs").is_none());
}

#[test]
fn a_bundle_explores_with_the_steps_that_its_runner_knows() {
    let mut algo = config(1).build(&device()).unwrap();
    let observations = Buffer::zeros(&Space::unbounded(&[4]).unwrap(), 40);
    let explored = |bundle: &mut PolicyBundle| {
        let greedy = bundle.compute_actions(&observations, false).unwrap().clone();
        let explored = bundle.compute_actions(&observations, true).unwrap();
        explored.as_i64().unwrap().iter().zip(greedy.as_i64().unwrap()).any(|(a, b)| a != b)
    };
    let mut early = algo.policy_bundle().unwrap();
    for _ in 0..4 {
        algo.train().unwrap();
    }
    let mut late = algo.policy_bundle().unwrap();
    assert_eq!((early.env_steps(), late.env_steps()), (0, 256));
    assert!(explored(&mut early) && !explored(&mut late));

    let folder = tempfile::tempdir().unwrap();
    early.clone().with_env_steps(250).save_to_path(folder.path().join("bundle")).unwrap();
    rekindle::rl_module::register_module::<EpsilonGreedy>();
    let loaded = PolicyBundle::from_checkpoint(folder.path().join("bundle"), &device()).unwrap();
    assert_eq!(loaded.env_steps(), 250);

    // A seed fixes what a row draws, with any number of rows.
    let actions = |rows: usize| {
        let mut bundle = early.clone();
        bundle.set_seed(9);
        let seen = observations.slice(0..rows).unwrap();
        bundle.compute_actions(&seen, true).unwrap().as_i64().unwrap().to_vec()
    };
    assert_eq!(actions(40)[..7], actions(7));
}

/// Draws in the exploration pass, and has no inference pass of its own.
#[derive(Module, Debug)]
struct OnlyExplores {}

impl RLModule for OnlyExplores {
    fn setup(_: &ModuleContext<'_>) -> ModuleResult<Self> {
        Ok(Self {})
    }

    fn forward_train(&self, batch: &Batch) -> ModuleResult<Batch> {
        self.forward_exploration(batch, &mut ExplorationContext::default())
    }

    fn forward_exploration(
        &self,
        batch: &Batch,
        cx: &mut ExplorationContext,
    ) -> ModuleResult<Batch> {
        let device = batch.float::<2>(Columns::OBS)?.device();
        let mut actions = Vec::new();
        for row in 0..batch.rows() {
            actions.push(cx.rng(row)?.integers(0, 2) as i32);
        }
        let actions = Tensor::<1, Int>::from_data(actions.as_slice(), &device);
        Ok(Batch::new().with(Columns::ACTIONS, actions))
    }
}

#[test]
fn a_greedy_step_of_a_module_that_only_explores_is_an_error_that_says_what_to_implement() {
    let mut runner =
        SingleAgentEnvRunner::new(EnvRunnerConfig::new("CartPole-v1"), 0, &device()).unwrap();
    let module = RLModuleSpec::of::<OnlyExplores>()
        .observation_space(runner.observation_space().clone())
        .action_space(runner.action_space().clone())
        .build(&device())
        .unwrap();
    runner.set_module(&module, PublishedAt::default()).unwrap();
    runner.sample(Amount::Timesteps(10), SampleOptions::default()).unwrap();
    let error = runner.sample(Amount::Timesteps(1), SampleOptions::greedy()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("implement `forward_inference`"), "{message}");
}
