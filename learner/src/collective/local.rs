//! The collective of threads in one process.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Collective, Fault};

/// Numbers below this count are summed by every member; of more, each member sums a part.
const SUMMED_BY_ALL: usize = 1 << 14;

/// A member of a group of threads in one process.
///
/// Sums are taken in the order of the ranks, so they do not depend on which thread is first.
///
/// ```
/// use rekindle_learner::{Collective, LocalCollective};
///
/// let threads = LocalCollective::group(3).into_iter().map(|mut member| {
///     std::thread::spawn(move || {
///         let mut numbers = [member.rank() as f32, 1.0];
///         member.all_reduce_sum(&mut numbers).map(|()| numbers)
///     })
/// });
/// for thread in threads.collect::<Vec<_>>() {
///     assert_eq!(thread.join().unwrap(), Ok([3.0, 3.0]));
/// }
/// ```
#[derive(Debug)]
pub struct LocalCollective {
    rank: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    size: usize,
    state: Mutex<State>,
    /// Signals the end of a round, a failure, and that the group is usable again.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What members have handed in for this round, by rank.
    posted: Vec<Option<Payload>>,
    arrived: usize,
    /// Number of the round.
    round: u64,
    /// What all members handed in for the last round.
    results: Arc<Vec<Payload>>,
    fault: Option<Fault>,
    /// Members that wait for the group to become usable again.
    rebuilding: usize,
    /// Members that have been dropped.
    dropped: usize,
}

/// What a member hands in.
#[derive(Debug, Clone)]
enum Payload {
    Floats(Arc<Vec<f32>>),
    Bytes(Arc<Vec<u8>>),
    Flag(u32),
}

impl LocalCollective {
    /// Creates the members of a group, in the order of their ranks.
    #[must_use]
    pub fn group(size: usize) -> Vec<Self> {
        let state = State { posted: vec![None; size], ..State::default() };
        let shared = Shared { size, state: Mutex::new(state), changed: Condvar::new() };
        let shared = Arc::new(shared);
        (0..size).map(|rank| Self { rank, shared: shared.clone() }).collect()
    }

    /// Returns a handle that ends the operations of the group.
    pub(crate) fn stopper(&self) -> Stopper {
        Stopper { rank: self.rank, shared: self.shared.clone() }
    }

    /// Hands something in, and returns what all members have handed in, by rank.
    fn exchange(&mut self, payload: Payload) -> Result<Arc<Vec<Payload>>, Fault> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        if let Some(fault) = &state.fault {
            return Err(fault.clone());
        }
        if state.dropped > 0 {
            return Err(Fault::GroupLost);
        }
        let round = state.round;
        state.posted[self.rank] = Some(payload);
        state.arrived += 1;
        if state.arrived == shared.size {
            // The results of the last round are no longer needed: all members have come back for this one.
            let all: Vec<_> = state.posted.iter_mut().filter_map(Option::take).collect();
            state.results = Arc::new(all);
            state.arrived = 0;
            state.round += 1;
            shared.changed.notify_all();
            return Ok(state.results.clone());
        }
        while state.round == round {
            if let Some(fault) = &state.fault {
                return Err(fault.clone());
            }
            if state.dropped > 0 {
                return Err(Fault::GroupLost);
            }
            state = shared.wait(state);
        }
        Ok(state.results.clone())
    }

    /// Hands numbers in, and returns those of all members.
    fn exchange_floats(&mut self, numbers: Vec<f32>) -> Result<Vec<Arc<Vec<f32>>>, Fault> {
        let all = self.exchange(Payload::Floats(Arc::new(numbers)))?;
        all.iter()
            .map(|payload| match payload {
                Payload::Floats(numbers) => Ok(numbers.clone()),
                Payload::Bytes(_) | Payload::Flag(_) => Err(other_operation()),
            })
            .collect()
    }
}

