//! Whether a client got every event once and in order, or a reset. Pure: a judgement on
//! [`Records`].
//!
//! | an acknowledged event that began after the first `connected` event | counts as |
//! | --- | --- |
//! | was received | received |
//! | was not, and is in the span of a reset | covered |
//! | was not, and the server lost it before the client had a later one of its log | rolled back |
//! | was not | lost |
//! | was received, the server lost it, and no reset followed | lost |
//!
//! A live event counts as acknowledged when the server sent it to at least one node. It cannot be
//! rolled back.
//!
//! The events of one publisher have to come in the order of its numbers, durable and live ones
//! alike. Durable events of several publishers have to come in the order of the log; live events of
//! several publishers have no order among them.
//!
//! Behind a reset a client fetches the state again, and live events begin again. So do durable
//! events beyond the head of a reset that sends the client back. A lagging node may send events
//! that the client has from another node, and cannot know. Without a reset they may come only once,
//! and in order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use super::facts::{Fact, Facts, Logged, Passed, Reset};
use super::records::{ClientTrace, EntryId, Kind, Moment, Outcome, Place, Records, Seen, Tag};

/// How many problems are described; all are counted.
const DESCRIBED_MAX: usize = 20;

/// The sums of one kind of events. What clients saw counts once for each client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// Numbers that publishers tried.
    pub published: u64,
    /// Those of them that Redis acknowledged.
    pub acknowledged: u64,
    /// Events that clients got.
    pub received: u64,
    /// Acknowledged events that a client did not get, with a reset.
    pub covered: u64,
    /// Acknowledged events that the server itself lost before the client could have seen them.
    pub rolled_back: u64,
    /// Events that a client got once more than it should have.
    pub duplicates: u64,
    /// Events that a client got out of order, or at another place than was acknowledged. A live
    /// event on one side of such a pair is enough to count it among the live ones.
    pub disorder: u64,
    /// Acknowledged events that a client did not get, without a reset.
    pub lost: u64,
    /// Live events that a client got once more behind a reset.
    pub again: u64,
}

/// The sums of a ledger.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    pub durable: Sums,
    pub live: Sums,
    /// Resets, for each reason.
    pub resets: BTreeMap<String, u64>,
    /// Resets of each client that got any.
    pub told: BTreeMap<String, u64>,
    /// Connections that clients made after their first.
    pub reconnects: u64,
    /// The first of what went wrong, in words.
    pub problems: Vec<String>,
}

