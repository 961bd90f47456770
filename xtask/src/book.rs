//! `cargo xtask book`: the book of `docs`, with all its links checked.
//!
//! Pages of `docs` link to files of the repository, such as examples. In the book, these links lead to the repository's
//! address.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::cargo::cargo;
use crate::error::{Error, Result};
use crate::process;

/// The directory with `book.toml`.
const BOOK: &str = "docs/book";
/// The source of the book's pages.
const SOURCE: &str = "docs";
/// The directory that the book is built into; see `book.toml`.
const OUTPUT: &str = "target/book";
const REPOSITORY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");

/// How to build the book.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Open the book in a browser
    #[arg(long)]
    open: bool,
}

/// Returns whether mdBook is installed.
pub(crate) fn is_installed() -> bool {
    process::succeeds(Command::new("mdbook").arg("--version"))
}

/// Builds the book and checks its links. Installs mdBook first if it is missing.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !is_installed() {
        eprintln!("mdBook is missing; building and installing it takes minutes");
        // Without its server and its watch for changes, which take half of the build.
        let parts = ["--no-default-features", "--features", "search"];
        let install = ["install", "mdbook", "--locked", "--version", "0.5.4"];
        process::run(&mut cargo(&[&install[..], &parts].concat()))?;
    }
    process::run(Command::new("mdbook").args(["build", BOOK]))?;
    let output = Path::new(OUTPUT);
    let broken = link(output, Path::new("."))?;
    if !broken.is_empty() {
        return Err(Error::BrokenLinks { links: broken.join("\n  ") });
    }
    println!("{}", output.join("index.html").display());
    if args.open {
        process::run(Command::new("mdbook").args(["build", "--open", BOOK]))?;
    }
    Ok(())
}

/// Makes links to files of the repository lead to its address. Returns the links that lead nowhere.
fn link(output: &Path, root: &Path) -> Result<Vec<String>> {
    let mut pages = BTreeMap::new();
    read_pages(output, output, &mut pages).map_err(Error::io(output))?;
    let anchors: BTreeMap<_, BTreeSet<String>> =
        pages.iter().map(|(path, text)| (path.clone(), ids(text))).collect();
    let mut broken = Vec::new();
    for (page, text) in &pages {
        // These two repeat links of all pages, relative to other places.
        if page.ends_with("404.html") || page.ends_with("toc.html") {
            continue;
        }
        let linked = rewrite(text, &mut |target| {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            if target.contains("://")
                || target.starts_with("mailto:")
                || target.starts_with("data:")
            {
                return None;
            }
            let within = page.parent().unwrap_or(Path::new(""));
            let place = if path.is_empty() { page.clone() } else { normal(&within.join(path)) };
            if output.join(&place).exists() {
                let known = anchors.get(&place);
                if !anchor.is_empty() && known.is_some_and(|ids| !ids.contains(anchor)) {
                    broken.push(format!("{}: no #{anchor} in {path}", page.display()));
                }
                return None;
            }
            // mdBook takes every page for one of the book.
            let source = normal(&Path::new(SOURCE).join(within).join(path));
            let page_of_repository = source.with_extension("md");
            match [&source, &page_of_repository].into_iter().find(|path| root.join(path).exists()) {
                Some(path) => {
                    let anchor = if anchor.is_empty() {
                        ""
                    } else {
                        &target[target.len() - anchor.len() - 1..]
                    };
                    Some(format!("{REPOSITORY}{}{anchor}", path.display()))
                }
                None => {
                    broken.push(format!("{}: no file {path}", page.display()));
                    None
                }
            }
        });
        if linked != *text {
            let path = output.join(page);
            fs::write(&path, linked).map_err(Error::io(&path))?;
        }
    }
    Ok(broken)
}

/// Reads the pages below a directory, by their paths in the book.
fn read_pages(
    directory: &Path,
    output: &Path,
    into: &mut BTreeMap<PathBuf, String>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            read_pages(&path, output, into)?;
        } else if path.extension().is_some_and(|kind| kind == "html") {
            let name = path.strip_prefix(output).unwrap_or(&path).to_owned();
            into.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// Resolves `..` in a relative path. Leading ones, which lead out of the book, are dropped.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            _ => {}
        }
        path
    })
}

/// Returns the ids of a page.
fn ids(text: &str) -> BTreeSet<String> {
    text.split(" id=\"")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
        .collect()
}

/// Replaces the targets of links and images for which `f` returns another one.
fn rewrite(text: &str, f: &mut dyn FnMut(&str) -> Option<String>) -> String {
    let mut rewritten = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, attribute)) = [" href=\"", " src=\""]
        .iter()
        .filter_map(|attribute| Some((rest.find(attribute)?, *attribute)))
        .min()
    {
        let (before, target) = rest.split_at(start + attribute.len());
        let (target, after) = target.split_at(target.find('"').unwrap_or(target.len()));
        rewritten.push_str(before);
        rewritten.push_str(&f(target).unwrap_or_else(|| target.to_owned()));
        rest = after;
    }
    rewritten + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_of_the_repository_lead_to_its_address_and_broken_ones_are_found() {
        let root = tempfile::tempdir().unwrap();
        let output = root.path().join("target/book");
        for path in ["target/book/book", "examples", "docs/book"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        fs::write(root.path().join("examples/a.rs"), "").unwrap();
        fs::write(root.path().join("CONTRIBUTING.md"), "").unwrap();
        let page = r##"<h1 id="top"></h1><a href="#top">1</a> <a href="#gone">2</a>
            <a href="../../examples/a.rs">3</a> <a href="../../CONTRIBUTING.html#add">4</a>
            <a href="../other.html#there">5</a> <a href="../missing.html">6</a> <a href="https://burn.dev">7</a>
            <img src="../other.html">"##;
        fs::write(output.join("book/page.html"), page).unwrap();
        fs::write(output.join("other.html"), "<p id=\"there\"></p>").unwrap();
        let broken = link(&output, root.path()).unwrap();
        assert_eq!(
            broken,
            ["book/page.html: no #gone in ", "book/page.html: no file ../missing.html"]
        );
        let linked = fs::read_to_string(output.join("book/page.html")).unwrap();
        for part in [
            format!("href=\"{REPOSITORY}examples/a.rs\""),
            format!("href=\"{REPOSITORY}CONTRIBUTING.md#add\""),
            "href=\"../other.html#there\"".to_owned(),
            "href=\"https://burn.dev\"".to_owned(),
        ] {
            assert!(linked.contains(&part), "no `{part}` in {linked}");
        }
    }
}
