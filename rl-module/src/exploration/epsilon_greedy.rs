//! ε-greedy and greedy choices of actions.

use burn::prelude::*;
use rekindle_core::Generator;
use rekindle_core::any_tensor::to_f32;

use super::ExplorationContext;
use crate::error::{ModuleError, Result};

/// Largest value of a masked action: half of float-min, because a mask may have been added to the value.
const MASKED: f32 = f32::MIN / 2.0;

/// Chooses ε-greedy actions: with probability `epsilon` one of all actions, each with equal probability,
/// otherwise the one of the largest value, the first of equals. RLlib's `EpsilonGreedy`.
///
/// In an inference pass that falls back on the exploration pass, all actions are those of the largest values, so
/// that a module that explores by this function needs no inference pass of its own.
///
/// Each row draws from its own stream in the context. An action whose value is about float-min is masked, as
/// after [`mask_logits`](rekindle_catalog::mask_logits), and is never chosen. Actions are counted from 0.
///
/// # Shapes
/// `q`: `[B, actions]`; result `[B]`.
///
/// # Errors
/// [`ModuleError::AllMasked`] if all actions of a row are masked.
pub fn epsilon_greedy(
    q: &Tensor<2>,
    epsilon: f64,
    cx: &mut ExplorationContext,
) -> Result<Tensor<1, Int>> {
    if cx.is_inference() {
        return greedy(q);
    }
    choose(q, |row, values| {
        let rng = cx.rng(row)?;
        let explores = rng.random() < epsilon;
        let best = largest(row, values)?;
        Ok(if explores { any(values, rng) } else { best })
    })
}

/// Chooses the actions of the largest values, the first of equals, and refuses rows whose actions are all
/// masked, which `q.argmax(1)` does not.
///
/// # Shapes
/// `q`: `[B, actions]`; result `[B]`, counted from 0.
///
/// # Errors
/// [`ModuleError::AllMasked`] if all actions of a row are masked.
pub fn greedy(q: &Tensor<2>) -> Result<Tensor<1, Int>> {
    choose(q, largest)
}

fn choose(
    q: &Tensor<2>,
    mut of_row: impl FnMut(usize, &[f32]) -> Result<usize>,
) -> Result<Tensor<1, Int>> {
    let [rows, actions] = q.dims();
    let values = to_f32(q.clone())?;
    let chosen = values.chunks(actions.max(1)).enumerate();
    let chosen = chosen.map(|(row, values)| Ok(of_row(row, values)? as i64));
    let chosen = chosen.collect::<Result<Vec<i64>>>()?;
    Ok(Tensor::from_data(TensorData::new(chosen, [rows]), &q.device()))
}

/// Returns the first index of the largest value.
fn largest(row: usize, values: &[f32]) -> Result<usize> {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    match values.get(best).is_none_or(|value| *value <= MASKED) {
        true => Err(ModuleError::AllMasked { row, choices: values.len() }),
        false => Ok(best),
    }
}

/// Draws one of the unmasked actions. There must be at least one.
fn any(values: &[f32], rng: &mut Generator) -> usize {
    let is_allowed = |value: &&f32| **value > MASKED || value.is_nan();
    let allowed = values.iter().filter(is_allowed).count();
    let mut left = rng.integers(0, allowed as i64);
    for (index, _) in values.iter().enumerate().filter(|(_, value)| is_allowed(value)) {
        if left == 0 {
            return index;
        }
        left -= 1;
    }
    0
}

#[cfg(test)]
mod tests {
    use rekindle_core::AnyTensor;

    use super::*;

    const MASKED_ACTION: f32 = f32::MIN;

    fn rows(values: [f32; 4], count: usize) -> Tensor<2> {
        Tensor::<2>::from_floats([values], &Device::flex()).repeat_dim(0, count)
    }

    fn ints(actions: Tensor<1, Int>) -> Vec<i64> {
        AnyTensor::from(actions).to_i64().unwrap()
    }

    #[test]
    fn probabilities_are_those_of_the_allowed_actions() {
        // The reference has Q = [1, 5, 2, 9] with the last action forbidden, and ε = 0.3.
        let q = rows([1.0, 5.0, 2.0, MASKED_ACTION], 20_000);
        let mut cx = ExplorationContext::from_seed(3);
        let actions = ints(epsilon_greedy(&q, 0.3, &mut cx).unwrap());
        for (action, expected) in [0.1, 0.8, 0.1, 0.0].into_iter().enumerate() {
            let count = actions.iter().filter(|drawn| **drawn == action as i64).count();
            let share = count as f64 / actions.len() as f64;
            assert!((share - expected).abs() < 0.01, "{action}: {share}");
        }
    }

    #[test]
    fn without_epsilon_the_first_of_the_largest_values_is_chosen() {
        let mut cx = ExplorationContext::from_seed(0);
        let q = rows([1.0, 5.0, 5.0, MASKED_ACTION], 50);
        assert!(ints(epsilon_greedy(&q, 0.0, &mut cx).unwrap()).iter().all(|action| *action == 1));
        assert_eq!(ints(greedy(&q).unwrap()), [1; 50]);
        let mut cx = ExplorationContext::of_inference();
        assert_eq!(ints(epsilon_greedy(&q, 1.0, &mut cx).unwrap()), [1; 50]);
    }

    #[test]
    fn rows_without_an_allowed_action_are_refused() {
        let q = rows([MASKED_ACTION; 4], 1);
        let mut cx = ExplorationContext::from_seed(0);
        for error in [greedy(&q).unwrap_err(), epsilon_greedy(&q, 1.0, &mut cx).unwrap_err()] {
            assert!(error.to_string().contains("all 4 actions are masked"), "{error}");
        }
    }
}
