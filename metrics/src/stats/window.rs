//! Reductions over the latest values.

use std::collections::VecDeque;

/// Appends values and drops the oldest beyond `capacity`.
pub(super) fn extend(
    window: &mut VecDeque<f64>,
    capacity: usize,
    values: impl IntoIterator<Item = f64>,
) {
    for value in values {
        if window.len() >= capacity {
            window.pop_front();
        }
        window.push_back(value);
    }
}

/// Returns the latest `limit` values of windows that were recorded in parallel, oldest first.
///
/// The windows contribute in turns, newest values first, until the limit is reached. Appending them one
/// after the other would keep only the last of them.
pub(super) fn in_turns(windows: &[&VecDeque<f64>], limit: usize) -> Vec<f64> {
    let longest = windows.iter().map(|window| window.len()).max().unwrap_or_default();
    let newest = |window: &VecDeque<f64>, age: usize| {
        window.len().checked_sub(age + 1).and_then(|index| window.get(index)).copied()
    };
    let mut latest: Vec<f64> = (0..longest)
        .flat_map(|age| windows.iter().filter_map(move |window| newest(window, age)))
        .take(limit)
        .collect();
    latest.reverse();
    latest
}

/// Returns the percentile at `rank` in `[0, 100]`, linear between neighbors, or `None` without values.
pub(super) fn percentile(window: &VecDeque<f64>, rank: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = window.iter().copied().collect();
    sorted.sort_unstable_by(f64::total_cmp);

    let position = rank / 100.0 * sorted.len().saturating_sub(1) as f64;
    let below = *sorted.get(position.floor() as usize)?;
    let above = *sorted.get(position.ceil() as usize)?;
    let fraction = position.fract();
    // An exact hit must not use its neighbor: 0 * infinity is NaN.
    Some(if fraction == 0.0 { below } else { (1.0 - fraction) * below + fraction * above })
}
