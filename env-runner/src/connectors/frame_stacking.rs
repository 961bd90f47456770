//! Stacking of consecutive observations.

use rekindle_core::ConfigError;
use rekindle_env::{BoxDType, BoxSpace, Buffer, Space, stack_frames};
use rekindle_onnx::{Attribute, Graph, Values};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::history::{Entry, History};
use super::saved::{invalid, load_state, save_state};
use super::{Connector, ConnectorContext};
use crate::{Result, RunnerError};

/// Stacks the last `num_frames` observations of the episode along the channel axis, oldest first;
/// RLlib's `FrameStacking`, for images and vectors.
///
/// Frames before the start of an episode are zero.
///
/// # Shapes
/// A `float32` or `uint8` Box of shape `[…, channels]` to `[…, num_frames · channels]`, with the
/// bounds of each element extended to include 0. Bytes stay bytes. An image `[height, width]` without
/// channels ([`BoxSpace::is_gray_image`]) becomes `[height, width, num_frames]`.
///
/// # State
/// The last frames of each running episode, which belong to one runner.
#[derive(Debug, Clone)]
pub struct FrameStacking {
    num_frames: usize,
    frames: Frames,
    /// The shape of an observation.
    shape: Vec<usize>,
}

/// The last frames of the running episodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Frames {
    /// No frame has been seen.
    None,
    Float(History<f32>),
    Byte(History<u8>),
}

const NAME: &str = "FrameStacking";

/// Maximum number of values in an observation, the same as in a Box.
const MAX_SIZE: usize = i32::MAX as usize;

impl FrameStacking {
    /// Stacks `num_frames` frames.
    ///
    /// # Errors
    /// [`RunnerError::Config`] for 0 frames.
    pub fn new(num_frames: usize) -> Result<Self> {
        if num_frames == 0 {
            return Err(
                ConfigError::new("FrameStacking.num_frames", "0", "it must be at least 1").into()
            );
        }
        Ok(Self { num_frames, frames: Frames::None, shape: Vec::new() })
    }
}

impl Connector for FrameStacking {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output_space(&self, input: &Space) -> Result<Space> {
        let n = self.num_frames;
        let refuse = |reason: String| RunnerError::ConnectorSpace {
            connector: NAME.into(),
            space: input.to_string(),
            reason,
        };
        let (Space::Box(space), Some((channels, rest))) =
            (input, input.as_box().ok().and_then(|b| pixels(b.shape())))
        else {
            let reason = "only Boxes of one or more dimensions can be stacked; flatten the \
                          observations first, or name a part with `on_part`";
            return Err(refuse(reason.into()));
        };
        if space.size().checked_mul(n).is_none_or(|size| size > MAX_SIZE) {
            return Err(refuse(format!("{n} frames are more than {MAX_SIZE} values")));
        }
        let shape = [rest, &[channels * n]].concat();
        let stack = |bounds: &[f32], with_zero: fn(f32, f32) -> f32| -> Vec<f32> {
            let pixels = bounds.chunks_exact(channels.max(1));
            pixels.flat_map(|pixel| pixel.repeat(n)).map(|bound| with_zero(bound, 0.0)).collect()
        };
        let (low, high) = (stack(space.low(), f32::min), stack(space.high(), f32::max));
        let space = if space.dtype() == BoxDType::Float32 {
            BoxSpace::new(low, high, &shape)?
        } else if space.dtype() == BoxDType::Uint8 {
            BoxSpace::new(low, high, &shape)?.with_dtype(BoxDType::Uint8)?
        } else {
            return Err(refuse("only float32 and uint8 observations can be stacked".into()));
        };
        Ok(Space::Box(space))
    }

    fn set_input_space(&mut self, input: &Space) {
        self.shape = input.as_box().map(|space| space.shape().to_vec()).unwrap_or_default();
    }

    fn transform(
        &mut self,
        input: &Buffer,
        output: &mut Buffer,
        cx: ConnectorContext<'_>,
    ) -> Result<()> {
        let shape = input.shape()?;
        let channels = pixels(shape).map_or(1, |(channels, _)| channels.max(1));
        let width = shape.iter().product();
        let (rows, n) = (input.rows(), self.num_frames);
        if let Ok(data) = input.as_f32() {
            if !matches!(&self.frames, Frames::Float(h) if h.row_len() == n * width) {
                self.frames = Frames::Float(History::new(n, width));
            }
            if let Frames::Float(history) = &mut self.frames {
                stack(history, data, output.as_f32_mut()?, [rows, width, channels], cx);
            }
        } else {
            let data = input.as_u8()?;
            if !matches!(&self.frames, Frames::Byte(h) if h.row_len() == n * width) {
                self.frames = Frames::Byte(History::new(n, width));
            }
            if let Frames::Byte(history) = &mut self.frames {
                stack(history, data, output.as_u8_mut()?, [rows, width, channels], cx);
            }
        }
        Ok(())
    }

