use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::CloseSignal;
use tidings_event::UserId;

fn candidate(workspace: &str, user: Option<&str>) -> Candidate {
    Candidate {
        workspace: WorkspaceId::parse(workspace).unwrap(),
        identity: Identity { user: user.map(|user| UserId::parse(user).unwrap()), ..Identity::default() },
    }
}

fn open(limits: StreamLimits) -> Arc<StreamRegistry> {
    Arc::new(StreamRegistry::new(NodeId::random(), limits))
}

fn signalled(close_signal: &CloseSignal) -> Option<Ending> {
    match close_signal.poll_ending(&Context::from_waker(Waker::noop())) {
        Poll::Ready(ending) => Some(ending),
        Poll::Pending => None,
    }
}

#[test]
fn each_bound_rejects_until_a_stream_is_dropped() {
    let open = open(StreamLimits { per_node: 5, per_workspace: 3, per_user: 2 });
    let register = |workspace, user| open.register(candidate(workspace, user));
    let first = register("a", Some("ann")).unwrap();
    let _second = register("b", Some("ann")).unwrap();
    assert_eq!(register("c", Some("ann")).unwrap_err(), StreamBound::User);
    let _third = register("a", None).unwrap();
    let _fourth = register("a", None).unwrap();
    assert_eq!(register("a", None).unwrap_err(), StreamBound::Workspace);
    let fifth = register("c", None).unwrap();
    assert_eq!(register("d", None).unwrap_err(), StreamBound::Node);
    drop(fifth);
    assert_eq!(open.len(), 4);

    drop(first);
    let _fifth = register("a", Some("ann")).unwrap();
    assert_eq!(open.len(), 4);
}

#[test]
fn without_bounds_no_user_is_counted_and_no_stream_rejected() {
    let open = open(StreamLimits::default());
    let guards: Vec<_> = (0..100).map(|_| open.register(candidate("a", Some("ann"))).unwrap()).collect();
    assert!(open.state.lock().by_user.is_empty());
    drop(guards);
    assert!(open.is_empty() && open.state.lock().by_workspace.is_empty());
}

#[test]
fn new_bounds_count_the_open_streams() {
    let open = open(StreamLimits::default());
    let register = |workspace, user| open.register(candidate(workspace, user));
    let first = register("a", Some("ann")).unwrap();
    let _second = register("b", Some("ann")).unwrap();
    open.set_limits(StreamLimits { per_user: 2, ..StreamLimits::default() });
    assert_eq!(register("c", Some("ann")).unwrap_err(), StreamBound::User);
    drop(first);
    let third = register("c", Some("ann")).unwrap();
    open.set_limits(StreamLimits { per_workspace: 1, ..StreamLimits::default() });
    assert_eq!(register("b", Some("ann")).unwrap_err(), StreamBound::Workspace);
    drop(third);
    assert!(open.state.lock().by_user.is_empty());
}

#[test]
fn only_selected_streams_end_and_the_first_ending_counts() {
    let open = open(StreamLimits::default());
    let ann = open.register(candidate("a", Some("ann"))).unwrap();
    let ben = open.register(candidate("a", Some("ben"))).unwrap();
    let selector = Selector { user: UserId::parse("ann").ok().map(|user| user.key()), ..Selector::default() };
    let past = SystemTime::now() - Duration::from_secs(10);
    assert_eq!(open.end_opened_before(&selector, past, Ending::Disconnected), 0, "it was opened later");
    assert_eq!(open.end_where(Ending::Disconnected, |of, _| of.as_str() == "b"), 0);
    assert_eq!(open.end_opened_before(&selector, SystemTime::now(), Ending::Disconnected), 1);
    assert_eq!(open.end_opened_before(&selector, SystemTime::now(), Ending::Unauthorized), 1);
    // A receiver that registers later gets the first ending too.
    assert_eq!((ann.ending(), ben.ending()), (Some(Ending::Disconnected), None));
    let (ann, ben) = (CloseSignal::of(&ann), CloseSignal::of(&ben));
    assert_eq!((signalled(&ann), signalled(&ben)), (Some(Ending::Disconnected), None));
}

#[test]
fn handle_ends_only_its_own_stream() {
    let open = open(StreamLimits::default());
    let ann = open.register(candidate("a", Some("ann"))).unwrap();
    let (close_signal, handle) = (CloseSignal::of(&ann), ann.handle());
    assert!(handle.is_open() && signalled(&close_signal).is_none());
    handle.end(Ending::Unauthorized);
    assert_eq!(signalled(&close_signal), Some(Ending::Unauthorized));
    drop(ann);
    let ben = open.register(candidate("a", Some("ben"))).unwrap();
    assert!(!handle.is_open());
    handle.end(Ending::Unauthorized);
    assert_eq!(ben.ending(), None);
}

#[test]
fn streams_of_a_workspace_share_the_text_of_its_id() {
    let open = open(StreamLimits::default());
    let stream = || open.register(candidate("a", None)).unwrap();
    let (first, second) = (stream(), stream());
    let [first, second] = [&first, &second].map(|stream_guard| stream_guard.workspace().unwrap());
    assert!(std::ptr::eq(first.as_str(), second.as_str()));
}
