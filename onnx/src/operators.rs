//! The operators that policies are made of.

use std::ops::Range;

use crate::graph::{Attribute, ElementType, Graph, Value};

impl Graph {
    /// `a + b`, with broadcasting.
    pub fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Add", &[a, b], &[])
    }

    /// `a − b`, with broadcasting.
    pub fn sub(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Sub", &[a, b], &[])
    }

    /// `a · b`, element by element, with broadcasting.
    pub fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Mul", &[a, b], &[])
    }

    /// `a / b`, with broadcasting.
    pub fn div(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Div", &[a, b], &[])
    }

    /// The larger of two numbers, with broadcasting.
    pub fn max(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Max", &[a, b], &[])
    }

    /// The smaller of two numbers, with broadcasting.
    pub fn min(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Min", &[a, b], &[])
    }

    /// Converts elements to another type.
    pub fn cast(&mut self, x: &Value, kind: ElementType) -> Value {
        self.node("Cast", &[x], &[("to", Attribute::Int(kind.code()))])
    }

    /// Adds a number to all floats.
    pub fn add_scalar(&mut self, x: &Value, number: f32) -> Value {
        let number = self.scalar(number);
        self.add(x, &number)
    }

    /// Multiplies all floats by a number.
    pub fn mul_scalar(&mut self, x: &Value, number: f32) -> Value {
        let number = self.scalar(number);
        self.mul(x, &number)
    }

    /// Bounds floats.
    pub fn clip(&mut self, x: &Value, low: f32, high: f32) -> Value {
        let (low, high) = (self.scalar(low), self.scalar(high));
        self.node("Clip", &[x, &low, &high], &[])
    }

    /// Changes the shape. One of the dimensions may be −1: what remains.
    pub fn reshape(&mut self, x: &Value, dims: &[i64]) -> Value {
        let shape = self.ints(dims, &[dims.len()]);
        self.node("Reshape", &[x, &shape], &[])
    }

    /// Flattens each row.
    ///
    /// # Shapes
    /// `[B, …]` to `[B, width]`.
    pub fn rows(&mut self, x: &Value, width: usize) -> Value {
        self.reshape(x, &[-1, width as i64])
    }

    /// Concatenates rows.
    ///
    /// # Shapes
    /// Several `[B, …]` to `[B, sum]`.
    pub fn concat(&mut self, parts: &[Value]) -> Value {
        match parts {
            [one] => one.clone(),
            _ => {
                let parts: Vec<_> = parts.iter().collect();
                self.node("Concat", &parts, &[("axis", Attribute::Int(1))])
            }
        }
    }

    /// Takes a range of the elements of each row.
    ///
    /// # Shapes
    /// `[B, n, …]` to `[B, range, …]`.
    pub fn slice(&mut self, x: &Value, range: Range<usize>) -> Value {
        self.slice_axis(x, 1, range)
    }

    /// Takes a range of a dimension; −1 is the last one.
    pub fn slice_axis(&mut self, x: &Value, axis: i64, range: Range<usize>) -> Value {
        let [start, end, axis] =
            [range.start as i64, range.end as i64, axis].map(|number| self.ints(&[number], &[1]));
        self.node("Slice", &[x, &start, &end, &axis], &[])
    }

    /// Removes dimension 1, of one element.
    ///
    /// # Shapes
    /// `[B, 1, …]` to `[B, …]`.
    pub fn squeeze(&mut self, x: &Value) -> Value {
        let axis = self.ints(&[1], &[1]);
        self.node("Squeeze", &[x, &axis], &[])
    }

    /// A linear layer: `x · weight + bias`.
    ///
    /// # Shapes
    /// `x`: `[B, inputs]`; `weight`: `[inputs, outputs]`, row-major; `bias`: `[outputs]`; result `[B, outputs]`.
    pub fn linear(
        &mut self,
        x: &Value,
        weight: &[f32],
        [inputs, outputs]: [usize; 2],
        bias: Option<&[f32]>,
    ) -> Value {
        let weight = self.floats(weight, &[inputs, outputs]);
        match bias {
            Some(bias) => {
                let bias = self.floats(bias, &[outputs]);
                self.node("Gemm", &[x, &weight, &bias], &[])
            }
            None => self.node("MatMul", &[x, &weight], &[]),
        }
    }

    /// A linear layer with weights in PyTorch's layout, a row per output.
    ///
    /// # Shapes
    /// `x`: `[B, inputs]`; `weight`: `[outputs, inputs]`, row-major; `bias`: `[outputs]`; result `[B, outputs]`.
    pub fn linear_by_output(
        &mut self,
        x: &Value,
        weight: &[f32],
        [outputs, inputs]: [usize; 2],
        bias: Option<&[f32]>,
    ) -> Value {
        let weight = self.floats(weight, &[outputs, inputs]);
        let zeros = vec![0.0; outputs];
        let bias = self.floats(bias.unwrap_or(&zeros), &[outputs]);
        self.node("Gemm", &[x, &weight, &bias], &[("transB", Attribute::Int(1))])
    }

    /// Normalizes the last dimension to mean 0 and variance 1, then scales and shifts it.
    pub fn layer_norm(&mut self, x: &Value, gamma: &[f32], beta: &[f32], epsilon: f32) -> Value {
        let mean = self.mean(x);
        let centered = self.sub(x, &mean);
        let squares = self.mul(&centered, &centered);
        let variance = self.mean(&squares);
        let variance = self.add_scalar(&variance, epsilon);
        let deviation = self.node("Sqrt", &[&variance], &[]);
        let normal = self.div(&centered, &deviation);
        let (gamma, beta) = (self.floats(gamma, &[gamma.len()]), self.floats(beta, &[beta.len()]));
        let scaled = self.mul(&normal, &gamma);
        self.add(&scaled, &beta)
    }

    /// Averages the last dimension, which becomes 1.
    pub fn mean(&mut self, x: &Value) -> Value {
        self.reduce("ReduceMean", x, -1, true)
    }

    /// Averages a dimension, or applies another reduction without an axes input (`ReduceMean`, `ReduceMax`, …).
    pub fn reduce(&mut self, operator: &str, x: &Value, axis: i64, keep: bool) -> Value {
        let attributes =
            [("axes", Attribute::Ints(vec![axis])), ("keepdims", Attribute::Int(i64::from(keep)))];
        self.node(operator, &[x], &attributes)
    }

    /// Sums a dimension.
    pub fn sum(&mut self, x: &Value, axis: i64, keep: bool) -> Value {
        let axes = self.ints(&[axis], &[1]);
        self.node("ReduceSum", &[x, &axes], &[("keepdims", Attribute::Int(i64::from(keep)))])
    }

    /// Index of the first largest element of each row.
    ///
    /// # Shapes
    /// `[B, n]` to `[B]`, integers.
    pub fn argmax(&mut self, x: &Value) -> Value {
        let attributes = [("axis", Attribute::Int(1)), ("keepdims", Attribute::Int(0))];
        self.node("ArgMax", &[x], &attributes)
    }

    /// One-hot vectors of choices from 0.
    ///
    /// # Shapes
    /// Integers `[B, 1]` to floats `[B, n]`.
    pub fn one_hot(&mut self, choice: &Value, n: usize) -> Value {
        let classes: Vec<i64> = (0..n as i64).collect();
        let classes = self.ints(&classes, &[1, n]);
        let equal = self.node("Equal", &[choice, &classes], &[]);
        self.cast(&equal, ElementType::Float32)
    }

    /// Permutes dimensions.
    pub fn transpose(&mut self, x: &Value, permutation: &[i64]) -> Value {
        self.node("Transpose", &[x], &[("perm", Attribute::Ints(permutation.to_vec()))])
    }

    /// Rounds to the nearest whole number, and halves away from 0 (ONNX's `Round` rounds them to even numbers).
    pub fn round_half_away(&mut self, x: &Value) -> Value {
        let (sign, size) = (self.node("Sign", &[x], &[]), self.node("Abs", &[x], &[]));
        let shifted = self.add_scalar(&size, 0.5);
        let whole = self.node("Floor", &[&shifted], &[]);
        self.mul(&whole, &sign)
    }
}
