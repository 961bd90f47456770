//! The summary of all results as a Markdown page.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

/// The machine, the date and the build of a report.
pub(crate) struct Machine {
    device: String,
    toy: bool,
    facts: Vec<String>,
}

impl Machine {
    /// Reads what the system says about itself.
    pub(crate) fn read(device: &str, toy: bool) -> Self {
        let date = first_line("date", &["-u", "+%Y-%m-%d"]);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let cpu = cpu.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, name)| name);
        let query = "--query-gpu=name,driver_version,memory.total,clocks.max.sm";
        let gpu = first_line("nvidia-smi", &[query, "--format=csv,noheader"]);
        let mut facts = vec![
            format!("Date: {}", date.as_deref().unwrap_or("unknown")),
            match gpu {
                Some(gpu) => format!("GPU, driver, memory, clock: {gpu}"),
                None => "No NVIDIA GPU".into(),
            },
            format!("CPU: {cpu}, {cores} cores"),
        ];
        facts.extend(build().map(|build| format!("Build: {build}")));
        Self { device: device.into(), toy, facts }
    }
}

/// The file that `cargo xtask gpu-check` writes beside the program.
fn build() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let text = std::fs::read_to_string(program.with_extension("build.txt")).ok()?;
    Some(text.trim().to_owned())
}

fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}

/// Returns the page for all lines of `results.jsonl` so far.
pub(crate) fn summary(machine: &Machine, lines: &[Value]) -> String {
    let mut page = format!("# Checks and measurements of `{}`\n\n", machine.device);
    if machine.toy {
        page += "Toy sizes: these figures say that the programs run, and nothing of speed.\n\n";
    }
    for fact in &machine.facts {
        page += &format!("- {fact}\n");
    }
    parts(&mut page, lines);
    learned(&mut page, lines);
    measurements(&mut page, lines);
    launches(&mut page, lines);
    differences(&mut page, lines);
    messages(&mut page, lines);
    page
}

fn text<'a>(line: &'a Value, key: &str) -> Option<&'a str> {
    line.get(key).and_then(Value::as_str)
}

fn number(line: &Value, key: &str) -> Option<f64> {
    line.get(key).and_then(Value::as_f64)
}

fn of_part<'a>(lines: &'a [Value], part: &str) -> impl Iterator<Item = &'a Value> {
    lines.iter().filter(move |line| text(line, "part") == Some(part))
}

fn row(page: &mut String, cells: &[String]) {
    writeln!(page, "| {} |", cells.join(" | ")).ok();
}

fn table(page: &mut String, heading: &str, columns: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    *page += &format!("\n## {heading}\n\n");
    row(page, &columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>());
    row(page, &vec!["---".to_owned(); columns.len()]);
    rows.iter().for_each(|cells| row(page, cells));
}

fn parts(page: &mut String, lines: &[Value]) {
    let rows = lines.iter().filter_map(|line| {
        let (part, outcome) = (text(line, "part")?, text(line, "outcome")?);
        let took = number(line, "took_s").unwrap_or_default();
        let limit = number(line, "limit_s").unwrap_or_default();
        Some(vec![part.into(), outcome.into(), format!("{took:.1}"), format!("{limit:.0}")])
    });
    table(page, "Parts", &["part", "outcome", "seconds", "limit"], &rows.collect::<Vec<_>>());
}

fn learned(page: &mut String, lines: &[Value]) {
    let rows = lines.iter().filter_map(|line| {
        let get = |key| number(line, key);
        Some(vec![
            text(line, "case")?.into(),
            format!("{:.0}", get("env_steps")?),
            format!("{:.1}", get("training_return").unwrap_or(f64::NEG_INFINITY)),
            format!("{:.1}", get("greedy_return")?),
            format!("{:.3e}", get("env_steps_per_s")?),
        ])
    });
    let columns = ["environment", "steps", "training return", "greedy return", "steps/s"];
    table(page, "Learning on the device", &columns, &rows.collect::<Vec<_>>());
}

/// The value of a case in a part.
fn value(lines: &[Value], part: &str, case: &str) -> Option<f64> {
    number(of_part(lines, part).find(|line| text(line, "case") == Some(case))?, "value")
}

fn rate(value: f64) -> String {
    format!("{value:.3e}")
}

