//! Columns that are loaded when they are first read.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::Column;
use crate::error::Result;

/// A column, or the way to load it.
#[derive(Debug, Clone)]
#[allow(
    clippy::large_enum_variant,
    reason = "a box would cost each column of a forward pass an allocation"
)]
pub(super) enum Entry {
    Ready(Column),
    /// Shared by all copies of the batch, so that it is loaded once.
    Deferred(Arc<Deferred>),
}

/// A column that is loaded when it is first read.
pub(super) struct Deferred {
    rows: usize,
    loaded: OnceLock<Column>,
    load: Box<dyn Fn() -> Result<Column> + Send + Sync>,
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.loaded.get() {
            Some(column) => column.fmt(f),
            None => write!(f, "{} rows, not loaded", self.rows),
        }
    }
}

impl Entry {
    pub(super) fn deferred(
        rows: usize,
        load: impl Fn() -> Result<Column> + Send + Sync + 'static,
    ) -> Self {
        Self::Deferred(Arc::new(Deferred { rows, loaded: OnceLock::new(), load: Box::new(load) }))
    }

    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Ready(column) => column.rows(),
            Self::Deferred(deferred) => deferred.rows,
        }
    }

    pub(super) fn column(&self) -> Result<&Column> {
        let deferred = match self {
            Self::Ready(column) => return Ok(column),
            Self::Deferred(deferred) => deferred,
        };
        if let Some(column) = deferred.loaded.get() {
            return Ok(column);
        }
        let column = (deferred.load)()?;
        Ok(deferred.loaded.get_or_init(|| column))
    }
}