impl Verdict {
    /// Judges workspaces.
    pub(super) fn of<'a>(books: impl IntoIterator<Item = &'a Records>) -> Self {
        let mut verdict = Self::default();
        for book in books {
            let facts = Facts::of(book);
            for attempt in &book.attempts {
                let sums = verdict.sums(attempt.kind);
                sums.published += 1;
                sums.acknowledged +=
                    u64::from(matches!(attempt.outcome, Outcome::Acknowledged(_) | Outcome::Heard(1..)));
            }
            let is_mixed = book.attempts.iter().any(|attempt| attempt.kind == Kind::Live);
            let may_tell_of_live = is_mixed || book.may_count_as_mixed;
            for trace in &book.traces {
                verdict.judge(&facts, trace, may_tell_of_live);
            }
        }
        verdict
    }

    /// Whether everything is as promised.
    pub fn is_clean(&self) -> bool {
        let is_clean = |sums: &Sums| sums.lost == 0 && sums.duplicates == 0 && sums.disorder == 0;
        is_clean(&self.durable) && is_clean(&self.live) && self.problems.is_empty()
    }

    fn sums(&mut self, kind: Kind) -> &mut Sums {
        match kind {
            Kind::Durable => &mut self.durable,
            Kind::Live => &mut self.live,
        }
    }

    fn judge(&mut self, facts: &Facts, trace: &ClientTrace, may_tell_of_live: bool) {
        let story = Reader::new(self, facts, trace).read();
        let Some(greeted) = story.greeted else {
            self.problem(format!("{} was never greeted", trace.client));
            return;
        };
        if !may_tell_of_live && story.resets.iter().any(|reset| reset.reason == "live-events") {
            self.problem(format!("{} was told of live events where there are none", trace.client));
        }
        for event in facts.acknowledged.iter().filter(|event| event.began > greeted) {
            match event.logged {
                Some(logged) => self.judge_durable(facts, trace, &story, event, logged),
                None => self.judge_live(trace, &story, event),
            }
        }
    }

    fn judge_durable(
        &mut self,
        facts: &Facts,
        trace: &ClientTrace,
        story: &Story,
        event: &Fact,
        logged: Logged,
    ) {
        let Fact { tag, .. } = event;
        let is_covered = || story.resets.iter().any(|reset| facts.covers(reset, event, logged));
        let has_later = || {
            let is_later = |later: &&Tag| later.publisher == tag.publisher && later.number > tag.number;
            story.gone.iter().filter(is_later).any(|later| facts.share_history(*tag, *later))
        };
        match (story.received.get(tag), logged.gone) {
            (Some(_), false) => {}
            (Some(&(index, _)), true) => {
                let mut later = story.resets.iter().filter(|reset| reset.index > index);
                if !later.any(|reset| facts.revokes(reset, event, logged)) {
                    self.lose(Kind::Durable, trace, |client| {
                        format!(
                            "{client} got {tag} at {}, which the server lost, and was not told",
                            logged.id
                        )
                    });
                }
            }
            (None, _) if is_covered() => self.durable.covered += 1,
            (None, true) if !has_later() => self.durable.rolled_back += 1,
            (None, _) => self.lose(Kind::Durable, trace, |client| {
                format!("{client} misses {tag} at {} and was not told", logged.id)
            }),
        }
    }

    fn judge_live(&mut self, trace: &ClientTrace, story: &Story, event: &Fact) {
        let Fact { tag, began, ended, .. } = event;
        if story.received.contains_key(tag) {
            return;
        }
        let passed = story.passed(*ended);
        if story.resets.iter().any(|reset| Facts::covers_live(reset, event, passed.as_ref())) {
            self.live.covered += 1;
            return;
        }
        self.lose(Kind::Live, trace, |client| {
            let later = passed.map_or("the end".to_owned(), |passed| {
                format!(
                    "what it got {:.3} s after its greeting, at {}",
                    passed.connected.as_secs_f64(),
                    passed.entry
                )
            });
            format!(
                "{client} misses live {tag}, published at {:.3} s, before {later}, and was not told",
                began.as_secs_f64()
            )
        });
    }

    fn lose(&mut self, kind: Kind, trace: &ClientTrace, problem: impl FnOnce(&str) -> String) {
        self.sums(kind).lost += 1;
        self.problem(problem(&trace.client));
    }

    fn problem(&mut self, problem: String) {
        if self.problems.len() < DESCRIBED_MAX {
            self.problems.push(problem);
        }
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "published {}, acknowledged {}, received {}, covered by reset {}, rolled back {}, duplicates {}, \
             disorder {}, lost {}",
            self.published,
            self.acknowledged,
            self.received,
            self.covered,
            self.rolled_back,
            self.duplicates,
            self.disorder,
            self.lost,
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; ", self.durable)?;
        if self.live.published > 0 {
            write!(f, "live: {}, again behind a reset {}; ", self.live, self.live.again)?;
        }
        write!(f, "reconnects {}, resets {:?}", self.reconnects, self.resets)
    }
}

/// What a client went through.
#[derive(Default)]
struct Story {
    greeted: Option<Moment>,
    /// Where in the trace each event is, and at which entry.
    received: HashMap<Tag, (usize, EntryId)>,
    /// In the order of the trace, for each event: when the latest publication of an event up to
    /// here began.
    progress: Vec<(Moment, Passed)>,
    resets: Vec<Reset>,
    /// What was received and the server has lost.
    gone: Vec<Tag>,
}

impl Story {
    /// The first event that was published after a moment.
    fn passed(&self, moment: Moment) -> Option<Passed> {
        let at = self.progress.partition_point(|(latest, _)| *latest < moment);
        self.progress.get(at).map(|(_, passed)| Passed { ..*passed })
    }
}

/// How far a client is with the events of one publisher.
#[derive(Default, Clone, Copy)]
struct Progress {
    durable: u64,
    any: u64,
}

