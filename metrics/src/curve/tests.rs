use super::*;

fn run(seed: u32) -> Vec<(f64, f64)> {
    (0..60)
        .map(|i| {
            let x = f64::from(i) * 2_000.0 + f64::from(seed) * 300.0;
            let wave = f64::from((i * 7 + seed * 13) % 11) * 6.0;
            (x, 500.0 * (1.0 - (-x / (25_000.0 + 6_000.0 * f64::from(seed))).exp()) - wave + 30.0)
        })
        .collect()
}

fn five_seeds() -> LearningCurve {
    let curve = LearningCurve::new("PPO on CartPole-v1").threshold(475.0);
    (0..5).fold(curve, |curve, seed| curve.series(format!("seed {seed}"), &run(seed)))
}

/// Fails unless every opened element is closed in order and nothing but elements is at the top.
fn assert_well_formed(svg: &str) {
    let mut open = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        assert!(!rest[..start].contains(['>', '&']) || !open.is_empty(), "text outside elements");
        let end = start + rest[start..].find('>').expect("a closed tag");
        let tag = &rest[start + 1..end];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') && !tag.starts_with(['?', '!']) {
            open.push(tag.split_whitespace().next().expect("a name"));
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?} not closed");
}

#[test]
fn one_run_is_one_line() {
    let svg = LearningCurve::new("CartPole-v1").series("seed 0", &run(0)).to_svg().unwrap();
    assert_well_formed(&svg);
    for label in ["CartPole-v1", "environment steps", "episode return", "seed 0", "100k"] {
        assert!(svg.contains(label), "{label}");
    }
    assert!(!svg.contains("mean") && !svg.contains("<polygon"));
    assert!(svg.contains(r#"width="900" height="500""#));
}

#[test]
fn several_runs_have_a_mean_a_band_and_the_threshold() {
    let svg = five_seeds().to_svg().unwrap();
    assert_well_formed(&svg);
    for label in ["mean", "min to max", "threshold 475", "seed 0", "seed 4", "<polygon"] {
        assert!(svg.contains(label), "{label}");
    }
}

#[test]
fn labels_are_escaped() {
    let svg = LearningCurve::new("a < b & \"c\"").series("<x>", &run(0)).to_svg().unwrap();
    assert_well_formed(&svg);
    assert!(svg.contains("a &lt; b &amp; &quot;c&quot;") && svg.contains("&lt;x&gt;"));
}

#[test]
fn the_tick_at_zero_is_zero() {
    let svg = LearningCurve::new("t").series("s", &[(0.0, -0.3), (1.0, 0.3)]).to_svg().unwrap();
    assert!(svg.contains("\n-0.1\n") && !svg.contains("\n-5.551e-17\n"), "{svg}");
}

#[test]
fn a_long_legend_is_shortened() {
    let many = (0..80).fold(LearningCurve::new("many"), |curve, seed| {
        curve.series(format!("a rather long label of seed {seed}"), &run(seed % 9))
    });
    let svg = many.to_svg().unwrap();
    assert_well_formed(&svg);
    assert!(svg.contains(" more") && svg.contains('…') && !svg.contains("seed 79"));
}

#[test]
fn unusual_points_are_drawn_or_refused() {
    let nan = [(0.0, f64::NAN), (f64::INFINITY, 1.0)];
    let error = LearningCurve::new("empty").series("nan", &nan).to_svg().unwrap_err();
    assert_eq!(error.to_string(), "could not plot `empty`: no finite point to draw");
    let far = [(0.0, f64::MIN), (1.0, f64::MAX)];
    assert!(LearningCurve::new("far").series("far", &far).to_svg().is_err());
    for points in
        [[(5.0, 1.0), (5.0, 1.0)], [(1e16, 0.0), (1e16 + 2.0, 0.0)], [(0.0, 1e300), (1e-300, 1.0)]]
    {
        let svg = LearningCurve::new("odd").size(0, 0).series("run", &points).to_svg().unwrap();
        assert_well_formed(&svg);
    }
}

#[test]
fn the_file_holds_the_document_and_an_unwritable_path_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("curve.svg");
    five_seeds().save(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), five_seeds().to_svg().unwrap());
    let error = five_seeds().save(dir.path().join("missing/curve.svg")).unwrap_err();
    assert!(error.to_string().contains("curve.svg"), "{error}");
}
