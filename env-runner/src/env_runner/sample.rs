//! The amount that a call collects, and its options.

use std::time::Duration;

/// The amount that one call of a runner collects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Amount {
    /// At least this many environment steps, rounded up to whole steps of the vector. Episodes
    /// continue in the next call.
    Timesteps(usize),
    /// At least this many steps of agents, counted when their outcome is known, in whole steps of
    /// the vector; RLlib's `count_steps_by="agent_steps"`. Episodes continue in the next call. With
    /// a single agent the same as [`Timesteps`](Self::Timesteps).
    ///
    /// After an episode in which no agent acted, environment steps count too until an agent acts
    /// again. A call therefore ends, with fewer steps of agents, where nobody acts.
    AgentSteps(usize),
    /// Exactly this many complete episodes, split evenly across the environments (so that short
    /// episodes are not preferred). Begins with a reset of all environments, as does the next call.
    Episodes(usize),
}

impl Amount {
    /// Whether complete episodes are requested.
    pub(crate) fn is_episodes(self) -> bool {
        matches!(self, Self::Episodes(_))
    }

    /// Returns how many episodes each of `num_envs` environments plays; empty unless complete
    /// episodes are requested.
    pub(crate) fn quota(self, num_envs: usize) -> Vec<usize> {
        match self {
            Self::Episodes(count) => (0..num_envs).map(|i| share(count, i, num_envs)).collect(),
            Self::Timesteps(_) | Self::AgentSteps(_) => Vec::new(),
        }
    }
}

/// Returns the share of the `i`-th of `n` parts. The first parts take the remainder.
pub(crate) fn share(whole: usize, i: usize, n: usize) -> usize {
    whole / n + usize::from(i < whole % n)
}

/// The options of a call: how to act, and what to record.
///
/// ```
/// use std::time::Duration;
/// use rekindle_env_runner::SampleOptions;
///
/// // An evaluation: greedy, returns only, for at most a minute.
/// let options = SampleOptions::greedy().record(false).time_limit(Duration::from_secs(60));
/// assert!(!options.explore && !options.record);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SampleOptions {
    /// Whether actions are sampled (`forward_exploration`) or taken from the deterministic twin
    /// (`forward_inference`).
    pub explore: bool,
    /// Whether actions are drawn uniformly from the action space, without a module. Where observations have an
    /// action mask (a part `action_mask` of a Dict), actions are drawn from the allowed ones.
    ///
    /// A module with a recurrent state still observes each step, so that its state is the same as if it had acted.
    ///
    /// The environments receive the drawn actions as they are, past the module-to-env connectors.
    /// They are recorded in the module's units: scaled to [−1, 1] where `normalize_actions` applies.
    pub random_actions: bool,
    /// Whether all environments are reset first.
    pub force_reset: bool,
    /// Whether steps are recorded. Otherwise, a call returns
    /// [`episodes`](crate::Experience::episodes) and step counts but no rollouts, and its memory
    /// does not grow with the steps.
    pub record: bool,
    /// Longest duration of a call; `None` for no limit.
    ///
    /// The clock is read after each step of the vector. A call that runs out of time returns a
    /// partial result, marked as [`timed_out`](crate::Experience::timed_out): fewer steps, or the
    /// episodes that ended. A single step that hangs is not interrupted.
    pub time_limit: Option<Duration>,
}

impl Default for SampleOptions {
    /// Returns options for recorded exploration without a time limit.
    fn default() -> Self {
        Self {
            explore: true,
            random_actions: false,
            force_reset: false,
            record: true,
            time_limit: None,
        }
    }
}

impl SampleOptions {
    /// Returns options for greedy actions, taken from the deterministic twin.
    #[must_use]
    pub fn greedy() -> Self {
        Self { explore: false, ..Self::default() }
    }

    /// Returns options for actions that are drawn uniformly from the action space.
    #[must_use]
    pub fn random() -> Self {
        Self { random_actions: true, ..Self::default() }
    }

    /// Sets whether actions are sampled.
    #[must_use]
    pub fn explore(mut self, explore: bool) -> Self {
        self.explore = explore;
        self
    }

    /// Sets whether all environments are reset first.
    #[must_use]
    pub fn force_reset(mut self, force_reset: bool) -> Self {
        self.force_reset = force_reset;
        self
    }

    /// Sets whether steps are recorded.
    #[must_use]
    pub fn record(mut self, record: bool) -> Self {
        self.record = record;
        self
    }

    /// Sets the longest duration of a call.
    #[must_use]
    pub fn time_limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.time_limit = limit.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn episodes_are_split_evenly_and_the_first_environments_take_the_remainder() {
        assert_eq!(Amount::Episodes(7).quota(3), [3, 2, 2]);
        assert_eq!(Amount::Episodes(1).quota(2), [1, 0]);
        assert!(Amount::Timesteps(7).quota(3).is_empty());
    }
}