/// Reads a trace once, in its order.
struct Reader<'a> {
    verdict: &'a mut Verdict,
    facts: &'a Facts,
    trace: &'a ClientTrace,
    story: Story,
    /// The place of the client: it has every event up to here, or knows that it misses it.
    floor: EntryId,
    life: u64,
    latest: Moment,
    greatest: HashMap<usize, Progress>,
    places: HashSet<(EntryId, Tag)>,
    live_since_reset: HashSet<Tag>,
    /// The last position of each place in the trace.
    stood: HashMap<&'a str, usize>,
    /// How many connections the client began so far.
    connections: usize,
    /// How long the client was connected so far, and since when it is.
    connected: Duration,
    since: Option<Moment>,
}

impl<'a> Reader<'a> {
    fn new(verdict: &'a mut Verdict, facts: &'a Facts, trace: &'a ClientTrace) -> Self {
        Self {
            verdict,
            facts,
            trace,
            story: Story::default(),
            floor: EntryId::default(),
            life: 0,
            latest: Moment::ZERO,
            greatest: HashMap::new(),
            places: HashSet::new(),
            live_since_reset: HashSet::new(),
            stood: HashMap::new(),
            connections: 0,
            connected: Duration::ZERO,
            since: None,
        }
    }

    fn read(mut self) -> Story {
        for (index, sighting) in self.trace.sightings.iter().enumerate() {
            if let Some(since) = &mut self.since {
                self.connected += sighting.at.saturating_sub(*since);
                *since = sighting.at;
            }
            match &sighting.what {
                Seen::Connecting { after } => self.connecting(after.as_ref()),
                Seen::Connected { position } => {
                    self.story.greeted.get_or_insert(sighting.at);
                    self.since = Some(sighting.at);
                    self.stand(index, position.as_ref());
                }
                Seen::Heartbeat { position } => self.stand(index, position.as_ref()),
                Seen::Reset { reason, from, head } => {
                    *self.verdict.resets.entry(reason.clone()).or_default() += 1;
                    *self.verdict.told.entry(self.trace.client.clone()).or_default() += 1;
                    self.check_head(sighting.at, reason, head.entry);
                    self.story.resets.push(Reset {
                        index,
                        at: sighting.at,
                        reason: reason.clone(),
                        from: from.as_ref().map(|from| from.entry).unwrap_or_default(),
                        head: head.entry,
                        stood: from.as_ref().and_then(|from| self.stood.get(from.text.as_str()).copied()),
                        life: self.life,
                        connections: self.connections,
                        latest: self.latest,
                        connected: self.connected,
                    });
                    self.stood.insert(&head.text, index);
                    // A log that was rolled back goes on from an earlier place. A node that follows
                    // another server may still have the events after it.
                    if head.entry < self.floor && self.facts.has_lost() {
                        self.greatest.clear();
                        self.places.retain(|(id, _)| *id <= head.entry);
                    }
                    self.floor = head.entry;
                    self.live_since_reset.clear();
                    self.greatest.values_mut().for_each(|progress| progress.any = 0);
                }
                Seen::Event { place, tag } => {
                    let Some((kind, began)) = self.facts.tried(*tag) else {
                        self.problem(&format!("got {tag}, which was not published"));
                        continue;
                    };
                    match kind {
                        Kind::Durable => self.durable(index, place.entry, *tag),
                        Kind::Live => self.live(index, place.entry, *tag),
                    }
                    self.stood.insert(&place.text, index);
                    let latest = self.story.progress.last().map_or(began, |(latest, _)| began.max(*latest));
                    let (entry, connected, connections) = (place.entry, self.connected, self.connections);
                    let passed = Passed { index, entry, connected, connections };
                    self.story.progress.push((latest, passed));
                }
                Seen::Disconnected => self.since = None,
                Seen::Reconnect => {}
                Seen::GaveUp(why) => self.problem(&format!("gave up: {why}")),
            }
        }
        self.story
    }

