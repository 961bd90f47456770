//! The tuned configurations, which are part of the program.

macro_rules! configs {
    ($($name:literal),* $(,)?) => {
        /// Names and texts, in the order of the alphabet.
        pub(crate) const CONFIGS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../configs/", $name, ".toml")))),*];
    };
}

configs! {
    "cartpole",
}

/// Returns the text of a configuration.
pub(crate) fn config(name: &str) -> Option<&'static str> {
    CONFIGS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Returns the first line of a configuration, which says what it is about.
pub(crate) fn about(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
}
