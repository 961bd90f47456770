//! The choice of the Python interpreter that runs the workers.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// The environment variable that names the interpreter.
const VARIABLE: &str = "REKINDLE_PYTHON";

/// An interpreter, and where its name comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interpreter {
    pub(crate) program: PathBuf,
    pub(crate) origin: &'static str,
    /// Directories in which it looks for modules last.
    pub(crate) search_path: Vec<String>,
}

/// The interpreter that runs this program.
static HOST: RwLock<Option<Interpreter>> = RwLock::new(None);

/// Sets the interpreter that runs this program, for programs that are written in Python.
///
/// Environments use it unless the option `python` or the environment variable `REKINDLE_PYTHON` names another one. It
/// looks for modules in the directories of `search_path` after its own, so that environments find the modules that the
/// program finds.
pub fn set_host_interpreter(
    program: impl Into<PathBuf>,
    search_path: impl IntoIterator<Item = impl Into<String>>,
) {
    let search_path = search_path.into_iter().map(Into::into).collect();
    let host = Interpreter {
        program: program.into(),
        origin: "the interpreter of this program",
        search_path,
    };
    *HOST.write().unwrap_or_else(PoisonError::into_inner) = Some(host);
}

impl Interpreter {
    /// Returns the interpreter to start. `option` is the setting of the environment.
    pub(crate) fn find(option: Option<&str>) -> Self {
        let host = HOST.read().unwrap_or_else(PoisonError::into_inner).clone();
        let variable = |name: &str| env::var_os(name).map(PathBuf::from);
        Self::find_in(option, host, variable, Path::is_file)
    }

    fn new(program: PathBuf, origin: &'static str) -> Self {
        Self { program, origin, search_path: Vec::new() }
    }

    fn find_in(
        option: Option<&str>,
        host: Option<Self>,
        variable: impl Fn(&str) -> Option<PathBuf>,
        exists: impl Fn(&Path) -> bool,
    ) -> Self {
        let named = |name| variable(name).filter(|path| !path.as_os_str().is_empty());
        if let Some(program) = option {
            return Self::new(program.into(), "option `python`");
        }
        if let Some(program) = named(VARIABLE) {
            return Self::new(program, "environment variable `REKINDLE_PYTHON`");
        }
        if let Some(host) = host {
            return host;
        }
        for (name, origin) in [
            ("VIRTUAL_ENV", "active virtual environment, `VIRTUAL_ENV`"),
            ("CONDA_PREFIX", "active Conda environment, `CONDA_PREFIX`"),
        ] {
            let program = named(name).map(|folder| folder.join("bin").join("python"));
            if let Some(program) = program.filter(|program| exists(program)) {
                return Self::new(program, origin);
            }
        }
        Self::new("python3".into(), "the default")
    }

    /// The interpreter as users type it.
    pub(crate) fn name(&self) -> String {
        self.program.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_beside(
        host: Option<Interpreter>,
        option: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Interpreter {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| PathBuf::from(value))
        };
        let exists = |path: &Path| path.starts_with("/venv") || path.starts_with("/conda");
        Interpreter::find_in(option, host, variable, exists)
    }

    fn find(option: Option<&str>, variables: &[(&str, &str)]) -> String {
        find_beside(None, option, variables).name()
    }

    #[test]
    fn the_interpreter_of_the_program_comes_before_virtual_environments() {
        let mut host = Interpreter::new("/host/python".into(), "the interpreter of this program");
        host.search_path = vec!["/scripts".to_owned()];
        let find = |option, variables: &[_]| find_beside(Some(host.clone()), option, variables);
        assert_eq!(find(None, &[("VIRTUAL_ENV", "/venv")]), host);
        let named = find(None, &[("REKINDLE_PYTHON", "/named/python")]);
        assert_eq!(named.name(), "/named/python");
        // Packages of another interpreter may not work in this one.
        assert!(named.search_path.is_empty());
        assert_eq!(find(Some("python3.12"), &[]).name(), "python3.12");
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
