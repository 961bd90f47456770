//! The machine and the date of a measurement.

use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs, thread};

/// Describes the processor, its longest vectors, its cores and the system, for example `AMD EPYC 9B14 (AVX-512),
/// 2 cores, linux x86_64`.
pub(crate) fn describe() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu_model(&cpuinfo).unwrap_or("unknown processor");
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let plural = if cores == 1 { "" } else { "s" };
    let vectors = vectors(&cpuinfo).map_or(String::new(), |vectors| format!(" ({vectors})"));
    format!("{cpu}{vectors}, {cores} core{plural}, {} {}", env::consts::OS, env::consts::ARCH)
}

/// Returns the name of the longest vectors that kernels use.
fn vectors(cpuinfo: &str) -> Option<&'static str> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    let has = |flag| flags.split_ascii_whitespace().any(|other| other == flag);
    [("avx512f", "AVX-512"), ("avx2", "AVX2")]
        .into_iter()
        .find_map(|(flag, name)| has(flag).then_some(name))
}

/// Returns today's date in UTC, for example `2026-03-01`.
pub(crate) fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    date(seconds / 86_400)
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

/// Returns the date `days` days after 1970-01-01.
///
/// Years begin in March, so that the leap day is their last day (H. Hinnant,
/// "chrono-compatible low-level date algorithms", `civil_from_days`).
fn date(days: u64) -> String {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_around_leap_days() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(11_017), "2000-03-01");
        assert_eq!(date(20_512), "2026-02-28");
        assert_eq!(date(20_513), "2026-03-01");
        assert_eq!(date(20_818), "2026-12-31");
    }

    #[test]
    fn the_longest_vectors_are_named() {
        assert_eq!(vectors("flags\t\t: fpu avx avx2 avx512f\n"), Some("AVX-512"));
        assert_eq!(vectors("flags\t\t: fpu avx avx2\n"), Some("AVX2"));
        assert_eq!(vectors("flags\t\t: fpu sse2\n"), None);
        assert_eq!(vectors(""), None);
    }

    #[test]
    fn the_first_model_name_counts() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: Other\n";
        assert_eq!(cpu_model(cpuinfo), Some("Some CPU @ 2 GHz"));
        assert_eq!(cpu_model("processor\t: 0\n"), None);
    }
}
