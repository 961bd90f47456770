//! Processes of MPI.

mod collective;
mod communicator;
mod followers;
mod transport;
mod world;

pub use self::collective::{BUCKET, MpiCollective};
pub use self::communicator::Communicator;
pub use self::followers::{Followers, follow};
pub use self::transport::MpiTransport;
pub use self::world::{World, abort};
