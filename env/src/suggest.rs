//! Suggestions for mistyped names in error messages.

/// The most names that are listed after a suggestion. A longer list hides the suggestion.
const MAX_LISTED: usize = 40;

/// Lists the names that are close to `wanted`, then all names unless they are many: `did you mean ..? known: ..`.
#[must_use]
pub fn did_you_mean(wanted: &str, known: &[String]) -> String {
    if known.is_empty() {
        return "there are none".to_owned();
    }
    let list =
        |names: Vec<&String>| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let all = list(known.iter().collect());
    match list(close_to(wanted, known.iter())).as_str() {
        "" => format!("known: {all}"),
        close if known.len() > MAX_LISTED => format!("did you mean {close}?"),
        close => format!("did you mean {close}? known: {all}"),
    }
}

/// Suggests the names of a comma-separated list that are close to `wanted`: `; did you mean ..?`. Empty if none is.
#[must_use]
pub fn suggestion(wanted: &str, known: &str) -> String {
    let known = known.split(',').map(str::trim).filter(|name| !name.is_empty());
    let close = close_to(wanted, known);
    let close: Vec<_> = close.into_iter().map(|name| format!("`{name}`")).collect();
    if close.is_empty() { String::new() } else { format!("; did you mean {}?", close.join(", ")) }
}

/// Returns the names that differ from `wanted` in a few characters. If there are none, returns those that have all of its
/// letters in their order, or whose letters it has: `max_env_steps` for `max_steps`.
fn close_to<T: AsRef<str>>(wanted: &str, names: impl Iterator<Item = T> + Clone) -> Vec<T> {
    let close: Vec<T> = names.clone().filter(|name| is_close(wanted, name.as_ref())).collect();
    if !close.is_empty() {
        return close;
    }
    names.filter(|name| is_part(wanted, name.as_ref())).collect()
}

/// Whether two names differ only in letter case, version, or a few characters.
fn is_close(a: &str, b: &str) -> bool {
    let (a, b) = (base(a), base(b));
    let (short, long) = if a.len() <= b.len() { (&a, &b) } else { (&b, &a) };
    match short.len() {
        0..=1 => short == long,
        // Replacing a letter would make another name of one as short as that; an additional one is a slip.
        2 => short == long || (long.len() == 3 && has_all(long, short)),
        length => edit_distance(&a, &b) <= (length / 4).max(1),
    }
}

/// Returns a name without its version, in lower case.
fn base(name: &str) -> String {
    let lower = name.to_lowercase();
    lower.rsplit_once("-v").map_or(lower.clone(), |(base, _)| base.to_owned())
}

/// Shortest name that counts as a part of a longer one.
const SHORTEST: usize = 5;

/// Whether one name has all letters of the other in their order, and not many more.
fn is_part(a: &str, b: &str) -> bool {
    let (a, b) = (base(a), base(b));
    let (short, long) = if a.len() <= b.len() { (&a, &b) } else { (&b, &a) };
    short.len() >= SHORTEST && 2 * short.len() > long.len() && has_all(long, short)
}

/// Whether all letters of `short` are in `long`, in their order.
fn has_all(long: &str, short: &str) -> bool {
    let mut letters = long.chars();
    short.chars().all(|letter| letters.any(|other| other == letter))
}

/// The Levenshtein distance: insertions, deletions and replacements from `a` to `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().zip(std::iter::once(None).chain(b.chars().map(Some))) {
            let above = *cell;
            left = match y {
                None => i + 1,
                Some(y) => (left + 1).min(above + 1).min(diagonal + usize::from(x != y)),
            };
            diagonal = above;
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_counts_single_character_edits() {
        assert_eq!(edit_distance("", ""), 0);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("abc", ""), 3);
        assert_eq!(edit_distance("", "abc"), 3);
    }

    #[test]
    fn a_suggestion_stands_alone_where_the_list_would_hide_it() {
        let others = (0..MAX_LISTED).map(|number| format!("other-{number}"));
        let names: Vec<_> = std::iter::once("cartpole".to_owned()).chain(others).collect();
        let few = did_you_mean("cartpol", &names[..MAX_LISTED]);
        assert!(few.starts_with("did you mean `cartpole`? known: `cartpole`, `other-0`"), "{few}");
        assert_eq!(did_you_mean("cartpol", &names), "did you mean `cartpole`?");
        // Without a suggestion, the list is all that helps.
        assert!(did_you_mean("zzz", &names).starts_with("known: `cartpole`, `other-0`"));
    }

    #[test]
    fn the_close_names_of_a_list_are_suggested() {
        let known = "actions, obs, action_logp";
        assert_eq!(suggestion("action_lgp", known), "; did you mean `action_logp`?");
        assert_eq!(suggestion("rewards", known), "");
        assert_eq!(suggestion("obs", ""), "");
    }

    #[test]
    fn versions_case_and_slips_are_close_and_other_names_are_not() {
        assert!(is_close("cartpole-v9", "CartPole-v1"));
        assert!(is_close("CartPol-v1", "CartPole-v1"));
        assert!(!is_close("Pendulum-v1", "CartPole-v1"));
        assert!(is_close("PPOO", "PPO") && is_close("pqo", "PPO"));
        assert!(!is_close("x", "y") && !is_close("lr", "tr") && !is_close("l", "lr"));
        assert!(is_close("lrr", "lr") && !is_close("lrate", "lr") && !is_close("tau", "lr"));
        assert!(is_part("max_steps", "max_env_steps") && is_part("MeanStdFilter", "MeanFilter"));
        assert!(!is_part("gamma", "target_network_gamma") && !is_part("lr", "lambda_r"));
        assert_eq!(
            close_to("fcnet_hidden", ["fcnet_hiddens", "vf_fcnet_hiddens"].iter()),
            [&"fcnet_hiddens"]
        );
    }
}
