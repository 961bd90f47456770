//! The names of the columns that modules, runners and learners agree on.

/// Column names: RLlib's `Columns`.
///
/// They are plain strings: a user's own column needs no registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns;

impl Columns {
    /// Observations `o_t` as the module sees them, after the env-to-module pipeline.
    pub const OBS: &'static str = "obs";
    /// Next observations `o_{t+1}` as the module sees them: the final one after an episode's last step.
    pub const NEXT_OBS: &'static str = "new_obs";
    /// Actions as sampled from the distribution, which losses use.
    pub const ACTIONS: &'static str = "actions";
    /// Rewards `r_t`.
    pub const REWARDS: &'static str = "rewards";
    /// 1 for steps that ended the episode by the environment's own rules and 0 for the others, float,
    /// `[B]`.
    pub const TERMINATEDS: &'static str = "terminateds";
    /// 1 for steps at which the episode was cut off, for example by a time limit, and 0 for the others,
    /// float, `[B]`.
    pub const TRUNCATEDS: &'static str = "truncateds";
    /// Numbers that the environment reported with the step in its info, nested by name, float, `[B]` each:
    /// NaN for steps that did not report the number.
    pub const INFOS: &'static str = "infos";
    /// Steps of the episode, or of the agent in it, before the step, int, `[B]`.
    pub const T: &'static str = "t";
    /// Inputs (logits, means and scales) of the action distribution, `[B, inputs]`.
    pub const ACTION_DIST_INPUTS: &'static str = "action_dist_inputs";
    /// Log-probability of the action at the time it was sampled, `[B]`.
    pub const ACTION_LOGP: &'static str = "action_logp";
    /// Probability (or density) of the action at the time it was sampled, `[B]`.
    pub const ACTION_PROB: &'static str = "action_prob";
    /// Features that the policy and the value function share, `[B, features]`.
    pub const EMBEDDINGS: &'static str = "embeddings";
    /// Value estimates `V(o_t)`, `[B]`.
    pub const VF_PREDS: &'static str = "vf_preds";
    /// Action values `Q(o_t, ·)`, `[B, actions]`: those of masked actions are float-min.
    pub const QF_PREDS: &'static str = "qf_preds";
    /// Logits of the atoms of each action's return, `[B, actions, atoms]`.
    pub const QF_LOGITS: &'static str = "qf_logits";
    /// Quantiles of each action's return, `[B, actions, quantiles]`.
    pub const QF_QUANTILES: &'static str = "qf_quantiles";
    /// Standard normal numbers that a pass through noisy layers reads, `[B, numbers]`.
    pub const NOISE: &'static str = "noise";
    /// The part of Dict observations that says which actions are allowed, `[B, actions]`: 1 for an allowed action
    /// and 0 for a masked one.
    pub const ACTION_MASK: &'static str = "action_mask";
    /// Advantage estimates, `[B]`.
    pub const ADVANTAGES: &'static str = "advantages";
    /// Targets of the value function, `[B]`.
    pub const VALUE_TARGETS: &'static str = "value_targets";
    /// Discounted sums of the following rewards, `[B]`.
    pub const RETURNS_TO_GO: &'static str = "returns_to_go";
    /// The original observation inside those that the connector `PrevActionsPrevRewards` builds.
    pub const ORIG_OBS: &'static str = "_orig_obs";
    /// The last `n` actions inside those observations, one-hot where discrete, `[B, n · action_dim]`.
    pub const PREV_N_ACTIONS: &'static str = "prev_n_actions";
    /// The last `n` rewards inside those observations, `[B, n]`.
    pub const PREV_N_REWARDS: &'static str = "prev_n_rewards";
    /// Weights of the values that follow transitions of several steps: `γ^n`, or 0 after the end of an episode,
    /// float, `[B]`.
    pub const DISCOUNTS: &'static str = "discounts";
    /// Importance weights of rows that were not drawn alike, float, `[B]`.
    pub const WEIGHTS: &'static str = "weights";
    /// Recurrent state before the step, an input of the module.
    pub const STATE_IN: &'static str = "state_in";
    /// Recurrent state after the step, an output of the module.
    pub const STATE_OUT: &'static str = "state_out";
    /// The recurrent state before each step, `[B, …]`. Batches of sequences have one
    /// [`STATE_IN`](Self::STATE_IN) per sequence.
    pub const STEP_STATE_IN: &'static str = "step_state_in";
    /// The recurrent state after each step, `[B, …]`.
    pub const STEP_STATE_OUT: &'static str = "step_state_out";
    /// The observation after the last step of each sequence, `[S, …]`.
    pub const FINAL_OBS: &'static str = "final_obs";
    /// The recurrent state after the last step of each sequence, `[S, …]`.
    pub const FINAL_STATE: &'static str = "final_state";
    /// 1 for sequences whose last step ended the episode by the environment's own rules, float, `[S]`.
    pub const FINAL_TERMINATED: &'static str = "final_terminated";
    /// 1 for rows that count in a loss and 0 for the others, float, `[B]`.
    pub const LOSS_MASK: &'static str = "loss_mask";
}
