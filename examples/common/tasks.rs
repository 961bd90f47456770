//! The tasks and thresholds of the learning examples. `cargo xtask learn` reads this table, too.

#[path = "task.rs"]
mod task;

pub(crate) use task::EVALUATION_RETURN;
pub(crate) use task::Task;
use task::{EPISODE_RETURN, LEARNED_RETURN};

/// Names of tasks that show what is not learned: missing the threshold is their result.
pub(crate) const CONTROLS: &[&str] = &[REWARD_ONLY.name];

macro_rules! tasks {
    ($($task:ident = $value:expr;)*) => {
        $(pub(crate) const $task: Task = $value;)*
        /// All tasks.
        pub(crate) const ALL: &[Task] = &[$($task),*];
    };
}

tasks! {
    CARTPOLE = Task {
        name: "cartpole",
        example: "cartpole_ppo",
        choice: None,
        algorithm: "PPO",
        env: "CartPole-v1",
        section: "CartPole-v1",
        metric: EPISODE_RETURN,
        threshold: 475.0,
        max_steps: 300_000,
    };
    CARTPOLE_IN_ONE_FILE = Task {
        name: "cartpole-in-one-file",
        example: "ppo_in_one_file",
        choice: None,
        algorithm: "PPO on primitives",
        env: "CartPole-v1",
        section: "CartPole-v1, in one file",
        metric: EPISODE_RETURN,
        threshold: 475.0,
        max_steps: 300_000,
    };
    PENDULUM = Task {
        name: "pendulum",
        example: "pendulum_ppo",
        choice: None,
        algorithm: "PPO",
        env: "Pendulum-v1",
        section: "Pendulum-v1",
        metric: EPISODE_RETURN,
        threshold: -300.0,
        max_steps: 400_000,
    };
    MULTI_AGENT_CARTPOLE = Task {
        name: "multi-agent-cartpole",
        example: "multi_agent_cartpole_ppo",
        choice: None,
        algorithm: "Independent PPO",
        env: "MultiAgentCartPole-v1 with 2 agents",
        section: "MultiAgentCartPole-v1, 2 agents",
        metric: EPISODE_RETURN,
        // 450 per agent.
        threshold: 900.0,
        max_steps: 400_000,
    };
    SHARED_ENCODER = Task {
        name: "shared-encoder",
        example: "shared_encoder_cartpole_ppo",
        choice: None,
        algorithm: "PPO with a shared encoder",
        env: "MultiAgentCartPole-v1 with 2 agents",
        section: "MultiAgentCartPole-v1, 2 agents, shared encoder",
        metric: EPISODE_RETURN,
        // 450 per agent.
        threshold: 900.0,
        max_steps: 400_000,
    };
    STATELESS_CARTPOLE = Task {
        name: "stateless-cartpole",
        example: "stateless_cartpole_lstm_ppo",
        choice: None,
        algorithm: "PPO with an LSTM",
        env: "StatelessCartPole-v1",
        section: "StatelessCartPole-v1",
        metric: EPISODE_RETURN,
        threshold: 350.0,
        max_steps: 300_000,
    };
    FRAME_STACKING = Task {
        name: "frame-stacking",
        example: "frame_stacking_ppo",
        choice: None,
        algorithm: "PPO on stacked frames",
        env: "StatelessCartPole-v1",
        section: "StatelessCartPole-v1, stacked frames",
        metric: EPISODE_RETURN,
        threshold: 350.0,
        max_steps: 300_000,
    };
    MULTI_AGENT_PENDULUM = Task {
        name: "multi-agent-pendulum",
        example: "multi_agent_pendulum_ppo",
        choice: None,
        algorithm: "Independent PPO",
        env: "MultiAgentPendulum-v1 with 2 agents",
        section: "MultiAgentPendulum-v1, 2 agents",
        metric: EPISODE_RETURN,
        // -300 per agent.
        threshold: -600.0,
        max_steps: 400_000,
    };
    CATCH = Task {
        name: "catch",
        example: "catch_ppo",
        choice: None,
        algorithm: "PPO with a CNN",
        env: "Catch-v0",
        section: "Catch-v0",
        metric: EPISODE_RETURN,
        threshold: 0.95,
        max_steps: 200_000,
    };
    BREAKOUT = Task {
        name: "breakout",
        example: "breakout_ppo",
        choice: None,
        algorithm: "PPO with a CNN",
        env: "Breakout-v0",
        section: "Breakout-v0",
        metric: EPISODE_RETURN,
        threshold: 10.0,
        max_steps: 3_000_000,
    };
    NESTED_CARTPOLE = Task {
        name: "nested-cartpole",
        example: "nested_cartpole_ppo",
        choice: None,
        algorithm: "PPO",
        env: "NestedCartPole-v1",
        section: "NestedCartPole-v1",
        metric: EPISODE_RETURN,
        threshold: 450.0,
        max_steps: 300_000,
    };
    NESTED_ACTIONS = Task {
        name: "nested-actions",
        example: "nested_actions_ppo",
        choice: None,
        algorithm: "PPO with nested actions",
        env: "Follow",
        section: "Follow",
        metric: EPISODE_RETURN,
        // Of 60. The noise of an exploring wheel costs some of it.
        threshold: 54.0,
        max_steps: 400_000,
    };
    CRASHING_CARTPOLE = Task {
        name: "crashing-cartpole",
        example: "crashing_cartpole_ppo",
        choice: None,
        algorithm: "PPO",
        env: "CrashingCartPole-v1",
        section: "CrashingCartPole-v1",
        metric: EPISODE_RETURN,
        threshold: 450.0,
        max_steps: 300_000,
    };
    TRUNCATED_CARTPOLE = Task {
        name: "truncated-cartpole",
        example: "truncated_cartpole_ppo",
        choice: None,
        algorithm: "PPO with episodes of 50 steps (500 in evaluation)",
        env: "CartPole-v1",
        section: "CartPole-v1, truncated",
        metric: EVALUATION_RETURN,
        threshold: 490.0,
        max_steps: 500_000,
    };
    ROCK_PAPER_SCISSORS = Task {
        name: "rock-paper-scissors",
        example: "rock_paper_scissors_ppo",
        choice: None,
        algorithm: "PPO with an LSTM against a heuristic",
        env: "RockPaperScissors-v0",
        section: "RockPaperScissors-v0",
        metric: LEARNED_RETURN,
        // Rounds won minus rounds lost, of 10.
        threshold: 7.0,
        max_steps: 200_000,
    };
    TIC_TAC_TOE = Task {
        name: "tic-tac-toe",
        example: "tic_tac_toe_action_mask_ppo",
        choice: None,
        algorithm: "PPO with an action mask against a random player",
        env: "TicTacToe-v0",
        section: "TicTacToe-v0",
        metric: LEARNED_RETURN,
        // 1 for a game won, 0 for a draw, -1 for a game lost.
        threshold: 0.9,
        max_steps: 400_000,
    };
    A2C = Task {
        name: "a2c-cartpole",
        example: "policy_gradients",
        choice: Some("a2c"),
        algorithm: "A2C",
        env: "CartPole-v1",
        section: "CartPole-v1 with A2C",
        metric: EPISODE_RETURN,
        threshold: 475.0,
        max_steps: 500_000,
    };
    VPG = Task {
        name: "vpg-cartpole",
        example: "policy_gradients",
        choice: Some("vpg"),
        algorithm: "VPG",
        env: "CartPole-v1",
        section: "CartPole-v1 with VPG",
        metric: EPISODE_RETURN,
        threshold: 475.0,
        max_steps: 500_000,
    };
    A3C = Task {
        name: "a3c-cartpole",
        example: "policy_gradients",
        choice: Some("a3c"),
        algorithm: "PPO with the plan of A3C",
        env: "CartPole-v1",
        section: "CartPole-v1 with the plan of A3C",
        metric: EPISODE_RETURN,
        threshold: 475.0,
        max_steps: 300_000,
    };
    FROM_LOSS = Task {
        name: "from-loss-cartpole",
        example: "policy_gradient_from_loss",
        choice: Some("with-returns"),
        algorithm: "A loss function over returns",
        env: "CartPole-v1",
        section: "CartPole-v1 with a loss function over returns",
        metric: EPISODE_RETURN,
        threshold: 475.0,
        max_steps: 500_000,
    };
    REWARD_ONLY = Task {
        name: "reward-only-cartpole",
        example: "policy_gradient_from_loss",
        choice: Some("reward-only"),
        algorithm: "A loss function over rewards",
        env: "CartPole-v1",
        section: "CartPole-v1 with a loss function over rewards",
        metric: EPISODE_RETURN,
        threshold: 475.0,
        max_steps: 500_000,
    };
    IMPALA_CARTPOLE = Task {
        name: "impala-cartpole",
        example: "impala",
        choice: Some("cartpole"),
        algorithm: "IMPALA",
        env: "CartPole-v1",
        section: "CartPole-v1 with IMPALA",
        metric: EPISODE_RETURN,
        threshold: 450.0,
        max_steps: 500_000,
    };
    IMPALA_MULTI_AGENT_CARTPOLE = Task {
        name: "impala-multi-agent-cartpole",
        example: "impala",
        choice: Some("multi-agent-cartpole"),
        algorithm: "Independent IMPALA",
        env: "MultiAgentCartPole-v1 with 2 agents",
        section: "MultiAgentCartPole-v1, 2 agents, with IMPALA",
        metric: EPISODE_RETURN,
        // 450 per agent.
        threshold: 900.0,
        max_steps: 1_000_000,
    };
    IMPALA_STATELESS_CARTPOLE = Task {
        name: "impala-stateless-cartpole",
        example: "impala",
        choice: Some("stateless-cartpole"),
        algorithm: "IMPALA with an LSTM",
        env: "StatelessCartPole-v1",
        section: "StatelessCartPole-v1 with IMPALA",
        metric: EPISODE_RETURN,
        threshold: 350.0,
        max_steps: 1_000_000,
    };
    IMPALA_CATCH = Task {
        name: "impala-catch",
        example: "impala",
        choice: Some("catch"),
        algorithm: "IMPALA with a CNN",
        env: "Catch-v0",
        section: "Catch-v0 with IMPALA",
        metric: EPISODE_RETURN,
        threshold: 0.95,
        max_steps: 200_000,
    };
    IMPALA_NESTED_CARTPOLE = Task {
        name: "impala-nested-cartpole",
        example: "impala",
        choice: Some("nested-cartpole"),
        algorithm: "IMPALA",
        env: "NestedCartPole-v1",
        section: "NestedCartPole-v1 with IMPALA",
        metric: EPISODE_RETURN,
        threshold: 450.0,
        max_steps: 500_000,
    };
    APPO_CARTPOLE = Task {
        name: "appo-cartpole",
        example: "appo",
        choice: Some("cartpole"),
        algorithm: "APPO",
        env: "CartPole-v1",
        section: "CartPole-v1 with APPO",
        metric: EPISODE_RETURN,
        threshold: 450.0,
        max_steps: 500_000,
    };
    APPO_MULTI_AGENT_CARTPOLE = Task {
        name: "appo-multi-agent-cartpole",
        example: "appo",
        choice: Some("multi-agent-cartpole"),
        algorithm: "Independent APPO",
        env: "MultiAgentCartPole-v1 with 2 agents",
        section: "MultiAgentCartPole-v1, 2 agents, with APPO",
        metric: EPISODE_RETURN,
        // 450 per agent.
        threshold: 900.0,
        max_steps: 1_000_000,
    };
    APPO_STATELESS_CARTPOLE = Task {
        name: "appo-stateless-cartpole",
        example: "appo",
        choice: Some("stateless-cartpole"),
        algorithm: "APPO with an LSTM",
        env: "StatelessCartPole-v1",
        section: "StatelessCartPole-v1 with APPO",
        metric: EPISODE_RETURN,
        threshold: 350.0,
        max_steps: 1_000_000,
    };
    APPO_CATCH = Task {
        name: "appo-catch",
        example: "appo",
        choice: Some("catch"),
        algorithm: "APPO with a CNN",
        env: "Catch-v0",
        section: "Catch-v0 with APPO",
        metric: EPISODE_RETURN,
        threshold: 0.95,
        max_steps: 200_000,
    };
    APPO_NESTED_CARTPOLE = Task {
        name: "appo-nested-cartpole",
        example: "appo",
        choice: Some("nested-cartpole"),
        algorithm: "APPO",
        env: "NestedCartPole-v1",
        section: "NestedCartPole-v1 with APPO",
        metric: EPISODE_RETURN,
        threshold: 450.0,
        max_steps: 500_000,
    };
    APPO_CRASHING_CARTPOLE = Task {
        name: "appo-crashing-cartpole",
        example: "appo",
        choice: Some("crashing-cartpole"),
        algorithm: "APPO",
        env: "CrashingCartPole-v1",
        section: "CrashingCartPole-v1 with APPO",
        metric: EPISODE_RETURN,
        threshold: 450.0,
        max_steps: 500_000,
    };
    DQN_CARTPOLE = Task {
        name: "dqn-cartpole",
        example: "dqn",
        choice: Some("cartpole"),
        algorithm: "DQN",
        env: "CartPole-v1",
        section: "CartPole-v1 with DQN",
        metric: EVALUATION_RETURN,
        threshold: 475.0,
        max_steps: 50_000,
    };
    DQN_ACROBOT = Task {
        name: "dqn-acrobot",
        example: "dqn",
        choice: Some("acrobot"),
        algorithm: "DQN",
        env: "Acrobot-v1",
        section: "Acrobot-v1 with DQN",
        metric: EVALUATION_RETURN,
        threshold: -85.0,
        max_steps: 100_000,
    };
    DQN_MOUNTAIN_CAR = Task {
        name: "dqn-mountain-car",
        example: "dqn",
        choice: Some("mountain-car"),
        algorithm: "DQN",
        env: "MountainCar-v0",
        section: "MountainCar-v0 with DQN",
        metric: EVALUATION_RETURN,
        threshold: -115.0,
        max_steps: 120_000,
    };
    C51_CARTPOLE = Task {
        name: "c51-cartpole",
        example: "dqn",
        choice: Some("c51"),
        algorithm: "C51",
        env: "CartPole-v1",
        section: "CartPole-v1 with C51",
        metric: EVALUATION_RETURN,
        threshold: 450.0,
        max_steps: 50_000,
    };
    QR_DQN_CARTPOLE = Task {
        name: "qr-dqn-cartpole",
        example: "dqn",
        choice: Some("qr-dqn"),
        algorithm: "QR-DQN",
        env: "CartPole-v1",
        section: "CartPole-v1 with QR-DQN",
        metric: EVALUATION_RETURN,
        threshold: 450.0,
        max_steps: 50_000,
    };
    RAINBOW_CARTPOLE = Task {
        name: "rainbow-cartpole",
        example: "dqn",
        choice: Some("rainbow"),
        algorithm: "Rainbow",
        env: "CartPole-v1",
        section: "CartPole-v1 with Rainbow",
        metric: EVALUATION_RETURN,
        threshold: 450.0,
        max_steps: 50_000,
    };
    PQN_CARTPOLE = Task {
        name: "pqn-cartpole",
        example: "pqn",
        choice: Some("cartpole"),
        algorithm: "PQN",
        env: "CartPole-v1",
        section: "CartPole-v1 with PQN",
        metric: EVALUATION_RETURN,
        threshold: 490.0,
        max_steps: 500_000,
    };
    PQN_CATCH = Task {
        name: "pqn-catch",
        example: "pqn",
        choice: Some("catch"),
        algorithm: "PQN with a CNN",
        env: "Catch-v0",
        section: "Catch-v0 with PQN",
        metric: EPISODE_RETURN,
        threshold: 0.95,
        max_steps: 300_000,
    };
    DQN_CATCH = Task {
        name: "dqn-catch",
        example: "dqn",
        choice: Some("catch"),
        algorithm: "DQN with a CNN",
        env: "Catch-v0",
        section: "Catch-v0 with DQN",
        metric: EPISODE_RETURN,
        threshold: 0.95,
        max_steps: 100_000,
    };
    DQN_MULTI_AGENT_CARTPOLE = Task {
        name: "dqn-multi-agent-cartpole",
        example: "dqn",
        choice: Some("multi-agent-cartpole"),
        algorithm: "Independent DQN",
        env: "MultiAgentCartPole-v1 with 2 agents",
        section: "MultiAgentCartPole-v1, 2 agents, with DQN",
        metric: EVALUATION_RETURN,
        // 450 per agent.
        threshold: 900.0,
        max_steps: 200_000,
    };
    SAC_PENDULUM = Task {
        name: "sac-pendulum",
        example: "sac",
        choice: Some("pendulum"),
        algorithm: "SAC",
        env: "Pendulum-v1",
        section: "Pendulum-v1 with SAC",
        metric: EVALUATION_RETURN,
        threshold: -165.0,
        max_steps: 20_000,
    };
    SAC_MOUNTAIN_CAR_CONTINUOUS = Task {
        name: "sac-mountain-car-continuous",
        example: "sac",
        choice: Some("mountain-car-continuous"),
        algorithm: "SAC with gSDE",
        env: "MountainCarContinuous-v0",
        section: "MountainCarContinuous-v0 with SAC",
        metric: EVALUATION_RETURN,
        threshold: 93.0,
        max_steps: 50_000,
    };
    SAC_CARTPOLE = Task {
        name: "sac-cartpole",
        example: "sac",
        choice: Some("cartpole"),
        algorithm: "Discrete SAC",
        env: "CartPole-v1",
        section: "CartPole-v1 with discrete SAC",
        metric: EVALUATION_RETURN,
        threshold: 475.0,
        max_steps: 200_000,
    };
    TQC_PENDULUM = Task {
        name: "tqc-pendulum",
        example: "sac",
        choice: Some("tqc-pendulum"),
        algorithm: "TQC",
        env: "Pendulum-v1",
        section: "Pendulum-v1 with TQC",
        metric: EVALUATION_RETURN,
        threshold: -160.0,
        max_steps: 20_000,
    };
    CROSSQ_PENDULUM = Task {
        name: "crossq-pendulum",
        example: "sac",
        choice: Some("crossq-pendulum"),
        algorithm: "CrossQ",
        env: "Pendulum-v1",
        section: "Pendulum-v1 with CrossQ",
        metric: EVALUATION_RETURN,
        threshold: -160.0,
        max_steps: 20_000,
    };
    TD3_PENDULUM = Task {
        name: "td3-pendulum",
        example: "td3",
        choice: Some("td3"),
        algorithm: "TD3",
        env: "Pendulum-v1",
        section: "Pendulum-v1 with TD3",
        metric: EVALUATION_RETURN,
        threshold: -160.0,
        max_steps: 20_000,
    };
    DDPG_PENDULUM = Task {
        name: "ddpg-pendulum",
        example: "td3",
        choice: Some("ddpg"),
        algorithm: "DDPG",
        env: "Pendulum-v1",
        section: "Pendulum-v1 with DDPG",
        metric: EVALUATION_RETURN,
        threshold: -160.0,
        max_steps: 20_000,
    };
    DQN_STATELESS_CARTPOLE = Task {
        name: "dqn-stateless-cartpole",
        example: "dqn",
        choice: Some("stateless-cartpole"),
        algorithm: "DQN with an LSTM",
        env: "StatelessCartPole-v1",
        section: "StatelessCartPole-v1 with DQN",
        metric: EVALUATION_RETURN,
        threshold: 350.0,
        max_steps: 300_000,
    };
    PETTINGZOO_RPS = Task {
        name: "pettingzoo-rps",
        example: "pettingzoo_rps_ppo",
        choice: None,
        algorithm: "PPO with an LSTM",
        env: "PettingZoo's rps_v2 against a heuristic",
        section: "PettingZoo's rps_v2 against a heuristic",
        metric: LEARNED_RETURN,
        // Of at most 15.
        threshold: 13.0,
        max_steps: 200_000,
    };
}