fn other_operation() -> Fault {
    Fault::Fatal("the learners of a group called different operations".into())
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, rank: usize, reason: &str) {
        let mut state = self.lock();
        let fault = Fault::PeerLost { rank, reason: reason.to_owned() };
        // The first failure is the cause of the others.
        state.fault.get_or_insert(fault);
        self.changed.notify_all();
    }
}

/// Ends the operations of a group from another thread.
#[derive(Debug)]
pub(crate) struct Stopper {
    rank: usize,
    shared: Arc<Shared>,
}

impl Stopper {
    pub(crate) fn stop(&self, reason: &str) {
        self.shared.fail(self.rank, reason);
    }
}

impl Collective for LocalCollective {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.shared.size
    }

    fn all_reduce_sum(&mut self, buffer: &mut [f32]) -> Result<(), Fault> {
        let all = self.exchange_floats(buffer.to_vec())?;
        if let Some(other) = all.iter().find(|other| other.len() != buffer.len()) {
            let (here, there) = (buffer.len(), other.len());
            return Err(Fault::Fatal(format!(
                "the learners of a group have {here} and {there} numbers to add"
            )));
        }
        if buffer.len() <= SUMMED_BY_ALL {
            sum_into(buffer, &all, 0);
            return Ok(());
        }
        let part = buffer.len().div_ceil(self.size());
        let start = (part * self.rank).min(buffer.len());
        let mut own = vec![0.0; part.min(buffer.len() - start)];
        sum_into(&mut own, &all, start);
        let sums = self.exchange_floats(own)?;
        let mut rest = buffer;
        for part in sums {
            let (here, after) = rest.split_at_mut(part.len());
            here.copy_from_slice(&part);
            rest = after;
        }
        Ok(())
    }

    fn broadcast(&mut self, buffer: &mut [u8], root: usize) -> Result<(), Fault> {
        let own = if self.rank == root { buffer.to_vec() } else { Vec::new() };
        let all = self.exchange(Payload::Bytes(Arc::new(own)))?;
        match all.get(root) {
            Some(Payload::Bytes(bytes)) if bytes.len() == buffer.len() => {
                buffer.copy_from_slice(bytes);
                Ok(())
            }
            Some(Payload::Bytes(bytes)) => Err(Fault::Fatal(format!(
                "learner {root} sent {} bytes, and {} were expected",
                bytes.len(),
                buffer.len()
            ))),
            _ => Err(other_operation()),
        }
    }

    fn agree_max(&mut self, flag: u32) -> Result<u32, Fault> {
        let all = self.exchange(Payload::Flag(flag))?;
        all.iter().try_fold(0, |max, payload| match payload {
            Payload::Flag(flag) => Ok(max.max(*flag)),
            Payload::Floats(_) | Payload::Bytes(_) => Err(other_operation()),
        })
    }

    fn abort(&mut self, reason: &str) {
        self.shared.fail(self.rank, reason);
    }

    /// Waits until all members have called it.
    fn rebuild(&mut self) -> Result<(), Fault> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        let round = state.round;
        state.rebuilding += 1;
        if state.rebuilding == shared.size {
            state.posted.fill(None);
            (state.arrived, state.rebuilding, state.fault) = (0, 0, None);
            state.round += 1;
            shared.changed.notify_all();
            return Ok(());
        }
        while state.round == round {
            if state.dropped > 0 {
                return Err(Fault::GroupLost);
            }
            state = shared.wait(state);
        }
        Ok(())
    }
}

impl Drop for LocalCollective {
    fn drop(&mut self) {
        self.shared.lock().dropped += 1;
        self.shared.changed.notify_all();
    }
}

