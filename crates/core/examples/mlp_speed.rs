use burn::prelude::*;
use burn::tensor::Distribution;
use rekindle_core::kernels::*;
use std::time::Instant;
fn main() {
    let d = Device::flex().autodiff();
    for (rows, h) in [(256usize, 64usize), (128, 256), (2048, 64), (64, 256)] {
        let mk = |i: usize, o: usize, a| Dense {
            weight: Tensor::<2>::random([i, o], Distribution::Uniform(-0.2, 0.2), &d)
                .require_grad(),
            bias: Tensor::<1>::zeros([o], &d).require_grad(),
            activation: a,
        };
        let layers = vec![
            mk(4, h, DenseActivation::Tanh),
            mk(h, h, DenseActivation::Tanh),
            mk(h, 2, DenseActivation::Linear),
        ];
        let x = Tensor::<2>::random([rows, 4], Distribution::Uniform(-1.0, 1.0), &d);
        let xi = x.clone().inner();
        let li: Vec<_> = layers
            .iter()
            .map(|l| Dense {
                weight: l.weight.clone().inner(),
                bias: l.bias.clone().inner(),
                activation: l.activation,
            })
            .collect();
        let (mut a, mut f, mut b) = (vec![], vec![], vec![]);
        for _ in 0..2000 {
            let t = Instant::now();
            let y = mlp(xi.clone(), &li);
            a.push(t.elapsed().as_nanos());
            drop(y);
            let t = Instant::now();
            let y = mlp(x.clone(), &layers);
            f.push(t.elapsed().as_nanos());
            let l = y.square().mean();
            let t = Instant::now();
            let g = l.backward();
            b.push(t.elapsed().as_nanos());
            drop(g);
        }
        for v in [&mut a, &mut f, &mut b] {
            v.sort();
        }
        let fl = 2.0 * (rows * (4 * h + h * h + 2 * h)) as f64;
        println!(
            "{rows}x{h}: inference {} ns, forward {} ns ({:.0} GFLOP/s), backward {} ns ({:.0})",
            a[1000],
            f[1000],
            fl / f[1000] as f64,
            b[1000],
            2.0 * fl / b[1000] as f64
        );
    }
}
