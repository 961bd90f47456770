//! The steps of one agent in one environment.

use std::ops::Range;

use rekindle_core::ModuleId;
use rekindle_env::{Buffer, Info, Space};
use serde::{Deserialize, Serialize};

use crate::env_runner::memory::same_layout;
use crate::env_runner::outputs::Outputs;
use crate::error::Result;
use crate::experience::{Infos, SegmentEnd};

/// Recorded steps of one agent, one row each. While an action waits for its outcome, there is one
/// reward fewer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamColumns {
    pub(super) observations: Buffer,
    pub(super) actions: Buffer,
    pub(super) rewards: Vec<f32>,
    /// Infos of the rows with a reward.
    #[serde(default)]
    pub(super) infos: Infos,
    /// `action_dist_inputs`, row-major; empty if the module returned none.
    pub(super) inputs: Vec<f32>,
    /// `action_logp`; empty if unknown.
    pub(super) logp: Vec<f32>,
    /// Whether the actions come from the exploration pass.
    #[serde(default)]
    explores: bool,
    /// The other outputs of the exploration pass.
    #[serde(default)]
    pub(super) outputs: Outputs,
    /// The states of a stateful module.
    pub(super) state_in: Option<Buffer>,
}

/// One row of what agents saw and did.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewRow<'a> {
    pub(super) index: usize,
    pub(super) observations: &'a Buffer,
    /// The number of frames that observations stack, if they do. Frames are then stored once.
    pub(super) stacked_frames: Option<usize>,
    pub(super) actions: &'a Buffer,
    /// `action_dist_inputs` of this row; empty if the module returned none.
    pub(super) inputs: &'a [f32],
    pub(super) logp: Option<f32>,
    /// Whether the action comes from the exploration pass.
    pub(super) explores: bool,
    /// The other outputs of that pass, with a row for each agent that acted.
    pub(super) outputs: &'a Outputs,
    pub(super) states: Option<&'a Buffer>,
}

/// The columns that rows have besides observations, actions and rewards. Rows are recorded together
/// only if these agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Layout {
    explores: bool,
    has_logp: bool,
    inputs: usize,
    has_states: bool,
}

impl NewRow<'_> {
    fn layout(&self) -> Layout {
        Layout {
            has_logp: self.logp.is_some(),
            explores: self.explores,
            inputs: self.inputs.len(),
            has_states: self.states.is_some(),
        }
    }
}

impl StreamColumns {
    fn new(observations: &Space, actions: &Space) -> Self {
        Self {
            observations: Buffer::with_capacity(observations, 0),
            actions: Buffer::with_capacity(actions, 0),
            rewards: Vec::new(),
            infos: Infos::default(),
            inputs: Vec::new(),
            logp: Vec::new(),
            explores: false,
            outputs: Outputs::default(),
            state_in: None,
        }
    }

    fn rows(&self) -> usize {
        self.observations.rows()
    }

    /// Returns the layout of the rows, if there are any.
    pub(super) fn layout(&self) -> Layout {
        Layout {
            has_logp: !self.logp.is_empty(),
            explores: self.explores,
            inputs: self.inputs.len() / self.rows().max(1),
            has_states: self.state_in.is_some(),
        }
    }

    fn push(&mut self, row: NewRow<'_>) -> Result<()> {
        let at = row.index..row.index + 1;
        let is_first = self.rows() == 0;
        if is_first {
            self.explores = row.explores;
            self.state_in = row.states.map(|states| states.slice(0..0)).transpose()?;
        }
        if let Some(count) = row.stacked_frames {
            self.observations.share_frames(count);
        }
        let previous = self.rows().checked_sub(1);
        self.observations.push_stack(row.observations.row(row.index), previous)?;
        self.actions.extend_from(row.actions, at.clone())?;
        self.inputs.extend_from_slice(row.inputs);
        self.logp.extend(row.logp);
        if let (Some(column), Some(states)) = (&mut self.state_in, row.states) {
            column.extend_from(states, at.clone())?;
        }
        self.outputs.extend_from(row.outputs, at, is_first)
    }

    /// Copies observations. The copies do not keep the frames of other rows in memory.
    pub(super) fn copy_observations(&self, rows: Range<usize>) -> Result<Buffer> {
        let rows: Vec<_> = rows.map(|row| (0, row)).collect();
        Ok(self.observations.gather_from(&[&self.observations], &rows)?)
    }

    fn clear(&mut self) {
        self.observations.clear();
        self.actions.clear();
        self.rewards.clear();
        self.infos.clear();
        self.inputs.clear();
        self.logp.clear();
        self.outputs.clear();
        self.state_in = None;
    }

