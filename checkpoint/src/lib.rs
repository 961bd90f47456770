//! Crash-safe checkpoints that are data and nothing else.
//!
//! A component implements [`Checkpointable`]: it gives its [`State`] (plain data, named tensors
//! and the states of its parts) and takes it back. [`write()`] saves a state to a directory,
//! [`read()`] reads it again and [`read_component`] reads one part of it.
//!
//! Reading runs no code of the checkpoint and does not panic, whatever the bytes: anything that
//! cannot be used is a [`CheckpointError`] that names the file and says what to do.
//!
//! # Layout
//! The directory tree mirrors the tree of components:
//! ```text
//! <path>/
//!   manifest.json         format, version, size and SHA-256 of what follows
//!   state.json            the data, if there is any
//!   tensors.safetensors   the tensors, if there are any
//!   <component>/…         the same again for each part
//! ```
//! A manifest pins its files by their SHA-256 and its components by that of their manifests, so
//! the root's covers every byte; it ends in a digest of itself. Each directory is a checkpoint of
//! its own: it can be read, or copied elsewhere and read, without the rest. Equal states of the
//! same library version give equal bytes.
//!
//! Files that the manifest does not list are ignored. Symbolic links may lead *to* a checkpoint,
//! but links and special files inside one are refused. The format version changes whenever an
//! older library would misread a checkpoint; a library refuses versions that it does not know.
//!
//! # What is promised
//! A save puts the new checkpoint together in `.<name>.tmp-<pid>-<n>` beside the old one, forces
//! it to the disk, renames the old one to `.<name>.previous` and the new one to `<name>`, and
//! removes the old one. If nothing or an empty directory is at `<name>`, readers look for
//! `.<name>.previous`. So:
//!
//! * **The process dies** at any point: readers find the old or the new checkpoint, whole. The
//!   next save to the same path removes what the dead one left.
//! * **The power fails**: the same on Unix, where files and directories are synced before and
//!   after the swap; on other systems directories cannot be synced, and a save that has returned
//!   may be undone. Both need a file system that keeps renames in order (journaling ones do) and
//!   a disk that does not lie about having written.
//! * **The disk is full**, or another error: the old checkpoint stays, the new one is removed.
//! * **Readers during a save** get the old or the new checkpoint; one that loses its files to the
//!   swap starts again. On Windows a reader's open files can make a save fail instead.
//! * **Two saves to one path** take turns, across processes, by a lock on `.<name>.lock`; the last
//!   one wins. Where the file system has no locks there are no turns: one of them may fail, and
//!   temporary directories of dead saves stay.
//! * **Damage** (truncation, flipped bits, files mixed from two checkpoints) is found when read.
//! * **Other people's files** are never removed: a save replaces only an empty directory or a
//!   checkpoint without foreign files, and clears away only directories that have the names above
//!   and hold nothing but a checkpoint's files.
//!
//! Not promised: authenticity (whoever can write the files can compute the digests), protection
//! against someone who changes files or plants links while they are read, a fallback for readers
//! that come through a symbolic link in the middle of a swap, and anything on object stores.
#![forbid(unsafe_code)]

mod array;
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
mod state;
mod target;
mod tensor_file;
mod tree;
mod value;
mod writer;

pub use array::{Array, ArrayData, Element};
pub use checkpointable::Checkpointable;
pub use error::CheckpointError;
pub use foreign::read_safetensors;
pub use reader::{exists, read, read_component};
pub use state::State;
pub use value::{from_value, to_value};
pub use writer::write;
