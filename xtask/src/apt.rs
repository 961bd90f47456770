//! Packages of Debian and the systems that descend from it.

use std::process::Command;

use crate::process;

/// Installs packages, if this user can: root, where there is `apt-get`. Returns whether they are installed.
pub(crate) fn install(packages: &[&str]) -> bool {
    let apt = |args: &[&str]| process::run(Command::new("apt-get").args(args)).is_ok();
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    // The package lists may be missing or outdated.
    may_install() && (apt(&install) || (apt(&["update"]) && apt(&install)))
}

fn may_install() -> bool {
    let user = Command::new("id").arg("-u").output();
    user.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
        && process::succeeds(Command::new("apt-get").arg("--version"))
}
