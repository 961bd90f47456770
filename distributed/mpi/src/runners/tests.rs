//! The loops of learner and runners on threads of one process.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use burn::prelude::Device;
use rekindle::checkpoint::Checkpointable;
use rekindle::learner::Fault;
use rekindle::prelude::*;

use super::*;
use crate::runner::{RunnerOptions, collect};
use crate::transport::LocalTransport;

const LIMIT: Duration = Duration::from_secs(60);

fn impala(seed: u64) -> Algorithm {
    let config = ImpalaConfig::new()
        .environment("CartPole-v1")
        .training(|t| t.train_batch_size(64).fragment_length(16))
        .env_runners(|e| e.num_envs_per_env_runner(4))
        .model("fcnet_hiddens", vec![8])
        .reporting(|r| r.min_sample_timesteps_per_iteration(200))
        .seed(seed);
    config.build(&Device::flex()).unwrap()
}

fn ppo(seed: u64) -> Algorithm {
    let config = PpoConfig::new()
        .environment("CartPole-v1")
        .training(|t| t.train_batch_size(64).minibatch_size(64).num_epochs(1))
        .model("fcnet_hiddens", vec![8])
        .seed(seed);
    config.build(&Device::flex()).unwrap()
}

fn options(batches_in_flight: usize) -> RunnerOptions {
    RunnerOptions { batches_in_flight, limit: LIMIT }
}

/// Trains with runners on threads. Returns the results of the iterations, and the learner's flag at the end.
fn train(
    mut learner: Algorithm,
    runners: Vec<Algorithm>,
    batches_in_flight: usize,
    iterations: usize,
    flag: u32,
) -> (Vec<Metrics>, u32, Algorithm) {
    let (transport, sides) = LocalTransport::group(runners.len());
    thread::scope(|scope| {
        let threads: Vec<_> = sides
            .into_iter()
            .zip(runners)
            .map(|(mut side, mut runner)| {
                scope.spawn(move || {
                    collect(&mut runner, &mut side, options(batches_in_flight), || flag)
                })
            })
            .collect();
        let mut pool = Runners::start(&learner, Box::new(transport), LIMIT).unwrap();
        let results = (0..iterations).map(|_| pool.train(&mut learner).unwrap()).collect();
        let flag = pool.flag();
        pool.end().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
        (results, flag, learner)
    })
}

#[test]
fn a_learner_learns_from_runners_until_it_ends_them() {
    let before = impala(1).learner().module().get_state().unwrap();
    let (results, flag, learner) = train(impala(1), vec![impala(2), impala(3)], 2, 3, 0);
    // 4 batches of 64 steps are the first with at least 200.
    for (iteration, result) in (1..).zip(&results) {
        let steps = result.get("env_runners/num_env_steps_sampled_lifetime");
        assert_eq!(steps, Some(256.0 * f64::from(iteration)));
        assert_eq!(result.get("training_iteration"), Some(f64::from(iteration)));
    }
    assert_eq!((flag, learner.env_steps()), (0, 768));
    assert_ne!(learner.learner().module().get_state().unwrap(), before);
}

#[test]
fn with_one_batch_in_flight_the_only_runner_acts_with_the_newest_weights() {
    let lag = |batches_in_flight| {
        let (results, _, _) = train(ppo(1), vec![ppo(2)], batches_in_flight, 4, 0);
        let lags = results.iter().map(|result| result.get("learners/weights_lag_mean").unwrap());
        lags.sum::<f64>()
    };
    assert_eq!(lag(1), 0.0);
    assert!(lag(3) > 0.0);
}

#[test]
fn the_learner_hears_the_signal_of_a_runner() {
    let (_, flag, _) = train(impala(1), vec![impala(2)], 1, 1, 10);
    assert_eq!(flag, 10);
}

/// A transport that damages a byte of each batch, or loses everything that is sent from a number on.
#[derive(Debug)]
struct Bad {
    inner: LocalTransport,
    damaged: Option<usize>,
    sent: AtomicU32,
    lost_from: u32,
}

