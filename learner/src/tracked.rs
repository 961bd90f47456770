//! Values that count their changes.

use std::ops::{Deref, DerefMut};

/// A value that counts how often it may have been changed, so that copies elsewhere are renewed only when they are
/// out of date.
#[derive(Debug, Default)]
pub(crate) struct Tracked<T> {
    value: T,
    version: u64,
}

impl<T> Tracked<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value, version: 0 }
    }

    /// Returns a number that grows with every access that could change the value.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }
}

impl<T> Deref for Tracked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Tracked<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.version += 1;
        &mut self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_not_counted_and_every_way_to_change_is() {
        let mut tracked = Tracked::new(vec![1]);
        assert_eq!((tracked.len(), tracked.version()), (1, 0));
        tracked.push(2);
        *tracked = vec![3];
        std::mem::take(&mut *tracked).clear();
        assert_eq!((tracked.len(), tracked.version()), (0, 3));
    }
}
