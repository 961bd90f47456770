//! Observations that stack frames: each frame is stored once.

use rekindle_env::{Buffer, stack_frames};

use super::slots::Slot;
use super::storage::Storage;
use crate::error::Result;

/// How observations stack the last frames of an episode along their last axis, oldest first; zeros come before
/// the first frame (the connector `FrameStacking`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frames {
    /// Frames of an observation, at least 2.
    pub(super) count: usize,
    /// The last axis of a frame.
    channels: usize,
    /// Values of a frame.
    width: usize,
}

/// An element of a frame.
trait Pixel: Copy + Default + 'static {
    fn of(buffer: &Buffer) -> Option<&[Self]>;
    fn of_mut(buffer: &mut Buffer) -> Option<&mut [Self]>;
    /// Whether two values have the same bits.
    fn same(self, other: Self) -> bool;
}

impl Pixel for f32 {
    fn of(buffer: &Buffer) -> Option<&[Self]> {
        buffer.as_f32().ok()
    }
    fn of_mut(buffer: &mut Buffer) -> Option<&mut [Self]> {
        buffer.as_f32_mut().ok()
    }
    fn same(self, other: Self) -> bool {
        self.to_bits() == other.to_bits()
    }
}

impl Pixel for u8 {
    fn of(buffer: &Buffer) -> Option<&[Self]> {
        buffer.as_u8().ok()
    }
    fn of_mut(buffer: &mut Buffer) -> Option<&mut [Self]> {
        buffer.as_u8_mut().ok()
    }
    fn same(self, other: Self) -> bool {
        self == other
    }
}

/// A frame: a row of a buffer.
type Frame<'a> = (&'a Buffer, usize);

impl Frames {
    /// Returns how observations of a layout stack `count` frames; `None` if they do not.
    pub(super) fn of(layout: &Buffer, count: usize) -> Option<Self> {
        let shape = layout.shape().ok().filter(|_| count > 1 && layout.as_i64().is_err())?;
        let channels = shape.last().filter(|last| last.is_multiple_of(count))? / count;
        let width = shape.iter().product::<usize>() / count;
        (width > 0).then_some(Self { count, channels, width })
    }

    /// Returns a buffer of frames without rows, for observations of a layout.
    pub(super) fn layout(self, stacked: &Buffer) -> Result<Buffer> {
        let mut shape = stacked.shape()?.to_vec();
        if let Some(last) = shape.last_mut() {
            *last = self.channels;
        }
        Ok(match stacked.as_u8() {
            Ok(_) => Buffer::from_u8(Vec::new(), &shape)?,
            Err(_) => Buffer::from_f32(Vec::new(), &shape)?,
        })
    }

    /// Copies one of the frames that an observation stacks into a row of a buffer of frames.
    pub(super) fn take(self, stacked: &Buffer, row: usize, index: usize, to: (&mut Buffer, usize)) {
        match stacked.as_u8() {
            Ok(_) => self.take_of::<u8>(stacked, row, index, to),
            Err(_) => self.take_of::<f32>(stacked, row, index, to),
        }
    }

    fn take_of<T: Pixel>(
        self,
        stacked: &Buffer,
        row: usize,
        index: usize,
        to: (&mut Buffer, usize),
    ) {
        let (Some(stacked), Some(frames)) = (T::of(stacked), T::of_mut(to.0)) else { return };
        let Some(frame) = frames.chunks_exact_mut(self.width).nth(to.1) else { return };
        for (pixel, from) in frame.chunks_exact_mut(self.channels).zip(self.pixels(stacked, row)) {
            pixel.copy_from_slice(&from[index * self.channels..(index + 1) * self.channels]);
        }
    }

    /// Returns the pixels of an observation, each with the channels of all frames.
    fn pixels<T>(self, stacked: &[T], row: usize) -> impl Iterator<Item = &[T]> {
        let observation = stacked.chunks_exact(self.width * self.count).nth(row);
        observation.unwrap_or_default().chunks_exact(self.channels * self.count)
    }

    /// Returns the values of an observation's frames, oldest first, from its frames, newest first.
    fn slices<'a, T: Pixel>(
        self,
        frames: &[Frame<'a>],
        zeros: &'a [T],
    ) -> impl Iterator<Item = &'a [T]> {
        let slice = move |age: usize| {
            let (buffer, row) = frames.get(age)?;
            T::of(buffer)?.get(row * self.width..(row + 1) * self.width)
        };
        (0..self.count).rev().map(move |age| slice(age).unwrap_or(zeros))
    }

    /// Whether the frames before the newest one of an observation are these, newest first.
    fn follows<T: Pixel>(self, frames: &[Frame<'_>], observations: &[T], row: usize) -> bool {
        let zeros = vec![T::default(); self.width];
        // The oldest of `count` frames is one too many: the newest frame is not among them.
        let older: Vec<&[T]> = self.slices(frames, &zeros).skip(1).collect();
        self.pixels(observations, row).enumerate().all(|(index, pixel)| {
            let of_frame = index * self.channels..(index + 1) * self.channels;
            older.iter().zip(pixel.chunks_exact(self.channels)).all(|(frame, found)| {
                frame[of_frame.clone()].iter().zip(found).all(|(a, b)| a.same(*b))
            })
        })
    }
}

