//! PPO on environments with actions other than one `Discrete` or one `Box`.

use rekindle::core::host_batch::upload;
use rekindle::env::Result as EnvResult;
use rekindle::prelude::*;

/// Gives the same reward for every action. Episodes have eight steps.
struct Anything {
    observations: Space,
    actions: Space,
    t: usize,
}

impl Anything {
    fn new(actions: Space) -> EnvResult<Self> {
        Ok(Self { observations: Space::boxed(0.0, 1.0, &[1])?, actions, t: 0 })
    }

    fn observe(&self, mut observation: RowMut<'_>) -> EnvResult<()> {
        observation.write_f32(&[self.t as f32 / 8.0])
    }
}

impl Env for Anything {
    fn observation_space(&self) -> &Space {
        &self.observations
    }

    fn action_space(&self) -> &Space {
        &self.actions
    }

    fn reset(&mut self, _: &ResetOptions, observation: RowMut<'_>) -> EnvResult<()> {
        self.t = 0;
        self.observe(observation)
    }

    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> EnvResult<Step> {
        assert!(self.actions.contains_row(action), "{action:?} is not in {}", self.actions);
        self.t += 1;
        self.observe(observation)?;
        Ok(Step { reward: 1.0, terminated: self.t == 8, truncated: false })
    }
}

/// Registers the environment and trains for one iteration.
fn train(id: &'static str, actions: fn() -> Space) -> Algorithm {
    register(EnvSpec::new(id, move |_: &EnvConfig| Anything::new(actions()))).unwrap();
    let mut algo = PpoConfig::new()
        .environment(id)
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![16])
        .training(|t| t.train_batch_size(128).minibatch_size(32).num_epochs(2))
        .build(&DeviceSpec::Cpu.open().unwrap())
        .unwrap();
    let before = algo.module("default_policy").unwrap().state_dict().unwrap();
    let result = algo.train().unwrap();
    for key in ["policy_loss", "entropy", "mean_kl_loss", "vf_loss"] {
        let key = format!("learners/default_policy/{key}");
        assert!(result.get(&key).is_some_and(f64::is_finite), "{key}: {result}");
    }
    assert_eq!(result.get("env_runners/episode_return_mean"), Some(8.0));
    assert_ne!(algo.module("default_policy").unwrap().state_dict().unwrap(), before);
    algo
}

/// Returns the actions that a runner records with the trained module.
fn record(id: &str, algo: &Algorithm) -> Buffer {
    let device = DeviceSpec::Cpu.open().unwrap();
    let config = EnvRunnerConfig::new(id).num_envs(2);
    let mut runner = SingleAgentEnvRunner::new(config, 0, &device).unwrap();
    runner.set_module(algo.module("default_policy").unwrap(), PublishedAt::default()).unwrap();
    runner.sample(Amount::Timesteps(10), SampleOptions::default()).unwrap().actions
}

fn drive() -> Space {
    let wheel = Space::box_between([0.0, -3.0], [4.0, 3.0]).unwrap();
    let gear = Space::tuple([Space::discrete(3).unwrap(), Space::multi_binary(2).unwrap()]);
    Space::dict([("wheel", wheel), ("gear", gear.unwrap())]).unwrap()
}

#[test]
fn ppo_trains_on_a_dict_of_a_box_and_a_tuple_and_the_action_columns_are_nested() {
    let algo = train("NestedActions-v0", drive);
    let actions = record("NestedActions-v0", &algo);
    let paths: Vec<String> = actions.leaves().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["gear.0", "gear.1", "wheel"]);
    let Column::Nested(batch) = upload(&actions, &DeviceSpec::Cpu.open().unwrap()).unwrap() else {
        panic!("actions are nested")
    };
    assert_eq!(batch.float::<2>("wheel").unwrap().dims(), [10, 2]);
    assert_eq!(batch.nested("gear").unwrap().int::<1>("0").unwrap().dims(), [10]);
}

#[test]
fn ppo_trains_on_a_tuple_of_a_choice_and_a_box() {
    let space = || {
        let parts = [Space::discrete(3).unwrap(), Space::boxed(-2.0, 2.0, &[1]).unwrap()];
        Space::tuple(parts).unwrap()
    };
    let algo = train("TupleActions-v0", space);
    assert_eq!(record("TupleActions-v0", &algo).as_tuple().unwrap().len(), 2);
}

#[test]
fn ppo_trains_on_several_choices_at_once() {
    let algo = train("MultiDiscreteActions-v0", || Space::multi_discrete([3, 2]).unwrap());
    assert_eq!(record("MultiDiscreteActions-v0", &algo).shape().unwrap(), [2]);
}

/// A head for so many choices could not be allocated.
#[test]
fn choices_too_many_for_a_default_head_say_what_to_override() {
    use rekindle::catalog::{Catalog as _, DefaultCatalog};
    let huge = (1 << 31) - 1;
    for space in [Space::discrete((1 << 20) + 1), Space::multi_discrete([huge, huge])] {
        let error = DefaultCatalog.action_distribution(&space.unwrap()).unwrap_err();
        assert!(error.to_string().contains("override `Catalog::action_distribution`"), "{error}");
    }
    DefaultCatalog.action_distribution(&Space::discrete(1 << 20).unwrap()).unwrap();
}
