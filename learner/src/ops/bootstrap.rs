//! Values that follow rows of fixed length.

use crate::{LearnerError, Result};

/// Returns the value that follows each row of `row_len` steps, where the steps of all episodes are
/// concatenated and cut into such rows, as for losses like IMPALA's.
///
/// A row that ends within an episode is followed by the value of the next step. A row that ends with
/// an episode is followed by that episode's entry of `after`: 0 if the environment terminated it.
///
/// # Shapes
/// `values`: the values of each episode's steps; `after`: `[episodes]`; result: `[steps / row_len]`.
///
/// # Errors
/// [`LearnerError::Length`] if `after` does not have one entry per episode, or if the steps are not a
/// multiple of `row_len`.
pub fn bootstrap_values<V: AsRef<[f32]>>(
    values: &[V],
    after: &[f32],
    row_len: usize,
) -> Result<Vec<f32>> {
    let (expected, found) = (values.len(), after.len());
    if expected != found {
        return Err(LearnerError::Length { what: "values after episodes", expected, found });
    }
    let steps: usize = values.iter().map(|episode| episode.as_ref().len()).sum();
    if row_len == 0 || !steps.is_multiple_of(row_len) {
        let expected = steps.next_multiple_of(row_len.max(1));
        let what = "steps of whole rows";
        return Err(LearnerError::Length { what, expected, found: steps });
    }
    // The value that follows each step. Only the values after the last step of a row are kept.
    let following = values.iter().zip(after).flat_map(|(episode, after)| {
        episode.as_ref().iter().skip(1).chain(std::iter::once(after)).take(episode.as_ref().len())
    });
    Ok(following.skip(row_len - 1).step_by(row_len).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Episodes as words. Their characters are the values of steps, and the last one is the value after
    /// a truncation, or `-` for a terminated episode.
    fn rows(words: &str, row_len: usize) -> Result<String> {
        let words: Vec<_> = words.split_whitespace().collect();
        let number = |c: char| if c == '-' { 0.0 } else { f32::from(c as u8) };
        let mut values = Vec::new();
        let mut after = Vec::new();
        for word in words {
            let mut numbers: Vec<f32> = word.chars().map(number).collect();
            after.extend(numbers.pop());
            values.push(numbers);
        }
        let found = bootstrap_values(&values, &after, row_len)?;
        Ok(found.into_iter().map(|v| if v == 0.0 { '-' } else { char::from(v as u8) }).collect())
    }

    #[test]
    fn a32_rows_are_followed_by_the_next_step_or_by_what_follows_their_episode() {
        let words = "012345678a 01234A 0- 0123456b 01c 012- 012345e 012-";
        assert_eq!(rows(words, 4).unwrap(), "4831".to_owned() + "5c15-");
        let words = "0123a 012345b 01234567- 012- 012- 012- 012345- 0123456c";
        assert_eq!(rows(words, 5).unwrap(), "1b52132c");
        assert!(rows("0123a", 3).unwrap_err().to_string().contains("steps of whole rows"));
    }
}
