//! Sums of priorities, to draw rows in proportion to them.

/// Priorities of rows in a binary tree of sums and minima. A row of priority 0 is never drawn.
///
/// Nodes are computed from their children at every change, in double precision, so that no rounding error
/// accumulates.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SumTree {
    /// The number of leaves: a power of two, or 0.
    leaves: usize,
    /// The root is node 1, and leaf `i` is node `leaves + i`.
    nodes: Vec<Node>,
}

/// The priorities below a node. Both numbers are together, so that a change reads half as many cache lines.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    sum: f64,
    /// The smallest positive priority, or infinity.
    minimum: f64,
}

impl Node {
    const EMPTY: Self = Self { sum: 0.0, minimum: f64::INFINITY };
}

impl SumTree {
    /// Creates a tree for at least `len` rows, all of priority 0.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let leaves = len.next_power_of_two();
        Self { leaves, nodes: vec![Node::EMPTY; 2 * leaves] }
    }

    /// Creates the tree of these priorities, which are finite and not negative.
    #[must_use]
    pub fn from_priorities(priorities: &[f64]) -> Self {
        let mut tree = Self::new(priorities.len());
        for (row, priority) in priorities.iter().enumerate() {
            tree.set_leaf(row, *priority);
        }
        (1..tree.leaves).rev().for_each(|node| tree.compute(node));
        tree
    }

    /// Returns the number of rows that the tree has room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.leaves
    }

    /// Makes room for at least `len` rows.
    pub fn reserve(&mut self, len: usize) {
        if len > self.leaves {
            let stored = self.nodes.get(self.leaves..).unwrap_or_default();
            let mut priorities: Vec<f64> = stored.iter().map(|leaf| leaf.sum).collect();
            priorities.resize(len, 0.0);
            *self = Self::from_priorities(&priorities);
        }
    }

    /// Returns the priority of a row; 0 for rows beyond the end.
    #[must_use]
    pub fn priority(&self, row: usize) -> f64 {
        self.nodes.get(self.leaves + row).map_or(0.0, |leaf| leaf.sum)
    }

    /// Sets the priority of a row, which is finite and not negative. Rows beyond the end are ignored.
    pub fn set(&mut self, row: usize, priority: f64) {
        if row >= self.leaves {
            return;
        }
        self.set_leaf(row, priority);
        let mut node = (self.leaves + row) / 2;
        while node > 0 {
            self.compute(node);
            node /= 2;
        }
    }

    /// Returns the sum of all priorities.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.nodes.get(1).map_or(0.0, |root| root.sum)
    }

    /// Returns the smallest positive priority, or infinity if there is none.
    #[must_use]
    pub fn smallest(&self) -> f64 {
        self.nodes.get(1).map_or(f64::INFINITY, |root| root.minimum)
    }

    /// Returns the first row with `x < p_0 + … + p_row`, for `x` from 0 to below the
    /// [`total`](Self::total). A row of priority 0 is not returned, unless all are.
    #[must_use]
    pub fn find(&self, mut x: f64) -> usize {
        let mut node = 1;
        while node < self.leaves {
            let [left, right] = [self.nodes[2 * node], self.nodes[2 * node + 1]];
            // Rounding may leave an `x` that is as large as all that remains.
            let goes_left = x < left.sum || right.sum <= 0.0;
            if !goes_left {
                x -= left.sum;
            }
            node = 2 * node + usize::from(!goes_left);
        }
        node.saturating_sub(self.leaves.max(1))
    }

    fn set_leaf(&mut self, row: usize, priority: f64) {
        let minimum = if priority > 0.0 { priority } else { f64::INFINITY };
        self.nodes[self.leaves + row] = Node { sum: priority, minimum };
    }

    fn compute(&mut self, node: usize) {
        if node < self.leaves {
            let [left, right] = [self.nodes[2 * node], self.nodes[2 * node + 1]];
            let minimum = left.minimum.min(right.minimum);
            self.nodes[node] = Node { sum: left.sum + right.sum, minimum };
        }
    }
}

