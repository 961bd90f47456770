//! Convolutional networks: encoders of images, and decoders.

mod cnn;
mod cnn_transpose;
mod filter;

pub use cnn::{Cnn, CnnConfig};
pub use cnn_transpose::{CnnTransposeHead, CnnTransposeHeadConfig};
pub use filter::{ConvFilter, ConvPadding};

pub(crate) use filter::{default_filters, validate_filters};
