//! Gradients of one module by parameter, and their clipping.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::prelude::*;
use burn::tensor::Gradients as AutodiffGradients;
use rekindle_core::{AnyTensor, TensorKind};
use serde::{Deserialize, Serialize};

use crate::global_norm::{GlobalNorm, Scale};
use crate::{Collective, Result};

/// The quantity that `grad_clip` bounds; RLlib's `grad_clip_by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GradClipBy {
    /// Every element, to ±`grad_clip`.
    Value,
    /// The 2-norm of every parameter's gradient.
    Norm,
    /// The 2-norm of all gradients of one optimizer together.
    #[default]
    GlobalNorm,
}

/// Parameters and their shapes.
pub(crate) type ShapedParameters = Vec<(ParamId, Vec<usize>)>;

/// The gradients of one module's parameters, in the order of a visitor.
#[derive(Debug, Default)]
pub struct Gradients {
    order: Vec<ParamId>,
    by_param: HashMap<ParamId, Gradient>,
}

/// The gradient of one parameter.
#[derive(Debug)]
struct Gradient {
    tensor: AnyTensor,
    /// A factor on the device that the tensor is not yet multiplied by, `[1]`. An optimizer multiplies in one kernel
    /// with its step.
    factor: Option<Tensor<1>>,
}

impl Gradient {
    fn scaled(&self) -> AnyTensor {
        match &self.factor {
            // `scaled_by` gives factors to float tensors alone, and these can be multiplied.
            Some(factor) => self.tensor.clone().scale_by(factor).unwrap_or(self.tensor.clone()),
            None => self.tensor.clone(),
        }
    }

    fn into_scaled(self) -> AnyTensor {
        match self.factor {
            Some(_) => self.scaled(),
            None => self.tensor,
        }
    }
}

impl From<AnyTensor> for Gradient {
    fn from(tensor: AnyTensor) -> Self {
        Self { tensor, factor: None }
    }
}

