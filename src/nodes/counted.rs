//! Numbers of things in a sentence.

/// Returns a number with its noun, whose plural ends in `s`.
pub(super) fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noun_is_plural_unless_there_is_one() {
        let counts = [0, 1, 2].map(|number| counted(number, "open stream"));
        assert_eq!(counts, ["0 open streams", "1 open stream", "2 open streams"]);
    }
}
