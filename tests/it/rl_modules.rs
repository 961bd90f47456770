//! The Rust versions of the code blocks of RLlib's page "RL Modules" run.

use burn::prelude::*;
use rekindle::core::any_tensor::to_f32;
use rekindle::core::weights::state_dict;
use rekindle::prelude::*;

#[path = "../../examples/rl_modules/main.rs"]
mod example;

#[test]
fn every_block_of_the_page_runs() {
    example::run().unwrap();
}

#[test]
fn the_mobilenet_of_the_example_has_inverted_residuals_with_linear_bottlenecks() {
    let device = DeviceSpec::Cpu.open().unwrap();
    let net = example::mobilenet::MobileNetV2Config::default().build(3, &device);
    let weights = state_dict(&net).unwrap();
    let shape = |name: &str| weights[name].shape().to_vec();
    // Block 2 has 6 channels in and out, widened to 36.
    assert_eq!(shape("blocks.2.expand.weight"), [36, 6, 1, 1]);
    assert_eq!(shape("blocks.2.depthwise.weight"), [36, 1, 3, 3]);
    assert_eq!(shape("blocks.2.project.weight"), [6, 36, 1, 1]);
    assert!(!weights.contains_key("blocks.0.expand.weight"));

    let x = Tensor::<4>::random([2, 6, 8, 8], burn::tensor::Distribution::Default, &device) - 0.5;
    let block = &net.blocks[2];
    // The widened features are within ReLU6's bounds, the bottleneck and the residual are not.
    let wide = block.expand.as_ref().unwrap().forward(x.clone()).clamp(0.0, 6.0);
    let narrow = block.project.forward(block.depthwise.forward(wide).clamp(0.0, 6.0));
    assert!(to_f32(narrow.clone()).unwrap().iter().any(|x| *x < 0.0));
    assert_eq!(to_f32(block.forward(x.clone())).unwrap(), to_f32(x + narrow).unwrap());
    // The first block of a stage halves the image and has no residual.
    let x = Tensor::<4>::ones([1, 4, 8, 8], &device);
    assert_eq!(net.blocks[1].forward(x).dims(), [1, 6, 4, 4]);

    let images = Column::from(Tensor::<4>::ones([5, 32, 32, 3], &device));
    assert_eq!(net.forward(&images).unwrap().dims(), [5, net.output_dim()]);
}
