//! Input from a hostile worker, for the fuzz target `worker`.

use std::sync::atomic::Ordering;

use rekindle_env::{Buffer, VectorStep};
use serde_json::json;

use crate::columns::{Columns, Command};
use crate::error::Result;
use crate::layout::{Layout, MAX_INFOS, word};
use crate::messages::Message;
use crate::settings::Handover;
use crate::spaces::Described;

/// Environments of each layout.
const NUM_ENVS: usize = 3;

/// Reads bytes as a worker could send them: a message if the first byte is `{`, and otherwise the contents
/// of the shared memory from its start on. Panics are the fuzzer's findings.
pub fn read(bytes: &[u8]) {
    // Errors are expected: they must be typed.
    let _ = match bytes.first() {
        Some(b'{') => read_message(bytes),
        _ => read_memory(bytes),
    };
}

fn read_message(bytes: &[u8]) -> Result<()> {
    let Ok(Message::Ready { observation_space, action_space }) = serde_json::from_slice(bytes)
    else {
        return Ok(());
    };
    let observations = Described::new("fuzz", "observation", &observation_space)?;
    let actions = Described::new("fuzz", "action", &action_space)?;
    Layout::new(NUM_ENVS, &observations.leaves, &actions.leaves)?.to_json();
    Ok(())
}

fn read_memory(bytes: &[u8]) -> Result<()> {
    let observations = json!({"kind": "Tuple", "parts": [
        {"kind": "Box", "shape": [2], "low": ["-inf"], "high": [1], "dtype": "float64"},
        {"kind": "MultiDiscrete", "shape": [2], "nvec": [3, 4], "start": [1, 2], "dtype": "int64"},
        {"kind": "Box", "shape": [3], "low": [0], "high": [255], "dtype": "uint8"},
    ]});
    let actions = json!({"kind": "Discrete", "n": 3, "start": 0, "dtype": "int64"});
    let described = |space| match serde_json::from_value(space) {
        Ok(space) => Described::new("fuzz", "", &space),
        Err(error) => Err(crate::GymnasiumError::protocol(error.to_string())),
    };
    let (observations, actions) = (described(observations)?, described(actions)?);
    let layout = Layout::new(NUM_ENVS, &observations.leaves, &actions.leaves)?;
    let size = layout.size;
    let mut columns = Columns::new(layout, Handover::Futex)?;
    columns.write_actions(&Buffer::zeros(&actions.space, NUM_ENVS), 0)?;
    columns.hand_over(Command::Step)?;
    columns.memory.word(word::REPLY)?.store(1, Ordering::Release);
    // A byte 0xFF keeps the byte that this program wrote, so that headers are not always refused.
    for (at, &byte) in bytes.iter().take(size).enumerate() {
        if byte != 0xFF {
            columns.memory.write(at, &[byte], |byte| byte)?;
        }
    }
    let mut out = VectorStep::new(&observations.space, NUM_ENVS);
    if columns.poll()?.is_some() {
        return Ok(());
    }
    columns.check()?;
    columns.read_step(&mut out, 0)?;
    columns.read_observation(NUM_ENVS - 1, &mut out.observations, 0)?;
    columns.infos(0, true, &mut [0.0; MAX_INFOS])
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_sends_is_read() {
        let space = r#"{"kind": "Discrete", "n": 2, "start": 0, "dtype": "int64"}"#;
        let ready = format!(
            r#"{{"kind": "ready", "observation_space": {space}, "action_space": {space}}}"#
        );
        assert!(read_message(ready.as_bytes()).is_ok());
        assert!(read_memory(&[0xFF; 4096]).is_ok());
        assert!(read_memory(&[0; 4]).is_err());
        read(b"{");
        read(b"");
    }
}
