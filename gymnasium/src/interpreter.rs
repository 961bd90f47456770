//! The choice of the Python interpreter that runs the workers.

use std::env;
use std::path::{Path, PathBuf};

/// The environment variable that names the interpreter.
const VARIABLE: &str = "REKINDLE_PYTHON";

/// An interpreter, and where its name comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interpreter {
    pub(crate) program: PathBuf,
    pub(crate) origin: &'static str,
}

impl Interpreter {
    /// Returns the interpreter to start. `option` is the setting of the environment.
    pub(crate) fn find(option: Option<&str>) -> Self {
        Self::find_in(option, |name| env::var_os(name).map(PathBuf::from), Path::is_file)
    }

    fn find_in(
        option: Option<&str>,
        variable: impl Fn(&str) -> Option<PathBuf>,
        exists: impl Fn(&Path) -> bool,
    ) -> Self {
        let named = |name| variable(name).filter(|path| !path.as_os_str().is_empty());
        if let Some(program) = option {
            return Self { program: program.into(), origin: "option `python`" };
        }
        if let Some(program) = named(VARIABLE) {
            return Self { program, origin: "environment variable `REKINDLE_PYTHON`" };
        }
        for (name, origin) in [
            ("VIRTUAL_ENV", "active virtual environment, `VIRTUAL_ENV`"),
            ("CONDA_PREFIX", "active Conda environment, `CONDA_PREFIX`"),
        ] {
            let program = named(name).map(|folder| folder.join("bin").join("python"));
            if let Some(program) = program.filter(|program| exists(program)) {
                return Self { program, origin };
            }
        }
        Self { program: "python3".into(), origin: "the default" }
    }

    /// The interpreter as users type it.
    pub(crate) fn name(&self) -> String {
        self.program.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(option: Option<&str>, variables: &[(&str, &str)]) -> String {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| PathBuf::from(value))
        };
        let exists = |path: &Path| path.starts_with("/venv") || path.starts_with("/conda");
        Interpreter::find_in(option, variable, exists).name()
    }

    #[test]
    fn the_setting_comes_first_then_the_variable_then_the_virtual_environment() {
        let all = [
            ("REKINDLE_PYTHON", "/named/python"),
            ("VIRTUAL_ENV", "/venv"),
            ("CONDA_PREFIX", "/conda"),
        ];
        assert_eq!(find(Some("python3.12"), &all), "python3.12");
        assert_eq!(find(None, &all), "/named/python");
        assert_eq!(find(None, &all[1..]), "/venv/bin/python");
        assert_eq!(find(None, &all[2..]), "/conda/bin/python");
        assert_eq!(find(None, &[]), "python3");
    }

    #[test]
    fn empty_variables_and_deleted_environments_are_skipped() {
        assert_eq!(find(None, &[("REKINDLE_PYTHON", ""), ("VIRTUAL_ENV", "/gone")]), "python3");
    }
}
