//! A range of seeds on the command line.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Consecutive seeds: `0..5` or `3`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seeds(Range<u64>);

impl Seeds {
    /// The seeds in ascending order.
    pub(super) fn iter(&self) -> Range<u64> {
        self.0.clone()
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| {
            digits.parse::<u64>().map_err(|_| format!("invalid seed `{digits}`: write 0..5 or 3"))
        };
        let range = match text.split_once("..") {
            Some((start, end)) => number(start)?..number(end)?,
            None => number(text)?..number(text)?.saturating_add(1),
        };
        if range.is_empty() {
            return Err(format!("{text} contains no seed: the end is exclusive, as in 0..5"));
        }
        Ok(Self(range))
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.0.start, self.0.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_excludes_its_end_and_a_number_is_one_seed() {
        assert_eq!("0..3".parse::<Seeds>().unwrap().iter().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!("7".parse::<Seeds>().unwrap().to_string(), "7..8");
    }

    #[test]
    fn empty_ranges_and_words_are_refused() {
        assert!("3..3".parse::<Seeds>().unwrap_err().contains("exclusive"));
        assert!("all".parse::<Seeds>().unwrap_err().contains("0..5"));
    }
}