fn measurements(page: &mut String, lines: &[Value]) {
    let mut rows = Vec::new();
    let flops = value(lines, "peaks", "matrix product, f32").map(|peak| peak * 1e12);
    let bytes = value(lines, "peaks", "memory").map(|peak| peak * 1e9);
    let cell = |value: Option<f64>| value.map_or_else(String::new, rate);
    for line in
        of_part(lines, "update").chain(of_part(lines, "rollouts")).chain(of_part(lines, "sac"))
    {
        let (Some(case), Some(ours)) = (text(line, "case"), number(line, "value")) else {
            continue;
        };
        let unit = text(line, "unit").unwrap_or("env steps/s");
        let (eager, compiled) = match case.split_once(',') {
            Some((sac, _)) => (value(lines, "sac-sb3", sac), None),
            None => (value(lines, "update-eager", case), value(lines, "update-compiled", case)),
        };
        // In 16 bits the peak is another.
        let is_f32 = !case.contains("16-");
        let at_most = |work: Option<f64>, peak: Option<f64>| Some(peak? / work?);
        let by_flops = at_most(number(line, "flops_per_row"), flops).filter(|_| is_f32);
        let by_bytes = at_most(number(line, "bytes_per_row"), bytes).filter(|_| is_f32);
        let most = by_flops.zip(by_bytes).map(|(a, b)| a.min(b));
        let goal = goal(case);
        let reached = match &goal {
            Some(Goal::Ratio(ratio)) => eager.map(|eager| ours / eager >= *ratio),
            Some(Goal::Value(value)) => Some(ours >= *value),
            None => None,
        };
        let ratio =
            |peer: Option<f64>| peer.map_or_else(String::new, |peer| format!("{:.2}", ours / peer));
        rows.push(vec![
            case.into(),
            format!("{} {unit}", rate(ours)),
            cell(eager),
            ratio(eager),
            cell(compiled),
            ratio(compiled),
            cell(most),
            goal.map_or_else(String::new, |goal| goal.to_string()),
            reached.map_or("", |reached| if reached { "yes" } else { "no" }).into(),
        ]);
    }
    let columns = [
        "case",
        "rekindle",
        "eager PyTorch, or SB3",
        "ratio",
        "`torch.compile`",
        "ratio",
        "at most",
        "goal",
        "reached",
    ];
    table(page, "Measurements", &columns, &rows);
    if let (Some(flops), Some(bytes)) = (flops, bytes) {
        *page += &format!(
            "\n\"At most\" is the rate at which an update would reach {:.3} TFLOP/s in its products, or move the bytes \
             of its activations, their gradients and Adam's state at {:.0} GB/s: the rates that a large product and a \
             large copy reach on this device in Burn.\n",
            flops / 1e12,
            bytes / 1e9
        );
    }
}

enum Goal {
    /// Of the first peer.
    Ratio(f64),
    Value(f64),
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ratio(ratio) => write!(f, "{ratio}×"),
            Self::Value(value) => write!(f, "{}", rate(*value)),
        }
    }
}

fn goal(case: &str) -> Option<Goal> {
    Some(match case {
        _ if case.starts_with("mlp-") => Goal::Ratio(1.5),
        _ if case.starts_with("cnn-") => Goal::Ratio(1.0),
        _ if case.starts_with("sac-") => Goal::Ratio(2.0),
        "CartPole-v1-1" => Goal::Value(2e7),
        _ => return None,
    })
}

fn launches(page: &mut String, lines: &[Value]) {
    let rows = of_part(lines, "launches").filter_map(|line| {
        let kernels = line.get("kernels")?.as_object()?;
        let mut kernels: Vec<_> = kernels.iter().collect();
        kernels.sort_by_key(|(_, count)| std::cmp::Reverse(count.as_u64()));
        let kernels: Vec<_> =
            kernels.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let all = number(line, "value")?;
        Some(vec![text(line, "case")?.into(), format!("{all:.0}"), kernels.join(", ")])
    });
    let columns = ["case", "launches", "kernels"];
    table(page, "Kernel launches of a minibatch", &columns, &rows.collect::<Vec<_>>());
}

fn differences(page: &mut String, lines: &[Value]) {
    let compared = of_part(lines, "compare").chain(of_part(lines, "steps"));
    let rows = compared.filter_map(|line| {
        let get = |key| number(line, key).map(|value| format!("{value:.1e}"));
        let passes = line.get("passes")?.as_bool()?;
        let numbers = number(line, "numbers").map(|numbers| format!("{numbers:.0}"));
        let cells = [numbers, get("forward"), get("gradient"), get("allowed")];
        let mut row = vec![text(line, "case")?.to_owned()];
        row.extend(cells.map(Option::unwrap_or_default));
        row.push(if passes { "yes" } else { "**no**" }.into());
        Some(row)
    });
    let columns = ["what", "numbers", "forward", "gradient", "allowed", "passes"];
    table(page, "Differences from the CPU", &columns, &rows.collect::<Vec<_>>());
}

fn messages(page: &mut String, lines: &[Value]) {
    let messages = lines.iter().filter_map(|line| {
        let (part, message) = (text(line, "part")?, text(line, "message")?);
        let case = text(line, "case").map(|case| format!(", {case}")).unwrap_or_default();
        Some(format!("- {part}{case}: {message}\n"))
    });
    let messages: String = messages.collect();
    if !messages.is_empty() {
        *page += &format!("\n## Messages\n\n{messages}");
    }
}
