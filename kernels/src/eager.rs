//! A switch from fused operations to compositions of plain ones, for debugging.

use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    /// The number of scopes of this thread that ask for plain operations. Scopes may end in any order.
    static EAGER_SCOPES: Cell<usize> = const { Cell::new(0) };
}

/// Whether operations on this thread are plain compositions; see [`scope`].
#[must_use]
pub fn is_eager() -> bool {
    EAGER_SCOPES.get() > 0
}

/// Replaces fused operations on this thread by compositions of Burn's operations, until the returned scope
/// is dropped, if `eager` is true. Otherwise nothing changes.
///
/// Breakpoints and prints then see each operation and its result. Values and gradients agree with those of
/// the fused operations up to rounding. A graph that was recorded with fused operations keeps their
/// gradients.
///
/// ```
/// use rekindle_kernels::eager;
///
/// {
///     let _eager = eager::scope(true);
///     assert!(eager::is_eager());
///     let _inner = eager::scope(false);
///     assert!(eager::is_eager());
/// }
/// assert!(!eager::is_eager());
/// ```
#[must_use = "the scope ends when it is dropped"]
pub fn scope(eager: bool) -> Scope {
    EAGER_SCOPES.set(EAGER_SCOPES.get() + usize::from(eager));
    Scope { eager, of_this_thread: PhantomData }
}

/// The time in which operations on this thread may be eager; see [`scope`].
#[derive(Debug)]
pub struct Scope {
    eager: bool,
    /// Keeps the scope on its thread.
    of_this_thread: PhantomData<*const ()>,
}

impl Drop for Scope {
    fn drop(&mut self) {
        EAGER_SCOPES.set(EAGER_SCOPES.get() - usize::from(self.eager));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_that_end_out_of_order_leave_no_thread_eager() {
        let (outer, inner) = (scope(true), scope(true));
        drop(outer);
        assert!(is_eager(), "the inner scope goes on");
        let plain = scope(false);
        drop(inner);
        assert!(!is_eager(), "a scope that asks for nothing keeps nothing");
        drop(plain);
        assert!(!is_eager());
    }
}
