//! The columns that this program and one worker exchange: commands and actions, results and
//! observations.

use std::sync::atomic::{AtomicU32, Ordering};

use rekindle_env::{Buffer, VectorStep};

use crate::error::{GymnasiumError, Result};
use crate::layout::{Column, Layout, MAGIC, MAX_INFOS, VERSION, word};
use crate::settings::Handover;
use crate::shared_memory::SharedMemory;

/// A command to a worker; see `worker/worker.py`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Step = 1,
    Reset = 2,
    ResetWithOptions = 3,
    Close = 4,
    Render = 5,
    RenderFinal = 6,
}

/// The outcome of a command for one environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The command succeeded.
    Done,
    /// The step failed.
    StepFailed,
    /// The reset failed, perhaps after a step that ended an episode.
    ResetFailed,
    /// The environment had failed before.
    NotStepped,
}

/// The environments to reset and their seeds. `None` stands for an environment that is not reset.
pub(crate) type Resets = [Option<Option<u64>>];

/// The shared memory of a worker, and the results of its last command.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) memory: SharedMemory,
    pub(crate) layout: Layout,
    pub(crate) outcomes: Vec<Outcome>,
    /// The words of the header that never change, by index.
    header: [(usize, u32); 4],
    /// Copies of columns of bytes, to be checked.
    bytes: Vec<u8>,
    command: Command,
    request: u32,
}

impl Columns {
    /// Creates the memory of a worker and writes its header.
    ///
    /// # Errors
    /// If the memory cannot be made.
    pub(crate) fn new(layout: Layout, handover: Handover) -> Result<Self> {
        let n = layout.num_envs;
        let num_envs = u32::try_from(n)
            .map_err(|_| GymnasiumError::protocol("a worker has more than 2^32 environments"))?;
        let columns = Self {
            memory: match handover {
                Handover::Futex => SharedMemory::create(layout.size)?,
                Handover::Pipe => SharedMemory::create_named(layout.size)?,
            },
            outcomes: vec![Outcome::NotStepped; n],
            header: [
                (word::MAGIC, MAGIC),
                (word::VERSION, VERSION),
                (word::CHECKSUM, layout.checksum()),
                (word::NUM_ENVS, num_envs),
            ],
            layout,
            bytes: vec![0; n],
            command: Command::Reset,
            request: 0,
        };
        for (index, value) in columns.header {
            columns.memory.word(index)?.store(value, Ordering::Relaxed);
        }
        Ok(columns)
    }

    /// Writes the actions of the environments, which are rows of `actions` from `first` on.
    ///
    /// # Errors
    /// If the buffer has another layout.
    pub(crate) fn write_actions(&self, actions: &Buffer, first: usize) -> Result<()> {
        for Column { leaf, offset } in &self.layout.actions {
            leaf.write(&self.memory, *offset, self.layout.num_envs, actions, first)?;
        }
        Ok(())
    }

    /// Writes which environments to reset.
    ///
    /// # Errors
    /// If there are more resets than environments.
    pub(crate) fn write_resets(&self, resets: &Resets) -> Result<()> {
        self.memory.write(self.layout.resets, resets, |reset| match reset {
            None => 0_u8,
            Some(None) => 1,
            Some(Some(_)) => 2,
        })?;
        self.memory.write(self.layout.seeds, resets, |reset| reset.flatten().unwrap_or(0))
    }

    /// Writes which environment to render.
    ///
    /// # Errors
    /// If the memory has no header.
    pub(crate) fn write_rendered(&self, env: usize) -> Result<()> {
        self.memory.word(word::RENDERED)?.store(env as u32, Ordering::Relaxed);
        Ok(())
    }

    /// Writes whether the last picture of each episode of an environment is kept.
    ///
    /// # Errors
    /// If there is no such environment.
    pub(crate) fn write_kept_frame(&self, env: usize, keep: bool) -> Result<()> {
        let env = env.min(self.layout.num_envs);
        self.memory.write(self.layout.kept_frames + env, &[keep], u8::from)
    }

    /// Hands the memory over to the worker.
    ///
    /// # Errors
    /// If the memory has no header.
    pub(crate) fn hand_over(&mut self, command: Command) -> Result<&AtomicU32> {
        self.command = command;
        self.request = self.request.wrapping_add(1);
        self.memory.word(word::COMMAND)?.store(command as u32, Ordering::Relaxed);
        let request = self.memory.word(word::REQUEST)?;
        request.store(self.request, Ordering::Release);
        Ok(request)
    }

    /// Returns `None` if the worker has handed the memory back. Otherwise, returns the counter to sleep
    /// on and its value.
    ///
    /// # Errors
    /// [`GymnasiumError::Protocol`] for a counter that the worker never writes.
    pub(crate) fn poll(&self) -> Result<Option<(&AtomicU32, u32)>> {
        let reply = self.memory.word(word::REPLY)?;
        match reply.load(Ordering::Acquire) {
            value if value == self.request => Ok(None),
            value if value == self.request.wrapping_sub(1) => Ok(Some((reply, value))),
            value => {
                let request = self.request;
                let reason = format!("its counter is {value} for request {request}");
                Err(GymnasiumError::Protocol { reason })
            }
        }
    }

