//! Learners in other processes, which exchange states. Here the processes are threads.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rekindle::learner::RemoteLearners;

use super::*;

/// Carries states to and from the others.
#[derive(Debug)]
struct Channels(Vec<(Sender<State>, Receiver<State>)>);

impl RemoteLearners for Channels {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn send(&mut self, message: &State) -> Result<(), Fault> {
        let mut all = self.0.iter();
        all.try_for_each(|(to, _)| to.send(message.clone()).map_err(|_| Fault::GroupLost))
    }
    fn receive(&mut self) -> Result<Vec<State>, Fault> {
        self.0.iter().map(|(_, from)| from.recv().map_err(|_| Fault::GroupLost)).collect()
    }
}

/// Trains with learners that share nothing but messages, and returns the learner's state. All others have the same one.
fn train<T: TrainingConfig>(config: &AlgorithmConfig<T>, learners: usize, updates: usize) -> State {
    let mut first = with(config, 1);
    let mut members = LocalCollective::group(learners).into_iter();
    let collective = Box::new(members.next().unwrap());
    let (mut channels, mut threads) = (Vec::new(), Vec::new());
    for member in members {
        let (to, received) = channel::<State>();
        let (answer, from) = channel();
        channels.push((to, from));
        // Other weights, which those of the first learner replace.
        let mut learner = with(&config.clone().seed(99), 1).into_learner();
        threads.push(thread::spawn(move || {
            learner.join(Box::new(member)).unwrap();
            for message in received {
                answer.send(learner.serve(&message).unwrap()).unwrap();
            }
            learner.get_state().unwrap()
        }));
    }
    first.learner_mut().lead(collective, Box::new(Channels(channels))).unwrap();
    (0..updates).for_each(|_| drop(first.train().unwrap()));
    let state = first.learner().get_state().unwrap();
    drop(first);
    for thread in threads {
        assert!(thread.join().unwrap() == state);
    }
    state
}

#[test]
fn learners_that_exchange_messages_learn_what_one_learner_does() {
    fn check<T: TrainingConfig>(config: &AlgorithmConfig<T>, updates: usize) {
        let mut one = with(config, 1);
        (0..updates).for_each(|_| drop(one.train().unwrap()));
        let found = train(config, 3, updates);
        let found = numbers(found.component("rl_module").unwrap());
        let difference = difference(&weights(&one), &found);
        assert!(difference <= 1e-5, "{difference}");
    }
    check(&ppo().with_execution_plan(Unseen::new(Synchronous::new(100))), 2);
    // Priorities come back with the answers.
    let replay = Unseen::new(replay(30, true));
    check(&dqn().with_execution_plan(replay), FIRST_REPLAY + 3);
}
