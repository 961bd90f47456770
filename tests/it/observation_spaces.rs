//! PPO trains on images and on nested observations without a connector or a custom encoder.

use rekindle::env::EnvError;
use rekindle::prelude::*;

/// Shows random elements of its space for ten steps. Pays for action 1.
#[derive(Debug)]
struct Kaleidoscope {
    observation_space: Space,
    action_space: Space,
    rng: Generator,
    steps: usize,
}

impl Kaleidoscope {
    fn new(observation_space: Space) -> Result<Self, EnvError> {
        let (action_space, rng) = (Space::discrete(2)?, Generator::from_seed(0));
        Ok(Self { observation_space, action_space, rng, steps: 0 })
    }
}

impl Env for Kaleidoscope {
    fn observation_space(&self) -> &Space {
        &self.observation_space
    }

    fn action_space(&self) -> &Space {
        &self.action_space
    }

    fn reset(&mut self, options: &ResetOptions, observation: RowMut<'_>) -> Result<(), EnvError> {
        if let Some(seed) = options.seed {
            self.rng = Generator::from_seed(seed);
        }
        self.steps = 0;
        self.observation_space.sample_into(&mut self.rng, observation)
    }

    fn step(&mut self, action: Row<'_>, observation: RowMut<'_>) -> Result<Step, EnvError> {
        self.steps += 1;
        self.observation_space.sample_into(&mut self.rng, observation)?;
        let reward = action.as_discrete()? as f64;
        Ok(Step { terminated: self.steps == 10, ..Step::running(reward) })
    }
}

/// Trains one iteration of PPO. Asserts that weights changed and that all losses are finite.
fn train(id: &'static str, space: Space) {
    register(EnvSpec::new(id, move |_| Kaleidoscope::new(space.clone()))).unwrap();
    let config = PpoConfig::new()
        .environment(id)
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .training(|t| t.train_batch_size(80).minibatch_size(40).num_epochs(2))
        .seed(0);
    let mut algo = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    let weights = |algo: &Algorithm| algo.module("default_policy").unwrap().state_dict().unwrap();
    let before = weights(&algo);
    let result = algo.train().unwrap();
    for loss in ["policy_loss", "vf_loss", "entropy"] {
        let loss = result.get(&format!("learners/default_policy/{loss}")).unwrap();
        assert!(loss.is_finite(), "{result}");
    }
    for (name, weight) in weights(&algo) {
        assert_ne!(weight, before[&name], "{name} was not updated");
    }
}

#[test]
fn ppo_trains_on_images() {
    train("Tests/Images-v0", Space::image(&[10, 10, 4]).unwrap());
}

#[test]
fn ppo_trains_on_nested_observations() {
    let pair = vec![Space::multi_discrete([3, 2]).unwrap(), Space::multi_binary(4).unwrap()];
    let space = Space::dict([
        ("goal", Space::discrete(5).unwrap()),
        ("pose", Space::boxed(-1.0, 1.0, &[3]).unwrap()),
        ("rest", Space::tuple(pair).unwrap()),
    ]);
    train("Tests/Nested-v0", space.unwrap());
}