    /// A client may get a reset because nothing can be proven to it. It continues from its place or
    /// a later one; its own events would come again. That differs if the log is another one.
    fn check_head(&mut self, at: Moment, reason: &str, head: EntryId) {
        let is_other_log = head == EntryId::default()
            || self.facts.life_at(at) > self.life
            || self.facts.is_gone(self.floor);
        if matches!(reason, "unknown-position" | "live-events") && head < self.floor && !is_other_log {
            self.verdict.durable.disorder += 1;
            self.problem(&format!("was sent back from {} to {head} ({reason})", self.floor));
        }
    }

    fn connecting(&mut self, after: Option<&Place>) {
        self.since = None;
        self.connections += 1;
        self.verdict.reconnects += u64::from(self.story.greeted.is_some());
        if let Some(after) = after
            && after.entry < self.floor
        {
            // It asks for the past once more, and may get it.
            self.floor = after.entry;
            self.greatest.clear();
            self.places.clear();
            self.live_since_reset.clear();
        }
    }

    fn stand(&mut self, index: usize, position: Option<&'a Place>) {
        if let Some(position) = position {
            self.floor = self.floor.max(position.entry);
            self.stood.insert(&position.text, index);
        }
    }

    fn durable(&mut self, index: usize, id: EntryId, tag: Tag) {
        let fact = self.facts.get(tag);
        let acknowledged = fact.and_then(|fact| fact.logged);
        if let Some(logged) = acknowledged
            && logged.life > self.life
        {
            // The ids of the log have begun again.
            self.life = logged.life;
            self.floor = EntryId::default();
        }
        let before = self.greatest.entry(tag.publisher).or_default();
        let Progress { durable, any } = *before;
        let is_repeated =
            !self.places.insert((id, tag)) || (id <= self.floor && self.story.received.contains_key(&tag));
        let is_misplaced = acknowledged
            .is_some_and(|logged| logged.id != id || logged.life < self.life || tag.number <= durable);
        if acknowledged.is_some() {
            *before = Progress { durable: durable.max(tag.number), any: any.max(tag.number) };
        }
        if is_repeated {
            self.verdict.durable.duplicates += 1;
            self.problem(&format!("got {tag} at {id} again"));
        } else if id <= self.floor || is_misplaced {
            self.verdict.durable.disorder += 1;
            self.story.received.entry(tag).or_insert((index, id));
            let (floor, place) = (self.floor, acknowledged.map(|logged| logged.id));
            self.problem(&format!(
                "got {tag} at {id} (acknowledged at {place:?}) after {durable} at {floor}"
            ));
        } else {
            if acknowledged.is_some() && tag.number <= any {
                self.verdict.live.disorder += 1;
                self.problem(&format!("got {tag} at {id} after the live {any}"));
            }
            match self.story.received.insert(tag, (index, id)) {
                None => self.verdict.durable.received += 1,
                // It asked for the past.
                Some((_, earlier)) if earlier == id => {}
                Some((_, earlier)) => {
                    self.verdict.durable.duplicates += 1;
                    self.problem(&format!("got {tag} at {earlier} and {id}"));
                }
            }
        }
        if acknowledged.is_none_or(|logged| logged.life >= self.life) {
            self.floor = self.floor.max(id);
        }
        if let (Some(fact), Some(logged)) = (fact, acknowledged) {
            self.latest = self.latest.max(fact.began);
            if logged.gone {
                self.story.gone.push(tag);
            }
        }
    }

    fn live(&mut self, index: usize, entry: EntryId, tag: Tag) {
        let before = self.greatest.entry(tag.publisher).or_default();
        let any = before.any;
        // One without a reply may be published after later ones.
        let is_acknowledged = self.facts.get(tag).is_some();
        if is_acknowledged {
            before.any = any.max(tag.number);
        }
        if !self.live_since_reset.insert(tag) {
            self.verdict.live.duplicates += 1;
            self.problem(&format!("got live {tag} again"));
            return;
        }
        if is_acknowledged && tag.number <= any {
            self.verdict.live.disorder += 1;
            self.problem(&format!("got live {tag} behind {entry} after {any}"));
        }
        match self.story.received.insert(tag, (index, entry)) {
            None => self.verdict.live.received += 1,
            Some(_) => self.verdict.live.again += 1,
        }
    }

    fn problem(&mut self, problem: &str) {
        self.verdict.problem(format!("{} {problem}", self.trace.client));
    }
}

#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod tests;
