//! Datasets of [Minari](https://minari.farama.org), which several libraries read and write.
//!
//! # Layout
//!
//! `<folder>/data/metadata.json` has the number of episodes, their form and the spaces. Each episode has a row for each
//! observation, one more than it has steps:
//!
//! | form | an episode is | in its columns |
//! |---|---|---|
//! | `hdf5` | the group `episode_<i>` of `main_data.hdf5` | parts of a Dict or Tuple are groups `<key>` and `_index_<i>`; columns of steps have a row less |
//! | `arrow` | a directory `<i>` with files of Arrow's inter-process format | parts are fields of a struct, arrays are lists of equal lengths; columns of steps have a last row that means nothing |
//! | `parquet` | a directory `<i>` with Parquet files | as in `arrow` |
//!
//! [`MinariData`] reads all forms, and [`MinariRecorder`] writes the last one: an episode is complete once the metadata
//! count it.

mod arrow;
mod columns;
mod find;
mod hdf5;
mod json;
mod metadata;
mod parquet;
mod read;
mod recorder;
mod space;
mod units;
mod write;

pub(crate) use find::hint;
pub use read::MinariData;
pub use recorder::MinariRecorder;
