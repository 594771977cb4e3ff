//! What publishers know of a workspace's events, and what a reset says about them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::records::{Attempt, EntryId, Kind, Moment, Outcome, Records, Tag};

/// How late a reset may follow a missing live event that a connected client did not get.
///
/// A node with an interrupted link sends logged events before it reports the interruption. A node
/// that resumes a client from the log looks for live events at once, and once more some seconds
/// later.
const LATE_MAX: Duration = Duration::from_secs(6);

/// An event that was acknowledged.
#[derive(Debug)]
pub(super) struct Fact {
    pub tag: Tag,
    pub began: Moment,
    pub ended: Moment,
    /// `None` for a live event.
    pub logged: Option<Logged>,
}

/// Where a durable event is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Logged {
    pub id: EntryId,
    /// The number of times that the log's ids had begun again before it.
    pub life: u64,
    /// The server has lost it, though the log was not trimmed.
    pub gone: bool,
}

/// A reset of a client, and its moment.
#[derive(Debug)]
pub(super) struct Reset {
    pub index: usize,
    pub at: Moment,
    pub reason: String,
    pub from: EntryId,
    pub head: EntryId,
    /// The place in the trace at which the client was at `from` for the last time, if ever.
    pub stood: Option<usize>,
    /// The life of the log that the client had events of.
    pub life: u64,
    /// How many connections the client had begun by then.
    pub connections: usize,
    /// When the latest acknowledged durable event began that the client had.
    pub latest: Moment,
    /// How long the client had been connected by then.
    pub connected: Duration,
}

/// When a client had something that was surely published after an event that it misses.
#[derive(Debug)]
pub(super) struct Passed {
    pub index: usize,
    /// The entry at which the client was then.
    pub entry: EntryId,
    /// How many connections the client had begun by then.
    pub connections: usize,
    /// How long the client had been connected by then.
    pub connected: Duration,
}

/// What is known of a workspace's events.
#[derive(Debug)]
pub(super) struct Facts {
    /// Acknowledged events, of each publisher in the order of its numbers.
    pub acknowledged: Vec<Fact>,
    /// All that publishers tried: the kind, and when it began.
    tried: HashMap<Tag, (Kind, Moment)>,
    by_tag: HashMap<Tag, usize>,
    by_entry: HashMap<EntryId, usize>,
    /// When the first acknowledged event of each life but the first began.
    lives: Vec<Moment>,
    survivors: Option<BTreeMap<EntryId, Tag>>,
    histories: Vec<HashSet<Tag>>,
}

impl Facts {
    /// Draws the facts from what publishers recorded.
    pub(super) fn of(book: &Records) -> Self {
        let is_gone = |id: EntryId, tag: Tag| {
            book.survivors.as_ref().is_some_and(|survivors| survivors.get(&id) != Some(&tag))
        };
        let is_near_death = |attempt: &Attempt| {
            book.deaths.iter().any(|(from, until)| attempt.began <= *until && *from <= attempt.ended)
        };
        let mut attempts: Vec<_> = book.attempts.iter().collect();
        attempts.sort_by_key(|attempt| attempt.tag);
        let mut lives: Vec<Moment> = Vec::new();
        let mut acknowledged = Vec::new();
        // Of the publisher whose attempts are looked at: its last place, and the life that it is
        // in.
        let (mut publisher, mut last, mut life) = (None, EntryId::default(), 0);
        for attempt in attempts {
            if publisher.replace(attempt.tag.publisher) != Some(attempt.tag.publisher) {
                (last, life) = (EntryId::default(), 0);
            }
            let logged = match attempt.outcome {
                Outcome::Acknowledged(id) => {
                    if id < last {
                        match lives.get_mut(life) {
                            Some(began) => *began = attempt.began.min(*began),
                            None => lives.push(attempt.began),
                        }
                        life += 1;
                    }
                    last = id;
                    Some(Logged { id, life: life as u64, gone: is_gone(id, attempt.tag) })
                }
                Outcome::Heard(1) if is_near_death(attempt) => continue,
                Outcome::Heard(1..) => None,
                Outcome::Heard(0) | Outcome::Failed | Outcome::Unknown => continue,
            };
            acknowledged.push(Fact { tag: attempt.tag, began: attempt.began, ended: attempt.ended, logged });
        }
        let by_tag = acknowledged.iter().enumerate().map(|(index, fact)| (fact.tag, index)).collect();
        let by_entry = acknowledged
            .iter()
            .enumerate()
            .filter_map(|(index, fact)| fact.logged.map(|logged| (logged.id, index)))
            .collect();
        let tried =
            book.attempts.iter().map(|attempt| (attempt.tag, (attempt.kind, attempt.began))).collect();
        let (survivors, histories) = (book.survivors.clone(), book.histories.clone());
        Self { acknowledged, tried, by_tag, by_entry, lives, survivors, histories }
    }

