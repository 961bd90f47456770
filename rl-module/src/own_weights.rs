//! The weights of modules that learn from a batch by themselves, beside their parameters.

use rekindle_checkpoint::{Array, ArrayData};
use rekindle_core::CoreError;
use rekindle_core::weights::{LoadReport, Weights};

use crate::error::{ModuleError, Result};
use crate::guard::guard;
use crate::module::RLModule;
use crate::roles::{LearnOnBatch, LearnStats, Role};

/// Returns the weights of a module by its role; none without the role.
///
/// # Errors
/// The error of the module; [`ModuleError::LearnOnBatch`] if a weight is not finite.
pub(crate) fn get(name: &str, module: &dyn RLModule) -> Result<Weights> {
    let Some(role) = module.as_learn_on_batch() else { return Ok(Weights::new()) };
    let weights = read(name, role)?;
    check_finite(name, "get_weights", &weights)?;
    Ok(weights)
}

/// Calls [`LearnOnBatch::get_weights`].
fn read(name: &str, role: &dyn LearnOnBatch) -> Result<Weights> {
    guard(name, "get_weights", || role.get_weights())
}

/// Divides weights into those of the role and those of parameters.
///
/// # Errors
/// [`CoreError::WeightNames`] if weights of the role are missing.
pub(crate) fn divide(
    name: &str,
    module: &dyn RLModule,
    weights: &Weights,
) -> Result<(Weights, Weights)> {
    let own = get(name, module)?;
    let missing: Vec<_> = own.keys().filter(|name| !weights.contains_key(*name)).cloned().collect();
    if !missing.is_empty() {
        return Err(CoreError::WeightNames { missing, unexpected: Vec::new() }.into());
    }
    Ok(weights.clone().into_iter().partition(|(name, _)| own.contains_key(name)))
}

/// Replaces the weights of a module by its role. An error may leave some of them replaced.
///
/// # Errors
/// The error of the module; [`ModuleError::LearnOnBatch`] if a weight is not finite, or the module does not
/// keep the weights as they are.
pub(crate) fn set(name: &str, module: &mut dyn RLModule, weights: &Weights) -> Result<()> {
    let Some(role) = module.as_learn_on_batch_mut() else { return Ok(()) };
    check_finite(name, "set_weights", weights)?;
    guard(name, "set_weights", || role.set_weights(weights))?;
    let kept = read(name, role)?;
    match weights.iter().find(|(name, weight)| kept.get(*name) != Some(*weight)) {
        None => Ok(()),
        Some((weight, _)) => Err(error(
            name,
            "set_weights",
            format!(
                "did not keep the weight `{weight}`: `get_weights` must return what was set last"
            ),
        )),
    }
}

/// Replaces the weights that have the shape and type of the current ones, and adds them to the report of
/// the parameters.
pub(crate) fn set_matching(
    name: &str,
    module: &mut dyn RLModule,
    weights: &Weights,
    report: &mut LoadReport,
) -> Result<()> {
    let mut own = get(name, module)?;
    for (name, current) in &mut own {
        report.unexpected.retain(|unexpected| unexpected != name);
        let list = match weights.get(name) {
            None => &mut report.missing,
            Some(given) if given.shape() != current.shape() => &mut report.misshapen,
            Some(given) if given.data().dtype() != current.data().dtype() => &mut report.mistyped,
            Some(given) => {
                current.clone_from(given);
                &mut report.loaded
            }
        };
        list.push(name.clone());
        list.sort_unstable();
    }
    set(name, module, &own)
}

/// Lets a module learn, and checks what it returns and what it has become.
pub(crate) fn learn(
    name: &str,
    module: &mut dyn RLModule,
    learn: impl FnOnce(&mut dyn LearnOnBatch) -> Result<LearnStats>,
) -> Result<LearnStats> {
    const METHOD: &str = "learn_on_batch";
    let Some(role) = module.as_learn_on_batch_mut() else {
        let needed_by = METHOD.into();
        return Err(ModuleError::MissingRole {
            module: name.into(),
            role: Role::LearnOnBatch,
            needed_by,
            is_shared: false,
        });
    };
    let before = read(name, role)?;
    let stats = learn(role)?;
    if let Some((stat, value)) = stats.iter().find(|(_, value)| !value.is_finite()) {
        let reason = format!("returned {value} as `{stat}`: return finite numbers");
        return Err(error(name, METHOD, reason));
    }
    let after = read(name, role)?;
    if !before.keys().eq(after.keys()) {
        let list = |of: &Weights| of.keys().cloned().collect::<Vec<_>>().join(", ");
        let reason = format!(
            "changed the names of the weights from [{}] to [{}]: `get_weights` must return the same names in every call",
            list(&before),
            list(&after)
        );
        return Err(error(name, METHOD, reason));
    }
    check_finite(name, METHOD, &after)?;
    Ok(stats)
}

/// Checks the role of a newly built module.
///
/// # Errors
/// [`ModuleError::LearnOnBatch`] if its accessors differ, it also has a loss of its own, or a weight has the
/// name of a parameter.
pub(crate) fn check(name: &str, module: &mut dyn RLModule, parameters: &Weights) -> Result<()> {
    const METHOD: &str = "as_learn_on_batch";
    let reads = module.as_learn_on_batch().is_some();
    if reads != module.as_learn_on_batch_mut().is_some() {
        let reason = "and `as_learn_on_batch_mut` differ: return `Some(self)` from both";
        return Err(error(name, METHOD, reason.into()));
    }
    if reads && module.as_self_supervised_loss().is_some() {
        let reason =
            "and `as_self_supervised_loss` exclude each other: return `None` from one of them";
        return Err(error(name, METHOD, reason.into()));
    }
    let own = get(name, module)?;
    match own.keys().find(|name| parameters.contains_key(*name)) {
        None => Ok(()),
        Some(weight) => {
            let reason = format!(
                "returned a weight `{weight}`, and so is a parameter called: give it another name"
            );
            Err(error(name, "get_weights", reason))
        }
    }
}

fn check_finite(name: &str, method: &'static str, weights: &Weights) -> Result<()> {
    for (weight, array) in weights {
        if let Some((index, value)) = non_finite(array) {
            let reason = format!(
                "left the weight `{weight}` with the value {value} at position {index}: weights are finite numbers"
            );
            return Err(error(name, method, reason));
        }
    }
    Ok(())
}

/// Returns the first number that is not finite, and its position in row-major order.
fn non_finite(array: &Array) -> Option<(usize, f64)> {
    match array.data() {
        ArrayData::F32(values) => {
            let index = values.iter().position(|value| !value.is_finite())?;
            values.get(index).map(|value| (index, f64::from(*value)))
        }
        ArrayData::F64(values) => {
            let index = values.iter().position(|value| !value.is_finite())?;
            values.get(index).map(|value| (index, *value))
        }
        _ => None,
    }
}

fn error(module: &str, method: &'static str, reason: String) -> ModuleError {
    ModuleError::LearnOnBatch { module: module.into(), method, reason }
}
