//! Stateful modules: their recurrent state reaches actions, losses and learning.

use rekindle::algorithms::{AlgorithmConfig, TrainingConfig};
use rekindle::core::any_tensor::to_f32;
use rekindle::env::Result as EnvResult;
use rekindle::env_runner::{EnvRunnerConfig, SingleAgentEnvRunner};
use rekindle::prelude::*;

/// Number of steps between the cue and the answer.
const DELAY: usize = 4;

/// A probe of recurrent state: the first observation shows which of two actions is right, later ones show
/// nothing, and only the last action counts.
struct Recall {
    observations: Space,
    actions: Space,
    rng: Generator,
    cue: i64,
    t: usize,
}

impl Recall {
    fn new(actions: Space) -> EnvResult<Self> {
        Ok(Self {
            observations: Space::boxed(-1.0, 1.0, &[1])?,
            actions,
            rng: Generator::from_seed(0),
            cue: 0,
            t: 0,
        })
    }
}

impl Env for Recall {
    fn observation_space(&self) -> &Space {
        &self.observations
    }

    fn action_space(&self) -> &Space {
        &self.actions
    }

    fn reset(&mut self, options: &ResetOptions, mut out: RowMut<'_>) -> EnvResult<()> {
        if options.seed.is_some() {
            self.rng.reseed(options.seed);
        }
        self.cue = self.rng.integers(0, 2);
        self.t = 0;
        out.write_f32(&[if self.cue == 1 { 1.0 } else { -1.0 }])
    }

    fn step(&mut self, action: Row<'_>, mut out: RowMut<'_>) -> EnvResult<Step> {
        self.t += 1;
        out.write_f32(&[0.0])?;
        if self.t < DELAY {
            return Ok(Step::running(0.0));
        }
        let right = if self.cue == 1 { 1.0 } else { -1.0 };
        let reward = match action.as_f32() {
            Ok(action) => right * f64::from(action[0]),
            Err(_) if action.as_discrete()? == self.cue => 1.0,
            Err(_) => -1.0,
        };
        Ok(Step { reward, terminated: true, truncated: false })
    }
}

/// Registers the environment with two actions, and with an action that is a number in [−1, 1].
fn register_recall() {
    let make = |_: &EnvConfig| Recall::new(Space::discrete(2)?);
    register(EnvSpec::new("Test/Recall-v0", make)).ok();
    let make = |_: &EnvConfig| Recall::new(Space::boxed(-1.0, 1.0, &[1])?);
    register(EnvSpec::new("Test/RecallBox-v0", make)).ok();
}

fn recall() -> PpoConfig {
    register_recall();
    PpoConfig::new()
        .environment("Test/Recall-v0")
        .env_runners(|e| e.num_envs_per_env_runner(16))
        .model("fcnet_hiddens", vec![16])
        .model("max_seq_len", 4)
        .model("lstm_cell_size", 16)
        .training(|t| {
            t.lr(5e-3)
                .train_batch_size(512)
                .minibatch_size(128)
                .num_epochs(6)
                .use_kl_loss(false)
                .vf_clip_param(f64::INFINITY)
        })
        .seed(3)
}

fn best_return<T: TrainingConfig>(config: &AlgorithmConfig<T>, enough: f64) -> f64 {
    let mut algo = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
    let mut best = f64::NEG_INFINITY;
    while algo.env_steps() < 15_000 && best < enough {
        let result = algo.train().unwrap();
        best = best.max(result.get("env_runners/episode_return_mean").unwrap_or(-1.0));
    }
    best
}

#[test]
fn an_lstm_and_a_gru_learn_what_needs_memory() {
    for (layer, share) in [("lstm", false), ("lstm", true), ("gru", false)] {
        let config = recall()
            .model("use_lstm", true)
            .model("recurrent_layer_type", layer)
            .model("vf_share_layers", share);
        let best = best_return(&config, 0.95);
        assert!(best >= 0.95, "{layer}, shared: {share}: {best}");
    }
}

#[test]
fn a_q_network_with_memory_learns_what_needs_memory() {
    register_recall();
    let config = |memory: bool| {
        let config = DqnConfig::new()
            .environment("Test/Recall-v0")
            .env_runners(|e| e.num_envs_per_env_runner(8))
            .model("fcnet_hiddens", vec![16])
            .training(|t| {
                t.lr(3e-3)
                    .train_batch_size(64)
                    .num_steps_sampled_before_learning_starts(500)
                    .sample_timesteps_per_update_round(16)
                    .updates_per_env_step(0.125)
                    .target_network_update_freq(200)
                    .burn_in_len(usize::from(memory))
                    .epsilon([(0, 1.0), (4000, 0.02)])
            })
            .seed(3);
        match memory {
            true => config
                .model("use_lstm", true)
                .model("lstm_cell_size", 16)
                .model("max_seq_len", DELAY),
            false => config,
        }
    };
    let best = |memory| best_return(&config(memory), 0.9);
    let (with, without) = (best(true), best(false));
    assert!(with >= 0.9 && without < 0.6, "{with} with memory, {without} without");
}

fn with_lstm<T: TrainingConfig>(config: AlgorithmConfig<T>) -> AlgorithmConfig<T> {
    register_recall();
    config
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .reporting(|r| r.min_sample_timesteps_per_iteration(500))
        .model("fcnet_hiddens", vec![16])
        .model("use_lstm", true)
        .model("lstm_cell_size", 16)
        .model("max_seq_len", DELAY)
        .seed(3)
}

