//! An error on one learner is one on all, and the next update works again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rekindle::learner::LearnerError;

use super::*;
use crate::support;

/// How a loss fails.
#[derive(Debug, Clone, Copy)]
enum Failure {
    Error,
    Panic,
}

/// Algorithms whose loss fails once on one learner of three, in the second minibatch.
fn failing(rank: usize, failure: Failure) -> Algorithm {
    let calls = Arc::new(AtomicUsize::new(0));
    let name = (rank > 0).then(|| format!("learner-{rank}"));
    let main = std::thread::current().id();
    let loss = move |cx: &LossContext<'_>, batch: &rekindle::core::Batch| {
        let thread = std::thread::current();
        let here = match &name {
            Some(name) => thread.name() == Some(name),
            None => thread.id() == main,
        };
        let advantages = batch.float::<1>(Columns::ADVANTAGES)?;
        // The first calls are those of the dry run.
        if here && cx.env_steps > 0 && calls.fetch_add(1, SeqCst) == 1 {
            match failure {
                Failure::Error => return Err(LearnerError::custom("out of luck")),
                Failure::Panic => panic!("out of luck"),
            }
        }
        cx.mean(cx.logp()? * advantages).map(burn::prelude::Tensor::neg)
    };
    let config = ppo().with_loss(loss).training(|t| t.minibatch_size(20));
    config.learners(|l| l.num_learners(3)).build(&device()).unwrap()
}

#[test]
fn an_error_or_a_panic_on_one_learner_ends_the_update_on_all_and_the_next_one_works() {
    for rank in 0..3 {
        for failure in [Failure::Error, Failure::Panic] {
            let mut algo = failing(rank, failure);
            let message = algo.train().unwrap_err().to_string();
            assert!(message.contains("out of luck"), "{message}");
            if rank > 0 {
                assert!(message.contains(&format!("learner {rank} failed")), "{message}");
            }
            for _ in 0..2 {
                algo.train().unwrap();
                all_equal(&algo, 3);
            }
        }
    }
}

/// A collective that breaks on one member, in its fourth operation.
#[derive(Debug)]
struct Breaking {
    inner: LocalCollective,
    left: usize,
}

impl Collective for Breaking {
    fn rank(&self) -> usize {
        self.inner.rank()
    }
    fn size(&self) -> usize {
        self.inner.size()
    }
    fn all_reduce_sum(&mut self, buffer: &mut [f32]) -> Result<(), Fault> {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 && self.rank() == 1 {
            self.left = usize::MAX;
            return Err(Fault::Fatal("the cable is out".into()));
        }
        self.inner.all_reduce_sum(buffer)
    }
    fn broadcast(&mut self, buffer: &mut [u8], root: usize) -> Result<(), Fault> {
        self.inner.broadcast(buffer, root)
    }
    fn agree_max(&mut self, flag: u32) -> Result<u32, Fault> {
        self.inner.agree_max(flag)
    }
    fn abort(&mut self, reason: &str) {
        self.inner.abort(reason);
    }
    fn rebuild(&mut self) -> Result<(), Fault> {
        self.inner.rebuild()
    }
}

#[test]
fn a_collective_that_breaks_is_rebuilt_for_the_next_update() {
    let space = Space::boxed(-1.0, 1.0, &[3]).unwrap();
    let spec = RLModuleSpec::default()
        .observation_space(space.clone())
        .action_space(Space::discrete(2).unwrap());
    let module = spec.build_seeded(&device(), Generator::from_seed(0)).unwrap();
    let config = LearnerConfig::default().minibatch_size(3);
    let mut learner = support::learner(config, module.as_multi_rl_module().unwrap());
    let wrap = |inner| Box::new(Breaking { inner, left: 4 }) as Box<dyn Collective>;
    learner.add_learners_with(&[device()], wrap).unwrap();
    let data = support::data(&[(DEFAULT_MODULE_ID, support::experience(&space, 2, 12, 0))]);
    let message = learner.update(&data, 0).unwrap_err().to_string();
    let expected = ["learner 1 failed", "the cable is out"];
    assert!(expected.iter().all(|part| message.contains(part)), "{message}");
    learner.update(&data, 0).unwrap();
    let others = learner.group().unwrap().states().unwrap();
    assert!(others[0] == learner.get_state().unwrap());
}
