//! A Vulkan driver for the tests on WGPU, such as Mesa's software driver.

use std::path::Path;
use std::{env, fs};

use crate::apt;

/// Directories in which the Vulkan loader looks for drivers.
const FOLDERS: [&str; 3] =
    ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];
const PACKAGE: &str = "mesa-vulkan-drivers";

/// Returns whether there is a driver. Installs one where possible, and prints a warning otherwise.
pub(crate) fn provide() -> bool {
    if !cfg!(target_os = "linux") || has_driver() {
        // Other systems come with a driver for WGPU.
        return true;
    }
    if apt::install(&[PACKAGE]) && has_driver() {
        return true;
    }
    eprintln!(
        "\nwarning: skipping the tests on WGPU: no Vulkan driver found, and none could be installed. \
         `apt-get install {PACKAGE}` (as root; other systems have a similar package) installs a \
         software driver."
    );
    false
}

fn has_driver() -> bool {
    let named =
        ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].iter().any(|key| env::var_os(key).is_some());
    named || FOLDERS.iter().any(|folder| has_manifest(Path::new(folder)))
}

/// Returns whether a directory contains the manifest of a driver.
fn has_manifest(folder: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(folder) else { return false };
    entries.any(|entry| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|kind| kind == "json"))
    })
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
