//! Generated pages, rewritten one section at a time.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};

/// Writes one section of a Markdown page, under a second-level heading. Other sections are unchanged.
///
/// A new page begins with `introduction`.
pub(crate) fn write_section(
    page: &Path,
    introduction: &str,
    heading: &str,
    body: &str,
) -> Result<()> {
    let text = match fs::read_to_string(page) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => introduction.to_owned(),
        Err(error) => return Err(Error::io(page)(error)),
    };
    if let Some(folder) = page.parent() {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    fs::write(page, with_section(&text, heading, body)).map_err(Error::io(page))?;
    eprintln!("wrote {}, section {heading}", page.display());
    Ok(())
}

/// Replaces the section of a page, or appends it.
fn with_section(page: &str, heading: &str, body: &str) -> String {
    let section = format!("{heading}\n\n{}", body.trim());
    let mut parts: Vec<&str> = page.split("\n## ").map(str::trim_end).collect();
    let old = parts.iter_mut().skip(1).find(|part| part.lines().next() == Some(heading));
    match old {
        Some(part) => *part = &section,
        None => parts.push(&section),
    }
    format!("{}\n", parts.join("\n\n## "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_added_at_the_end() {
        let page = with_section("# Title\n\nWords.\n", "One", "first\n");
        let page = with_section(&page, "Two", "second");
        assert_eq!(page, "# Title\n\nWords.\n\n## One\n\nfirst\n\n## Two\n\nsecond\n");
    }

    #[test]
    fn a_section_is_replaced_and_the_others_stay() {
        let page = "# Title\n\n## One\n\nold\n\n### Detail\n\nold\n\n## One and a half\n\nkept\n";
        let expected = "# Title\n\n## One\n\nnew\n\n## One and a half\n\nkept\n";
        assert_eq!(with_section(page, "One", "new"), expected);
        assert_eq!(with_section(expected, "One", "new"), expected);
    }

    #[test]
    fn a_new_page_begins_with_its_introduction() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("docs").join("page.md");
        write_section(&page, "# Title\n", "One", "first").unwrap();
        write_section(&page, "# Ignored\n", "One", "second").unwrap();
        assert_eq!(fs::read_to_string(page).unwrap(), "# Title\n\n## One\n\nsecond\n");
    }
}