impl Gradients {
    /// Takes the gradients of a module's parameters from the result of a backward pass.
    pub fn take<M: Module>(module: &M, gradients: &mut AutodiffGradients) -> Self {
        struct Taker<'a> {
            from: &'a mut AutodiffGradients,
            into: Gradients,
        }
        impl ModuleVisitor for Taker<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if !param.is_require_grad() {
                    return;
                }
                if let Some(gradient) = param.val().grad_remove(self.from) {
                    self.into.insert(param.id, gradient.into());
                }
            }
        }
        let mut taker = Taker { from: gradients, into: Self::default() };
        module.visit(&mut taker);
        taker.into
    }

    /// Adds or replaces a gradient.
    pub fn insert(&mut self, param: ParamId, gradient: AnyTensor) {
        self.put(param, gradient.into());
    }

    fn put(&mut self, param: ParamId, gradient: Gradient) {
        if self.by_param.insert(param, gradient).is_none() {
            self.order.push(param);
        }
    }

    /// Removes and returns a gradient.
    pub fn remove(&mut self, param: ParamId) -> Option<AnyTensor> {
        self.by_param.remove(&param).map(Gradient::into_scaled)
    }

    /// Removes and returns the gradients of the parameters that `select` accepts.
    pub(crate) fn extract(&mut self, select: impl Fn(ParamId) -> bool) -> Self {
        let mut extracted = Self::default();
        for id in self.order.clone().into_iter().filter(|id| select(*id)) {
            if let Some(gradient) = self.by_param.remove(&id) {
                extracted.put(id, gradient);
            }
        }
        self.order.retain(|id| self.by_param.contains_key(id));
        extracted
    }

    /// Returns the gradient of a parameter.
    #[must_use]
    pub fn get(&self, param: ParamId) -> Option<AnyTensor> {
        self.by_param.get(&param).map(Gradient::scaled)
    }

    /// Returns the number of gradients.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_param.len()
    }

    /// Whether there are no gradients.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_param.is_empty()
    }

    /// Returns the parameters that have a gradient.
    pub fn params(&self) -> impl Iterator<Item = &ParamId> {
        self.by_param.keys()
    }

    fn iter(&self) -> impl Iterator<Item = &Gradient> + Clone {
        self.order.iter().filter_map(|id| self.by_param.get(id))
    }

    /// Adds up the gradients of all learners of a group, set by set. `sets` have the parameters of each set with their
    /// shapes, in an order that all learners have. A parameter without a gradient on some learners has that of the
    /// others; one without a gradient on any has none.
    ///
    /// # Errors
    /// If the device fails, or another learner has.
    pub(crate) fn all_reduce(
        sets: &mut [(Self, ShapedParameters)],
        collective: &mut dyn Collective,
        device: &Device,
    ) -> Result<()> {
        let parameters = || sets.iter().flat_map(|(set, of)| of.iter().map(move |p| (set, p)));
        let sizes = parameters().map(|(_, (_, shape))| shape.iter().product::<usize>());
        let mut buffer = Vec::with_capacity(sizes.sum::<usize>() + parameters().count());
        // The first numbers say how many learners have a gradient.
        buffer.extend(parameters().map(|(set, (id, _))| f32::from(u8::from(set.has(*id)))));
        for (set, (id, shape)) in parameters() {
            match set.get(*id) {
                Some(gradient) => buffer.extend(gradient.to_f32()?),
                None => buffer.resize(buffer.len() + shape.iter().product::<usize>(), 0.0),
            }
        }
        collective.all_reduce_sum(&mut buffer)?;
        let mut known = 0;
        let mut start = parameters().count();
        for (set, of) in sets {
            let mut sums = Self::default();
            for (id, shape) in of.iter() {
                let end = start + shape.iter().product::<usize>();
                if buffer[known] > 0.0 {
                    let data = TensorData::new(buffer[start..end].to_vec(), shape.clone());
                    sums.insert(*id, AnyTensor::from_data(data, device)?);
                }
                (start, known) = (end, known + 1);
            }
            *set = sums;
        }
        Ok(())
    }

    fn has(&self, param: ParamId) -> bool {
        self.by_param.contains_key(&param)
    }

    /// Returns the 2-norm of all gradients together, or `None` without gradients.
    ///
    /// # Errors
    /// If a gradient has an unsupported rank.
    pub fn global_norm(&self) -> Result<Option<GlobalNorm>> {
        if self.iter().all(|gradient| gradient.factor.is_none()) {
            return GlobalNorm::of(self.iter().map(|gradient| &gradient.tensor));
        }
        let scaled: Vec<AnyTensor> = self.iter().map(Gradient::scaled).collect();
        GlobalNorm::of(scaled.iter())
    }

    /// Clips the gradients. `global_norm` is the result of [`Gradients::global_norm`].
    ///
    /// # Errors
    /// If a gradient has an unsupported rank.
    pub fn clip(mut self, by: GradClipBy, clip: f64, global_norm: &GlobalNorm) -> Result<Self> {
        let scale = global_norm.scale_to(clip);
        for id in &self.order {
            let Some(gradient) = self.by_param.remove(id) else { continue };
            let gradient = gradient.into_scaled();
            let clipped = match by {
                GradClipBy::Value => gradient.map_flat(|g| g.clamp(-clip, clip))?.into(),
                GradClipBy::GlobalNorm => scaled_by(gradient, &scale)?,
                GradClipBy::Norm => match GlobalNorm::of(std::iter::once(&gradient))? {
                    Some(norm) => scaled_by(gradient, &norm.scale_to(clip))?,
                    None => gradient.into(),
                },
            };
            self.by_param.insert(*id, clipped);
        }
        Ok(self)
    }
}