    /// The acknowledged event of a name.
    pub(super) fn get(&self, tag: Tag) -> Option<&Fact> {
        self.by_tag.get(&tag).map(|&index| &self.acknowledged[index])
    }

    /// The kind of an event, and when its publication began; `None` where no publisher tried it.
    pub(super) fn tried(&self, tag: Tag) -> Option<(Kind, Moment)> {
        self.tried.get(&tag).copied()
    }

    /// The life of the log at a moment.
    pub(super) fn life_at(&self, moment: Moment) -> u64 {
        self.lives.iter().filter(|&&began| began < moment).count() as u64
    }

    /// The durable event of a place.
    fn at(&self, id: EntryId) -> Option<&Fact> {
        self.by_entry.get(&id).map(|&index| &self.acknowledged[index])
    }

    /// Whether the client was at a place of a lost history.
    fn breaks(&self, reset: &Reset) -> bool {
        reset.from > reset.head || self.is_gone(reset.from)
    }

    /// Whether servers may have lost events.
    pub(super) fn has_lost(&self) -> bool {
        self.survivors.is_some()
    }

    /// Whether the server has lost the event of a place, which may have had no acknowledgement.
    pub(super) fn is_gone(&self, id: EntryId) -> bool {
        match self.at(id).and_then(|fact| fact.logged) {
            Some(logged) => logged.gone,
            None => {
                id != EntryId::default()
                    && self.survivors.as_ref().is_some_and(|survivors| !survivors.contains_key(&id))
            }
        }
    }

    /// Whether a log had both events at one time.
    pub(super) fn share_history(&self, one: Tag, other: Tag) -> bool {
        let have = |tag: &Tag| self.histories.iter().any(|history| history.contains(tag));
        let have_both = |history: &HashSet<Tag>| history.contains(&one) && history.contains(&other);
        // An event that no history has proves nothing, and excuses nothing.
        !(have(&one) && have(&other)) || self.histories.iter().any(have_both)
    }

    /// Whether a reset says that a durable event may be missing.
    ///
    /// Ids order the entries of one history of the log: a reset covers the ids after `from`, up to
    /// `head`. If the server lost the entry at `from`, or the ids of the log began again, the ids
    /// after it may begin anywhere. Then the order of publishing counts. The reset covers events
    /// published after the event at `from` that are in the log up to `head`, or lost too. It also
    /// covers the events up to `head` that no log had together with the event at `from`.
    pub(super) fn covers(&self, reset: &Reset, event: &Fact, logged: Logged) -> bool {
        if event.began >= reset.at {
            return false;
        }
        let is_up_to_head = logged.id <= reset.head || logged.life < self.life_at(reset.at);
        if self.breaks(reset) {
            let stood = self.at(reset.from);
            let is_later = event.began > stood.map_or(reset.latest, |stood| stood.began);
            // Two servers may have had a log each at one time.
            let is_elsewhere = stood.is_some_and(|stood| !self.share_history(event.tag, stood.tag));
            let is_past = logged.gone || logged.life <= reset.life && reset.from > reset.head;
            return is_later && (is_up_to_head || is_past) || is_elsewhere && is_up_to_head;
        }
        let is_after_from = logged.life > reset.life || logged.life == reset.life && reset.from < logged.id;
        is_after_from && is_up_to_head
    }

    /// Whether a reset says that an event of the client is not in the log.
    pub(super) fn revokes(&self, reset: &Reset, event: &Fact, logged: Logged) -> bool {
        logged.gone && event.began < reset.at && self.breaks(reset)
    }

    /// Whether a reset says that a live event may be missing. `passed` is `None` if the client has
    /// nothing later.
    ///
    /// A live event has no place that others could name. It may be missing between two events of
    /// the client. So the reset comes before the later one, or its span reaches back to before it.
    /// Or the reset follows soon after on the same connection; with the reason `live-events`, also
    /// on another one.
    pub(super) fn covers_live(reset: &Reset, event: &Fact, passed: Option<&Passed>) -> bool {
        if event.began >= reset.at {
            return false;
        }
        let Some(passed) = passed.filter(|passed| passed.index < reset.index) else { return true };
        let reaches_back = match reset.stood {
            Some(index) => index < passed.index,
            None => reset.from < passed.entry,
        };
        let is_soon = reset.connected.saturating_sub(passed.connected) <= LATE_MAX;
        let is_about_it = reset.reason == "live-events" || reset.connections == passed.connections;
        reaches_back || is_soon && is_about_it
    }
}
