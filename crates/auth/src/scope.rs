//! The workspaces that a client may read and to which it may publish.

use tidings_event::workspace::WorkspaceId;

/// An action of a client on a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read events.
    Subscribe,
    /// Publish events.
    Publish,
}

impl Action {
    /// Returns the text for the app and for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
        }
    }
}

/// A workspace id, or a pattern such as `team-*`: a `*` matches any number of characters, also
/// none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Creates a pattern. A pattern that no workspace id can match is allowed.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Box::from(text))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the pattern matches a workspace. Takes linear time for each `*`, for any
    /// pattern.
    #[must_use]
    pub fn matches(&self, workspace: &WorkspaceId) -> bool {
        let mut rest = workspace.as_str();
        let mut parts = self.0.split('*');
        // `split` returns at least one part: the prefix.
        let first = parts.next().unwrap_or_default();
        let Some(after) = rest.strip_prefix(first) else { return false };
        rest = after;
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

/// The workspaces that a client may read and to which it may publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// The workspaces that may be read.
    pub subscribe: Vec<Pattern>,
    /// The workspaces to which the client may publish.
    pub publish: Vec<Pattern>,
}

impl Scope {
    /// Returns whether an action is allowed.
    #[must_use]
    pub fn permits(&self, action: Action, workspace: &WorkspaceId) -> bool {
        let patterns = match action {
            Action::Subscribe => &self.subscribe,
            Action::Publish => &self.publish,
        };
        patterns.iter().any(|pattern| pattern.matches(workspace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_matches_any_characters() {
        let matches =
            |pattern: &str, id: &str| Pattern::new(pattern).matches(&WorkspaceId::parse(id).unwrap());
        for (pattern, id) in [
            ("acme", "acme"),
            ("*", "acme"),
            ("team-*", "team-"),
            ("team-*", "team-a"),
            ("*-a", "team-a"),
            ("t*m*a", "team-a"),
            ("a*a", "aa"),
            ("**", "a"),
            ("a*b*c", "abbc"),
        ] {
            assert!(matches(pattern, id), "{pattern} {id}");
        }
        for (pattern, id) in [
            ("acme", "acme2"),
            ("acme", "Acme"),
            ("", "a"),
            ("team-*", "team"),
            ("team-*", "ateam-a"),
            ("a*a", "a"),
            ("a.c", "abc"),
            ("a?c", "abc"),
            ("[a]", "a"),
            ("a*bc*c", "abc"),
        ] {
            assert!(!matches(pattern, id), "{pattern} {id}");
        }
    }

    #[test]
    fn reading_and_publishing_are_separate() {
        let scope = Scope { subscribe: vec![Pattern::new("team-*")], publish: vec![Pattern::new("team-a")] };
        let id = |id| WorkspaceId::parse(id).unwrap();
        assert!(scope.permits(Action::Subscribe, &id("team-b")));
        assert!(!scope.permits(Action::Publish, &id("team-b")));
        assert!(scope.permits(Action::Publish, &id("team-a")));
        assert!(!Scope::default().permits(Action::Subscribe, &id("team-a")));
    }
}