    /// Splits off the row whose outcome is open, if there is one.
    fn split_open(&mut self) -> Result<Self> {
        let (rows, steps) = (self.rows(), self.rewards.len());
        let Layout { inputs, has_logp, .. } = self.layout();
        let open = Self {
            observations: self.copy_observations(steps..rows)?,
            actions: self.actions.slice(steps..rows)?,
            rewards: Vec::new(),
            infos: Infos::default(),
            inputs: self.inputs.split_off(inputs * steps),
            logp: if has_logp { self.logp.split_off(steps) } else { Vec::new() },
            explores: self.explores,
            outputs: self.outputs.split_off(steps)?,
            state_in: self.state_in.as_ref().map(|s| s.slice(steps..rows)).transpose()?,
        };
        self.observations.truncate(steps);
        self.actions.truncate(steps);
        if let Some(states) = &mut self.state_in {
            states.truncate(steps);
        }
        Ok(open)
    }
}

/// An agent that acts in an episode.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stream {
    pub(super) module: ModuleId,
    /// The steps since the last segment, if they are recorded.
    columns: StreamColumns,
    /// Whether the steps since the last segment are recorded, or only counted.
    recorded: bool,
    /// Steps since the last segment whose outcome is known.
    steps: usize,
    /// Whether an action waits for its outcome.
    waits: bool,
    /// Rewards so far for the action that waits.
    reward: f64,
    /// The last action and its reward, for connectors that read them.
    pub(super) last_action: Buffer,
    pub(super) last_reward: f64,
    /// Whether the agent has not acted in this episode.
    pub(super) starts: bool,
    /// Steps of the episode before the last segment ended.
    t_started: usize,
    /// The state that a stateful module acts from next, one row.
    pub(super) state: Option<Buffer>,
}

/// A part of an agent's episode that is complete.
#[derive(Debug)]
pub(super) struct EndedSegment {
    pub(super) env: usize,
    pub(super) agent: usize,
    pub(super) episode: u64,
    pub(super) t_started: usize,
    /// Number of steps.
    pub(super) len: usize,
    pub(super) end: SegmentEnd,
    /// `None` if the steps were only counted.
    pub(super) recorded: Option<RecordedSegment>,
}

/// The recorded part of a segment.
#[derive(Debug)]
pub(super) struct RecordedSegment {
    pub(super) columns: StreamColumns,
    /// One row.
    pub(super) final_observation: Buffer,
    /// One row.
    pub(super) final_state: Option<Buffer>,
}

/// The environment and agent of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) env: usize,
    pub(super) agent: usize,
    pub(super) episode: u64,
}

impl Stream {
    pub(super) fn new(
        module: ModuleId,
        observations: &Space,
        actions: &Space,
        initial_state: Option<&Buffer>,
    ) -> Self {
        Self {
            module,
            columns: StreamColumns::new(observations, actions),
            recorded: true,
            steps: 0,
            waits: false,
            reward: 0.0,
            last_action: Buffer::zeros(actions, 1),
            last_reward: 0.0,
            starts: true,
            t_started: 0,
            state: initial_state.cloned(),
        }
    }

    /// Returns the number of steps since the last segment whose outcome is known.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// Returns the row of an action that waits for its outcome, if it is recorded.
    pub(super) fn open_row(&self) -> Option<(&StreamColumns, usize)> {
        let last = self.columns.rows().checked_sub(1)?;
        (self.recorded && self.waits).then_some((&self.columns, last))
    }

    /// Whether a row can follow the steps since the last segment in the same segment; `None` is a
    /// step that is not recorded.
    pub(super) fn accepts(&self, row: Option<NewRow<'_>>) -> bool {
        self.steps == 0
            || match row {
                Some(row) => self.recorded && self.columns.layout() == row.layout(),
                None => !self.recorded,
            }
    }

    /// Begins a step that the segment [accepts](Self::accepts).
    pub(super) fn act(&mut self, row: Option<NewRow<'_>>) -> Result<()> {
        (self.recorded, self.waits) = (row.is_some(), true);
        match row {
            Some(row) => self.columns.push(row),
            None => Ok(()),
        }
    }

    /// Adds a reward to the action that waits, if one does.
    pub(super) fn pay(&mut self, reward: f64) {
        if self.waits {
            self.reward += reward;
        }
    }

    /// Whether the action that waits is the first of the episode.
    pub(super) fn is_first_step(&self) -> bool {
        self.t_started == 0 && self.steps == 0
    }

    /// Completes the step of the action that waits, and returns whether one did. `connect` turns the
    /// sum of its rewards into the reward of the step; `info` returns what the environment reported.
    pub(super) fn complete(
        &mut self,
        connect: impl FnOnce(f64) -> Result<f64>,
        info: impl FnOnce() -> Info,
    ) -> Result<bool> {
        if !std::mem::take(&mut self.waits) {
            return Ok(false);
        }
        self.last_reward = connect(std::mem::take(&mut self.reward))?;
        self.steps += 1;
        if self.recorded {
            self.columns.infos.push(self.columns.rewards.len(), info());
            self.columns.rewards.push(self.last_reward as f32);
        }
        Ok(true)
    }