impl Bad {
    fn new(inner: LocalTransport, damaged: Option<usize>, lost_from: u32) -> Self {
        Self { inner, damaged, sent: AtomicU32::new(0), lost_from }
    }
}

impl Transport for Bad {
    fn len(&self) -> usize {
        self.inner.len()
    }
    fn send(&mut self, to: usize, frame: Arc<Vec<u8>>) -> Result<()> {
        if self.sent.fetch_add(1, Ordering::Relaxed) >= self.lost_from {
            return Ok(());
        }
        let mut bytes = Vec::clone(&frame);
        if let Some(at) = self.damaged {
            bytes[at] ^= 4;
        }
        self.inner.send(to, Arc::new(bytes))
    }
    fn receive(&mut self, wait: Duration) -> Result<Option<(usize, Frame)>> {
        self.inner.receive(wait)
    }
}

/// Returns the error of a learner whose only runner sends over a bad transport.
fn error_of(damaged: Option<usize>, lost_from: u32, limit: Duration) -> (EngineError, Algorithm) {
    let mut learner = impala(1);
    let (transport, mut sides) = LocalTransport::group(1);
    let mut side = Bad::new(sides.remove(0), damaged, lost_from);
    let error = thread::scope(|scope| {
        scope.spawn(move || collect(&mut impala(2), &mut side, options(2), || 0));
        let mut pool = Runners::start(&learner, Box::new(transport), limit).unwrap();
        loop {
            // Dropping the learner's side ends the runner.
            if let Err(error) = pool.train(&mut learner) {
                break error;
            }
        }
    });
    (error, learner)
}

#[test]
fn a_damaged_batch_is_refused_and_nothing_is_learned_from_it() {
    for at in [0, 9, 33, 60, 500] {
        let (error, learner) = error_of(Some(at), u32::MAX, LIMIT);
        assert!(matches!(error, EngineError::Frame(_)), "byte {at}: {error}");
        assert_eq!(learner.env_steps(), 0);
    }
}

#[test]
fn a_silent_runner_is_an_error_that_names_it() {
    let (error, learner) = error_of(None, 2, Duration::from_millis(300));
    assert_eq!(learner.env_steps(), 128);
    assert!(matches!(error, EngineError::Silent { number: 0, .. }), "{error}");
    assert!(error.to_string().contains("--timeout"), "{error}");
}

#[test]
fn the_message_of_a_failed_runner_reaches_the_learner() {
    let mut learner = impala(1);
    let (transport, mut sides) = LocalTransport::group(1);
    let mut side = sides.remove(0);
    thread::scope(|scope| {
        // Weights of another size.
        let runner = scope.spawn(move || collect(&mut ppo(2), &mut side, options(1), || 0));
        let mut pool = Runners::start(&learner, Box::new(transport), LIMIT).unwrap();
        let error = pool.train(&mut learner).unwrap_err();
        let own = runner.join().unwrap().unwrap_err();
        match error {
            EngineError::Runner { number: 0, message } => assert_eq!(message, own.to_string()),
            other => panic!("{other}"),
        }
    });
}

#[test]
fn a_runner_without_a_learner_gives_up() {
    let (transport, mut sides) = LocalTransport::group(1);
    let limited = RunnerOptions { batches_in_flight: 1, limit: Duration::from_millis(200) };
    let error = collect(&mut impala(2), &mut sides[0], limited, || 0).unwrap_err();
    assert!(matches!(error, EngineError::Fault(Fault::Timeout { .. })), "{error}");
    drop(transport);
    let error = collect(&mut impala(2), &mut sides[0], limited, || 0).unwrap_err();
    assert!(matches!(error, EngineError::Fault(Fault::GroupLost)), "{error}");
}

#[test]
fn an_algorithm_that_replays_cannot_learn_from_runners() {
    let dqn = DqnConfig::new().environment("CartPole-v1").build(&Device::flex()).unwrap();
    let (transport, _sides) = LocalTransport::group(1);
    let error = Runners::start(&dqn, Box::new(transport), LIMIT).unwrap_err().to_string();
    assert!(error.contains("the execution plan `Replay` cannot learn from batches"), "{error}");
}
