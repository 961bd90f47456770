//! Updates of target networks.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::prelude::*;
use rekindle_core::AnyTensor;
use rekindle_core::named::{self, ModulePath, NamedMapper, NamedVisitor, below};
use rekindle_kernels::polyak;

use crate::error::{ModuleError, Result};

/// Returns a copy of the module with its target networks moved towards their main networks:
/// `θ⁻ ← τ·θ + (1 − τ)·θ⁻` (Lillicrap et al., 2016).
///
/// `pairs` are prefixes of parameter names, the main network first: `("encoder",
/// "target_encoder")`. With `tau` 1 the targets become exact copies.
///
/// A pair whose parts have no parameters, such as an encoder without layers, has nothing to move.
///
/// # Errors
/// [`ModuleError::InvalidTau`]; [`ModuleError::TargetPair`] if a target parameter has no main
/// parameter of the same name and shape, if only the main network has parameters, or if no pair has any.
pub fn sync_targets<M: Module>(module: &M, pairs: &[(&str, &str)], tau: f64) -> Result<M> {
    let followed = followed(module, pairs, tau)?;
    Ok(named::map(module.clone(), &mut Follower { followed, tau }))
}

/// As [`sync_targets`], in place where no other module has the targets. On an error, the module is
/// unchanged.
pub(crate) fn move_targets<M: Module>(
    module: M,
    pairs: &[(&str, &str)],
    tau: f64,
) -> (M, Result<()>) {
    match followed(&module, pairs, tau) {
        Ok(followed) => (named::map(module, &mut Follower { followed, tau }), Ok(())),
        Err(error) => (module, Err(error)),
    }
}

/// Returns the main parameters by the names of the targets that follow them.
fn followed<M: Module>(
    module: &M,
    pairs: &[(&str, &str)],
    tau: f64,
) -> Result<BTreeMap<String, AnyTensor>> {
    if !(0.0..=1.0).contains(&tau) {
        return Err(ModuleError::InvalidTau(tau));
    }
    let mut values = Values::default();
    named::visit(module, &mut values);
    let mut followed = BTreeMap::new();
    let refuse = |main: &str, target: &str, reason: String| ModuleError::TargetPair {
        main: main.into(),
        target: target.into(),
        reason,
    };
    for (main, target) in pairs {
        let refuse = |reason: String| refuse(main, target, reason);
        let mut any = false;
        for (name, value) in &values.by_name {
            let Some(rest) = below(name, target) else { continue };
            let Some(source) = values.by_name.get(&format!("{main}{rest}")) else {
                return Err(refuse(format!("there is no parameter `{main}{rest}`")));
            };
            if source.shape() != value.shape() {
                let (target, main) = (value.shape(), source.shape());
                return Err(refuse(format!("`{name}` has shape {target:?}, not {main:?}")));
            }
            followed.insert(name.clone(), source.clone());
            any = true;
        }
        if !any && values.by_name.keys().any(|name| below(name, main).is_some()) {
            return Err(refuse(format!("there is no parameter below `{target}`")));
        }
    }
    if let Some((main, target)) = pairs.first().filter(|_| followed.is_empty()) {
        return Err(refuse(main, target, format!("there is no parameter below `{target}`")));
    }
    Ok(followed)
}

/// Returns a copy of a module moved towards another one of the same parameters:
/// `θ⁻ ← τ·θ + (1 − τ)·θ⁻`.
pub(crate) fn follow<M: Module>(target: &M, main: &M, tau: f64) -> M {
    let mut values = Values::default();
    named::visit(main, &mut values);
    named::map(target.clone(), &mut Follower { followed: values.by_name, tau })
}

/// Float parameters by path.
#[derive(Default)]
struct Values {
    by_name: BTreeMap<String, AnyTensor>,
}

impl NamedVisitor for Values {
    fn float<const D: usize>(&mut self, path: &ModulePath, param: &Param<Tensor<D>>) {
        self.by_name.insert(path.name(), param.val().inner().into());
    }
}

/// Moves each target towards its main parameter.
struct Follower {
    followed: BTreeMap<String, AnyTensor>,
    tau: f64,
}

impl NamedMapper for Follower {
    fn float<const D: usize>(
        &mut self,
        path: &ModulePath,
        param: Param<Tensor<D>>,
    ) -> Param<Tensor<D>> {
        // Names and shapes were compared before: a tensor found here has rank `D`.
        let Some(Ok(main)) = self.followed.remove(&path.name()).map(AnyTensor::into_float) else {
            return param;
        };
        replace(param, |target| polyak(self.tau, main, target))
    }
}

/// Replaces the value of a parameter, without the graph of its gradients.
pub(crate) fn replace<const D: usize>(
    param: Param<Tensor<D>>,
    change: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Param<Tensor<D>> {
    let (id, old, mapper) = param.consume();
    let (trains, tracks) = (old.is_require_grad(), old.is_autodiff());
    let new = change(old.inner());
    let new = if tracks { Tensor::from_inner(new) } else { new };
    Param::from_mapped_value(id, if trains { new.require_grad() } else { new }, mapper)
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use rekindle_core::any_tensor::to_f32;

    use super::*;

    #[derive(Module, Debug)]
    struct Net {
        main: Linear,
        target: Linear,
    }

    fn net() -> Net {
        let device = Device::flex();
        let linear = |value: f64| {
            LinearConfig::new(2, 1)
                .with_initializer(burn::nn::Initializer::Constant { value })
                .init(&device)
        };
        Net { main: linear(1.0), target: linear(0.0) }
    }

    const PAIRS: &[(&str, &str)] = &[("main", "target")];

    #[test]
    fn targets_reach_0_394230_after_100_updates_with_tau_0_005_and_0_993346_after_1000() {
        let mut net = net();
        for (updates, expected) in [(100, 0.394_230), (900, 0.993_346)] {
            for _ in 0..updates {
                net = sync_targets(&net, PAIRS, 0.005).unwrap();
            }
            for value in to_f32(net.target.weight.val()).unwrap() {
                assert!((value - expected).abs() < 1e-5, "{value}");
            }
        }
        assert_eq!(to_f32(net.main.weight.val()).unwrap(), [1.0, 1.0]);
    }

    #[test]
    fn tau_1_is_a_copy_also_of_values_that_are_not_finite_before() {
        let mut net = net();
        net.target = LinearConfig::new(2, 1)
            .with_initializer(burn::nn::Initializer::Constant { value: f64::NAN })
            .init(&Device::flex());
        let net = sync_targets(&net, PAIRS, 1.0).unwrap();
        assert_eq!(to_f32(net.target.weight.val()).unwrap(), [1.0, 1.0]);
    }

    #[test]
    fn parts_without_parameters_have_nothing_to_move() {
        let moved = sync_targets(&net(), &[("encoder", "target_encoder"), PAIRS[0]], 1.0).unwrap();
        assert_eq!(to_f32(moved.target.weight.val()).unwrap(), [1.0, 1.0]);
    }

    #[test]
    fn pairs_that_do_not_match_and_tau_out_of_range_are_refused() {
        let message = |pairs, tau| sync_targets(&net(), pairs, tau).unwrap_err().to_string();
        assert!(message(&[("main", "tgt")], 0.5).contains("no parameter below `tgt`"));
        assert!(message(&[("mine", "tgt")], 0.5).contains("no parameter below `tgt`"));
        assert!(message(&[("mine", "target")], 0.5).contains("no parameter `mine.bias`"));
        assert!(message(&[("main.bias", "target.weight")], 0.5).contains("has shape"));
        assert!(message(PAIRS, 1.5).contains("`tau` is 1.5"));
    }
}