impl Storage {
    /// Collects the frames that the observation of a row stacks, newest first.
    fn frames_of<'a>(&'a self, mut row: usize, count: usize, frames: &mut Vec<Frame<'a>>) {
        loop {
            let (chunk, at) = self.at(row);
            let Some(column) = self.chunks.get(chunk).and_then(|c| c.columns.get(self.obs)) else {
                return;
            };
            frames.push((column, at));
            if frames.len() >= count {
                return;
            }
            match self.row_before(row) {
                Before::Row(before) => row = before,
                Before::Frames(context) => {
                    frames.extend((0..context.rows()).rev().map(|row| (context, row)));
                    frames.truncate(count);
                    return;
                }
                Before::Nothing => return,
            }
        }
    }

    fn row_before(&self, row: usize) -> Before<'_> {
        if row.is_multiple_of(self.block_len)
            && let Some(context) = self.context(row / self.block_len)
        {
            return Before::Frames(context);
        }
        self.predecessor(row).map_or(Before::Nothing, Before::Row)
    }

    fn context(&self, block: usize) -> Option<&Buffer> {
        let (chunk, row) = self.at(block * self.block_len);
        self.chunks.get(chunk)?.contexts.get(row / self.block_len)?.as_ref()
    }

    /// Stacks the observations of rows, and those after the last rows of episodes; zeros for open slots.
    pub(super) fn stacked(&self, frames: Frames, layout: &Buffer, slots: &[Slot<'_>]) -> Buffer {
        let mut stacked = layout.clone();
        stacked.extend_zeros(slots.len());
        match stacked.as_u8_mut() {
            Ok(observations) => self.stack_into(frames, slots, observations),
            Err(_) => {
                if let Ok(observations) = stacked.as_f32_mut() {
                    self.stack_into(frames, slots, observations);
                }
            }
        }
        stacked
    }

    fn stack_into<T: Pixel>(&self, frames: Frames, slots: &[Slot<'_>], observations: &mut [T]) {
        let zeros = vec![T::default(); frames.width];
        let mut newest = Vec::with_capacity(frames.count + 1);
        let mut slices = Vec::with_capacity(frames.count);
        let observations = observations.chunks_exact_mut(frames.width * frames.count);
        for (slot, observation) in slots.iter().zip(observations) {
            newest.clear();
            match *slot {
                Slot::Row(row) => self.frames_of(row, frames.count, &mut newest),
                Slot::Final(row, finals, at) => {
                    newest.push((finals, at));
                    self.frames_of(row, frames.count, &mut newest);
                }
                Slot::Open(..) => continue,
            }
            slices.clear();
            slices.extend(frames.slices(&newest, &zeros));
            stack_frames(&slices, frames.channels, observation);
        }
    }

    /// Whether an observation stacks the frames that the next row of a block would have before its own.
    pub(super) fn continues(
        &self,
        frames: Frames,
        block: usize,
        observations: &Buffer,
        row: usize,
    ) -> bool {
        let len = self.blocks.get(block).map_or(0, |block| block.len);
        let mut before = Vec::with_capacity(frames.count);
        if let Some(last) = len.checked_sub(1) {
            let last = block * self.block_len + last;
            if !self.follows(last).ends() {
                self.frames_of(last, frames.count - 1, &mut before);
            }
        }
        match (observations.as_u8(), observations.as_f32()) {
            (Ok(data), _) => frames.follows(&before, data, row),
            (_, Ok(data)) => frames.follows(&before, data, row),
            _ => false,
        }
    }

    /// Stores the older frames of an observation as those before the first row of a block.
    ///
    /// # Errors
    /// If the observation does not stack frames.
    pub(super) fn set_context(
        &mut self,
        frames: Frames,
        block: usize,
        observation: (&Buffer, usize),
    ) -> Result<()> {
        let mut context = frames.layout(observation.0)?;
        context.extend_zeros(frames.count - 1);
        for index in 0..frames.count - 1 {
            frames.take(observation.0, observation.1, index, (&mut context, index));
        }
        let (chunk, row) = self.at(block * self.block_len);
        let block_len = self.block_len;
        self.chunk_mut(chunk).contexts[row / block_len] = Some(context);
        Ok(())
    }

    /// Keeps the frames before the first row of a block, whose earlier block is about to be dropped.
    ///
    /// # Errors
    /// If the observations do not stack frames.
    pub(super) fn keep_context(&mut self, block: usize) -> Result<()> {
        let Some((frames, layout)) = self.frames.zip(self.columns.values().nth(self.obs)) else {
            return Ok(());
        };
        let first = block * self.block_len;
        let is_needed = matches!(self.row_before(first), Before::Row(_));
        if is_needed {
            let observation = self.stacked(frames, layout, &[Slot::Row(first)]);
            self.set_context(frames, block, (&observation, 0))?;
        }
        Ok(())
    }
}

/// What is before a row of the same episode.
enum Before<'a> {
    Row(usize),
    /// The frames before the first row of a block, oldest first.
    Frames(&'a Buffer),
    Nothing,
}
