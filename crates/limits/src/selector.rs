//! The selection of streams by user, workspace, token or connection id.

use tidings_event::ConnectionId;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Keys, TokenKey, UserKey};

/// Selects the streams that have all the given properties. A selector without properties selects no
/// stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// The user of the stream.
    pub user: Option<UserKey>,
    /// The workspace of the stream.
    pub workspace: Option<WorkspaceId>,
    /// The token with which the stream was opened.
    pub token: Option<TokenKey>,
    /// The id of the stream.
    pub connection: Option<ConnectionId>,
}

impl Selector {
    /// Returns whether no property is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether a stream is selected. `connection` is `None` for a stream that is not open
    /// yet.
    #[must_use]
    pub fn matches(&self, workspace: &WorkspaceId, keys: Keys, connection: Option<ConnectionId>) -> bool {
        let matches = !self.is_empty()
            && self.workspace.as_ref().is_none_or(|wanted| wanted == workspace)
            && self.connection.is_none_or(|wanted| Some(wanted) == connection);
        matches
            && self.user.is_none_or(|wanted| keys.user == Some(wanted))
            && self.token.is_none_or(|wanted| keys.token == Some(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_event::NodeId;
    use tidings_event::{TokenId, UserId};

    #[test]
    fn all_properties_must_match_and_an_empty_selector_matches_nothing() {
        let acme = WorkspaceId::parse("acme").unwrap();
        let (ann, ben) = (UserId::parse("ann").unwrap().key(), UserId::parse("ben").unwrap().key());
        let token = TokenId::parse("t1").unwrap().key();
        let keys = Keys { user: Some(ann), token: Some(token) };
        let node = NodeId::random();
        let here = ConnectionId { node, number: 7 };
        let matches = |selector: Selector| selector.matches(&acme, keys, Some(here));

        assert!(!matches(Selector::default()));
        assert!(matches(Selector { user: Some(ann), ..Selector::default() }));
        assert!(!matches(Selector { user: Some(ben), ..Selector::default() }));
        assert!(matches(Selector { token: Some(token), user: Some(ann), ..Selector::default() }));
        let other = WorkspaceId::parse("other").ok();
        assert!(!matches(Selector { connection: Some(here), workspace: other, ..Selector::default() }));
        assert!(matches(Selector { connection: Some(here), ..Selector::default() }));
        let next = Selector { connection: Some(ConnectionId { node, number: 8 }), ..Selector::default() };
        assert!(!matches(next.clone()));
        assert!(!next.matches(&acme, keys, None), "a stream that is not open yet has no connection id");
        let user_only = Selector { user: Some(ann), ..Selector::default() };
        assert!(!user_only.matches(&acme, Keys::default(), Some(here)));
    }
}
