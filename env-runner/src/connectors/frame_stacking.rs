//! The last observations in one.

use rekindle_env::{BoxDType, BoxSpace, Buffer, Space};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::history::History;
use super::{Connector, ConnectorContext};
use crate::{Result, RunnerError};

/// Stacks the last observations of the episode along the last axis, oldest first; RLlib's
/// `FrameStacking`, for images and vectors. Before the start of an episode there are zeros.
///
/// # Shapes
/// `[…, channels]` to `[…, num_frames · channels]`.
#[derive(Debug, Clone)]
pub struct FrameStacking {
    num_frames: usize,
    frames: Frames,
}

/// What the running episodes showed.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Frames {
    /// Nothing yet.
    None,
    Float(History<f32>),
    Byte(History<u8>),
}

impl FrameStacking {
    /// Stacks so many frames.
    pub fn new(num_frames: usize) -> Self {
        Self { num_frames, frames: Frames::None }
    }
}

impl Connector for FrameStacking {
    fn name(&self) -> &'static str {
        "FrameStacking"
    }

    fn output_space(&self, input: &Space) -> Result<Space> {
        let refuse = |reason: &str| RunnerError::ConnectorSpace {
            connector: self.name().into(),
            space: input.to_string(),
            reason: reason.into(),
        };
        if self.num_frames == 0 {
            return Err(refuse("`num_frames` is 0; stack at least one"));
        }
        let (Space::Box(space), Some((channels, rest))) =
            (input, input.as_box().ok().and_then(|b| b.shape().split_last()))
        else {
            return Err(refuse("only Boxes of one or more dimensions can be stacked"));
        };
        let shape = [rest, &[channels * self.num_frames]].concat();
        let stack = |bounds: &[f32]| -> Vec<f32> {
            let pixels = bounds.chunks_exact((*channels).max(1));
            pixels.flat_map(|pixel| pixel.repeat(self.num_frames)).collect()
        };
        // Zeros stand before the start of an episode.
        let (low, high) = (stack(space.low()), stack(space.high()));
        Ok(match space.dtype() {
            BoxDType::Uint8 => Space::image(&shape)?,
            BoxDType::Float32 => Space::Box(BoxSpace::new(
                low.into_iter().map(|low| low.min(0.0)).collect::<Vec<_>>(),
                high.into_iter().map(|high| high.max(0.0)).collect::<Vec<_>>(),
                &shape,
            )?),
            _ => return Err(refuse("only Boxes of float32 or uint8 can be stacked")),
        })
    }

    fn transform(
        &mut self,
        input: &Buffer,
        output: &mut Buffer,
        cx: ConnectorContext<'_>,
    ) -> Result<()> {
        let channels = input.shape()?.last().copied().unwrap_or(1).max(1);
        let (rows, n) = (input.rows(), self.num_frames);
        if let Ok(data) = input.as_f32() {
            let width = data.len() / rows.max(1);
            if !matches!(&self.frames, Frames::Float(h) if h.row_len() == n * width) {
                self.frames = Frames::Float(History::new(n, width));
            }
            if let Frames::Float(history) = &mut self.frames {
                stack(history, data, output.as_f32_mut()?, [rows, channels, n], cx);
            }
        } else {
            let data = input.as_u8()?;
            let width = data.len() / rows.max(1);
            if !matches!(&self.frames, Frames::Byte(h) if h.row_len() == n * width) {
                self.frames = Frames::Byte(History::new(n, width));
            }
            if let Frames::Byte(history) = &mut self.frames {
                stack(history, data, output.as_u8_mut()?, [rows, channels, n], cx);
            }
        }
        Ok(())
    }

    fn get_memory(&self) -> Result<Value> {
        serde_json::to_value(&self.frames).map_err(|error| invalid(error.to_string()))
    }

    fn set_memory(&mut self, memory: &Value) -> Result<()> {
        let frames = match memory.is_null() {
            true => Frames::None,
            false => serde_json::from_value(memory.clone()).map_err(|e| invalid(e.to_string()))?,
        };
        let fits = match &frames {
            Frames::None => true,
            Frames::Float(history) => history.n() == self.num_frames && history.is_whole(),
            Frames::Byte(history) => history.n() == self.num_frames && history.is_whole(),
        };
        if !fits {
            return Err(invalid(format!("the frames are not {} a row", self.num_frames)));
        }
        self.frames = frames;
        Ok(())
    }
}

fn invalid(reason: String) -> RunnerError {
    RunnerError::InvalidState { component: "FrameStacking", reason }
}

