//! Whether a client got every event once and in order, or was told. Pure: a judgement on [`Book`]s.
//!
//! | an acknowledged event that began after the client's first hello | counts as |
//! | --- | --- |
//! | was received | received |
//! | was not, and lies in a span that a reset told the client about | covered |
//! | was not, and the server lost it before the client had anything later of the same history | rolled back |
//! | was not | lost |
//! | was received, the server lost it, and no reset told so afterwards | lost: the client believes in what never was |

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use super::book::{Book, Diary, EntryId, Moment, Outcome, Seen};

/// How many problems are described; all are counted.
const DESCRIBED_MAX: usize = 20;

/// The sums of a ledger. What clients saw counts once for each client.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Numbers that publishers tried.
    pub published: u64,
    /// Those of them that Redis acknowledged.
    pub acknowledged: u64,
    /// Events that clients got.
    pub received: u64,
    /// Acknowledged events that a client did not get and was told about.
    pub covered: u64,
    /// Acknowledged events that the server itself lost before the client could have seen them.
    pub rolled_back: u64,
    /// Events that a client got once more than it should have.
    pub duplicates: u64,
    /// Events that a client got out of order, or at another place than was acknowledged.
    pub disorder: u64,
    /// Acknowledged events that a client did not get and was not told about.
    pub lost: u64,
    /// Resets, for each reason.
    pub resets: BTreeMap<String, u64>,
    /// Connections that clients made after their first.
    pub reconnects: u64,
    /// The first of what went wrong, in words.
    pub problems: Vec<String>,
}

impl Verdict {
    /// Judges workspaces.
    pub fn of<'a>(books: impl IntoIterator<Item = &'a Book>) -> Self {
        let mut verdict = Self::default();
        for book in books {
            let facts = Facts::of(book);
            verdict.published += book.attempts.len() as u64;
            verdict.acknowledged += facts.acknowledged.len() as u64;
            for diary in &book.diaries {
                verdict.judge(&facts, diary);
            }
        }
        verdict
    }

    /// Whether everything is as promised.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicates == 0 && self.disorder == 0 && self.problems.is_empty()
    }

    fn judge(&mut self, facts: &Facts, diary: &Diary) {
        let story = self.read(facts, diary);
        let Some(greeted) = story.greeted else {
            self.problem(format!("{} was never greeted", diary.client));
            return;
        };
        for event in facts.acknowledged.iter().filter(|event| event.began > greeted) {
            let is_covered = || story.resets.iter().any(|reset| facts.covers(reset, event));
            match (story.received.get(&event.number), event.gone) {
                (Some(_), false) => {}
                (Some(&(index, _)), true) => {
                    if !story.resets.iter().any(|reset| reset.index > index && facts.revokes(reset, event)) {
                        self.lose(format!(
                            "{} got number {} at {}, which the server lost, and was not told",
                            diary.client, event.number, event.id
                        ));
                    }
                }
                (None, _) if is_covered() => self.covered += 1,
                (None, true) if story.last_gone < event.number => self.rolled_back += 1,
                (None, _) => self.lose(format!(
                    "{} misses number {} at {} and was not told",
                    diary.client, event.number, event.id
                )),
            }
        }
    }

    /// Reads a diary once, in its order.
    fn read(&mut self, facts: &Facts, diary: &Diary) -> Story {
        let mut story = Story::default();
        // Where the client stands: everything up to here it has, or knows that it misses it.
        let mut floor = EntryId::default();
        let mut greatest = 0;
        let mut places = HashSet::new();
        for (index, sighting) in diary.sightings.iter().enumerate() {
            match &sighting.what {
                Seen::Connecting { after } => {
                    self.reconnects += u64::from(story.greeted.is_some());
                    if let Some(after) = *after
                        && after < floor
                    {
                        // It asks for the past once more, and may get it.
                        floor = after;
                        greatest = 0;
                        places.clear();
                    }
                }
                Seen::Hello { position } => {
                    story.greeted.get_or_insert(sighting.at);
                    floor = position.map_or(floor, |position| floor.max(position));
                }
                Seen::Heartbeat { position } => {
                    floor = position.map_or(floor, |position| floor.max(position));
                }
                Seen::Reset { reason, from, head } => {
                    *self.resets.entry(reason.clone()).or_default() += 1;
                    story.resets.push(Reset {
                        index,
                        at: sighting.at,
                        from: from.unwrap_or_default(),
                        head: *head,
                        greatest,
                    });
                    // A log that was rolled back goes on from an earlier place.
                    floor = *head;
                }
                Seen::Event { id, number } => {
                    let acknowledged = facts.numbers.get(number);
                    let is_repeated = !places.insert((*id, *number))
                        || (*id <= floor && story.received.contains_key(number));
                    if is_repeated {
                        self.duplicates += 1;
                        self.problem(format!("{} got number {number} at {id} again", diary.client));
                    } else if *id <= floor
                        || acknowledged.is_some_and(|acknowledged| acknowledged != id || *number <= greatest)
                    {
                        self.disorder += 1;
                        story.received.entry(*number).or_insert((index, *id));
                        self.problem(format!(
                            "{} got number {number} at {id} (acknowledged at {acknowledged:?}) after {greatest} at {floor}",
                            diary.client
                        ));
                    } else {
                        match story.received.insert(*number, (index, *id)) {
                            None => self.received += 1,
                            // It asked for the past.
                            Some((_, earlier)) if earlier == *id => {}
                            Some((_, earlier)) => {
                                self.duplicates += 1;
                                self.problem(format!(
                                    "{} got number {number} at {earlier} and {id}",
                                    diary.client
                                ));
                            }
                        }
                    }
                    floor = floor.max(*id);
                    if acknowledged.is_some() {
                        greatest = greatest.max(*number);
                    }
                    if facts.gone.contains(number) {
                        story.last_gone = story.last_gone.max(*number);
                    }
                }
                Seen::Reconnect => {}
                Seen::GaveUp(why) => self.problem(format!("{} gave up: {why}", diary.client)),
            }
        }
        story
    }

    fn lose(&mut self, problem: String) {
        self.lost += 1;
        self.problem(problem);
    }

    fn problem(&mut self, problem: String) {
        if self.problems.len() < DESCRIBED_MAX {
            self.problems.push(problem);
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "published {}, acknowledged {}, received {}, covered by reset {}, rolled back {}, duplicates {}, \
             disorder {}, lost {}; reconnects {}, resets {:?}",
            self.published,
            self.acknowledged,
            self.received,
            self.covered,
            self.rolled_back,
            self.duplicates,
            self.disorder,
            self.lost,
            self.reconnects,
            self.resets,
        )
    }
}

