//! The table of differences: every encoder, head, distribution and loss, and training steps.

use std::fmt::Write as _;
use std::path::Path;

use crate::comparison::{cases, cpu, subject};
use crate::subject_spec;

#[test]
fn everything_computes_the_same_numbers() {
    let (cpu, subject) = (cpu(), subject());
    let mut table = format!(
        "Largest differences between `{}` and `cpu`, relative to 1 + the size of the number.\n\n\
         | what | numbers | forward | gradient | allowed |\n|---|---|---|---|---|\n",
        subject_spec()
    );
    let mut failed = Vec::new();
    for case in cases() {
        let found = case.compare(&cpu, &subject);
        writeln!(
            table,
            "| {} | {} | {:.1e} | {:.1e} | {:.0e} |",
            case.name, found.numbers, found.forward, found.gradient, case.tolerance
        )
        .unwrap();
        if !found.passes {
            failed.push(case.name);
        }
    }
    println!("{table}");
    let name = format!("parity-{}.md", subject_spec().to_string().replace(':', "-"));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, table).unwrap();
    println!("written to {}", path.display());
    assert!(failed.is_empty(), "beyond what is allowed: {failed:?}");
}
