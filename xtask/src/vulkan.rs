//! A Vulkan driver for the tests on WGPU: Mesa has one in software.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use crate::process;

/// Where the Vulkan loader looks for drivers.
const FOLDERS: [&str; 3] =
    ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];
const PACKAGE: &str = "mesa-vulkan-drivers";

/// Whether there is a driver, which is installed if it is missing and may be installed; says so if
/// there is none.
pub(crate) fn provide() -> bool {
    if !cfg!(target_os = "linux") || has_driver() {
        // Other systems bring what WGPU needs.
        return true;
    }
    if may_install() && install() && has_driver() {
        return true;
    }
    eprintln!(
        "\nwarning: there is no Vulkan driver here and none could be installed: the tests on WGPU \
         are left out. As root, `apt-get install {PACKAGE}` (or what your system calls it) brings \
         one in software."
    );
    false
}

fn has_driver() -> bool {
    let named =
        ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].iter().any(|key| env::var_os(key).is_some());
    named || FOLDERS.iter().any(|folder| has_manifest(Path::new(folder)))
}

/// Whether a folder has the description of a driver.
fn has_manifest(folder: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(folder) else { return false };
    entries.any(|entry| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|kind| kind == "json"))
    })
}

/// Only root may, and only where `apt-get` is.
fn may_install() -> bool {
    let user = Command::new("id").arg("-u").output();
    user.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
        && process::succeeds(Command::new("apt-get").arg("--version"))
}

fn install() -> bool {
    let apt = |args: &[&str]| process::run(Command::new("apt-get").args(args)).is_ok();
    let install = ["install", "--yes", "--no-install-recommends", PACKAGE];
    // Lists of packages may be missing or old.
    apt(&install) || (apt(&["update"]) && apt(&install))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_a_manifest_in_json() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!has_manifest(&folder.path().join("missing")));
        assert!(!has_manifest(folder.path()));
        fs::write(folder.path().join("readme.txt"), "").unwrap();
        assert!(!has_manifest(folder.path()));
        fs::write(folder.path().join("lvp_icd.x86_64.json"), "{}").unwrap();
        assert!(has_manifest(folder.path()));
    }
}