/// What is known of a workspace's events.
struct Facts {
    /// In the order of their numbers.
    acknowledged: Vec<Fact>,
    numbers: HashMap<u64, EntryId>,
    /// Numbers that were acknowledged and are not in the log any more, though it was not trimmed.
    gone: HashSet<u64>,
}

struct Fact {
    number: u64,
    id: EntryId,
    began: Moment,
    gone: bool,
}

/// What a client was told, and when.
struct Reset {
    index: usize,
    at: Moment,
    from: EntryId,
    head: EntryId,
    /// The greatest acknowledged number that the client had.
    greatest: u64,
}

#[derive(Default)]
struct Story {
    greeted: Option<Moment>,
    /// Where in the diary each number is, and at which place of the log.
    received: HashMap<u64, (usize, EntryId)>,
    resets: Vec<Reset>,
    /// The greatest number received that the server has lost.
    last_gone: u64,
}

impl Facts {
    fn of(book: &Book) -> Self {
        let is_gone = |id: EntryId, number: u64| {
            book.survivors.as_ref().is_some_and(|survivors| survivors.get(&id) != Some(&number))
        };
        let acknowledged: Vec<_> = book
            .attempts
            .iter()
            .filter_map(|attempt| match attempt.outcome {
                Outcome::Acknowledged(id) => Some(Fact {
                    number: attempt.number,
                    id,
                    began: attempt.began,
                    gone: is_gone(id, attempt.number),
                }),
                Outcome::Failed | Outcome::Unknown => None,
            })
            .collect();
        let numbers = acknowledged.iter().map(|event| (event.number, event.id)).collect();
        let gone = acknowledged.iter().filter(|event| event.gone).map(|event| event.number).collect();
        Self { acknowledged, numbers, gone }
    }

    /// The lost event of a place.
    fn gone_at(&self, id: EntryId) -> Option<&Fact> {
        self.acknowledged.iter().find(|event| event.gone && event.id == id)
    }

    /// Whether the client stood at a place of a history that is no more.
    fn breaks(&self, reset: &Reset) -> bool {
        reset.from > reset.head || self.gone_at(reset.from).is_some()
    }

    /// Whether a reset tells that an event may be missing.
    ///
    /// Ids order the entries of one history of the log: what is told is what lies after `from`, up to `head`. Where the
    /// server lost the entry at `from`, the ids after it may begin anywhere; there the order of publishing counts: what
    /// was published after the event at `from`, and is in the log up to `head` or was lost too.
    fn covers(&self, reset: &Reset, event: &Fact) -> bool {
        if event.began >= reset.at {
            return false;
        }
        if self.breaks(reset) {
            let stood_at = self.gone_at(reset.from).map_or(reset.greatest, |stood_at| stood_at.number);
            return event.number > stood_at && (event.gone || event.id <= reset.head);
        }
        reset.from < event.id && event.id <= reset.head
    }

    /// Whether a reset tells that an event which the client has is not in the log.
    fn revokes(&self, reset: &Reset, event: &Fact) -> bool {
        event.gone && event.began < reset.at && self.breaks(reset)
    }
}
