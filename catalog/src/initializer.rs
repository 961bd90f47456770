//! Initial values of weights and biases, drawn on the host.
//!
//! Burn's own initializers draw from the device's generator, which cannot be saved and is shared by
//! the whole process. These draw from the caller's stream, so that a seed gives the same parameters
//! on every device.

use rekindle_core::Generator;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Distribution of the initial values of a weight matrix or a bias; named after `torch.nn.init`.
///
/// Serialized with its name as `type`: `{"type": "orthogonal", "gain": 1.0}`, `{"type": "zeros"}`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields, remote = "Self")]
#[non_exhaustive]
pub enum Initializer {
    /// PyTorch's default for linear layers: uniform in ±1/√fan_in, for weights and biases.
    #[default]
    TorchDefault,
    /// Orthonormal rows or columns times `gain` (Saxe et al., 2014).
    Orthogonal {
        /// Factor of the values.
        gain: f32,
    },
    /// Uniform in ±gain·√(6/(fan_in+fan_out)) (Glorot and Bengio, 2010).
    XavierUniform {
        /// Factor of the values.
        gain: f32,
    },
    /// Normal with standard deviation gain·√(2/(fan_in+fan_out)).
    XavierNormal {
        /// Factor of the values.
        gain: f32,
    },
    /// Uniform in ±gain·√(3/fan_in) (He et al., 2015). The gain for ReLU is √2.
    KaimingUniform {
        /// Factor of the values.
        gain: f32,
    },
    /// Normal with standard deviation gain/√fan_in.
    KaimingNormal {
        /// Factor of the values.
        gain: f32,
    },
    /// Uniform in `[low, high)`.
    Uniform {
        /// Lower bound.
        low: f32,
        /// Upper bound.
        high: f32,
    },
    /// Normal.
    Normal {
        /// Mean.
        mean: f32,
        /// Standard deviation.
        std: f32,
    },
    /// One value everywhere.
    Constant {
        /// Value.
        value: f32,
    },
    /// Zero everywhere.
    Zeros,
}

/// The forms of an initializer as data, for the error about any other.
const FORMS: &str = r#"{"type": "torch_default"}, {"type": "zeros"}, {"type": "constant", "value": 0.1}, {"type": "orthogonal", "gain": 1.0}, {"type": "xavier_uniform", "gain": 1.0}, {"type": "xavier_normal", "gain": 1.0}, {"type": "kaiming_uniform", "gain": 1.0}, {"type": "kaiming_normal", "gain": 1.0}, {"type": "uniform", "low": -0.1, "high": 0.1}, {"type": "normal", "mean": 0.0, "std": 0.1}"#;

// `remote = "Self"` derives inherent functions, so that the error message can be our own: serde's
// mentions "internally tagged enums".
impl Serialize for Initializer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Initializer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let refuse =
            || D::Error::custom(format!("{value} is not an initializer; use one of {FORMS}"));
        let initializer = Self::deserialize(&value).map_err(|_| refuse())?;
        // The derived function ignores further fields of variants without any.
        let fields =
            Self::serialize(&initializer, serde_json::value::Serializer).map_err(|_| refuse())?;
        match value.as_object().map(|o| o.len()) == fields.as_object().map(|o| o.len()) {
            true => Ok(initializer),
            false => Err(refuse()),
        }
    }
}

impl Initializer {
    /// Draws the values of a weight matrix `[fan_in, fan_out]`, row-major.
    #[must_use]
    pub fn weight(&self, fan_in: usize, fan_out: usize, rng: &mut Generator) -> Vec<f32> {
        match *self {
            Self::Orthogonal { gain } => orthogonal(fan_in, fan_out, gain, rng),
            _ => self.fill(fan_in * fan_out, fan_in, fan_out, rng),
        }
    }