    /// Ends the segment with the steps whose outcome is known. An action that waits begins the next
    /// one. `last` gives the observation that follows and its state.
    pub(super) fn end_segment(
        &mut self,
        at: At,
        end: SegmentEnd,
        last: impl FnOnce(&Self) -> Result<(Buffer, Option<Buffer>)>,
    ) -> Result<EndedSegment> {
        let recorded = match self.recorded && self.steps > 0 {
            true => {
                let (final_observation, final_state) = last(self)?;
                let open = self.columns.split_open()?;
                let columns = std::mem::replace(&mut self.columns, open);
                Some(RecordedSegment { columns, final_observation, final_state })
            }
            false => None,
        };
        let (len, t_started) = (std::mem::take(&mut self.steps), self.t_started);
        self.t_started += len;
        let At { env, agent, episode } = at;
        Ok(EndedSegment { env, agent, episode, t_started, len, end, recorded })
    }

    /// Continues with another module, whose initial state is given. An action that waits was chosen
    /// by the old one and is not recorded; its state is kept if the shapes are the same.
    pub(super) fn replace_module(&mut self, initial_state: Option<&Buffer>) {
        self.columns.clear();
        self.recorded = false;
        if !self.remembers(initial_state) {
            self.state = initial_state.cloned();
        }
    }

    /// Whether its state has the shapes of a module's initial state.
    pub(super) fn remembers(&self, initial_state: Option<&Buffer>) -> bool {
        match (&self.state, initial_state) {
            (Some(state), Some(initial)) => same_layout(state, initial),
            (None, None) => true,
            _ => false,
        }
    }

    /// Whether saved parts fit together, for agents of these spaces.
    pub(super) fn is_consistent(&self, observations: &Space, actions: &Space) -> bool {
        let StreamColumns { observations: seen, actions: done, rewards, .. } = &self.columns;
        let rows = seen.rows();
        let Layout { inputs, has_logp, .. } = self.columns.layout();
        let open = usize::from(self.waits);
        seen.is_compatible(observations)
            && done.is_compatible(actions)
            && self.last_action.is_compatible(actions)
            && self.last_action.rows() == 1
            && done.rows() == rows
            && self.columns.inputs.len() == inputs * rows
            && (!has_logp || self.columns.logp.len() == rows)
            && self.columns.outputs.have_rows(rows)
            && self.columns.state_in.as_ref().is_none_or(|states| states.rows() == rows)
            && self.state.as_ref().is_none_or(|state| state.rows() == 1)
            && match self.recorded {
                true => rewards.len() == self.steps && rows == self.steps + open,
                false => rows == 0 && rewards.is_empty(),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Stream {
        Stream::new(
            "p".into(),
            &Space::unbounded(&[1]).unwrap(),
            &Space::discrete(2).unwrap(),
            None,
        )
    }

    const AT: At = At { env: 0, agent: 0, episode: 0 };

    fn info() -> Info {
        Info::new()
    }

    fn last(_: &Stream) -> Result<(Buffer, Option<Buffer>)> {
        Ok((Buffer::from_f32(vec![9.0], &[1])?, None))
    }

    #[test]
    fn rows_without_a_log_probability_end_their_segment() {
        let mut stream = stream();
        let seen = Buffer::from_f32(vec![1.0], &[1]).unwrap();
        let done = Buffer::from_i64(vec![0], &[]).unwrap();
        let none = Outputs::default();
        let row = |logp| NewRow {
            index: 0,
            observations: &seen,
            stacked_frames: None,
            actions: &done,
            inputs: &[0.5, -0.5],
            logp,
            explores: true,
            outputs: &none,
            states: None,
        };
        stream.act(Some(row(None))).unwrap();
        // The call ends while the action is open.
        let cut = stream.end_segment(AT, SegmentEnd::Cut, last).unwrap();
        assert_eq!((cut.len, cut.recorded.is_some()), (0, false));
        stream.pay(2.0);
        assert!(stream.complete(Ok, info).unwrap() && !stream.complete(Ok, info).unwrap());
        assert!(stream.accepts(Some(row(None))) && !stream.accepts(Some(row(Some(-0.1)))));
        assert!(!stream.accepts(None));
        let ended = stream.end_segment(AT, SegmentEnd::Cut, last).unwrap();
        let columns = ended.recorded.unwrap().columns;
        assert_eq!((ended.len, columns.logp.len(), columns.inputs.len()), (1, 0, 2));
        assert_eq!(columns.rewards, [2.0]);
        stream.act(Some(row(Some(-0.1)))).unwrap();
        stream.complete(Ok, info).unwrap();
        let ended = stream.end_segment(AT, SegmentEnd::Terminated, last).unwrap();
        assert_eq!((ended.t_started, ended.recorded.unwrap().columns.logp), (1, vec![-0.1]));
    }

    #[test]
    fn steps_that_are_not_recorded_are_counted() {
        let mut stream = stream();
        for _ in 0..3 {
            assert!(stream.accepts(None));
            stream.act(None).unwrap();
            stream.pay(1.0);
            stream.complete(Ok, info).unwrap();
        }
        let ended = stream.end_segment(AT, SegmentEnd::Cut, last).unwrap();
        assert_eq!((ended.len, ended.recorded.is_some()), (3, false));
        assert_eq!(stream.t_started, 3);
    }
}
