//! Observations with the last actions and rewards.

use rekindle_core::Columns;
use rekindle_core::ConfigError;
use rekindle_env::{Buffer, Space};
use rekindle_onnx::{Graph, OnnxError, Values};
use serde_json::Value;

use super::history::History;
use super::saved::{invalid, load_state, save_state};
use super::{Connector, ConnectorContext};
use crate::Result;

/// Adds the last actions and rewards of the episode to the observation; RLlib's
/// `PrevActionsPrevRewards`, for any action space.
///
/// Before the first step of an episode both are zero. Rewards are those that losses use, after
/// connectors such as [`ScaleRewards`](super::ScaleRewards).
///
/// # Shapes
/// Any space to a Dict of the observation (`_orig_obs`), the last actions (`prev_n_actions`,
/// `[n_prev_actions · flattened action]`, oldest first, one-hot where discrete) and the last rewards
/// (`prev_n_rewards`, `[n_prev_rewards]`, oldest first).
///
/// # State
/// The last actions and rewards of each running episode, which belong to one runner.
#[derive(Debug, Clone)]
pub struct PrevActionsPrevRewards {
    action_space: Space,
    actions: History<f32>,
    rewards: History<f32>,
}

const NAME: &str = "PrevActionsPrevRewards";

impl PrevActionsPrevRewards {
    /// Creates a connector that adds the last `n_prev_actions` actions (elements of `action_space`)
    /// and the last `n_prev_rewards` rewards.
    ///
    /// # Errors
    /// [`RunnerError::Config`](crate::RunnerError::Config) if both numbers are 0.
    pub fn new(action_space: Space, n_prev_actions: usize, n_prev_rewards: usize) -> Result<Self> {
        if n_prev_actions == 0 && n_prev_rewards == 0 {
            return Err(ConfigError::new(
                "PrevActionsPrevRewards.n_prev_actions",
                "0",
                "`n_prev_rewards` is 0 too, so that nothing is added; set one of them, \
                             or remove the connector",
            )
            .into());
        }
        let width = action_space.flat_dim();
        Ok(Self {
            action_space,
            actions: History::new(n_prev_actions, width),
            rewards: History::new(n_prev_rewards, 1),
        })
    }

    /// Resizes the histories and clears those of new episodes.
    fn prepare(&mut self, rows: usize, cx: ConnectorContext<'_>) {
        let Some(step) = cx.step else {
            self.actions.forget_all(rows);
            self.rewards.forget_all(rows);
            return;
        };
        self.actions.set_rows(step.num_slots(rows));
        self.rewards.set_rows(step.num_slots(rows));
        for row in (0..rows).filter(|&row| step.starts.get(row) == Some(&true)) {
            self.actions.forget(step.slot(row));
            self.rewards.forget(step.slot(row));
        }
    }

    /// Appends the action and reward of the step that led to a row.
    fn advance(&mut self, row: usize, cx: ConnectorContext<'_>) -> Result<()> {
        let Some(step) = cx.step.filter(|step| step.starts.get(row) != Some(&true)) else {
            return Ok(());
        };
        let slot = step.slot(row);
        if self.actions.n() > 0 {
            self.action_space.flatten(step.actions.row(row), self.actions.push(slot))?;
        }
        if let Some(newest) = self.rewards.push(slot).first_mut() {
            *newest = step.rewards.get(row).copied().unwrap_or(0.0) as f32;
        }
        Ok(())
    }
}

