//! The acting passes of a module over slices in host memory.

use rekindle_catalog::Recurrent;
use rekindle_env::Buffer;
use rekindle_kernels::{HostPass, HostRows, HostState};

use crate::memory::{ACTOR, CRITIC};

/// Both acting passes of a module over slices in host memory: what runners use instead of
/// [`forward_exploration`](crate::RLModule::forward_exploration) and
/// [`forward_inference`](crate::RLModule::forward_inference), if a module has it
/// ([`RLModule::policy_pass`](crate::RLModule::policy_pass)).
///
/// It allocates nothing after its first calls. It belongs to the weights that the module had when it was made.
#[derive(Debug, Clone)]
pub struct PolicyPass {
    actor: HostPass,
    /// The recurrent encoder of the critic, whose state exploration keeps.
    critic: Option<HostPass>,
    /// Scratch memory for the features of the critic.
    features: Vec<f32>,
}

impl PolicyPass {
    /// Creates the passes of layers whose outputs are the inputs of the action distribution. With a recurrent layer, the
    /// state of the module is that of the layer, under [`Recurrent::HIDDEN`] and [`Recurrent::CELL`].
    #[must_use]
    pub fn new(actor: HostPass) -> Self {
        Self { actor, critic: None, features: Vec::new() }
    }

    /// Adds the critic's own recurrent encoder. The state is then a Dict of `"actor"` and `"critic"`.
    #[must_use]
    pub fn with_critic(mut self, critic: HostPass) -> Self {
        self.critic = Some(critic);
        self
    }

    /// Writes the inputs of the action distribution, and the states after the step for a stateful module: those of
    /// `states[0]` before, `states[1]` after. Without `explore`, the state of the critic's own encoder is unchanged.
    ///
    /// Returns `false` if the layers do not read observations or states of this kind or shape. The contents of `inputs` and
    /// of the states after the step are then unspecified, and the acting passes with tensors report the error.
    ///
    /// # Shapes
    /// `observations`: `[B, …]`; `inputs`: `[B · inputs]`.
    #[must_use]
    pub fn run(
        &mut self,
        observations: &Buffer,
        states: Option<(&Buffer, &mut Buffer)>,
        explore: bool,
        inputs: &mut Vec<f32>,
    ) -> bool {
        self.try_run(observations, states, explore, inputs).is_some()
    }

    fn try_run(
        &mut self,
        observations: &Buffer,
        states: Option<(&Buffer, &mut Buffer)>,
        explore: bool,
        inputs: &mut Vec<f32>,
    ) -> Option<()> {
        inputs.clear();
        let rows = observations.rows();
        // An error would allocate its message.
        let seen = match observations.is_bytes() {
            true => HostRows::Bytes(observations.as_u8().ok()?),
            false => HostRows::Floats(observations.as_f32().ok()?),
        };
        let run = |pass: &HostPass, state: Option<HostState<'_>>, out: &mut Vec<f32>| {
            out.resize(rows * pass.outputs(), 0.0);
            pass.run(seen, rows, state, out).then_some(())
        };
        let Some((before, after)) = states else {
            return run(&self.actor, None, inputs);
        };
        let Some(critic) = &self.critic else {
            return run(&self.actor, Some(of_layer(before, after)?), inputs);
        };
        let mut acted = false;
        for (key, after) in after.dict_parts_mut() {
            let before = before.get(key).ok()?;
            match key {
                ACTOR => {
                    run(&self.actor, Some(of_layer(before, after)?), inputs)?;
                    acted = true;
                }
                CRITIC if explore => {
                    run(critic, Some(of_layer(before, after)?), &mut self.features)?;
                }
                _ => {
                    let HostState { before, mut after } = of_layer(before, after)?;
                    for (after, before) in after.iter_mut().zip(before) {
                        (after.len() == before.len()).then(|| after.copy_from_slice(before))?;
                    }
                }
            }
        }
        acted.then_some(())
    }
}

/// Returns the states of a recurrent layer.
fn of_layer<'a>(before: &'a Buffer, after: &'a mut Buffer) -> Option<HostState<'a>> {
    let mut state = HostState { before: [&[]; 2], after: [&mut [], &mut []] };
    for (key, after) in after.dict_parts_mut() {
        let index = match key {
            Recurrent::HIDDEN => 0,
            Recurrent::CELL => 1,
            _ => return None,
        };
        state.before[index] = before.get(key).ok()?.as_f32().ok()?;
        state.after[index] = after.as_f32_mut().ok()?;
    }
    Some(state)
}