/// Appends the frames of all rows and writes the stacks, pixel by pixel.
fn stack<T: Copy + Default>(
    history: &mut History<T>,
    data: &[T],
    output: &mut [T],
    [rows, channels, num_frames]: [usize; 3],
    cx: ConnectorContext<'_>,
) {
    let before = cx.step.is_some_and(|step| step.is_final).then(|| history.clone());
    match cx.step {
        None => history.forget_all(rows),
        Some(step) => {
            history.set_rows(step.num_slots(rows));
            (0..rows).filter(|&row| step.starts.get(row) == Some(&true)).for_each(|row| {
                history.forget(step.slot(row));
            });
        }
    }
    let width = data.len() / rows.max(1);
    for (row, frame) in data.chunks_exact(width.max(1)).enumerate() {
        let slot = cx.step.map_or(row, |step| step.slot(row));
        history.push(slot).copy_from_slice(frame);
        let stacked = &mut output[row * width * num_frames..(row + 1) * width * num_frames];
        for (index, frame) in history.entries(slot).enumerate() {
            let pixels = stacked.chunks_exact_mut(channels * num_frames);
            for (pixel, from) in pixels.zip(frame.chunks_exact(channels)) {
                pixel[index * channels..(index + 1) * channels].copy_from_slice(from);
            }
        }
    }
    if let Some(before) = before {
        *history = before;
    }
}

#[cfg(test)]
mod tests {
    use super::super::LastStep;
    use super::*;

    fn step<'a>(actions: &'a Buffer, starts: &'a [bool], is_final: bool) -> ConnectorContext<'a> {
        let step = LastStep { actions, rewards: &[0.0, 0.0], starts, is_final, slots: None };
        ConnectorContext { update: true, step: Some(step) }
    }

    /// Two environments, frames of 1x2 pixels with 2 channels.
    fn frames(first: f32) -> Buffer {
        Buffer::from_f32((0..8).map(|i| first + i as f32).collect(), &[1, 2, 2]).unwrap()
    }

    #[test]
    fn a75_frames_stack_on_the_channel_axis_oldest_first() {
        let mut connector = FrameStacking::new(3);
        let space = Space::boxed(1.0, 99.0, &[1, 2, 2]).unwrap();
        let out_space = connector.output_space(&space).unwrap();
        assert_eq!(out_space.as_box().unwrap().shape(), [1, 2, 6]);
        let mut out = Buffer::zeros(&out_space, 2);
        let actions = Buffer::from_i64(vec![0, 0], &[]).unwrap();

        connector.transform(&frames(10.0), &mut out, ConnectorContext::rows(true)).unwrap();
        let first = [0., 0., 0., 0., 10., 11., 0., 0., 0., 0., 12., 13.];
        assert_eq!(out.as_f32().unwrap()[..12], first);
        assert!(out.row(0).f32s().unwrap().iter().all(|x| (0.0..=99.0).contains(x)));

        connector.transform(&frames(20.0), &mut out, step(&actions, &[false; 2], false)).unwrap();
        let second = [0., 0., 10., 11., 20., 21., 0., 0., 12., 13., 22., 23.];
        assert_eq!(out.as_f32().unwrap()[..12], second);

        // The last observation of an ended episode is stacked, and leaves no trace.
        let memory = connector.get_memory().unwrap();
        connector.transform(&frames(30.0), &mut out, step(&actions, &[false; 2], true)).unwrap();
        let last = [10., 11., 20., 21., 30., 31., 12., 13., 22., 23., 32., 33.];
        assert_eq!(out.as_f32().unwrap()[..12], last);
        assert_eq!(connector.get_memory().unwrap(), memory);

        connector
            .transform(&frames(40.0), &mut out, step(&actions, &[true, false], false))
            .unwrap();
        let fresh = [0., 0., 0., 0., 40., 41., 0., 0., 0., 0., 42., 43.];
        assert_eq!(out.as_f32().unwrap()[..12], fresh);
        assert_eq!(out.as_f32().unwrap()[12..16], [14., 15., 24., 25.]);
    }

    #[test]
    fn bytes_stay_bytes_and_the_memory_can_be_saved() {
        let mut one = FrameStacking::new(2);
        let out_space = one.output_space(&Space::image(&[2, 1]).unwrap()).unwrap();
        let mut out = Buffer::zeros(&out_space, 1);
        let image = |a, b| Buffer::from_u8(vec![a, b], &[2, 1]).unwrap();
        let actions = Buffer::from_i64(vec![0], &[]).unwrap();
        one.transform(&image(1, 2), &mut out, ConnectorContext::rows(true)).unwrap();
        let mut two = FrameStacking::new(2);
        two.set_memory(&one.get_memory().unwrap()).unwrap();
        two.transform(&image(3, 4), &mut out, step(&actions, &[false], false)).unwrap();
        assert_eq!(out.as_u8().unwrap(), [1, 3, 2, 4]);
        assert!(FrameStacking::new(3).set_memory(&one.get_memory().unwrap()).is_err());
    }

    #[test]
    fn what_cannot_be_stacked_is_refused() {
        let discrete = Space::discrete(3).unwrap();
        assert!(FrameStacking::new(2).output_space(&discrete).is_err());
        assert!(FrameStacking::new(0).output_space(&Space::image(&[2]).unwrap()).is_err());
    }
}
