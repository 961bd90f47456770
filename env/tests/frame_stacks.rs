//! Buffers whose rows share frames behave like plain ones.
#![allow(clippy::unwrap_used)] // Tests panic on unexpected errors.

use proptest::prelude::*;
use rekindle_env::{Buffer, Parts, stack_frames};

/// Rows that stack the last frames of episodes, plain and with shared frames. `starts` says which steps begin an
/// episode.
fn both(starts: &[bool], [count, channels, pixels]: [usize; 3]) -> [Buffer; 2] {
    let shape = [pixels, count * channels];
    let mut plain = Buffer::from_u8(Vec::new(), &shape).unwrap();
    let mut shared = Buffer::of_stacks(&plain, count, starts.len()).unwrap();
    let mut frames = vec![vec![0; pixels * channels]; count];
    for (step, &starts) in starts.iter().enumerate() {
        if starts {
            frames.fill(vec![0; pixels * channels]);
        }
        frames.remove(0);
        let pixel = |i: usize| (step * 31 + i * 7) as u8;
        frames.push((0..pixels * channels).map(pixel).collect());
        let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let mut row = vec![0; pixels * count * channels];
        stack_frames(&slices, channels, &mut row);
        let row = Buffer::from_u8(row, &shape).unwrap();
        plain.push(row.row(0)).unwrap();
        let previous = (!starts && step > 0).then(|| step - 1);
        shared.push_stack(row.row(0), previous).unwrap();
    }
    [plain, shared]
}

#[test]
fn frames_stand_side_by_side_along_the_last_axis() {
    for count in 1..6_u8 {
        for channels in 1..4 {
            let frames: Vec<Vec<u8>> = (0..count)
                .map(|frame| (0..5 * channels).map(|i| frame * 40 + i).collect())
                .collect();
            let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            let mut row = vec![0; usize::from(5 * channels * count)];
            stack_frames(&slices, usize::from(channels), &mut row);
            let mut expected = Vec::new();
            for pixel in 0..5 {
                for frame in 0..count {
                    expected.extend((0..channels).map(|c| frame * 40 + pixel * channels + c));
                }
            }
            assert_eq!(row, expected, "{count} frames of {channels} channels");
        }
    }
}

#[test]
fn rows_that_cannot_stack_frames_are_refused() {
    let layout = |shape: &[usize]| Buffer::from_u8(Vec::new(), shape).unwrap();
    assert!(Buffer::of_stacks(&layout(&[4, 6]), 3, 1).is_some());
    assert!(Buffer::of_stacks(&layout(&[4, 6]), 4, 1).is_none());
    assert!(Buffer::of_stacks(&layout(&[4, 6]), 0, 1).is_none());
    assert!(Buffer::of_stacks(&layout(&[]), 1, 1).is_none());
    assert!(Buffer::of_stacks(&layout(&[0, 4]), 4, 1).is_none());
    let integers = Buffer::from_i64(Vec::new(), &[4]).unwrap();
    assert!(Buffer::of_stacks(&integers, 4, 1).is_none());
    let mut rows = Buffer::from_u8(vec![1; 24], &[4, 6]).unwrap();
    rows.share_frames(4);
    assert_eq!(rows.as_u8().unwrap(), [1; 24]);
    let mut stacks = Buffer::of_stacks(&layout(&[4, 6]), 3, 1).unwrap();
    let other = Buffer::from_u8(vec![0; 12], &[4, 3]).unwrap();
    stacks.push_stack(other.row(0), None).unwrap_err();
    let row = Buffer::from_u8(vec![1; 24], &[4, 6]).unwrap();
    stacks.push_stack(row.row(1), None).unwrap_err();
    stacks.push_stack(row.row(0), None).unwrap();
    // A row before the first one does not exist, so that all frames are copied.
    stacks.push_stack(row.row(0), Some(7)).unwrap();
    assert_eq!(stacks.as_u8().unwrap(), [1; 48]);
}

