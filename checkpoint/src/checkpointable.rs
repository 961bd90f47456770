//! Components that can be saved and restored.

use std::path::Path;

use crate::error::CheckpointError;
use crate::reader::read;
use crate::state::State;
use crate::writer::write;

/// A component whose state can be saved and restored.
///
/// A component with parts puts their states into [`State::components`]. The directory tree of the
/// checkpoint mirrors them, and each of its directories is a checkpoint.
///
/// A `Box` of a trait object has the provided methods as well. Behind a plain reference, use
/// [`write()`] with [`get_state`](Self::get_state) and [`read()`] with [`set_state`](Self::set_state), as
/// the provided methods do.
pub trait Checkpointable {
    /// The error type of this component, usually its crate's.
    type Error: From<CheckpointError>;

    /// Returns the complete state. A component whose [`set_state`](Self::set_state) receives it continues
    /// exactly as this one would.
    ///
    /// # Errors
    /// If the state cannot be read, for example from a device, or does not fit into a [`State`].
    fn get_state(&self) -> Result<State, Self::Error>;

    /// Replaces the state.
    ///
    /// # Errors
    /// If the state does not fit the component. Implementations check the state before they change
    /// anything, as far as possible.
    fn set_state(&mut self, state: &State) -> Result<(), Self::Error>;

    /// Saves the state to a directory. See [`write()`] for its guarantees.
    ///
    /// # Errors
    /// The errors of [`get_state`](Self::get_state) and of [`write()`].
    fn save_to_path(&self, path: impl AsRef<Path>) -> Result<(), Self::Error>
    where
        Self: Sized,
    {
        Ok(write(path, &self.get_state()?)?)
    }

    /// Restores the state from a directory: a checkpoint of this component, or the component's
    /// directory inside a larger checkpoint.
    ///
    /// # Errors
    /// The errors of [`read()`] and of [`set_state`](Self::set_state). The component is unchanged
    /// if reading fails.
    fn restore_from_path(&mut self, path: impl AsRef<Path>) -> Result<(), Self::Error>
    where
        Self: Sized,
    {
        self.set_state(&read(path)?)
    }
}

impl<C: Checkpointable + ?Sized> Checkpointable for Box<C> {
    type Error = C::Error;

    fn get_state(&self) -> Result<State, Self::Error> {
        (**self).get_state()
    }

    fn set_state(&mut self, state: &State) -> Result<(), Self::Error> {
        (**self).set_state(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Counter(u64);

    impl Checkpointable for Counter {
        type Error = CheckpointError;

        fn get_state(&self) -> Result<State, CheckpointError> {
            State::from_data(&self.0)
        }

        fn set_state(&mut self, state: &State) -> Result<(), CheckpointError> {
            self.0 = state.data_as()?;
            Ok(())
        }
    }

    #[test]
    fn components_are_saved_and_restored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counter");
        Counter(7).save_to_path(&path).unwrap();
        let mut counter = Counter(0);
        counter.restore_from_path(&path).unwrap();
        assert_eq!(counter, Counter(7));
    }

    #[test]
    fn trait_objects_are_saved_and_restored() {
        let dir = tempfile::tempdir().unwrap();
        let boxed: Box<dyn Checkpointable<Error = CheckpointError>> = Box::new(Counter(7));
        boxed.save_to_path(dir.path().join("counter")).unwrap();

        let mut boxed: Box<dyn Checkpointable<Error = CheckpointError>> = Box::new(Counter(0));
        boxed.restore_from_path(dir.path().join("counter")).unwrap();
        assert_eq!(boxed.get_state().unwrap().data_as::<u64>().unwrap(), 7);
    }
}
