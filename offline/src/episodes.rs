//! Episodes of recorded fragments.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use rekindle_core::ModuleId;
use rekindle_env::{AgentId, Buffer};
use rekindle_env_runner::{Rollout, RolloutStates, SegmentEnd};

use crate::error::{OfflineError, Result};

/// Returns one segment of a rollout as a rollout of its own, whose rows follow one another.
pub(crate) fn episode_of(rollout: &Rollout, index: usize) -> Result<Rollout> {
    let segment = &rollout.segments[index];
    let rows: Vec<usize> = segment.rows().collect();
    let select = |column: &Buffer| match segment.stride {
        1 => column.slice(segment.range()),
        _ => column.gather(&rows),
    };
    let rewards = rows.iter().filter_map(|row| rollout.rewards.get(*row).copied());
    let rewards: Vec<f32> = rewards.collect();
    if rewards.len() != rows.len() {
        return Err(OfflineError::Rows {
            episode: segment.episode as usize,
            column: "rewards".into(),
            steps: rows.len(),
            expected: rows.len(),
            found: rewards.len(),
        });
    }
    let mut of_episode = segment.clone();
    (of_episode.start, of_episode.stride) = (0, 1);
    let mut episode = Rollout::new(
        select(&rollout.observations)?,
        select(&rollout.actions)?,
        rewards,
        vec![of_episode],
        rollout.final_observations.slice(index..index + 1)?,
    );
    let extras = rollout.extras.iter().map(|(name, column)| Ok((name.clone(), select(column)?)));
    episode.extras = extras.collect::<Result<_>>()?;
    episode.infos = rollout.infos.as_ref().map(select).transpose()?;
    episode.states = match &rollout.states {
        Some(states) => {
            let last = states.final_states.slice(index..index + 1)?;
            Some(Arc::new(RolloutStates::new(select(&states.state_in)?, last)))
        }
        None => None,
    };
    episode.runner = rollout.runner;
    episode.weights_seq_no = rollout.weights_seq_no;
    Ok(episode)
}

/// A stream of steps: module, environment and agent.
type Stream = (ModuleId, usize, Option<AgentId>);

/// Joins the fragments of a runner's episodes.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    open: BTreeMap<Stream, Rollout>,
}

impl Assembler {
    /// Adds the fragments of a rollout. Returns the episodes that have ended, and parts whose continuation was lost.
    pub(crate) fn add(&mut self, id: &str, rollout: &Rollout) -> Result<Vec<Rollout>> {
        let mut done = Vec::new();
        for index in (0..rollout.segments.len()).filter(|index| rollout.segments[*index].len > 0) {
            let part = episode_of(rollout, index)?;
            let segment = &part.segments[0];
            let stream = (id.to_owned(), segment.env, segment.agent.clone());
            let joined = match self.open.remove(&stream) {
                Some(mut before) if continues(&before, &part) => {
                    append(&mut before, part)?;
                    before
                }
                Some(before) => {
                    done.push(before);
                    part
                }
                None => part,
            };
            match joined.segments[0].end {
                SegmentEnd::Cut => drop(self.open.insert(stream, joined)),
                _ => done.push(joined),
            }
        }
        Ok(done)
    }

    /// Returns the parts of the episodes that go on. Their continuations are parts of their own.
    pub(crate) fn flush(&mut self) -> Vec<(ModuleId, Rollout)> {
        mem::take(&mut self.open).into_iter().map(|((id, ..), part)| (id, part)).collect()
    }
}

/// Whether a part continues another one of the same stream, with the same columns.
fn continues(before: &Rollout, after: &Rollout) -> bool {
    let (old, new) = (&before.segments[0], &after.segments[0]);
    old.episode == new.episode
        && old.t_started + old.len == new.t_started
        && before.extras.keys().eq(after.extras.keys())
        && before.states.is_some() == after.states.is_some()
}

fn append(before: &mut Rollout, after: Rollout) -> Result<()> {
    let (old, new) = (before.rewards.len(), after.rewards.len());
    before.observations.extend_from(&after.observations, 0..new)?;
    before.actions.extend_from(&after.actions, 0..new)?;
    for (name, column) in &mut before.extras {
        if let Some(more) = after.extras.get(name) {
            column.extend_from(more, 0..new)?;
        }
    }
    if before.infos.is_some() || after.infos.is_some() {
        let parts = [(before.infos.take(), old), (after.infos.clone(), new)];
        before.infos = Some(joined_infos(&parts, &BTreeSet::new())?);
    }
    if let (Some(states), Some(more)) = (&before.states, &after.states) {
        let mut state_in = states.state_in.clone();
        state_in.extend_from(&more.state_in, 0..new)?;
        before.states = Some(Arc::new(RolloutStates::new(state_in, more.final_states.clone())));
    }
    before.rewards.extend_from_slice(&after.rewards);
    before.final_observations = after.final_observations;
    before.weights_seq_no = after.weights_seq_no;
    let segment = &mut before.segments[0];
    segment.len += new;
    segment.end = after.segments[0].end;
    Ok(())
}

/// Joins infos of some numbers of rows, with NaN where one lacks a name. `names` are in the result in any case.
pub(crate) fn joined_infos(
    parts: &[(Option<Buffer>, usize)],
    names: &BTreeSet<String>,
) -> Result<Buffer> {
    let mut names = names.clone();
    for infos in parts.iter().filter_map(|(infos, _)| infos.as_ref()) {
        names.extend(infos.as_dict()?.keys().cloned());
    }
    let column = |name: &String| {
        let mut all = Vec::new();
        for (infos, rows) in parts {
            match infos.as_ref().and_then(|infos| infos.get(name).ok()) {
                Some(column) => all.extend_from_slice(column.as_f32()?),
                None => all.resize(all.len() + rows, f32::NAN),
            }
        }
        Ok::<_, OfflineError>((name.clone(), Buffer::from_f32(all, &[])?))
    };
    let columns = names.iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok(Buffer::from_dict(columns)?)
}

/// Returns about how many bytes the columns of an episode have.
pub(crate) fn bytes_of(episode: &Rollout) -> usize {
    let of = |buffer: &Buffer| {
        let leaves = buffer.leaves();
        let bytes = leaves.iter().map(|(_, leaf)| {
            let of_4 = leaf.as_f32().map_or(0, <[f32]>::len) * 4;
            of_4 + leaf.as_i64().map_or(0, <[i64]>::len) * 8 + leaf.as_u8().map_or(0, <[u8]>::len)
        });
        bytes.sum::<usize>()
    };
    let states = episode.states.as_ref().map_or(0, |states| of(&states.state_in));
    let columns = episode.extras.values().map(of).sum::<usize>();
    of(&episode.observations) + of(&episode.actions) + columns + states + 64 * episode.rewards.len()
}
