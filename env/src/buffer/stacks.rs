//! Rows that stack frames, and store each frame once.

use std::sync::{Arc, OnceLock};

use super::leaf::{Element, Rows};

/// Stands for a frame of zeros.
const ZEROS: u32 = u32::MAX;

/// Rows that stack frames along their last axis, oldest first. Rows refer to frames, which they share, also with the
/// rows of other buffers. The rows themselves are written when something reads them.
#[derive(Debug)]
pub(super) struct Stacks<T> {
    /// `[frames, width]`.
    frames: Arc<Vec<T>>,
    /// The number of each frame, `[rows, count]`.
    index: Vec<u32>,
    /// Frames of a row.
    count: usize,
    /// The last axis of a frame.
    channels: usize,
    /// Elements of a frame.
    width: usize,
    /// All rows, once they were read.
    rows: OnceLock<Vec<T>>,
}

impl<T: Element> Clone for Stacks<T> {
    fn clone(&self) -> Self {
        self.select(&Rows::Range(0..self.len()))
    }
}

impl<T: Element> Stacks<T> {
    /// Creates stacks of `count` frames without rows, for rows of a shape. Returns `None` if such rows do not stack
    /// frames.
    pub(super) fn new(shape: &[usize], count: usize, rows: usize) -> Option<Self> {
        let last = shape.last().copied().filter(|_| count > 0)?;
        let width = shape.iter().product::<usize>() / count;
        if width == 0 || !last.is_multiple_of(count) {
            return None;
        }
        Some(Self {
            frames: Arc::new(Vec::with_capacity(rows * width)),
            index: Vec::with_capacity(rows * count),
            count,
            channels: last / count,
            width,
            rows: OnceLock::new(),
        })
    }

    /// Returns the number of rows.
    pub(super) fn len(&self) -> usize {
        self.index.len() / self.count
    }

    /// Returns rows that refer to the same frames, without those that do not exist.
    pub(super) fn select(&self, rows: &Rows<'_>) -> Self {
        let mut index = Vec::new();
        self.each(rows, |frames| index.extend_from_slice(frames));
        let (frames, rows) = (self.frames.clone(), OnceLock::new());
        let Self { count, channels, width, .. } = *self;
        Self { frames, index, count, channels, width, rows }
    }

    /// Calls `f` with the frames of rows, without those that do not exist.
    fn each(&self, rows: &Rows<'_>, mut f: impl FnMut(&[u32])) {
        let count = self.count;
        let mut row = |row: usize| {
            if let Some(frames) = self.index.get(row * count..(row + 1) * count) {
                f(frames);
            }
        };
        match rows {
            Rows::Range(range) => range.clone().for_each(&mut row),
            Rows::At(indices) => indices.iter().copied().for_each(&mut row),
        }
    }

    /// Appends the elements of rows, without those that do not exist.
    pub(super) fn write(&self, rows: &Rows<'_>, out: &mut Vec<T>) {
        let zeros = match self.index.contains(&ZEROS) {
            true => vec![T::default(); self.width],
            false => Vec::new(),
        };
        let mut slices = Vec::with_capacity(self.count);
        let len = self.count * self.width;
        out.reserve(len * rows.len());
        self.each(rows, |frames| {
            slices.clear();
            slices.extend(frames.iter().map(|frame| match *frame {
                ZEROS => &zeros[..],
                frame => &self.frames[frame as usize * self.width..][..self.width],
            }));
            let start = out.len();
            out.resize(start + len, T::default());
            stack_frames(&slices, self.channels, &mut out[start..]);
        });
    }

    /// Returns the elements of all rows.
    pub(super) fn rows(&self) -> &[T] {
        self.rows.get_or_init(|| {
            let mut rows = Vec::new();
            self.write(&Rows::Range(0..self.len()), &mut rows);
            rows
        })
    }

    /// As [`rows`](Self::rows), by value.
    pub(super) fn into_rows(mut self) -> Vec<T> {
        self.rows();
        self.rows.take().unwrap_or_default()
    }

    /// Sets the number of rows. New rows are zero. Without rows, there are no frames.
    pub(super) fn resize(&mut self, rows: usize) {
        self.rows.take();
        if rows == 0 {
            match Arc::get_mut(&mut self.frames) {
                Some(frames) => frames.clear(),
                None => self.frames = Arc::default(),
            }
        }
        self.index.resize(rows * self.count, ZEROS);
    }