#[test]
fn policies_and_critics_with_memory_learn_what_needs_memory() {
    let sac = with_lstm(SacConfig::new()).environment("Test/Recall-v0").training(|t| {
        t.actor_lr(3e-3)
            .critic_lr(3e-3)
            .initial_alpha(0.02)
            .learn_alpha(false)
            .train_batch_size(64)
            .num_steps_sampled_before_learning_starts(500)
            .sample_timesteps_per_update_round(16)
            .updates_per_env_step(0.125)
            .tau(0.02)
            .burn_in_len(1)
    });
    let td3 = with_lstm(Td3Config::new()).environment("Test/RecallBox-v0").training(|t| {
        t.actor_lr(3e-3)
            .critic_lr(3e-3)
            .train_batch_size(64)
            .num_steps_sampled_before_learning_starts(500)
            .sample_timesteps_per_update_round(16)
            .updates_per_env_step(0.125)
            .tau(0.02)
    });
    let td3 = td3.model("head_fcnet_hiddens", vec![16]);
    let (discrete, deterministic) = (best_return(&sac, 0.8), best_return(&td3, 0.8));
    assert!(discrete >= 0.8 && deterministic >= 0.8, "{discrete} {deterministic}");
}

#[test]
fn a_module_without_memory_does_not() {
    let mut config = recall();
    config.model_config.retain(|field, _| field == "fcnet_hiddens");
    let best = best_return(&config, 0.95);
    assert!(best < 0.6, "{best}");
}

/// States, masks and padding are right if training sequences reproduce the recorded action probabilities
/// with the weights that acted.
#[test]
fn sequences_repeat_what_was_acted() {
    let device = DeviceSpec::Cpu.open().unwrap();
    for share in [true, false] {
        let mut runner =
            SingleAgentEnvRunner::new(EnvRunnerConfig::new("CartPole-v1").num_envs(3), 0, &device)
                .unwrap();
        let module = RLModuleSpec::default()
            .observation_space(runner.observation_space().clone())
            .action_space(runner.action_space().clone())
            .model_config(serde_json::json!({
                "use_lstm": true, "lstm_cell_size": 8, "max_seq_len": 7, "recurrent_num_layers": 2,
                "fcnet_hiddens": [8], "vf_share_layers": share,
            }))
            .build(&device)
            .unwrap();
        runner.set_module(&module, PublishedAt::default()).unwrap();
        // The second rollout begins in the middle of episodes.
        let rollouts: Vec<_> = (0..2)
            .map(|_| runner.sample(Amount::Timesteps(90), SampleOptions::default()).unwrap())
            .collect();
        let batch = TrainData::from_rollouts(&rollouts, module.max_seq_len()).unwrap();
        let (values, after) = batch.values(&module, &device).unwrap();
        assert_eq!((values.len(), after.len()), (batch.rows(), batch.segments.len()));

        let sequences = batch.sequences.clone().unwrap();
        assert!(sequences.len == 7 && sequences.rows.iter().any(|rows| rows.len() < 7));
        let all: Vec<_> = (0..sequences.rows.len()).collect();
        let batch = batch.minibatch(&all, &device).unwrap();
        let outputs = module.forward_train(&batch).unwrap();
        let inputs = outputs.float::<2>(Columns::ACTION_DIST_INPUTS).unwrap();
        let actions = batch.column(Columns::ACTIONS).unwrap();
        let logp = to_f32(module.distribution().logp(inputs, actions).unwrap()).unwrap();
        let acted = to_f32(batch.float::<1>(Columns::ACTION_LOGP).unwrap()).unwrap();
        let mask = to_f32(batch.float::<1>(Columns::LOSS_MASK).unwrap()).unwrap();
        let real = logp.iter().zip(&acted).zip(&mask).filter(|(_, mask)| **mask > 0.0);
        let worst = real.map(|((a, b), _)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{worst}");
        assert_eq!(mask.iter().sum::<f32>(), 180.0);
    }
}

#[test]
fn previous_actions_and_rewards_reach_the_recurrent_layer() {
    let inputs = |config: &PpoConfig| {
        let algo = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap();
        let weights = algo.module("default_policy").unwrap().state_dict().unwrap();
        weights["encoder.rnn.weight_ih_l0"].shape()[1]
    };
    let config = recall().model("use_lstm", true);
    assert_eq!(inputs(&config), 16);
    assert_eq!(inputs(&config.clone().model("lstm_use_prev_action", true)), 16 + 2);
    assert_eq!(inputs(&config.clone().model("lstm_use_prev_reward", true)), 16 + 1);
    let both = config.model("lstm_use_prev_action", true).model("lstm_use_prev_reward", true);
    assert_eq!(inputs(&both), 16 + 3);
    both.build(&DeviceSpec::Cpu.open().unwrap()).unwrap().train().unwrap();
}

#[test]
fn recurrent_settings_without_a_recurrent_layer_are_refused() {
    let config = recall().model("lstm_cell_size", 8);
    let message = config.build(&DeviceSpec::Cpu.open().unwrap()).unwrap_err().to_string();
    assert!(message.contains("set `use_lstm`"), "{message}");
}
