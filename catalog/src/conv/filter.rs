//! The layers of a convolutional network as data.

use rekindle_core::ConfigError;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model_config::{MAX_UNITS, MAX_WEIGHTS};

/// Padding of an image before a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConvPadding {
    /// Zeros around the image, so that each side becomes ⌈side / stride⌉. If the number of zeros
    /// is odd, the larger half goes to the bottom and right, as in TensorFlow.
    #[default]
    Same,
    /// No zeros: each side becomes ⌊(side − kernel) / stride⌋ + 1.
    Valid,
}

/// One convolutional layer.
///
/// Serialized as in RLlib: `[out_channels, kernel, stride]`, with an optional fourth element
/// `"same"` (the default) or `"valid"`. Kernel and stride are numbers or `[height, width]`.
///
/// ```
/// use rekindle_catalog::ConvFilter;
///
/// let filters: Vec<ConvFilter> = serde_json::from_str(r#"[[16, 8, 4], [32, [4, 3], 2, "valid"]]"#)?;
/// assert_eq!(filters[0], ConvFilter::new(16, 8, 4));
/// assert_eq!(filters[1].kernel, [4, 3]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Repr", into = "Repr")]
pub struct ConvFilter {
    /// Number of output channels.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Padding of the image.
    pub padding: ConvPadding,
}

impl ConvFilter {
    /// Creates a layer with a square kernel and "same" padding.
    #[must_use]
    pub fn new(out_channels: usize, kernel: usize, stride: usize) -> Self {
        let padding = ConvPadding::Same;
        Self { out_channels, kernel: [kernel; 2], stride: [stride; 2], padding }
    }

    /// Returns the layer without padding.
    #[must_use]
    pub fn valid(self) -> Self {
        Self { padding: ConvPadding::Valid, ..self }
    }

    /// Returns height and width after the layer; `None` if a kernel without padding exceeds the
    /// image.
    #[must_use]
    pub fn output_size(&self, [height, width]: [usize; 2]) -> Option<[usize; 2]> {
        let side = |side: usize, axis: usize| match self.padding {
            ConvPadding::Same => Some(side.div_ceil(self.stride[axis])),
            ConvPadding::Valid => {
                side.checked_sub(self.kernel[axis]).map(|rest| rest / self.stride[axis] + 1)
            }
        };
        Some([side(height, 0)?, side(width, 1)?])
    }
}

/// Checks that there is a filter and that no filter contains a zero.
///
/// # Errors
/// [`CatalogError::Config`](crate::CatalogError::Config) that names `field`.
pub(crate) fn validate_filters(field: &'static str, filters: &[ConvFilter]) -> Result<()> {
    let zero = |f: &ConvFilter| f.out_channels == 0 || [f.kernel, f.stride].concat().contains(&0);
    let constraint = if filters.is_empty() {
        "an image needs at least one filter"
    } else if filters.iter().any(zero) {
        "channels, kernels and strides must be at least 1"
    } else if !filters
        .iter()
        .scan(1, |channels, filter| Some(fits(channels, filter)))
        .all(|fits| fits)
    {
        "a layer has at most 65536 channels and 2147483647 weights"
    } else {
        return Ok(());
    };
    let value = serde_json::to_string(filters).unwrap_or_default();
    Err(ConfigError::new(field, value, constraint).into())
}

/// Whether a layer fits into memory, with `channels` of the layer before it, which become its own.
fn fits(channels: &mut usize, filter: &ConvFilter) -> bool {
    let sizes =
        [std::mem::replace(channels, filter.out_channels), filter.kernel[0], filter.kernel[1]];
    let weights = sizes.iter().try_fold(filter.out_channels, |all, size| all.checked_mul(*size));
    filter.out_channels <= MAX_UNITS && weights.is_some_and(|weights| weights <= MAX_WEIGHTS)
}

/// Returns the default filters for images of a height and width.
///
/// The sizes in RLlib's table (96, 84, 64, 42 and 10 squared) get RLlib's filters. All other images
/// follow the pattern of 64 × 64: kernels of 4 with stride 2 and 16, 32, 64, then 128 channels,
/// until no side is longer than 4. Images of at most 4 × 4 get one 3 × 3 layer with 16 channels.
pub(crate) fn default_filters(size: [usize; 2]) -> Vec<ConvFilter> {
    let table: &[(usize, usize, usize)] = match size {
        [96, 96] => &[(16, 8, 4), (32, 4, 2), (256, 11, 2)],
        [84, 84] => &[(16, 8, 4), (32, 4, 2), (256, 11, 1)],
        [42, 42] => &[(16, 4, 2), (32, 4, 2), (256, 11, 1)],
        [10, 10] => &[(16, 5, 2), (32, 5, 2)],
        _ => return halving_filters(size),
    };
    table
        .iter()
        .map(|&(channels, kernel, stride)| ConvFilter::new(channels, kernel, stride))
        .collect()
}

