//! Learners that share the updates of one.

mod remote;
mod replica;
mod snapshot;

use burn::prelude::Device;
use rekindle_checkpoint::State;
use rekindle_core::panics::caught;

use self::replica::{Answer, Replica, Work};
use self::snapshot::Snapshot;
use super::Learner;
use super::member::Member;
use super::modules::check_shared;
use super::update::ModuleData;
use super::update::readings::RowHistory;
use crate::collective::local::{LocalCollective, Stopper};
use crate::collective::{Collective, Fault};
use crate::error::{LearnerError, Result};

pub use self::remote::RemoteLearners;

/// The other learners of a group that shares updates; RLlib's `LearnerGroup` with `num_learners` above 1.
///
/// The first learner, which owns this, prepares the experience of an update. Then all learners go through the same
/// minibatches. Each computes the gradients of its share of the rows or sequences on its own device, the gradients are
/// added up, and each takes the same step. Weights, moments of optimizers and states of losses are therefore the same
/// on all learners, bit for bit, and those of one learner up to rounding.
///
/// Between updates, everything belongs to the first learner: modules, checkpoints, metrics. The others take over what
/// has changed when the next update begins.
#[derive(Debug)]
pub struct LearnerGroup {
    others: Others,
    /// The versions of modules and optimizers that all learners have.
    common: Option<[u64; 2]>,
    /// Whether an update has failed, after which the collective is to be rebuilt.
    failed: bool,
}

/// Where the other learners are.
#[derive(Debug)]
enum Others {
    /// On threads of this process. The stopper ends their operations if the first learner fails.
    Threads(Vec<Replica>, Stopper),
    /// In other processes.
    Remote(Box<dyn RemoteLearners>),
}

impl LearnerGroup {
    fn new(others: Others) -> Self {
        Self { others, common: None, failed: false }
    }

    /// Returns the number of learners, the first one included.
    #[must_use]
    pub fn num_learners(&self) -> usize {
        match &self.others {
            Others::Threads(replicas, _) => replicas.len() + 1,
            Others::Remote(remote) => remote.len() + 1,
        }
    }

    /// Returns the states of the other learners of this process, in order, as their last update left them: for checks
    /// that all learners are the same. Learners in other processes are left out.
    ///
    /// # Errors
    /// If a state cannot be read from its device.
    pub fn states(&self) -> Result<Vec<State>> {
        let Others::Threads(replicas, _) = &self.others else { return Ok(Vec::new()) };
        let of = |(index, replica): (usize, &Replica)| {
            let answer = match replica.send(Work::State) {
                Ok(()) => replica.receive(),
                Err(fault) => Err(fault.into()),
            };
            match answer.map_err(|error| other(index + 1, error))? {
                Answer::State(state) => Ok(*state),
                Answer::Learned(_) => Err(Fault::GroupLost.into()),
            }
        };
        replicas.iter().enumerate().map(of).collect()
    }

    /// Takes the steps of an update on all learners. Returns the values of rows.
    pub(super) fn learn(
        &mut self,
        first: &mut Learner,
        data: &ModuleData,
        env_steps: u64,
    ) -> Result<RowHistory> {
        let versions = |first: &Learner| Some([first.module.version(), first.optimizers.version()]);
        let renew = self.failed || self.common != versions(first);
        // Until all learners have ended well.
        let rebuild = std::mem::replace(&mut self.failed, true);
        let history = match &mut self.others {
            Others::Remote(remote) => remote::learn(&mut **remote, first, data, env_steps, renew)?,
            Others::Threads(replicas, stopper) => {
                let update = Update { data, env_steps, renew, rebuild };
                learn_on_threads(replicas, stopper, first, update)?
            }
        };
        self.failed = false;
        self.common = versions(first);
        Ok(history)
    }
}

/// An update that learners share.
#[derive(Clone, Copy)]
struct Update<'a> {
    data: &'a ModuleData,
    env_steps: u64,
    /// Whether modules and optimizers are to be taken over.
    renew: bool,
    /// Whether the collective is to be rebuilt before.
    rebuild: bool,
}

/// Takes the steps of an update on this thread and those of the other learners.
fn learn_on_threads(
    replicas: &[Replica],
    stopper: &Stopper,
    first: &mut Learner,
    Update { data, env_steps, renew, rebuild }: Update<'_>,
) -> Result<RowHistory> {
    let snapshots = replicas.iter().map(|_| Snapshot::of(first, renew));
    let snapshots = snapshots.collect::<Result<Vec<_>>>()?;
    let mut started = Vec::with_capacity(replicas.len());
    let mut own = Ok(());
    for (replica, snapshot) in replicas.iter().zip(snapshots) {
        let (snapshot, data) = (Box::new(snapshot), data.clone());
        match replica.send(Work::Learn { snapshot, data, env_steps, rebuild }) {
            Ok(()) => started.push(replica),
            Err(fault) => own = Err(fault.into()),
        }
    }
    let own = own.and_then(|()| {
        let learned = caught(|| first.learn_as_member(data, env_steps, rebuild));
        learned.unwrap_or_else(|panic| Err(LearnerError::LearnerPanicked(panic)))
    });
    if let Err(error) = &own {
        stopper.stop(&error.to_string());
    }
    let others = started.into_iter().map(Replica::receive).collect();
    joined(own, others)
}

