//! Crash-safe checkpoints that are data and nothing else.
//!
//! A component implements [`Checkpointable`]: it returns its [`State`] (plain data, named tensors and the
//! states of its parts) and can be restored from one. [`write()`] saves a state to a directory, [`read()`]
//! reads it, and [`read_component`] reads one part of it.
//!
//! Reading runs no code of the checkpoint and never panics, for any content. Anything that cannot
//! be used is a [`CheckpointError`] that names the file and says what to do.
//!
//! # Layout
//! The directory tree mirrors the tree of components:
//! ```text
//! <path>/
//!   manifest.json         format, version, and sizes and SHA-256 of the other files
//!   state.json            the data, if there is any
//!   tensors.safetensors   the tensors, if there are any
//!   <component>/…         the same files for each part
//! ```
//! A manifest holds the SHA-256 of its files and of the manifests of its components, so the manifest of
//! the root covers every byte. It ends with a digest of itself. Each directory is a complete checkpoint of
//! its component: it can be copied elsewhere and read without the others. Equal states give equal bytes if
//! the library versions are equal and the same parts are shards.
//!
//! Files that the manifest does not list are ignored. Symbolic links may lead *to* a checkpoint,
//! but links and special files inside one are rejected. The format version changes whenever an
//! older library would misread a checkpoint; a library rejects versions that it does not know.
//!
//! # Large parts
//! A [`Shard`] is a part that is built while it is written, one at a time, so that a save needs little memory beside
//! the component. If the shard has not changed since an earlier checkpoint, its files are hard links to the files of
//! that checkpoint. This also holds after a restore, because a shard that was read records where its files are. Files
//! of checkpoints are never changed after they are written, so removing or replacing one checkpoint leaves the others
//! as they are. A program that writes into a file of a checkpoint damages all checkpoints that share it; reading finds
//! out.
//!
//! # Guarantees
//! A save builds the new checkpoint in `.<name>.tmp-<pid>-<n>` beside the old one, forces
//! it to the disk, renames the old one to `.<name>.previous` and the new one to `<name>`, and
//! removes the old one. If nothing or an empty directory is at `<name>`, readers look for
//! `.<name>.previous`. So:
//!
//! * **The process dies** at any point: readers find the complete old or new checkpoint. The next save to
//!   the same path removes the remains of the dead one.
//! * **The power fails**: the same on Unix, where files and directories are synced before and
//!   after the swap; on other systems directories cannot be synced, and a save that has returned
//!   may be undone. Both need a file system that keeps renames in order (journaling ones do) and
//!   a disk that reports writes truthfully.
//! * **The disk is full**, the directory is read-only, or another error occurs: the old checkpoint stays, and
//!   the new one is removed.
//! * **Readers during a save** get the old or the new checkpoint. A reader whose files are swapped away
//!   starts again. On Windows the open files of a reader can make a save fail instead.
//! * **Two saves to one path** take turns, across processes, by a lock on `.<name>.lock`; the last
//!   one wins. On a file system without locks one of them may fail, and temporary directories of dead saves
//!   remain.
//! * **Damage** (truncation, flipped bits, files mixed from two checkpoints) is an error when reading.
//! * **Foreign files** are never removed. A save replaces only an empty directory or a checkpoint without
//!   foreign files, and removes only directories with the names above that hold nothing but the files of a
//!   checkpoint.
//!
//! Not guaranteed: authenticity (who can write the files can compute the digests), protection against
//! files and links that are changed while they are read, a fallback for readers that follow a symbolic link
//! in the middle of a swap, and object stores.
#![forbid(unsafe_code)]

mod array;
mod atomic_swap;
mod checkpointable;
mod digest;
mod error;
mod foreign;
mod json;
mod lock;
mod manifest;
mod name;
mod place;
mod reader;
mod shard;
mod state;
mod tensor_file;
mod tree;
mod value;
mod writer;

pub use array::{Array, ArrayData, Element};
pub use checkpointable::Checkpointable;
pub use error::CheckpointError;
pub use foreign::read_safetensors;
pub use name::check_component;
pub use reader::{exists, read, read_component, read_data};
pub use shard::{SaveRecord, Shard};
pub use state::State;
pub use value::{from_value, to_value};
pub use writer::write;