    /// Checks everything in the header and reads the outcomes. Returns how many messages follow.
    ///
    /// # Errors
    /// [`GymnasiumError::Protocol`] if the header or an outcome is not what a worker writes.
    pub(crate) fn check(&mut self) -> Result<usize> {
        let command = [(word::COMMAND, self.command as u32), (word::REQUEST, self.request)];
        for (index, expected) in self.header.into_iter().chain(command) {
            let found = self.memory.word(index)?.load(Ordering::Relaxed);
            if found != expected {
                let reason = format!("word {index} of its header is {found}, expected {expected}");
                return Err(GymnasiumError::Protocol { reason });
            }
        }
        self.memory.read(self.layout.outcomes, &mut self.bytes, |byte: u8| byte)?;
        for (outcome, &byte) in self.outcomes.iter_mut().zip(&self.bytes) {
            *outcome = match byte {
                0 => Outcome::Done,
                1 => Outcome::StepFailed,
                2 => Outcome::ResetFailed,
                3 => Outcome::NotStepped,
                other => {
                    return Err(GymnasiumError::protocol(format!("an outcome is {other}")));
                }
            };
        }
        let sent = self.memory.word(word::SENT)?.load(Ordering::Relaxed) as usize;
        let failed = self.memory.word(word::FAILED)?.load(Ordering::Relaxed) as usize;
        let most = self.layout.num_envs.saturating_add(MAX_INFOS);
        if sent > most || failed > self.layout.num_envs {
            let reason = format!("it announces {sent} messages and {failed} failures");
            return Err(GymnasiumError::Protocol { reason });
        }
        Ok(sent)
    }

    /// Returns how many observations had another element type than their space, modulo 2³².
    pub(crate) fn casts(&self) -> Result<u32> {
        Ok(self.memory.word(word::CAST)?.load(Ordering::Relaxed))
    }

    /// Reads rewards, flags and observations into the rows of `out` from `first` on, and final
    /// observations where episodes ended.
    ///
    /// # Errors
    /// If `out` has another layout.
    pub(crate) fn read_step(&mut self, out: &mut VectorStep, first: usize) -> Result<()> {
        let (n, memory) = (self.layout.num_envs, &self.memory);
        let rows = first..first + n;
        let rewards = out.rewards.get_mut(rows.clone()).unwrap_or_default();
        memory.read(self.layout.rewards, rewards, |reward: f64| reward)?;
        let flags = [
            (self.layout.terminated, &mut out.terminated),
            (self.layout.truncated, &mut out.truncated),
        ];
        for (offset, flags) in flags {
            let flags = flags.get_mut(rows.clone()).unwrap_or_default();
            memory.read(offset, flags, |flag: u8| flag != 0)?;
        }
        for Column { leaf, offset } in &self.layout.observations {
            leaf.read(memory, *offset, n, &mut out.observations, first)?;
        }
        for env in 0..n {
            if out.is_done(first + env) {
                self.read_final(env, &mut out.final_observations, first + env)?;
            }
        }
        Ok(())
    }

    /// Reads the observation of environment `env` into row `to`.
    ///
    /// # Errors
    /// If the buffer has another layout.
    pub(crate) fn read_observation(
        &self,
        env: usize,
        buffer: &mut Buffer,
        to: usize,
    ) -> Result<()> {
        let mut columns = self.layout.observations.iter();
        columns.try_for_each(|c| c.leaf.read(&self.memory, c.at(env), 1, buffer, to))
    }

    fn read_final(&self, env: usize, buffer: &mut Buffer, to: usize) -> Result<()> {
        let mut columns = self.layout.final_observations.iter();
        columns.try_for_each(|c| c.leaf.read(&self.memory, c.at(env), 1, buffer, to))
    }