    fn stacked_frames(&self) -> Option<usize> {
        Some(self.num_frames)
    }

    /// The earlier frames are a state of the graph, `state_in.frames`.
    fn export_onnx(&self, graph: &mut Graph, rows: &Values) -> Result<Values> {
        let (channels, rest) = pixels(&self.shape).unwrap_or((1, &[]));
        let (stacked, earlier) = (channels * self.num_frames, channels * (self.num_frames - 1));
        let shape = rest.iter().chain([&channels]).map(|n| *n as i64);
        let shape: Vec<i64> = [-1].into_iter().chain(shape).collect();
        let frame = graph.reshape(rows.one()?, &shape);
        if earlier == 0 {
            return Ok(frame.into());
        }
        let of_state = [rest, &[earlier]].concat();
        let past = graph.state_in("frames", &of_state)?;
        let all = graph.node("Concat", &[&past, &frame], &[("axis", Attribute::Int(-1))]);
        let next = graph.slice_axis(&all, -1, channels..stacked);
        graph.state_out("frames", &next, &of_state)?;
        Ok(all.into())
    }

    fn get_memory(&self) -> Result<Value> {
        save_state(&self.frames)
    }

    fn set_memory(&mut self, memory: &Value) -> Result<()> {
        let frames = match memory.is_null() {
            true => Frames::None,
            false => load_state(NAME, memory)?,
        };
        let fits = match &frames {
            Frames::None => true,
            Frames::Float(history) => history.n() == self.num_frames && history.is_whole(),
            Frames::Byte(history) => history.n() == self.num_frames && history.is_whole(),
        };
        if !fits {
            return Err(invalid(NAME, format!("a row does not hold {} frames", self.num_frames)));
        }
        self.frames = frames;
        Ok(())
    }

    fn get_state(&self) -> Result<Value> {
        Ok(Value::Null)
    }
}

/// Returns the channels of a frame and the dimensions before them.
fn pixels(shape: &[usize]) -> Option<(usize, &[usize])> {
    match BoxSpace::is_gray_image(shape) {
        true => Some((1, shape)),
        false => shape.split_last().map(|(channels, rest)| (*channels, rest)),
    }
}

