//! Episodes in equal shares, for learners side by side.

use std::ops::Range;

/// Steps of one episode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The episode.
    pub episode: usize,
    /// Its steps.
    pub steps: Range<usize>,
}

/// Splits episodes of the given lengths into `num_shards` shares that differ by one step at most;
/// RLlib's `ShardEpisodesIterator`.
///
/// Longest first, each episode goes to the share that is least full, and is cut only where a share
/// is full. The last shares have the step more if the steps do not divide.
pub fn shard_episodes(lengths: &[usize], num_shards: usize) -> Vec<Vec<Piece>> {
    let total: usize = lengths.iter().sum();
    let shards = num_shards.max(1);
    let room = |shard| total / shards + usize::from(shard >= shards - total % shards);
    let mut left: Vec<usize> = (0..shards).map(room).collect();
    let mut shares = vec![Vec::new(); shards];
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&episode| std::cmp::Reverse(lengths[episode]));
    for episode in order {
        let mut start = 0;
        while start < lengths[episode] {
            let filled = |shard: usize| room(shard) - left[shard];
            let open = (0..shards).filter(|&shard| left[shard] > 0);
            let Some(shard) = open.min_by_key(|&shard| filled(shard)) else { break };
            let end = lengths[episode].min(start + left[shard]);
            left[shard] -= end - start;
            shares[shard].push(Piece { episode, steps: start..end });
            start = end;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: [usize; 9] = [10, 21, 3, 4, 35, 41, 5, 15, 44];

    fn lengths(shards: usize) -> Vec<Vec<usize>> {
        let shares = shard_episodes(&LENGTHS, shards);
        shares.iter().map(|share| share.iter().map(|p| p.steps.len()).collect()).collect()
    }

    #[test]
    fn a53_shares_equal_rllibs() {
        assert_eq!(lengths(3), [vec![44, 10, 5], vec![41, 15, 3], vec![35, 21, 1, 3]]);
        assert_eq!(lengths(4), [vec![44], vec![41, 3], vec![35, 10], vec![21, 15, 5, 1, 3]]);
    }

    #[test]
    fn every_step_is_in_one_share() {
        for shards in 1..12 {
            let mut steps: Vec<_> = shard_episodes(&LENGTHS, shards)
                .into_iter()
                .flatten()
                .flat_map(|piece| piece.steps.map(move |step| (piece.episode, step)))
                .collect();
            steps.sort_unstable();
            let all: Vec<_> =
                (0..9).flat_map(|e| (0..LENGTHS[e]).map(move |step| (e, step))).collect();
            assert_eq!(steps, all, "{shards} shards");
        }
        assert_eq!(shard_episodes(&[], 2), [vec![], vec![]]);
    }
}
