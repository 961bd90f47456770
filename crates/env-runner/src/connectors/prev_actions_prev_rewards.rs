//! Observations with the last actions and rewards.

use rekindle_core::Columns;
use rekindle_env::{Buffer, Space};
use serde_json::Value;

use super::{Connector, ConnectorContext};
use crate::{Result, RunnerError};

/// Adds the last actions and rewards of the episode to the observation; RLlib's
/// `PrevActionsPrevRewards`, for any action space.
///
/// The output is a Dict of the observation (`_orig_obs`), the last actions (`prev_n_actions`, oldest
/// first, one-hot where discrete) and the last rewards (`prev_n_rewards`, oldest first). Before the
/// first step of an episode both are zero.
#[derive(Debug, Clone)]
pub struct PrevActionsPrevRewards {
    action_space: Space,
    actions: History,
    rewards: History,
}

/// The last `n` entries of `width` numbers of every environment, oldest first.
#[derive(Debug, Clone, PartialEq)]
struct History {
    n: usize,
    width: usize,
    data: Vec<f32>,
}

impl History {
    fn new(n: usize, width: usize) -> Self {
        Self { n, width, data: Vec::new() }
    }

    fn row_len(&self) -> usize {
        self.n * self.width
    }

    /// Forgets all episodes.
    fn reset(&mut self, rows: usize) {
        self.data.clear();
        self.data.resize(rows * self.row_len(), 0.0);
    }

    /// Appends an entry to every row, or forgets the row where an episode starts.
    fn push(
        &mut self,
        starts: &[bool],
        mut entry: impl FnMut(usize, &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        let (len, width) = (self.row_len(), self.width);
        for (index, row) in self.data.chunks_exact_mut(len.max(1)).enumerate() {
            if starts.get(index) == Some(&true) {
                row.fill(0.0);
            } else {
                row.copy_within(width.., 0);
                entry(index, &mut row[len - width..])?;
            }
        }
        Ok(())
    }
}

impl PrevActionsPrevRewards {
    /// Adds the last `n_prev_actions` actions, of this space, and the last `n_prev_rewards` rewards.
    pub fn new(action_space: Space, n_prev_actions: usize, n_prev_rewards: usize) -> Self {
        let width = action_space.flat_dim();
        Self {
            action_space,
            actions: History::new(n_prev_actions, width),
            rewards: History::new(n_prev_rewards, 1),
        }
    }

    /// The histories after the step that led to the rows.
    fn advance(&mut self, rows: usize, cx: ConnectorContext<'_>) -> Result<()> {
        let Some(step) = cx.step else {
            self.actions.reset(rows);
            self.rewards.reset(rows);
            return Ok(());
        };
        if self.actions.data.len() != rows * self.actions.row_len() {
            self.actions.reset(rows);
        }
        if self.rewards.data.len() != rows * self.rewards.row_len() {
            self.rewards.reset(rows);
        }
        let space = &self.action_space;
        self.actions
            .push(step.starts, |index, entry| Ok(space.flatten(step.actions.row(index), entry)?))?;
        self.rewards.push(step.starts, |index, entry| {
            entry[0] = step.rewards.get(index).copied().unwrap_or(0.0) as f32;
            Ok(())
        })
    }
}

impl Connector for PrevActionsPrevRewards {
    fn name(&self) -> &'static str {
        "PrevActionsPrevRewards"
    }

    fn output_space(&self, input: &Space) -> Result<Space> {
        let mut parts = vec![(Columns::ORIG_OBS, input.clone())];
        for (key, history) in
            [(Columns::PREV_N_ACTIONS, &self.actions), (Columns::PREV_N_REWARDS, &self.rewards)]
        {
            if history.n > 0 {
                parts.push((key, Space::unbounded(&[history.row_len()])?));
            }
        }
        Ok(Space::dict(parts)?)
    }

    fn transform(
        &mut self,
        input: &Buffer,
        output: &mut Buffer,
        cx: ConnectorContext<'_>,
    ) -> Result<()> {
        let rows = input.rows();
        let original = output.part_mut(Columns::ORIG_OBS)?;
        for row in 0..rows {
            original.copy_row(row, input, row)?;
        }
        let before = cx.step.is_some_and(|step| step.is_final).then(|| self.clone());
        self.advance(rows, cx)?;
        for (key, history) in
            [(Columns::PREV_N_ACTIONS, &self.actions), (Columns::PREV_N_REWARDS, &self.rewards)]
        {
            if history.n > 0 {
                output.part_mut(key)?.as_f32_mut()?.copy_from_slice(&history.data);
            }
        }
        if let Some(before) = before {
            *self = before;
        }
        Ok(())
    }

    fn get_memory(&self) -> Result<Value> {
        Ok(serde_json::json!([self.actions.data, self.rewards.data]))
    }

