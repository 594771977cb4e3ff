//! The reasons for which a node is not ready.

use std::time::Duration;

use tidings_bus::{BusState, LinkState, ShardState};

/// Returns the reasons for which a node in this state is not ready.
pub(super) fn unready(bus: &BusState, draining: bool, silence_max: Duration) -> Vec<String> {
    let mut reasons = Vec::new();
    if draining {
        reasons.push("the node is draining".to_owned());
    }
    match &bus.link {
        LinkState::Down { error } => reasons.push(format!("no link to the bus: {error}")),
        LinkState::Resubscribing if bus.cluster.is_some() => {
            reasons.extend(bus.cluster.iter().flat_map(|cluster| &cluster.shards).filter_map(unready_shard));
        }
        LinkState::Resubscribing => reasons.push("the node subscribes to its channels again".to_owned()),
        LinkState::Up => match bus.last_received {
            _ if bus.subscription_refused.is_some() => {}
            Some(age) if age <= silence_max => {}
            Some(age) => {
                reasons.push(format!("nothing has returned through the bus for {:.1} s", age.as_secs_f64()))
            }
            None => reasons.push("nothing has returned through the bus yet".to_owned()),
        },
    }
    if let Some(reason) = &bus.subscription_refused {
        reasons.push(format!("the bus refuses subscriptions: {reason}"));
    }
    reasons
}

/// Returns the reason for which a shard is not ready. A shard that the cluster reports as failed is
/// no reason: all nodes lack it.
fn unready_shard(shard: &ShardState) -> Option<String> {
    if shard.is_failed {
        return None;
    }
    match &shard.link {
        LinkState::Up => None,
        LinkState::Down { error } => Some(format!("no link to the primary at {}: {error}", shard.server)),
        LinkState::Resubscribing => {
            Some(format!("the node subscribes to the channels of {} again", shard.server))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn up(heard: Option<u64>) -> BusState {
        BusState {
            kind: "redis",
            link: LinkState::Up,
            since: SystemTime::UNIX_EPOCH,
            links: 1,
            interruptions: 0,
            refused: None,
            last_received: heard.map(Duration::from_secs),
            probe_refused: None,
            subscription_refused: None,
            control_refused: None,
            bans_refused: None,
            server: None,
            clock_difference: None,
            function: None,
            cluster: None,
        }
    }

    /// A node is ready only if its own messages return through the bus.
    #[test]
    fn ready_only_while_probes_return() {
        let silence_max = Duration::from_secs(6);
        assert!(unready(&up(Some(1)), false, silence_max).is_empty());
        assert_eq!(
            unready(&up(Some(7)), false, silence_max),
            ["nothing has returned through the bus for 7.0 s"]
        );
        assert_eq!(unready(&up(None), false, silence_max), ["nothing has returned through the bus yet"]);
        assert_eq!(unready(&up(Some(1)), true, silence_max), ["the node is draining"]);
        let down = BusState { link: LinkState::Down { error: "refused".to_owned() }, ..up(Some(1)) };
        assert_eq!(unready(&down, false, silence_max), ["no link to the bus: refused"]);
        let deaf = BusState { subscription_refused: Some("NOPERM x".to_owned()), ..up(Some(1)) };
        assert_eq!(unready(&deaf, false, silence_max), ["the bus refuses subscriptions: NOPERM x"]);
        let one = BusState { refused: Some((1, "NOPERM x".to_owned())), ..up(Some(1)) };
        assert!(
            unready(&one, false, silence_max).is_empty(),
            "any client can ask for a workspace that is not allowed"
        );
    }
}
