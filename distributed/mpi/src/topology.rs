//! Which process does what.

use rekindle::core::ConfigError;

/// The processes of a job: learners first, and runners after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topology {
    learners: usize,
    runners: usize,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The learner that prepares experience, evaluates and writes the run folder. Without runners, it also samples.
    FirstLearner,
    /// A learner with this number, from 1. It shares the updates of the first one.
    Learner(usize),
    /// A runner with this number, from 0. It collects batches.
    Runner(usize),
}

impl Topology {
    /// Divides the processes of a job: `num_learners` learners, and runners for the rest.
    ///
    /// # Errors
    /// If there is no learner, or there are more learners than processes.
    pub fn new(processes: usize, num_learners: usize) -> Result<Self, ConfigError> {
        let constraint = match num_learners {
            0 => "it must be at least 1".to_owned(),
            learners if learners > processes => format!(
                "the job has {processes} processes (`mpirun -n`), and each learner is one; start more, or set fewer learners"
            ),
            _ => return Ok(Self { learners: num_learners, runners: processes - num_learners }),
        };
        Err(ConfigError::new("--num-learners", num_learners, constraint))
    }

    /// Returns the number of learners.
    #[must_use]
    pub fn learners(self) -> usize {
        self.learners
    }

    /// Returns the number of runners. With none, the first learner samples by itself.
    #[must_use]
    pub fn runners(self) -> usize {
        self.runners
    }

    /// Returns what the process with this rank does.
    #[must_use]
    pub fn role(self, rank: usize) -> Role {
        match rank {
            0 => Role::FirstLearner,
            rank if rank < self.learners => Role::Learner(rank),
            rank => Role::Runner(rank - self.learners),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learners_come_first_and_the_rest_are_runners() {
        let topology = Topology::new(5, 2).unwrap();
        let roles: Vec<_> = (0..5).map(|rank| topology.role(rank)).collect();
        let runners = [0, 1, 2].map(Role::Runner);
        assert_eq!(roles[..2], [Role::FirstLearner, Role::Learner(1)]);
        assert_eq!(roles[2..], runners);
        assert_eq!((topology.learners(), topology.runners()), (2, 3));
        assert_eq!(Topology::new(4, 4).unwrap().runners(), 0);
    }

    #[test]
    fn learners_that_no_process_can_be_are_refused() {
        for (processes, learners) in [(2, 3), (2, 0)] {
            let error = Topology::new(processes, learners).unwrap_err().to_string();
            assert!(error.contains("--num-learners"), "{error}");
        }
        let error = Topology::new(2, 3).unwrap_err().to_string();
        assert!(error.contains("the job has 2 processes"), "{error}");
    }
}