    fn set_memory(&mut self, memory: &Value) -> Result<()> {
        let invalid = |reason: String| RunnerError::InvalidState {
            component: "PrevActionsPrevRewards",
            reason,
        };
        let [actions, rewards]: [Vec<f32>; 2] = if memory.is_null() {
            Default::default()
        } else {
            serde_json::from_value(memory.clone()).map_err(|e| invalid(e.to_string()))?
        };
        for (name, data, len) in [
            ("actions", &actions, self.actions.row_len()),
            ("rewards", &rewards, self.rewards.row_len()),
        ] {
            if !data.len().is_multiple_of(len.max(1)) {
                let found = data.len();
                return Err(invalid(format!("{found} numbers of {name} are no rows of {len}")));
            }
        }
        self.actions.data = actions;
        self.rewards.data = rewards;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::LastStep;
    use super::*;

    fn connector() -> (PrevActionsPrevRewards, Buffer) {
        let connector = PrevActionsPrevRewards::new(Space::discrete(3).unwrap(), 2, 1);
        let space = connector.output_space(&Space::unbounded(&[1]).unwrap()).unwrap();
        (connector, Buffer::zeros(&space, 2))
    }

    fn step<'a>(actions: &'a Buffer, starts: &'a [bool], is_final: bool) -> ConnectorContext<'a> {
        let step = LastStep { actions, rewards: &[0.5, -1.0], starts, is_final };
        ConnectorContext { update: true, step: Some(step) }
    }

    fn part<'a>(output: &'a Buffer, key: &str) -> &'a [f32] {
        output.get(key).unwrap().as_f32().unwrap()
    }

    #[test]
    fn actions_and_rewards_shift_in_and_episodes_start_with_zeros() {
        let (mut connector, mut out) = connector();
        let obs = Buffer::from_f32(vec![7.0, 8.0], &[1]).unwrap();
        connector.transform(&obs, &mut out, ConnectorContext::rows(true)).unwrap();
        assert_eq!(part(&out, "_orig_obs"), [7.0, 8.0]);
        assert_eq!(part(&out, "prev_n_actions"), [0.0; 12]);

        let actions = Buffer::from_i64(vec![2, 1], &[]).unwrap();
        connector.transform(&obs, &mut out, step(&actions, &[false, false], false)).unwrap();
        let first = [0., 0., 0., 0., 0., 1., 0., 0., 0., 0., 1., 0.];
        assert_eq!(part(&out, "prev_n_actions"), first);
        assert_eq!(part(&out, "prev_n_rewards"), [0.5, -1.0]);

        let memory = connector.get_memory().unwrap();
        // What an ended episode would have seen leaves no trace …
        connector.transform(&obs, &mut out, step(&actions, &[false, false], true)).unwrap();
        let last = [0., 0., 1., 0., 0., 1., 0., 1., 0., 0., 1., 0.];
        assert_eq!(part(&out, "prev_n_actions"), last);
        assert_eq!(connector.get_memory().unwrap(), memory);
        // … and the next one starts with nothing.
        connector.transform(&obs, &mut out, step(&actions, &[false, true], false)).unwrap();
        assert_eq!(part(&out, "prev_n_actions")[..6], last[..6]);
        assert_eq!(part(&out, "prev_n_actions")[6..], [0.0; 6]);
        assert_eq!(part(&out, "prev_n_rewards"), [0.5, 0.0]);
    }

    #[test]
    fn the_memory_can_be_saved_and_damaged_ones_are_refused() {
        let (mut one, mut out) = connector();
        let obs = Buffer::from_f32(vec![7.0, 8.0], &[1]).unwrap();
        let actions = Buffer::from_i64(vec![2, 1], &[]).unwrap();
        one.transform(&obs, &mut out, ConnectorContext::rows(true)).unwrap();
        one.transform(&obs, &mut out, step(&actions, &[false, false], false)).unwrap();
        let (mut two, mut again) = connector();
        two.set_memory(&one.get_memory().unwrap()).unwrap();
        one.transform(&obs, &mut out, step(&actions, &[false, false], false)).unwrap();
        two.transform(&obs, &mut again, step(&actions, &[false, false], false)).unwrap();
        assert_eq!(out, again);
        assert!(two.set_memory(&serde_json::json!([[1.0], []])).is_err());
        assert!(two.set_memory(&serde_json::json!("no")).is_err());
    }

    #[test]
    fn nothing_is_added_where_nothing_is_asked_for() {
        let connector = PrevActionsPrevRewards::new(Space::discrete(3).unwrap(), 0, 3);
        let space = connector.output_space(&Space::unbounded(&[1]).unwrap()).unwrap();
        assert_eq!(space.flat_dim(), 1 + 3);
    }
}
