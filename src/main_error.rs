//! Errors of programs.

use std::error::Error;
use std::fmt;

/// An error returned from `main`, printed for people.
///
/// Rust prints the error of `main` in its `Debug` form, such as `Io { path: "runs", source: Os { code:
/// 28, … } }`. Both forms of this type, `Display` and `Debug`, are the message, followed by one line per
/// cause that the message does not already contain. Every error converts into it by `?`.
///
/// ```no_run
/// use rekindle::prelude::*;
///
/// fn main() -> Result<(), MainError> {
///     let mut algo = PpoConfig::new().environment("CartPole-v1").build(&DeviceSpec::Cpu.open()?)?;
///     algo.train()?;
///     Ok(())
/// }
/// ```
pub struct MainError(Box<dyn Error>);

impl<E: Into<Box<dyn Error>>> From<E> for MainError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Debug for MainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for MainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let message = error.to_string();
            // Many messages of this library quote their cause.
            if !said.contains(&message) {
                write!(f, "\n  caused by: {message}")?;
                said.push_str(&message);
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Self>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn an_error_of_the_system_is_printed_as_its_message() {
        let full = io::Error::from_raw_os_error(28);
        let message = full.to_string();
        assert_eq!(format!("{:?}", MainError::from(full)), message);
    }

    #[test]
    fn causes_follow_on_lines_of_their_own_unless_the_message_quotes_them() {
        let disk = Layer("disk full", None);
        let quoted = Layer("cannot write runs: disk full", Some(Box::new(disk)));
        let outer = Layer("training stopped", Some(Box::new(quoted)));
        let error = MainError::from(outer);
        let expected = "training stopped\n  caused by: cannot write runs: disk full";
        assert_eq!([format!("{error}"), format!("{error:?}")], [expected; 2]);
    }

    #[test]
    fn every_kind_of_error_converts_by_the_question_mark() {
        fn main() -> Result<(), MainError> {
            let boxed: Result<(), Box<dyn Error>> = Err("a message".into());
            Ok(boxed?)
        }
        assert_eq!(format!("{:?}", main().unwrap_err()), "a message");
        assert_eq!(format!("{:?}", MainError::from(String::from("words"))), "words");
    }
}