fn halving_filters([height, width]: [usize; 2]) -> Vec<ConvFilter> {
    let mut longest = height.max(width);
    if longest <= 4 {
        return vec![ConvFilter::new(16, 3, 1)];
    }
    let mut filters = Vec::new();
    while longest > 4 {
        let channels = 16 << filters.len().min(3);
        filters.push(ConvFilter::new(channels, 4, 2));
        longest = longest.div_ceil(2);
    }
    filters
}

/// Serialized form of a filter. The default padding is omitted.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a filter is [out_channels, kernel, stride] or [out_channels, kernel, stride, \"same\" or \"valid\"]; kernel and stride are numbers or [height, width]"
)]
enum Repr {
    Same(usize, Sides, Sides),
    Padded(usize, Sides, Sides, ConvPadding),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum Sides {
    Both(usize),
    Each([usize; 2]),
}

impl From<Sides> for [usize; 2] {
    fn from(sides: Sides) -> Self {
        match sides {
            Sides::Both(side) => [side; 2],
            Sides::Each(sides) => sides,
        }
    }
}

impl From<[usize; 2]> for Sides {
    fn from([height, width]: [usize; 2]) -> Self {
        if height == width { Self::Both(height) } else { Self::Each([height, width]) }
    }
}

impl From<Repr> for ConvFilter {
    fn from(repr: Repr) -> Self {
        let (out_channels, kernel, stride, padding) = match repr {
            Repr::Same(channels, kernel, stride) => (channels, kernel, stride, ConvPadding::Same),
            Repr::Padded(channels, kernel, stride, padding) => (channels, kernel, stride, padding),
        };
        Self { out_channels, kernel: kernel.into(), stride: stride.into(), padding }
    }
}

impl From<ConvFilter> for Repr {
    fn from(filter: ConvFilter) -> Self {
        let (kernel, stride) = (filter.kernel.into(), filter.stride.into());
        match filter.padding {
            ConvPadding::Same => Self::Same(filter.out_channels, kernel, stride),
            padding => Self::Padded(filter.out_channels, kernel, stride, padding),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_written_as_rllib_writes_them_and_anything_else_is_refused() {
        let json = r#"[[16,8,4],[32,[4,3],2,"valid"]]"#;
        let filters: Vec<ConvFilter> = serde_json::from_str(json).unwrap();
        let second = ConvFilter { kernel: [4, 3], ..ConvFilter::new(32, 4, 2).valid() };
        assert_eq!(filters, [ConvFilter::new(16, 8, 4), second]);
        assert_eq!(serde_json::to_string(&filters).unwrap(), json);
        for bad in ["[16,8]", r#"[16,8,4,"full"]"#, "[16,8,4,2]", "[16,8,-1]"] {
            let message = serde_json::from_str::<ConvFilter>(bad).unwrap_err().to_string();
            assert!(message.contains("a filter is [out_channels, kernel, stride]"), "{message}");
        }
    }

    #[test]
    fn layers_too_large_for_memory_are_refused() {
        let refused = |filters: &[ConvFilter]| validate_filters("conv_filters", filters).is_err();
        assert!(refused(&[ConvFilter::new(8, 100_000, 1)]));
        assert!(refused(&[ConvFilter::new(1_000_000_000, 3, 1)]));
        assert!(refused(&[ConvFilter::new(65_536, 1, 1), ConvFilter::new(65_536, 1, 1)]));
        assert!(refused(&[ConvFilter::new(1, usize::MAX, 1)]));
        assert!(!refused(&[ConvFilter::new(16, 8, 4), ConvFilter::new(256, 11, 1)]));
    }

    #[test]
    fn same_padding_divides_each_side_by_the_stride_and_rounds_up() {
        for side in 1..40 {
            for (kernel, stride) in [(1, 1), (3, 1), (4, 2), (8, 4), (5, 3), (2, 3)] {
                let filter = ConvFilter::new(1, kernel, stride);
                let expected = side / stride + usize::from(side % stride > 0);
                assert_eq!(filter.output_size([side, 7 * side]).unwrap()[0], expected);
            }
        }
        assert_eq!(ConvFilter::new(1, 8, 4).valid().output_size([84, 84]), Some([20, 20]));
        assert_eq!(ConvFilter::new(1, 8, 4).valid().output_size([84, 7]), None);
    }

    #[test]
    fn every_size_has_default_filters_and_sizes_without_a_table_end_at_4_or_less() {
        let rllib = [(64, 4), (84, 3), (96, 3), (42, 3), (10, 2)];
        for (side, layers) in rllib {
            assert_eq!(default_filters([side, side]).len(), layers, "{side}");
        }
        let channels =
            |size| default_filters(size).iter().map(|f| f.out_channels).collect::<Vec<_>>();
        assert_eq!(channels([64, 64]), [16, 32, 64, 128]);
        assert_eq!(channels([210, 160]), [16, 32, 64, 128, 128, 128]);
        for size in [[1, 1], [4, 3], [5, 1], [33, 7], [210, 160], [1, 1000]] {
            let filters = default_filters(size);
            let end = filters.iter().try_fold(size, |size, filter| filter.output_size(size));
            assert!(end.unwrap().iter().all(|&side| (1..=4).contains(&side)), "{size:?}: {end:?}");
        }
    }
}