#[test]
fn negative_zeros_keep_their_sign() {
    let row = Buffer::from_f32(vec![-0.0, 1.0, 0.0, 2.0], &[2, 2]).unwrap();
    let mut stacks = Buffer::of_stacks(&row, 2, 1).unwrap();
    stacks.push_stack(row.row(0), None).unwrap();
    let bits: Vec<u32> = stacks.as_f32().unwrap().iter().map(|x| x.to_bits()).collect();
    assert_eq!(bits, row.as_f32().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn shared_frames_behave_like_plain_rows(
        starts in proptest::collection::vec(proptest::bool::weighted(0.2), 1..24),
        others in proptest::collection::vec(any::<bool>(), 1..8),
        count in 1usize..6,
        channels in 1usize..4,
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let sizes = [count, channels, 3];
        let ([plain, shared], [other_plain, other_shared]) = (both(&starts, sizes), both(&others, sizes));
        prop_assert_eq!(&plain, &shared);
        let rows: Vec<usize> = picks.iter().map(|pick| pick.index(plain.rows())).collect();
        let gathered = [&plain, &shared].map(|buffer| buffer.gather(&rows).unwrap());
        prop_assert_eq!(&gathered[0], &gathered[1]);
        let Parts::Byte(bytes, shape) = gathered[1].clone().into_parts() else {
            return Err(TestCaseError::fail("bytes stay bytes"));
        };
        prop_assert_eq!(bytes.as_slice(), gathered[0].as_u8().unwrap());
        prop_assert_eq!(shape, vec![3, count * channels]);

        // Frames are shared from some row on.
        let half = plain.rows() / 2;
        let mut later = plain.slice(0..half).unwrap();
        later.share_frames(count);
        for (row, starts) in starts.iter().enumerate().take(plain.rows()).skip(half) {
            let previous = row.checked_sub(1).filter(|_| !starts);
            later.push_stack(plain.row(row), previous).unwrap();
            later.share_frames(count);
        }
        prop_assert_eq!(&later, &plain);

        // Rows of the same frames, of other frames, and plain rows are appended.
        let appended = [[&plain, &other_plain], [&shared, &other_shared], [&shared, &other_plain], [&plain, &other_shared]];
        let appended = appended.map(|[first, second]| {
            let mut all = first.gather(&rows).unwrap();
            all.extend_from(first, 0..first.rows()).unwrap();
            all.extend_from(second, second.rows() / 2..second.rows()).unwrap();
            all.extend_zeros(2);
            all.extend_from(second, 0..1).unwrap();
            all.copy_row(0, first, first.rows() - 1).unwrap();
            all
        });
        prop_assert!(appended.iter().all(|all| *all == appended[0]));
        let mut cut = shared.clone();
        cut.truncate(plain.rows() / 2);
        prop_assert_eq!(&cut, &plain.slice(0..plain.rows() / 2).unwrap());
        cut.clear();
        cut.extend_from(&other_shared, 0..1).unwrap();
        prop_assert_eq!(&cut, &other_plain.slice(0..1).unwrap());

        // Sources are mixed.
        let last = other_plain.rows() - 1;
        let of_sources = [(0, 0), (1, last), (0, plain.rows() - 1), (1, 0)];
        let expected = plain.gather_from(&[&plain, &other_plain], &of_sources).unwrap();
        for sources in [[&shared, &other_shared], [&plain, &other_shared]] {
            prop_assert_eq!(&plain.gather_from(&sources, &of_sources).unwrap(), &expected);
        }

        // Rows that are written, read one by one, or saved.
        let mut written = shared.clone();
        written.row_mut(0).as_u8_mut().unwrap().fill(9);
        prop_assert_eq!(written.row(0).as_u8().unwrap(), vec![9; 3 * count * channels]);
        prop_assert_eq!(shared.row(0).as_u8().unwrap(), plain.row(0).as_u8().unwrap());
        let saved = serde_json::to_value(&shared).unwrap();
        prop_assert_eq!(&saved, &serde_json::to_value(&plain).unwrap());
        prop_assert_eq!(&serde_json::from_value::<Buffer>(saved).unwrap(), &plain);
    }
}