    /// Draws the kernels of a convolution `[rows, cols, height, width]`, row-major.
    ///
    /// As in PyTorch, the fans are `cols` and `rows` times the size of the kernel, and `Orthogonal`
    /// applies to the matrix `[rows, cols · height · width]`.
    pub(crate) fn conv_weight(
        &self,
        rows: usize,
        cols: usize,
        [height, width]: [usize; 2],
        rng: &mut Generator,
    ) -> Vec<f32> {
        let (fan_in, fan_out) = (cols * height * width, rows * height * width);
        match *self {
            Self::Orthogonal { gain } => orthogonal(rows, fan_in, gain, rng),
            _ => self.fill(rows * fan_in, fan_in, fan_out, rng),
        }
    }

    /// Draws the values of a bias `[fan_out]`. `Orthogonal` is not defined for vectors and returns
    /// zeros.
    #[must_use]
    pub fn bias(&self, fan_in: usize, fan_out: usize, rng: &mut Generator) -> Vec<f32> {
        match self {
            Self::Orthogonal { .. } => vec![0.0; fan_out],
            _ => self.fill(fan_out, fan_in, fan_out, rng),
        }
    }

    fn fill(&self, len: usize, fan_in: usize, fan_out: usize, rng: &mut Generator) -> Vec<f32> {
        let (fan_in, fan_out) = (fan_in.max(1) as f64, fan_out.max(1) as f64);
        let mut uniform = |low: f64, high: f64| -> Vec<f32> {
            (0..len).map(|_| rng.uniform(low, high) as f32).collect()
        };
        match *self {
            Self::TorchDefault => {
                let bound = 1.0 / fan_in.sqrt();
                uniform(-bound, bound)
            }
            Self::XavierUniform { gain } => {
                let bound = f64::from(gain) * (6.0 / (fan_in + fan_out)).sqrt();
                uniform(-bound, bound)
            }
            Self::KaimingUniform { gain } => {
                let bound = f64::from(gain) * (3.0 / fan_in).sqrt();
                uniform(-bound, bound)
            }
            Self::Uniform { low, high } => uniform(low.into(), high.into()),
            Self::XavierNormal { gain } => {
                normal(len, 0.0, f64::from(gain) * (2.0 / (fan_in + fan_out)).sqrt(), rng)
            }
            Self::KaimingNormal { gain } => normal(len, 0.0, f64::from(gain) / fan_in.sqrt(), rng),
            Self::Normal { mean, std } => normal(len, mean.into(), std.into(), rng),
            Self::Constant { value } => vec![value; len],
            Self::Zeros | Self::Orthogonal { .. } => vec![0.0; len],
        }
    }
}

fn normal(len: usize, mean: f64, std: f64, rng: &mut Generator) -> Vec<f32> {
    (0..len).map(|_| (mean + std * rng.standard_normal()) as f32).collect()
}

