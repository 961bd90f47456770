//! The browser of the tests of the live page.

use std::env;
use std::process::Command;

use crate::process;

/// The environment variable that names another program. `scripts/view/check.py` reads it, too.
const VARIABLE: &str = "CHROMIUM";
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Returns whether there is a browser, and the Python that starts it.
pub(crate) fn is_installed() -> bool {
    let named = env::var(VARIABLE).ok().filter(|name| !name.is_empty());
    let mut names = named.iter().map(String::as_str).chain(NAMES);
    let works = |name: &str| process::succeeds(Command::new(name).arg("--version"));
    names.any(works) && works("python3")
}