#[cfg(test)]
mod tests {
    use rekindle_core::Generator;

    use super::*;

    fn tree(priorities: &[f64]) -> SumTree {
        let mut tree = SumTree::new(priorities.len());
        priorities.iter().enumerate().for_each(|(row, &priority)| tree.set(row, priority));
        tree
    }

    #[test]
    fn a_row_is_the_first_whose_cumulative_priority_is_larger() {
        let tree = tree(&[3.0, 1.0, 0.0, 2.0, 4.0]);
        let x = [0.0, 2.999_999, 3.0, 3.999_999, 4.0, 5.999_999, 6.0, 9.999_999];
        assert_eq!(x.map(|x| tree.find(x)), [0, 0, 1, 1, 3, 3, 4, 4]);
        // The middles of five strata.
        assert_eq!([1.0, 3.0, 5.0, 7.0, 9.0].map(|x| tree.find(x)), [0, 1, 3, 4, 4]);
        assert_eq!((tree.total(), tree.smallest()), (10.0, 1.0));
    }

    #[test]
    fn a_row_of_priority_0_is_not_drawn() {
        let tree = tree(&[0.0, 3.0, 1.0, 0.0, 0.0]);
        assert_eq!(tree.find(0.0), 1);
        // Past the end, as rounding may leave it.
        assert_eq!(tree.find(4.0), 2);
        assert_eq!(SumTree::default().find(0.0), 0);
    }

    #[test]
    fn a_tree_that_grows_keeps_its_priorities() {
        let mut tree = tree(&[1.0, 2.0, 3.0]);
        tree.reserve(9);
        assert_eq!((tree.capacity(), tree.total(), tree.priority(1)), (16, 6.0, 2.0));
        tree.set(8, 0.5);
        assert_eq!((tree.total(), tree.smallest(), tree.find(6.2)), (6.5, 0.5, 8));
        tree.set(8, 0.0);
        assert_eq!((tree.total(), tree.smallest(), tree.priority(99)), (6.0, 1.0, 0.0));
    }

    #[test]
    fn sums_do_not_drift() {
        let mut tree = SumTree::new(1000);
        for step in 0..100_000_u32 {
            tree.set((step * 7919 % 1000) as usize, f64::from(step % 97) * 0.1);
        }
        let total: f64 = (0..1000).map(|row| tree.priority(row)).sum();
        assert!((tree.total() / total - 1.0).abs() < 1e-12);
    }

    #[test]
    fn draws_follow_the_priorities_for_any_number_of_rows() {
        const DRAWS: usize = 100_000;
        for len in [1, 2, 3, 5, 1000] {
            // Every seventh row is never drawn.
            let of = |row: usize| if row % 7 == 6 { 0.0 } else { 1.0 + (row % 5) as f64 };
            let priorities: Vec<f64> = (0..len).map(of).collect();
            let tree = tree(&priorities);
            let mut rng = Generator::from_seed(7);
            let mut counts = vec![0_u32; len];
            for _ in 0..DRAWS {
                counts[tree.find(rng.random() * tree.total())] += 1;
            }
            let mut deviation = 0.0;
            let mut possible = 0;
            for (count, priority) in counts.into_iter().zip(&priorities) {
                let expected = DRAWS as f64 * priority / tree.total();
                assert!(expected > 0.0 || count == 0, "a row of priority 0 was drawn");
                if expected > 0.0 {
                    possible += 1;
                    deviation += (f64::from(count) - expected).powi(2) / expected;
                }
            }
            // χ² has the mean f and the standard deviation √2f.
            let freedom = f64::from(possible - 1);
            assert!(deviation <= freedom + 4.0 * (2.0 * freedom).sqrt(), "{len}: {deviation}");

            let restored = SumTree::from_priorities(&priorities);
            let [mut a, mut b] = [rng.clone(), rng];
            for _ in 0..1000 {
                let draws = [(&tree, &mut a), (&restored, &mut b)];
                let [a, b] = draws.map(|(tree, rng)| tree.find(rng.random() * tree.total()));
                assert_eq!(a, b);
            }
        }
    }
}
