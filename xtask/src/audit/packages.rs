//! The packages that are published, and a project elsewhere that uses them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cargo::{Package, cargo, metadata};
use crate::error::{Error, Result};
use crate::process;

/// The program of the project, without the module that it trains.
const MAIN: &str = include_str!("package_user.rs");
/// Where the module of the example belongs in it.
const MODULE: &str = "// The module of the example.\n";

/// Versions of the dependencies of the project that uses the packages.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Versions {
    /// Those of `Cargo.lock`.
    Locked,
    /// The newest that the packages allow, as in a new project.
    Newest,
}

/// Returns the arguments that leave out the packages that are not published.
pub(super) fn exclude_unpublished() -> Result<Vec<String>> {
    let packages = metadata()?.packages;
    let unpublished = packages.into_iter().filter(|package| !package.is_published());
    Ok(unpublished.flat_map(|package| ["--exclude".to_owned(), package.name]).collect())
}

/// Packs all packages that are published. Their files are complete and their manifests valid. They are not built: tests
/// build the same files.
pub(super) fn pack() -> Result<()> {
    let package = ["package", "--workspace", "--no-verify", "--allow-dirty"];
    process::run(cargo(&package).args(exclude_unpublished()?))
}

/// Uses the packages as a project elsewhere does: without this workspace, its profiles and its patches. Trains the
/// module of an example, acts with the policy in a program without the training stack, and checks that everything
/// compiles for a GPU.
pub(super) fn use_in_an_empty_project(versions: Versions) -> Result<()> {
    let metadata = metadata()?;
    let project = metadata.target_directory.join("package-user");
    remove_all_but_the_build(&project)?;
    let packages = project.join("packages");
    for folder in [&packages, &project.join("src")] {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    let published: Vec<_> = metadata.packages.into_iter().filter(Package::is_published).collect();
    for package in &published {
        // Files in archives have one fixed time. With `-m` they are new, so that Cargo builds them again.
        let archive = format!("{}.crate", directory_of(package));
        let archive = metadata.target_directory.join("package").join(archive);
        process::run(Command::new("tar").arg("-xmzf").arg(archive).arg("-C").arg(&packages))?;
    }
    write_project(&project, &published)?;
    if versions == Versions::Locked {
        // Entries of the packages have no source in it, so that Cargo uses them for those of the project, too.
        let lock = project.join("Cargo.lock");
        fs::copy("Cargo.lock", &lock).map_err(Error::io(&lock))?;
    }
    for (command, features) in [("run", "flex,train"), ("run", "flex"), ("check", "wgpu,train")] {
        let mut user = cargo(&[command, "--no-default-features", "--features", features]);
        user.current_dir(&project).env("CARGO_TARGET_DIR", project.join("target"));
        process::run(&mut user)?;
    }
    Ok(())
}

/// Empties the directory of the project. Its build is kept, because dependencies from the registry do not change.
fn remove_all_but_the_build(project: &Path) -> Result<()> {
    if !project.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(project).map_err(Error::io(project))? {
        let path = entry.map_err(Error::io(project))?.path();
        if path.is_dir() && !path.ends_with("target") {
            fs::remove_dir_all(&path).map_err(Error::io(&path))?;
        } else if path.is_file() {
            fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

/// Writes the manifest and the program. Both are made of what the package `rekindle` shows its users: the dependencies
/// of its README, and the module of its example.
fn write_project(project: &Path, packages: &[Package]) -> Result<()> {
    let root = packages.iter().find(|package| package.name == "rekindle");
    let root = root.map(directory_of).unwrap_or_default();
    let root = project.join("packages").join(root);
    let readme = root.join("README.md");
    let example = root.join("examples/custom_module.rs");
    let dependencies = part_of(&readme, "```toml\n[dependencies]\n", "```")?;
    let module = part_of(&example, "// ANCHOR: module\n", "// ANCHOR_END: module")?;
    let program = MAIN.replace(MODULE, &module);
    for (path, text) in
        [("Cargo.toml", manifest(packages, &dependencies)), ("src/main.rs", program)]
    {
        let path = project.join(path);
        fs::write(&path, text).map_err(Error::io(&path))?;
    }
    Ok(())
}

/// Returns the part of a file between two texts.
fn part_of(path: &Path, start: &str, end: &str) -> Result<String> {
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    let part = text.split_once(start).and_then(|(_, rest)| rest.split_once(end));
    let (part, _) = part.ok_or_else(|| {
        Error::malformed(path.display(), format!("no part from `{}` to `{end}`", start.trim_end()))
    })?;
    Ok(part.to_owned())
}

/// The name of the directory in a package, and of its archive.
fn directory_of(package: &Package) -> String {
    format!("{}-{}", package.name, package.version)
}

/// The manifest of the project. `dependencies` are those of the README, where `rekindle` has a path in place of a
/// version.
fn manifest(packages: &[Package], dependencies: &str) -> String {
    let mut manifest = "[package]\nname = \"package-user\"\nedition = \"2024\"\n\n[workspace]\n\n\
                        [dependencies]\n"
        .to_owned();
    // Writing to a string does not fail.
    for package in packages.iter().filter(|package| package.name == "rekindle") {
        let version = &package.version;
        let _ = writeln!(
            manifest,
            "rekindle = {{ version = \"{version}\", default-features = false }}\n\
             rekindle-cli = {{ version = \"{version}\", optional = true }}"
        );
    }
    for line in dependencies.lines().filter(|line| !line.starts_with("rekindle ")) {
        let _ = writeln!(manifest, "{line}");
    }
    manifest += "\n[features]\ncli = [\"dep:rekindle-cli\"]\n";
    for feature in ["flex", "train", "wgpu"] {
        let _ = writeln!(manifest, "{feature} = [\"rekindle/{feature}\"]");
    }
    manifest += "\n[patch.crates-io]\n";
    for package in packages {
        let directory = directory_of(package);
        let _ = writeln!(manifest, "{} = {{ path = \"packages/{directory}\" }}", package.name);
    }
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_stand_in_for_those_of_the_registry() {
        let packages = ["rekindle", "rekindle-env"].map(|name| Package {
            name: name.into(),
            version: "7.8.9".into(),
            publish: None,
        });
        let manifest = manifest(&packages, "rekindle = { path = \"..\" }\nburn = \"1.2\"\n");
        for line in [
            "rekindle = { version = \"7.8.9\", default-features = false }",
            "rekindle = { path = \"packages/rekindle-7.8.9\" }",
            "rekindle-env = { path = \"packages/rekindle-env-7.8.9\" }",
            "burn = \"1.2\"",
            "wgpu = [\"rekindle/wgpu\"]",
        ] {
            assert!(manifest.lines().any(|found| found == line), "no `{line}` in:\n{manifest}");
        }
        assert!(!manifest.contains("\"..\""), "{manifest}");
    }

    #[test]
    fn the_project_is_made_of_the_readme_and_of_an_example() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("packages/rekindle-7.8.9");
        for path in ["README.md", "examples/custom_module.rs"] {
            fs::create_dir_all(package.join(path).parent().unwrap()).unwrap();
            fs::copy(root.join(path), package.join(path)).unwrap();
        }
        fs::create_dir(folder.path().join("src")).unwrap();
        let package = Package { name: "rekindle".into(), version: "7.8.9".into(), publish: None };
        write_project(folder.path(), &[package]).unwrap();
        let manifest = fs::read_to_string(folder.path().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("\nburn = { version = \"="), "{manifest}");
        let program = fs::read_to_string(folder.path().join("src/main.rs")).unwrap();
        assert!(program.contains("impl RLModule for MyActorCritic {"), "{program}");
        assert!(!program.contains(MODULE), "{program}");
    }
}
