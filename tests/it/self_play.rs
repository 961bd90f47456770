//! Self-play by a callback: whenever the main policy wins, a frozen copy of it joins its opponents.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rekindle::prelude::*;

const WIN_RATE: f64 = 0.8;
const LEAGUE: u64 = 3;

/// Shares the number of frozen opponents (`v0`, `v1`, …) with the policy mapping.
#[derive(Clone)]
struct SelfPlay {
    opponents: Arc<AtomicU64>,
}

impl SelfPlay {
    fn new() -> Self {
        Self { opponents: Arc::new(AtomicU64::new(1)) }
    }

    /// The main policy alternates sides, against an opponent chosen by the episode number.
    fn mapping(&self) -> PolicyMapping {
        let opponents = self.opponents.clone();
        PolicyMapping::from_fn("test/league", move |agent, info| {
            let main = if info.episode % 2 == 0 { "player1" } else { "player2" };
            if agent == main {
                return "main".into();
            }
            let pick = (info.episode / 2).wrapping_mul(0x9E37_79B9) >> 8;
            format!("v{}", pick % opponents.load(Ordering::Relaxed))
        })
    }
}

impl Callbacks for SelfPlay {
    fn on_episode_end(&self, event: &mut EpisodeEvent<'_>) -> CallbackResult {
        let won = event.agents_of("main").any(|agent| agent.episode_return > 0.0);
        Ok(event.metrics.log_value(
            "win_rate",
            f64::from(u8::from(won)),
            Reducer::mean_over(100),
        )?)
    }

    fn on_train_result(&self, algorithm: &mut Algorithm, result: &mut Metrics) -> CallbackResult {
        let opponents = self.opponents.load(Ordering::Relaxed);
        result.insert("league_size", (opponents + 1) as f64);
        if opponents < LEAGUE && result.get("env_runners/win_rate").is_some_and(|w| w > WIN_RATE) {
            // ANCHOR: add
            let frozen = algorithm.module("main")?.clone();
            let learns = Some(BTreeSet::from(["main".to_string()]));
            algorithm.add_module(&format!("v{opponents}"), frozen, None, learns)?;
            // ANCHOR_END: add
            self.opponents.store(opponents + 1, Ordering::Relaxed);
            // Restart the win rate against the new opponents.
            algorithm.metrics_logger().delete("env_runners/win_rate")?;
        }
        Ok(())
    }

    /// Checkpoints hold the modules, so the number of opponents is counted again.
    fn on_checkpoint_loaded(&self, algorithm: &mut Algorithm) -> CallbackResult {
        let frozen = algorithm.learner().module().keys().filter(|id| id.starts_with('v'));
        self.opponents.store(frozen.count() as u64, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn the_league_grows_and_its_frozen_members_stay_as_they_were() {
    let device = DeviceSpec::Cpu.open().unwrap();
    let league = SelfPlay::new();
    let config = PpoConfig::new()
        .environment("TicTacToe-v0")
        .env_runners(|e| e.num_envs_per_env_runner(8))
        .multi_agent(|m| {
            m.policies(["main", "v0"]).policies_to_train(["main"]).policy_mapping(league.mapping())
        })
        .model("fcnet_hiddens", vec![64])
        .training(|t| {
            t.lr(3e-3)
                .train_batch_size(1024)
                .minibatch_size(128)
                .num_epochs(6)
                .lambda_(0.95)
                .entropy_coeff(0.01)
                .use_kl_loss(false)
        })
        .callbacks(league.clone())
        .seed(0);
    let mut algo = config.build(&device).unwrap();
    let weights = |algo: &Algorithm, id: &str| algo.module(id).unwrap().state_dict().unwrap();
    let mut size = 0.0;
    let mut first = None;
    while algo.env_steps() < 100_000 && size < (LEAGUE + 1) as f64 {
        size = algo.train().unwrap().get("league_size").unwrap();
        if first.is_none() && algo.module("v1").is_ok() {
            assert_eq!(weights(&algo, "v1"), weights(&algo, "main"));
            first = Some(weights(&algo, "v1"));
        }
    }
    assert_eq!(size, (LEAGUE + 1) as f64, "after {} steps", algo.env_steps());
    assert_eq!(weights(&algo, "v1"), first.unwrap());
    assert_ne!(weights(&algo, "v1"), weights(&algo, "main"));
    let result = algo.train().unwrap();
    for opponent in ["v0", "v1", "v2"] {
        let key = format!("env_runners/num_module_steps_sampled/{opponent}");
        assert!(result.get(&key).unwrap() > 0.0, "{opponent} does not play");
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("league");
    algo.save_to_path(&path).unwrap();
    let again = SelfPlay::new();
    again.mapping();
    let mut restored = Algorithm::from_checkpoint_with::<PpoTraining>(&path, &device, |config| {
        config.callbacks(again.clone())
    })
    .unwrap();
    assert_eq!(again.opponents.load(Ordering::Relaxed), LEAGUE);
    algo.train().unwrap();
    restored.train().unwrap();
    assert_eq!(weights(&algo, "main"), weights(&restored, "main"));
}