/// Returns the values of rows of all learners, or the error that was the cause of the others.
fn joined(own: Result<RowHistory>, others: Vec<Result<Answer>>) -> Result<RowHistory> {
    let mut fault = None;
    let mut history = None;
    for (rank, outcome) in std::iter::once(own.map(Answer::Learned)).chain(others).enumerate() {
        match outcome {
            Ok(Answer::Learned(rows)) => match &mut history {
                None => history = Some(rows),
                Some(history) => {
                    history.iter_mut().zip(rows).for_each(|(all, own)| all.extend(own));
                }
            },
            Ok(Answer::State(_)) => fault = Some(Fault::GroupLost.into()),
            // What this learner says of another one, which reports the cause itself.
            Err(error @ LearnerError::Group(Fault::PeerLost { .. })) => {
                fault.get_or_insert(error);
            }
            Err(error) if rank == 0 => return Err(error),
            Err(error) => return Err(other(rank, error)),
        }
    }
    match (fault, history) {
        (Some(error), _) => Err(error),
        (None, Some(history)) => Ok(history),
        (None, None) => Err(Fault::GroupLost.into()),
    }
}

fn other(rank: usize, error: LearnerError) -> LearnerError {
    LearnerError::OtherLearner { rank, source: Box::new(error) }
}

impl Learner {
    /// Lets other learners share each update, one on each of `devices`, on threads of their own. They join those that
    /// were added before. A minibatch is divided by row, or by sequence for a module with memory.
    ///
    /// The result equals that of one learner up to rounding. It does not depend on the number of threads or on their
    /// order. Only minibatches are shared: this learner prepares the experience alone, and modules that learn from a
    /// batch by themselves learn here.
    ///
    /// ```no_run
    /// # fn learners(learner: &mut rekindle_learner::Learner) -> Result<(), Box<dyn std::error::Error>> {
    /// use rekindle_core::device::DeviceSpec;
    ///
    /// // This learner is on the first device.
    /// learner.add_learners(&["cuda:1".parse::<DeviceSpec>()?.open()?])?;
    /// assert_eq!(learner.num_learners(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LearnerError::NotShared`] for a loss whose minibatches cannot be divided
    /// ([`Loss::rows_are_independent`](crate::Loss::rows_are_independent)); [`LearnerError::NoThread`].
    pub fn add_learners(&mut self, devices: &[Device]) -> Result<()> {
        self.add_learners_with(devices, |member| Box::new(member))
    }

    /// As [`add_learners`](Self::add_learners), with a function that wraps the collective of each learner: to measure
    /// or log what learners exchange, or to test failures.
    ///
    /// # Errors
    /// As [`add_learners`](Self::add_learners).
    pub fn add_learners_with(
        &mut self,
        devices: &[Device],
        wrap: impl Fn(LocalCollective) -> Box<dyn Collective>,
    ) -> Result<()> {
        let before = self.group.take().map_or(Vec::new(), LearnerGroup::devices);
        let devices: Vec<Device> = before
            .into_iter()
            .chain(devices.iter().map(|device| device.clone().autodiff()))
            .collect();
        self.member = None;
        if devices.is_empty() {
            return Ok(());
        }
        self.check_losses_shared()?;
        let mut members = LocalCollective::group(devices.len() + 1).into_iter();
        let Some(first) = members.next() else { return Ok(()) };
        let stopper = first.stopper();
        let mut replicas = Vec::with_capacity(devices.len());
        for (member, device) in members.zip(devices) {
            let rank = member.rank();
            let stopper = member.stopper();
            let learner = self.replica(device, Member::new(wrap(member)));
            let replica = Replica::start(rank, learner, stopper);
            replicas.push(replica.map_err(|source| LearnerError::NoThread { rank, source })?);
        }
        self.member = Some(Member::new(wrap(first)));
        self.group = Some(LearnerGroup::new(Others::Threads(replicas, stopper)));
        Ok(())
    }

    /// Checks that several learners can share the updates of all modules that learn.
    fn check_losses_shared(&self) -> Result<()> {
        let mut losses = self.losses.iter().filter(|(id, _)| self.should_module_be_updated(id));
        losses.try_for_each(|(id, of_module)| check_shared(id, &*of_module.loss))
    }

    /// Returns the number of learners that share updates: 1 for a learner alone.
    #[must_use]
    pub fn num_learners(&self) -> usize {
        self.member.as_ref().map_or(1, |member| member.collective.size())
    }

    /// Returns the other learners, which share the updates of this one.
    pub fn group(&self) -> Option<&LearnerGroup> {
        self.group.as_ref()
    }

    /// Checks that no other learner shares the updates of this one.
    pub(super) fn check_alone(&self, operation: &'static str) -> Result<()> {
        match self.num_learners() {
            1 => Ok(()),
            learners => Err(LearnerError::NotAlone { operation, learners }),
        }
    }

    /// Takes the steps of all minibatches as one of several learners.
    fn learn_as_member(
        &mut self,
        data: &ModuleData,
        env_steps: u64,
        rebuild: bool,
    ) -> Result<RowHistory> {
        if let Some(member) = self.member.as_mut().filter(|_| rebuild) {
            member.collective.rebuild()?;
        }
        self.learn_minibatches(data, env_steps)
    }
}

impl LearnerGroup {
    /// Ends the other learners, and returns their devices.
    fn devices(self) -> Vec<Device> {
        match self.others {
            Others::Threads(replicas, _) => {
                replicas.iter().map(|replica| replica.device().clone()).collect()
            }
            Others::Remote(_) => Vec::new(),
        }
    }
}