/// Replaces numbers by the sums over all members of those from `start` on, in the order of the ranks.
fn sum_into(sums: &mut [f32], all: &[Arc<Vec<f32>>], start: usize) {
    for (rank, numbers) in all.iter().enumerate() {
        let numbers = sums.iter_mut().zip(&numbers[start..]);
        match rank {
            0 => numbers.for_each(|(sum, number)| *sum = *number),
            _ => numbers.for_each(|(sum, number)| *sum += *number),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// Runs a function on every member, and returns the results by rank.
    fn run<T: Send>(size: usize, f: impl Fn(LocalCollective) -> T + Sync) -> Vec<T> {
        thread::scope(|scope| {
            let members = LocalCollective::group(size).into_iter();
            let threads: Vec<_> = members.map(|member| scope.spawn(|| f(member))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn sums_are_those_of_all_members_in_the_order_of_the_ranks() {
        for size in [1, 2, 3, 5] {
            for len in [0, 1, 7, SUMMED_BY_ALL, SUMMED_BY_ALL + 1, 3 * SUMMED_BY_ALL + 2] {
                let number = |rank: usize, i: usize| ((rank * 31 + i) as f32).sin() * 1e3;
                let found = run(size, |mut member| {
                    let mut all = Vec::new();
                    for round in 0..3 {
                        let rank = member.rank() + round;
                        let mut numbers: Vec<f32> = (0..len).map(|i| number(rank, i)).collect();
                        member.all_reduce_sum(&mut numbers).unwrap();
                        all.push(numbers);
                    }
                    all
                });
                for (round, sums) in found[0].iter().enumerate() {
                    let expected = (0..len).map(|i| {
                        (1..size).fold(number(round, i), |sum, rank| sum + number(rank + round, i))
                    });
                    assert_eq!(*sums, expected.collect::<Vec<_>>(), "{size} {len}");
                }
                assert!(found.iter().all(|other| *other == found[0]));
            }
        }
    }

    #[test]
    fn members_agree_on_the_largest_flag_and_on_the_bytes_of_one() {
        let found = run(3, |mut member| {
            let rank = member.rank();
            let flag = member.agree_max([4, 9, 2][rank]).unwrap();
            let mut bytes = [rank as u8; 5];
            member.broadcast(&mut bytes, 2).unwrap();
            (flag, bytes)
        });
        assert_eq!(found, [(9, [2; 5]); 3]);
    }

    #[test]
    fn a_member_that_gives_up_ends_the_operation_of_all_until_the_group_is_rebuilt() {
        let found = run(3, |mut member| {
            if member.rank() == 1 {
                thread::sleep(Duration::from_millis(20));
                member.abort("no memory");
            }
            let failed = member.all_reduce_sum(&mut [1.0]);
            let again = member.agree_max(1);
            member.rebuild().unwrap();
            let mut numbers = [1.0];
            member.all_reduce_sum(&mut numbers).unwrap();
            (failed, again, numbers)
        });
        let fault = Fault::PeerLost { rank: 1, reason: "no memory".into() };
        for (failed, again, numbers) in found {
            assert_eq!((failed, again, numbers), (Err(fault.clone()), Err(fault.clone()), [3.0]));
        }
    }

    #[test]
    fn a_member_that_is_dropped_ends_the_group() {
        let found = run(2, |mut member| match member.rank() {
            0 => member.all_reduce_sum(&mut [1.0]),
            _ => {
                drop(member);
                Err(Fault::GroupLost)
            }
        });
        assert_eq!(found, [Err(Fault::GroupLost), Err(Fault::GroupLost)]);
    }

    #[test]
    fn operations_that_differ_are_errors() {
        let lengths = run(2, |mut member| member.all_reduce_sum(&mut vec![0.0; 1 + member.rank()]));
        assert!(lengths.iter().all(|found| matches!(found, Err(Fault::Fatal(_)))), "{lengths:?}");
        let kinds = run(2, |mut member| match member.rank() {
            0 => member.all_reduce_sum(&mut [0.0]),
            _ => member.agree_max(1).map(|_| ()),
        });
        assert!(kinds.iter().all(|found| matches!(found, Err(Fault::Fatal(_)))), "{kinds:?}");
    }
}