    /// Appends rows of other stacks. Copies the frames of these rows unless the frames are shared already. Returns
    /// `false` for an empty target, for rows that stack frames in another way, and if there are too many frames.
    pub(super) fn append(&mut self, source: &Self, rows: &Rows<'_>) -> bool {
        let width = self.width;
        let [ours, theirs] = [&self.frames, &source.frames].map(|frames| frames.len() / width);
        let fits = u32::try_from(ours + theirs).is_ok_and(|end| end < ZEROS);
        let is_same =
            [self.count, self.channels, width] == [source.count, source.channels, source.width];
        if self.index.is_empty() || !is_same || !fits {
            return false;
        }
        self.rows.take();
        let index = &mut self.index;
        if Arc::ptr_eq(&self.frames, &source.frames) {
            source.each(rows, |frames| index.extend_from_slice(frames));
            return true;
        }
        // The number here of each frame of the source.
        let mut copied = vec![ZEROS; theirs];
        let frames = Arc::make_mut(&mut self.frames);
        source.each(rows, |of_row| {
            for &frame in of_row {
                let Some(copy) = copied.get_mut(frame as usize) else {
                    index.push(ZEROS);
                    continue;
                };
                if *copy == ZEROS {
                    *copy = (frames.len() / width) as u32;
                    let start = frame as usize * width;
                    frames.extend_from_slice(&source.frames[start..start + width]);
                }
                index.push(*copy);
            }
        });
        true
    }

    /// Appends a row. With `previous`, the older frames are the newer frames of that row. Otherwise all frames are
    /// copied, except for zeros. Returns `false` for a row of another size, and if there are too many frames.
    pub(super) fn push(&mut self, row: &[T], previous: Option<usize>) -> bool {
        let (count, width) = (self.count, self.width);
        let next = self.frames.len() / width;
        let fits = u32::try_from(next + count).is_ok_and(|end| end < ZEROS);
        if row.len() != count * width || !fits {
            return false;
        }
        self.rows.take();
        let newer = previous.and_then(|row| self.index.get(row * count + 1..(row + 1) * count));
        let older = match newer.map(<[u32]>::to_vec) {
            Some(newer) => {
                self.index.extend(newer);
                count - 1
            }
            None => 0,
        };
        let frames = Arc::make_mut(&mut self.frames);
        for frame in older..count {
            let start = frames.len();
            frames.resize(start + width, T::default());
            take_frame(row, [count, self.channels], frame, &mut frames[start..]);
            if frame + 1 < count && frames[start..].iter().all(|value| value.is_zero()) {
                frames.truncate(start);
                self.index.push(ZEROS);
            } else {
                self.index.push((start / width) as u32);
            }
        }
        true
    }
}

/// Writes a row that stacks frames along its last axis, in order.
///
/// # Shapes
/// Each frame is `[…, channels]`, and the row is `[…, frames · channels]`. Elements without a counterpart are left as
/// they are.
pub fn stack_frames<T: Copy>(frames: &[&[T]], channels: usize, row: &mut [T]) {
    match (frames, channels) {
        (&[a, b], 1) => stack(&[a, b], row),
        (&[a, b, c], 1) => stack(&[a, b, c], row),
        (&[a, b, c, d], 1) => stack(&[a, b, c, d], row),
        _ => {
            let pixel = channels * frames.len();
            for (index, frame) in frames.iter().enumerate() {
                let pixels = row.chunks_exact_mut(pixel.max(1));
                for (to, from) in pixels.zip(frame.chunks_exact(channels.max(1))) {
                    let to = to[index * channels..].iter_mut();
                    to.zip(from).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }
}

/// Interleaves `N` frames of one channel.
fn stack<T: Copy, const N: usize>(frames: &[&[T]; N], row: &mut [T]) {
    let (pixels, _) = row.as_chunks_mut::<N>();
    let len = frames.iter().fold(pixels.len(), |len, frame| len.min(frame.len()));
    let (frames, pixels) = (frames.map(|frame| &frame[..len]), &mut pixels[..len]);
    for (index, pixel) in pixels.iter_mut().enumerate() {
        *pixel = std::array::from_fn(|frame| frames[frame][index]);
    }
}

/// Copies one of the `count` frames that a row stacks.
fn take_frame<T: Copy>(row: &[T], [count, channels]: [usize; 2], index: usize, frame: &mut [T]) {
    if let (4, 1) = (count, channels) {
        let (pixels, _) = row.as_chunks::<4>();
        frame.iter_mut().zip(pixels).for_each(|(to, pixel)| *to = pixel[index]);
        return;
    }
    let pixels = row.chunks_exact(count * channels);
    for (to, pixel) in frame.chunks_exact_mut(channels).zip(pixels) {
        let from = &pixel[index * channels..];
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    }
}
