//! Terms that the losses of action values have in common.

use burn::prelude::*;

/// Largest value of a masked action.
pub(crate) const MASKED: f32 = f32::MIN / 2.0;

/// Returns the value of one action in each row.
///
/// # Shapes
/// `q`: `[B, actions]`; `actions`: `[B]`, counted from 0; result `[B]`.
pub(crate) fn of_actions(q: Tensor<2>, actions: Tensor<1, Int>) -> Tensor<1> {
    q.gather(1, actions.unsqueeze_dim(1)).squeeze_dim(1)
}

/// Returns the parameters of the distribution of one action in each row.
///
/// # Shapes
/// `parameters`: `[B, actions, atoms]`; `actions`: `[B]`, counted from 0; result `[B, atoms]`.
pub(crate) fn distributions_of_actions(
    parameters: Tensor<3>,
    actions: Tensor<1, Int>,
) -> Tensor<2> {
    let [rows, _, atoms] = parameters.dims();
    let indices = actions.reshape([rows, 1, 1]).repeat_dim(2, atoms);
    parameters.gather(1, indices).squeeze_dim(1)
}