/// Scales a gradient: on the host now, and on a device when the gradient is read.
fn scaled_by(gradient: AnyTensor, scale: &Scale) -> Result<Gradient> {
    Ok(match scale {
        Scale::Known(1.0) => gradient.into(),
        Scale::Known(factor) => gradient.scale(*factor)?.into(),
        Scale::OnDevice(factor) if gradient.kind() == TensorKind::Float => {
            Gradient { tensor: gradient, factor: Some(factor.clone()) }
        }
        Scale::OnDevice(factor) => gradient.scale_by(factor)?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradients(values: &[&[f32]]) -> (Gradients, Vec<ParamId>) {
        let mut gradients = Gradients::default();
        let mut ids = Vec::new();
        for values in values {
            let id = ParamId::new();
            gradients.insert(id, Tensor::<1>::from_floats(*values, &Device::flex()).into());
            ids.push(id);
        }
        (gradients, ids)
    }

    fn norm(gradients: &Gradients) -> GlobalNorm {
        gradients.global_norm().unwrap().unwrap()
    }

    fn clipped(values: &[&[f32]], by: GradClipBy, clip: f64) -> Vec<Vec<f32>> {
        let (gradients, ids) = gradients(values);
        let norm = norm(&gradients);
        let clipped = gradients.clip(by, clip, &norm).unwrap();
        ids.iter().map(|id| clipped.get(*id).unwrap().to_f32().unwrap()).collect()
    }

    #[test]
    fn clipping_by_value_bounds_every_element() {
        let out = clipped(&[&[1.0, -2.0, 0.5]], GradClipBy::Value, 0.75);
        assert_eq!(out, [[0.75, -0.75, 0.5]]);
    }

    #[test]
    fn clipping_by_norm_scales_each_parameter_alone() {
        let out = clipped(&[&[3.0, 4.0], &[0.3, 0.4]], GradClipBy::Norm, 1.0);
        assert!((out[0][0] - 0.6).abs() < 1e-6 && (out[0][1] - 0.8).abs() < 1e-6);
        assert_eq!(out[1], [0.3, 0.4]);
    }

    #[test]
    fn clipping_by_global_norm_scales_all_by_5_over_13() {
        let out = clipped(&[&[3.0, 4.0], &[12.0]], GradClipBy::GlobalNorm, 5.0);
        for (found, whole) in out.iter().flatten().zip([3.0, 4.0, 12.0]) {
            assert!((found - whole * 0.384615).abs() < 1e-4, "{out:?}");
        }
        assert_eq!(clipped(&[&[3.0, 4.0]], GradClipBy::GlobalNorm, 6.0), [[3.0, 4.0]]);
    }

    #[test]
    fn clipping_to_40_scales_a_norm_of_41_and_leaves_one_of_39() {
        let [scaled, kept] = [[9.0, 40.0], [15.0, 36.0]]
            .map(|values| clipped(&[&values], GradClipBy::GlobalNorm, 40.0)[0].clone());
        assert!((scaled[0] / 9.0 - 0.975_610).abs() < 1e-5, "{scaled:?}");
        assert!((scaled[1] / 40.0 - 0.975_610).abs() < 1e-5, "{scaled:?}");
        assert_eq!(kept, [15.0, 36.0]);
    }

    #[test]
    fn a_norm_on_the_device_limits_as_a_known_one() {
        for values in [[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]] {
            let tensor = Tensor::<1>::from_floats(values, &Device::flex());
            let on_device = GlobalNorm::OnDevice(tensor.clone().square().sum().sqrt());
            let known = GlobalNorm::Known(on_device.value().unwrap());
            let [a, b] = [on_device, known]
                .map(|norm| scaled_by(tensor.clone().into(), &norm.scale_to(1.0)).unwrap());
            assert_eq!(a.scaled().to_f32().unwrap(), b.scaled().to_f32().unwrap());
        }
    }

    #[test]
    fn a_factor_on_the_device_counts_wherever_gradients_are_read() {
        let on_device = |values: [f32; 2]| {
            GlobalNorm::OnDevice(Tensor::from_floats([values[0].hypot(values[1])], &Device::flex()))
        };
        let clipped = || {
            let (gradients, ids) = gradients(&[&[3.0], &[4.0]]);
            (gradients.clip(GradClipBy::GlobalNorm, 1.0, &on_device([3.0, 4.0])).unwrap(), ids)
        };
        let close = |found: AnyTensor, expected: f32| {
            let found = found.to_f32().unwrap()[0];
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        };
        let (mut gradients, ids) = clipped();
        assert!(gradients.iter().all(|gradient| gradient.factor.is_some()));
        close(gradients.get(ids[0]).unwrap(), 0.6);
        assert!((norm(&gradients).value().unwrap() - 1.0).abs() < 1e-6);
        let mut second = gradients.extract(|id| id == ids[1]);
        close(second.remove(ids[1]).unwrap(), 0.8);
        // A gradient that replaces a clipped one is not scaled.
        gradients.insert(ids[0], Tensor::<1>::from_floats([7.0], &Device::flex()).into());
        close(gradients.remove(ids[0]).unwrap(), 7.0);
        let again = clipped().0.clip(GradClipBy::GlobalNorm, 0.5, &on_device([0.6, 0.8])).unwrap();
        close(again.get(again.order[0]).unwrap(), 0.3);
        let by_value = clipped().0.clip(GradClipBy::Value, 0.7, &on_device([0.6, 0.8])).unwrap();
        close(by_value.get(by_value.order[1]).unwrap(), 0.7);
    }

    #[test]
    fn the_global_norm_of_huge_and_tiny_gradients_is_finite_and_right() {
        for (value, expected) in [(1e22f32, 1e22 * 1144.8668), (1e-22, 1e-22 * 1144.8668)] {
            let data = vec![value; 256 * 256];
            let all: Vec<&[f32]> = (0..20).map(|_| &data[..]).collect();
            let (gradients, ids) = gradients(&all);
            let norm = norm(&gradients);
            let found = norm.value().unwrap();
            assert!((found / expected - 1.0).abs() < 1e-4, "{found}");
            let clipped = gradients.clip(GradClipBy::GlobalNorm, 40.0, &norm).unwrap();
            let first = clipped.get(ids[0]).unwrap().to_f32().unwrap()[0];
            let expected = if value > 1.0 { 40.0 / 1144.8668 } else { value };
            assert!((first / expected - 1.0).abs() < 1e-3, "{first}");
        }
    }
}