    /// Reads the first infos of an environment, or the infos of an episode's last step. A missing info
    /// is NaN.
    pub(crate) fn infos(&self, env: usize, is_final: bool, numbers: &mut [f64]) -> Result<()> {
        let start = if is_final { self.layout.final_infos } else { self.layout.infos };
        let at = start + 8 * MAX_INFOS * env.min(self.layout.num_envs);
        self.memory.read(at, numbers, |number: f64| number)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use proptest::prelude::*;
    use rekindle_env::Space;
    use serde_json::json;

    use super::*;
    use crate::spaces::Described;

    /// Memory for three environments with nested spaces, after a step.
    fn columns() -> (Columns, Space) {
        let observations = json!({"kind": "Dict", "parts": [
            ["image", {"kind": "Box", "shape": [2, 3], "low": [0], "high": [255], "dtype": "uint8"}],
            ["speed", {"kind": "Box", "shape": [2], "low": ["-inf"], "high": ["inf"],
                       "dtype": "float64"}],
            ["gear", {"kind": "MultiDiscrete", "shape": [2], "nvec": [3, 4], "start": [1, 2],
                      "dtype": "int64"}],
        ]});
        let actions = json!({"kind": "Discrete", "n": 3, "start": 0, "dtype": "int64"});
        let [observations, actions] = [observations, actions].map(|description| {
            Described::new("lab", "", &serde_json::from_value(description).unwrap()).unwrap()
        });
        let layout = Layout::new(3, &observations.leaves, &actions.leaves).unwrap();
        let mut columns = Columns::new(layout, Handover::Futex).unwrap();
        columns.write_actions(&Buffer::from_i64(vec![0, 1, 2, 0], &[]).unwrap(), 1).unwrap();
        columns.hand_over(Command::Step).unwrap();
        columns.memory.word(word::REPLY).unwrap().store(1, Ordering::Release);
        (columns, observations.space)
    }

    fn read(columns: &mut Columns, out: &mut VectorStep) -> Result<usize> {
        if columns.poll()?.is_some() {
            return Ok(0);
        }
        let sent = columns.check()?;
        columns.read_step(out, 0)?;
        columns.read_observation(2, &mut out.observations, 0)?;
        columns.infos(1, true, &mut [0.0; MAX_INFOS])?;
        Ok(sent)
    }

    #[test]
    fn a_header_as_it_was_written_is_read() {
        let (mut columns, space) = columns();
        let mut out = VectorStep::new(&space, 3);
        assert_eq!(read(&mut columns, &mut out).unwrap(), 0);
        assert_eq!(columns.outcomes, [Outcome::Done; 3]);
        columns.memory.word(word::REPLY).unwrap().store(0, Ordering::Release);
        assert!(columns.poll().unwrap().is_some());
    }

    #[test]
    fn each_word_that_only_this_program_writes_is_checked() {
        let words = [0, 1, 2, 3, word::COMMAND, word::REQUEST, word::REPLY];
        for index in words.into_iter().chain([word::SENT, word::FAILED]) {
            let (mut columns, space) = columns();
            columns.memory.word(index).unwrap().store(0xDEAD_BEEF, Ordering::Release);
            let error = read(&mut columns, &mut VectorStep::new(&space, 3)).unwrap_err();
            assert!(matches!(error, GymnasiumError::Protocol { .. }), "{index}: {error}");
        }
    }

    #[test]
    fn an_unknown_outcome_is_an_error() {
        let (mut columns, space) = columns();
        columns.memory.write(columns.layout.outcomes, &[4_u8], |byte| byte).unwrap();
        let error = read(&mut columns, &mut VectorStep::new(&space, 3)).unwrap_err();
        assert!(error.to_string().contains("an outcome is 4"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Whatever a program writes into the memory, reading it gives numbers or a typed error.
        #[test]
        fn any_bytes_are_numbers_or_an_error(
            changes in prop::collection::vec((0_usize..20_000, any::<u8>()), 0..40),
            tail in prop::collection::vec(any::<u8>(), 0..6000),
        ) {
            let (mut columns, space) = columns();
            let mut out = VectorStep::new(&space, 3);
            let size = columns.layout.size;
            let start = 256 % size;
            let count = tail.len().min(size - start);
            columns.memory.write(start, &tail[..count], |byte| byte).unwrap();
            for (at, byte) in changes {
                columns.memory.write(at % size, &[byte], |byte| byte).unwrap();
            }
            if let Err(error) = read(&mut columns, &mut out) {
                prop_assert!(matches!(error, GymnasiumError::Protocol { .. }), "{error}");
            }
        }
    }

    /// A million headers, each with random words.
    #[test]
    fn a_million_random_headers_do_not_panic() {
        let (mut columns, space) = columns();
        let mut out = VectorStep::new(&space, 3);
        let mut generator = rekindle_env::Generator::from_seed(1);
        let header: Vec<u32> =
            (0..64).map(|i| columns.memory.word(i).unwrap().load(Ordering::Relaxed)).collect();
        let mut refused = 0;
        for _ in 0..1_000_000 {
            let at = generator.integers(0, 64) as usize;
            let value = match generator.integers(0, 4) {
                0 => header[at],
                1 => u32::MAX,
                2 => generator.integers(0, 8) as u32,
                _ => generator.integers(0, i64::from(u32::MAX)) as u32,
            };
            columns.memory.word(at).unwrap().store(value, Ordering::Relaxed);
            refused += usize::from(read(&mut columns, &mut out).is_err());
            columns.memory.word(at).unwrap().store(header[at], Ordering::Relaxed);
        }
        assert!(refused > 10_000, "{refused}");
        assert!(read(&mut columns, &mut out).is_ok());
    }
}