/// Appends the frames of all rows and writes the stacks, pixel by pixel.
fn stack<T: Entry>(
    history: &mut History<T>,
    data: &[T],
    output: &mut [T],
    [rows, width, channels]: [usize; 3],
    cx: ConnectorContext<'_>,
) {
    match cx.step {
        None => history.forget_all(rows),
        Some(step) => {
            history.set_rows(step.num_slots(rows));
            (0..rows).filter(|&row| step.starts.get(row) == Some(&true)).for_each(|row| {
                history.forget(step.slot(row));
            });
        }
    }
    let is_final = cx.step.is_some_and(|step| step.is_final);
    let mut before = Vec::new();
    let stacks = output.chunks_exact_mut((history.n() * width).max(1));
    for (row, (frame, stacked)) in data.chunks_exact(width.max(1)).zip(stacks).enumerate() {
        let slot = cx.step.map_or(row, |step| step.slot(row));
        if is_final {
            before.clear();
            before.extend_from_slice(history.row(slot));
        }
        history.push(slot).copy_from_slice(frame);
        let frames: Vec<&[T]> = history.entries(slot).collect();
        stack_frames(&frames, channels, stacked);
        if is_final {
            history.restore(slot, &before);
        }
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
    fn frames_stack_on_the_channel_axis_oldest_first() {
        let mut connector = FrameStacking::new(3).unwrap();
        let space = Space::boxed(1.0, 99.0, &[1, 2, 2]).unwrap();
        let out_space = connector.output_space(&space).unwrap();
        assert_eq!(out_space.as_box().unwrap().shape(), [1, 2, 6]);
        let mut out = Buffer::zeros(&out_space, 2);
        let actions = Buffer::from_i64(vec![0, 0], &[]).unwrap();

        connector.transform(&frames(10.0), &mut out, ConnectorContext::rows(true)).unwrap();
        let first = [0., 0., 0., 0., 10., 11., 0., 0., 0., 0., 12., 13.];
        assert_eq!(out.as_f32().unwrap()[..12], first);
        assert!(out.row(0).as_f32().unwrap().iter().all(|x| (0.0..=99.0).contains(x)));

        connector.transform(&frames(20.0), &mut out, step(&actions, &[false; 2], false)).unwrap();
        let second = [0., 0., 10., 11., 20., 21., 0., 0., 12., 13., 22., 23.];
        assert_eq!(out.as_f32().unwrap()[..12], second);

        // The last observation of an ended episode is stacked, but not remembered.
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
        let mut one = FrameStacking::new(2).unwrap();
        let out_space = one.output_space(&Space::image(&[2, 1]).unwrap()).unwrap();
        let mut out = Buffer::zeros(&out_space, 1);
        let image = |a, b| Buffer::from_u8(vec![a, b], &[2, 1]).unwrap();
        let actions = Buffer::from_i64(vec![0], &[]).unwrap();
        one.transform(&image(1, 2), &mut out, ConnectorContext::rows(true)).unwrap();
        let mut two = FrameStacking::new(2).unwrap();
        two.set_memory(&one.get_memory().unwrap()).unwrap();
        two.transform(&image(3, 4), &mut out, step(&actions, &[false], false)).unwrap();
        assert_eq!(out.as_u8().unwrap(), [1, 3, 2, 4]);
        assert!(FrameStacking::new(3).unwrap().set_memory(&one.get_memory().unwrap()).is_err());
    }

    #[test]
    fn what_cannot_be_stacked_is_refused() {
        let stack = |n: usize, space: Space| FrameStacking::new(n)?.output_space(&space);
        assert!(stack(2, Space::discrete(3).unwrap()).is_err());
        assert!(stack(2, Space::unbounded(&[]).unwrap()).is_err());
        let zero = stack(0, Space::image(&[2]).unwrap()).unwrap_err().to_string();
        assert!(zero.contains("`FrameStacking.num_frames` is 0"), "{zero}");
        let many = stack(usize::MAX, Space::image(&[2]).unwrap()).unwrap_err().to_string();
        assert!(many.contains("`FrameStacking`"), "{many}");
    }

    #[test]
    fn bounds_of_bytes_are_kept() {
        let bits = Space::Box(BoxSpace::bytes(0, 1, &[2]).unwrap());
        let stacked = FrameStacking::new(3).unwrap().output_space(&bits).unwrap();
        assert_eq!(stacked, Space::Box(BoxSpace::bytes(0, 1, &[6]).unwrap()));
        // Also those of single elements: a bit and a byte.
        let bytes = |low: Vec<f32>, high: Vec<f32>| {
            let size = low.len();
            let space = BoxSpace::new(low, high, &[size]).unwrap();
            Space::Box(space.with_dtype(BoxDType::Uint8).unwrap())
        };
        let mixed = bytes(vec![0.0, 3.0], vec![1.0, 255.0]);
        let stacked = FrameStacking::new(2).unwrap().output_space(&mixed).unwrap();
        assert_eq!(stacked, bytes(vec![0.0; 4], vec![1.0, 255.0, 1.0, 255.0]));
    }

    #[test]
    fn gray_images_get_an_axis_of_frames() {
        let mut connector = FrameStacking::new(2).unwrap();
        let space = Space::image(&[40, 33]).unwrap();
        let stacked = connector.output_space(&space).unwrap();
        assert_eq!(stacked, Space::image(&[40, 33, 2]).unwrap());
        let mut out = Buffer::zeros(&stacked, 1);
        let frame: Vec<u8> = (0..40 * 33).map(|i| (i % 251) as u8).collect();
        let image = Buffer::from_u8(frame.clone(), &[40, 33]).unwrap();
        connector.transform(&image, &mut out, ConnectorContext::rows(true)).unwrap();
        let pixels = out.as_u8().unwrap();
        assert!(pixels.chunks(2).zip(&frame).all(|(pixel, byte)| pixel == [0, *byte]));
        let table =
            FrameStacking::new(2).unwrap().output_space(&Space::unbounded(&[4, 3]).unwrap());
        assert_eq!(table.unwrap(), Space::unbounded(&[4, 6]).unwrap());
    }

    #[test]
    fn a_memory_with_infinities_survives_saving() {
        let space = Space::unbounded(&[1]).unwrap();
        let mut one = FrameStacking::new(2).unwrap();
        let mut out = Buffer::zeros(&one.output_space(&space).unwrap(), 2);
        let rows = |a, b| Buffer::from_f32(vec![a, b], &[1]).unwrap();
        let first = rows(f32::INFINITY, f32::NEG_INFINITY);
        one.transform(&first, &mut out, ConnectorContext::rows(true)).unwrap();
        let mut two = FrameStacking::new(2).unwrap();
        two.set_memory(&one.get_memory().unwrap()).unwrap();
        let actions = Buffer::from_i64(vec![0, 0], &[]).unwrap();
        two.transform(&rows(1.0, 2.0), &mut out, step(&actions, &[false; 2], false)).unwrap();
        assert_eq!(out.as_f32().unwrap(), [f32::INFINITY, 1.0, f32::NEG_INFINITY, 2.0]);
    }
}