/// Gram–Schmidt on the rows of a random normal matrix with the smaller dimension as rows.
///
/// The rows are projected twice, which keeps them orthogonal to working precision.
fn orthogonal(rows: usize, cols: usize, gain: f32, rng: &mut Generator) -> Vec<f32> {
    let (short, long) = (rows.min(cols), rows.max(cols));
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(short);
    while basis.len() < short {
        let mut v: Vec<f64> = (0..long).map(|_| rng.standard_normal()).collect();
        for _ in 0..2 {
            for b in &basis {
                let dot: f64 = b.iter().zip(&v).map(|(b, v)| b * v).sum();
                v.iter_mut().zip(b).for_each(|(v, b)| *v -= dot * b);
            }
        }
        let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        // A draw that lies in the span of the others (probability zero) is drawn again.
        if norm > 1e-8 {
            v.iter_mut().for_each(|v| *v /= norm);
            basis.push(v);
        }
    }
    let at = |r: usize, c: usize| if rows <= cols { basis[r][c] } else { basis[c][r] };
    (0..rows)
        .flat_map(|r| (0..cols).map(move |c| (r, c)))
        .map(|(r, c)| gain * at(r, c) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rng() -> Generator {
        Generator::from_seed(1)
    }

    #[test]
    fn orthogonal_matrices_have_orthonormal_columns_or_rows_times_the_gain() {
        for (rows, cols) in [(4, 4), (3, 7), (7, 3)] {
            let m = Initializer::Orthogonal { gain: 2.0 }.weight(rows, cols, &mut rng());
            let dot = |a: usize, b: usize| -> f32 {
                if rows <= cols {
                    (0..cols).map(|c| m[a * cols + c] * m[b * cols + c]).sum()
                } else {
                    (0..rows).map(|r| m[r * cols + a] * m[r * cols + b]).sum()
                }
            };
            for a in 0..rows.min(cols) {
                for b in 0..rows.min(cols) {
                    let expected = if a == b { 4.0 } else { 0.0 };
                    assert!((dot(a, b) - expected).abs() < 1e-5, "{rows}x{cols} {a},{b}");
                }
            }
        }
    }

    #[test]
    fn uniform_initializers_stay_in_their_bounds_and_fill_them() {
        for (init, bound) in [
            (Initializer::TorchDefault, 0.1),
            (Initializer::XavierUniform { gain: 1.0 }, (6.0f32 / 200.0).sqrt()),
            (Initializer::KaimingUniform { gain: 2f32.sqrt() }, (6.0f32 / 100.0).sqrt()),
        ] {
            let w = init.weight(100, 100, &mut rng());
            let max = w.iter().fold(0f32, |m, x| m.max(x.abs()));
            assert!(max <= bound && max > 0.99 * bound, "{init:?}: {max} of {bound}");
        }
    }

    #[test]
    fn kernels_of_convolutions_take_their_size_into_the_fans() {
        let w = Initializer::TorchDefault.conv_weight(8, 4, [5, 5], &mut rng());
        let max = w.iter().fold(0f32, |m, x| m.max(x.abs()));
        assert!(w.len() == 800 && max <= 0.1 && max > 0.099, "{max}");
        let w = Initializer::Orthogonal { gain: 1.0 }.conv_weight(2, 1, [2, 2], &mut rng());
        let dot = |a: usize, b: usize| (0..4).map(|i| w[4 * a + i] * w[4 * b + i]).sum::<f32>();
        assert!(dot(0, 1).abs() < 1e-6 && (dot(0, 0) - 1.0).abs() < 1e-6, "{w:?}");
    }

    #[test]
    fn normal_initializers_have_their_standard_deviation() {
        for (init, std) in [
            (Initializer::XavierNormal { gain: 1.0 }, 0.1f64),
            (Initializer::KaimingNormal { gain: 1.0 }, 0.1),
            (Initializer::Normal { mean: 0.0, std: 0.5 }, 0.5),
        ] {
            let w = init.weight(100, 100, &mut rng());
            let var = w.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 1e4;
            assert!((var.sqrt() / std - 1.0).abs() < 0.05, "{init:?}");
        }
    }

    #[test]
    fn other_forms_are_refused_with_the_valid_ones() {
        let json = r#"{"type":"orthogonal","gain":0.01}"#;
        let init: Initializer = serde_json::from_str(json).unwrap();
        assert_eq!(init, Initializer::Orthogonal { gain: 0.01 });
        assert_eq!(serde_json::to_string(&init).unwrap(), json);
        for other in [r#""zeros""#, r#"{"type":"magic"}"#, r#"{"type":"zeros","gain":1}"#] {
            let message = serde_json::from_str::<Initializer>(other).unwrap_err().to_string();
            let other = serde_json::from_str::<Value>(other).unwrap().to_string();
            assert!(message.contains(&other) && message.contains(FORMS), "{message}");
        }
        let forms: Vec<Initializer> = serde_json::from_str(&format!("[{FORMS}]")).unwrap();
        assert_eq!(forms.len(), 10);
    }
}
