//! Which workspaces somebody may read and write.

use tidings_event::workspace::WorkspaceId;

/// What somebody wants to do with a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read its events.
    Subscribe,
    /// Write events to it.
    Publish,
}

impl Action {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
        }
    }
}

/// A workspace id, or a pattern such as `team-*`: a `*` stands for any number of characters, none included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Takes a pattern. One that no workspace can match is allowed, and matches none.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Box::from(text))
    }

    /// The pattern's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches a workspace. Takes time linear in the lengths for each `*`, whatever the pattern is.
    #[must_use]
    pub fn matches(&self, workspace: &WorkspaceId) -> bool {
        let mut rest = workspace.as_str();
        let mut parts = self.0.split('*');
        // `split` gives at least one part: what must stand at the beginning.
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

/// What somebody may do: patterns of workspaces, for reading and for writing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// What may be read.
    pub subscribe: Vec<Pattern>,
    /// What may be written.
    pub publish: Vec<Pattern>,
}

impl Scope {
    /// Whether an action is allowed.
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
    fn a_star_stands_for_any_characters_and_nothing_else_does() {
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
    fn reading_and_writing_are_two_things() {
        let scope = Scope { subscribe: vec![Pattern::new("team-*")], publish: vec![Pattern::new("team-a")] };
        let id = |id| WorkspaceId::parse(id).unwrap();
        assert!(scope.permits(Action::Subscribe, &id("team-b")));
        assert!(!scope.permits(Action::Publish, &id("team-b")));
        assert!(scope.permits(Action::Publish, &id("team-a")));
        assert!(!Scope::default().permits(Action::Subscribe, &id("team-a")));
    }
}