impl Connector for PrevActionsPrevRewards {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output_space(&self, input: &Space) -> Result<Space> {
        let mut parts = vec![(Columns::ORIG_OBS, input.clone())];
        for (key, history) in
            [(Columns::PREV_N_ACTIONS, &self.actions), (Columns::PREV_N_REWARDS, &self.rewards)]
        {
            if history.n() > 0 {
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
        original.clear();
        original.extend_from(input, 0..rows)?;
        self.prepare(rows, cx);
        let slot = |row| cx.step.map_or(row, |step| step.slot(row));
        let looks_only = cx.step.is_some_and(|step| step.is_final);
        let before: Vec<_> = (0..if looks_only { rows } else { 0 })
            .map(|row| [&self.actions, &self.rewards].map(|h| h.row(slot(row)).to_vec()))
            .collect();
        (0..rows).try_for_each(|row| self.advance(row, cx))?;
        for (key, history) in
            [(Columns::PREV_N_ACTIONS, &self.actions), (Columns::PREV_N_REWARDS, &self.rewards)]
        {
            if history.n() > 0 {
                let part = output.part_mut(key)?.as_f32_mut()?;
                for (row, part) in part.chunks_exact_mut(history.row_len()).enumerate() {
                    part.copy_from_slice(history.row(slot(row)));
                }
            }
        }
        for (row, [actions, rewards]) in before.into_iter().enumerate() {
            self.actions.restore(slot(row), &actions);
            self.rewards.restore(slot(row), &rewards);
        }
        Ok(())
    }

    fn export_onnx(&self, _graph: &mut Graph, _rows: &Values) -> Result<Values> {
        Err(OnnxError::NotExportable {
            part: format!("connector `{}`", self.name()),
            reason: "it remembers earlier actions and rewards, and the graph computes one step; train a policy without `lstm_use_prev_action` and `lstm_use_prev_reward`".into(),
        }
        .into())
    }

    fn get_memory(&self) -> Result<Value> {
        save_state(&[&self.actions, &self.rewards])
    }

    fn set_memory(&mut self, memory: &Value) -> Result<()> {
        if memory.is_null() {
            self.actions.forget_all(0);
            self.rewards.forget_all(0);
            return Ok(());
        }
        let [actions, rewards]: [History<f32>; 2] = load_state(NAME, memory)?;
        if !self.actions.accepts(&actions) || !self.rewards.accepts(&rewards) {
            return Err(invalid(NAME, "it remembers other numbers of actions or rewards"));
        }
        (self.actions, self.rewards) = (actions, rewards);
        Ok(())
    }

    fn get_state(&self) -> Result<Value> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::super::LastStep;
    use super::*;

    fn connector() -> (PrevActionsPrevRewards, Buffer) {
        let connector = PrevActionsPrevRewards::new(Space::discrete(3).unwrap(), 2, 1).unwrap();
        let space = connector.output_space(&Space::unbounded(&[1]).unwrap()).unwrap();
        (connector, Buffer::zeros(&space, 2))
    }

    fn step<'a>(actions: &'a Buffer, starts: &'a [bool], is_final: bool) -> ConnectorContext<'a> {
        let step = LastStep { actions, rewards: &[0.5, -1.0], starts, is_final, slots: None };
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
        // The final observation of an episode does not enter the history …
        connector.transform(&obs, &mut out, step(&actions, &[false, false], true)).unwrap();
        let last = [0., 0., 1., 0., 0., 1., 0., 1., 0., 0., 1., 0.];
        assert_eq!(part(&out, "prev_n_actions"), last);
        assert_eq!(connector.get_memory().unwrap(), memory);
        // … and the next episode starts with an empty one.
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
        assert!(
            two.set_memory(&serde_json::json!([{"n": 9, "width": 3, "data": []}, {}])).is_err()
        );
        assert!(two.set_memory(&serde_json::json!("no")).is_err());
    }

    #[test]
    fn nothing_is_added_where_nothing_is_asked_for() {
        let connector = |n_actions, n_rewards| {
            PrevActionsPrevRewards::new(Space::discrete(3).unwrap(), n_actions, n_rewards)
        };
        let input = Space::unbounded(&[1]).unwrap();
        let space = connector(0, 3).unwrap().output_space(&input).unwrap();
        assert_eq!(space.flat_dim(), 1 + 3);
        let error = connector(0, 0).unwrap_err().to_string();
        assert!(error.contains("`PrevActionsPrevRewards.n_prev_actions`"), "{error}");
        assert!(connector(usize::MAX, 1).unwrap().output_space(&input).is_err());
    }

    #[test]
    fn a_memory_with_infinite_rewards_survives_saving() {
        let (mut one, mut out) = connector();
        let obs = Buffer::from_f32(vec![7.0, 8.0], &[1]).unwrap();
        let actions = Buffer::from_i64(vec![2, 1], &[]).unwrap();
        one.transform(&obs, &mut out, ConnectorContext::rows(true)).unwrap();
        let rewards = [f64::INFINITY, f64::NEG_INFINITY];
        let step = LastStep {
            actions: &actions,
            rewards: &rewards,
            starts: &[false; 2],
            is_final: false,
            slots: None,
        };
        one.transform(&obs, &mut out, ConnectorContext::after(step, true)).unwrap();
        let (mut two, _) = connector();
        two.set_memory(&one.get_memory().unwrap()).unwrap();
        assert_eq!(two.rewards, one.rewards);
        assert_eq!(two.rewards.row(0), [f32::INFINITY]);
    }
}
