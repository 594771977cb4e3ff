//! One log against a model that keeps everything, in a plain list.

use proptest::prelude::*;

use super::id;
use crate::log::page::page;
use crate::log::{Excess, Fields, ID_MAX, LogStream, RequestedId, StreamEntry};
use tidings_event::log::{LogEntry, LogPage, Span};
use tidings_event::{EntryId, Epoch, EpochRecord};

/// All entries that there ever were, and how many of them are gone.
#[derive(Debug, Default)]
struct Model {
    ever: Vec<(EntryId, Vec<u8>)>,
    gone: usize,
}

#[derive(Debug, Clone)]
enum CommandStep {
    Append { requested_id: RequestedId, now: u64, payload: Vec<u8> },
    Trim(Excess),
}

impl Model {
    fn held(&self) -> &[(EntryId, Vec<u8>)] {
        &self.ever[self.gone..]
    }

    fn last(&self) -> EntryId {
        self.ever.last().map_or(EntryId::ZERO, |(id, _)| *id)
    }

    fn trim(&mut self, excess: Excess) -> usize {
        let before = self.gone;
        let bytes =
            |held: &[(EntryId, Vec<u8>)]| held.iter().map(|(_, payload)| payload.len()).sum::<usize>();
        loop {
            let held = self.held();
            let too_many = match excess {
                Excess::Entries(most) => held.len() > most,
                Excess::Before(id) => held.first().is_some_and(|(first, _)| *first < id),
                Excess::Bytes(most) => !held.is_empty() && bytes(&held[1..]) > most,
            };
            if !too_many {
                return self.gone - before;
            }
            self.gone += 1;
        }
    }

    /// The page for a reader: by all entries ever written, which a log itself cannot know.
    fn page(&self, span: Span, count: usize) -> LogPage {
        let entry = |(id, payload): &(EntryId, Vec<u8>)| LogEntry {
            id: *id,
            payload: Some(payload.clone().into()),
            to: None,
            trace: None,
        };
        let head = self.held().last().map_or(EntryId::ZERO, |(id, _)| *id);
        let missing =
            |wanted: &dyn Fn(EntryId) -> bool| self.ever[..self.gone].iter().any(|(id, _)| wanted(*id));
        let (wanted, proven): (Vec<_>, bool) = match span {
            Span::Head | Span::LiveMark => return LogPage { proven: true, head, ..LogPage::default() },
            Span::After { after, epoch: named, until } => {
                let until = until.unwrap_or(ID_MAX);
                let is_beginning = after == EntryId::ZERO && named == Some(epoch());
                let known = is_beginning || self.held().iter().any(|(id, _)| *id == after);
                let wanted = self.held().iter().filter(|(id, _)| *id > after && *id <= until).collect();
                (wanted, known && !missing(&|id| id > after))
            }
            Span::Since { milliseconds } => {
                let wanted = self.held().iter().filter(|(id, _)| id.milliseconds >= milliseconds).collect();
                let began_before = self.ever.iter().any(|(id, _)| id.milliseconds < milliseconds);
                (wanted, began_before && !missing(&|id| id.milliseconds >= milliseconds))
            }
            Span::Oldest => {
                let page = LogPage { proven: self.gone == 0, head, ..LogPage::default() };
                let more = self.held().len() > count;
                return LogPage {
                    entries: self.held().iter().take(count).map(entry).collect(),
                    more,
                    ..page
                };
            }
            Span::Held { entries } => {
                let held =
                    entries.iter().filter_map(|wanted| self.held().iter().find(|(id, _)| id == wanted));
                return LogPage {
                    entries: held.map(entry).collect(),
                    proven: true,
                    head,
                    ..LogPage::default()
                };
            }
            Span::Newest { count } => {
                let held = self.held();
                let entries = held[held.len().saturating_sub(count)..].iter().map(entry).collect();
                return LogPage { entries, proven: true, head, ..LogPage::default() };
            }
        };
        if !proven {
            return LogPage { head, ..LogPage::default() };
        }
        let more = wanted.len() > count;
        let entries = wanted.into_iter().take(count).map(entry).collect();
        LogPage { entries, proven, more, head, ..LogPage::default() }
    }

    /// The record of an epoch that began with the first entry.
    fn record(&self) -> EpochRecord {
        let first = self.ever.first().map_or(EntryId::ZERO, |(id, _)| *id);
        EpochRecord { first, last: self.last(), ..EpochRecord::not_begun(epoch(), EntryId::ZERO) }
    }
}

fn epoch() -> Epoch {
    "abcdefghijkl".parse().unwrap()
}

/// Ids close to each other, so that they meet.
fn ids() -> impl Strategy<Value = EntryId> {
    prop_oneof![
        20 => (0u64..12, 0u64..4).prop_map(|(milliseconds, sequence)| id(milliseconds, sequence)),
        1 => Just(ID_MAX),
        1 => Just(id(5, u64::MAX)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<CommandStep>> {
    let requested_id = prop_oneof![
        4 => Just(RequestedId::Any),
        1 => ids().prop_map(RequestedId::Exactly),
    ];
    let excess = prop_oneof![
        (0usize..6).prop_map(Excess::Entries),
        ids().prop_map(Excess::Before),
        (0usize..60).prop_map(Excess::Bytes),
    ];
    let payload = prop::collection::vec(any::<u8>(), 0..20);
    let step = prop_oneof![
        4 => (requested_id, 0u64..12, payload).prop_map(|(requested_id, now, payload)| CommandStep::Append { requested_id, now, payload }),
        1 => excess.prop_map(CommandStep::Trim),
    ];
    prop::collection::vec(step, 0..30)
}

fn spans() -> impl Strategy<Value = Span> {
    prop_oneof![
        Just(Span::Head),
        (prop_oneof![Just(EntryId::ZERO), ids()], any::<bool>(), prop::option::of(ids()))
            .prop_map(|(after, named, until)| Span::After { after, epoch: named.then(epoch), until }),
        Just(Span::Oldest),
        (ids(), ids()).prop_map(|(first, second)| Span::Held { entries: [first, second] }),
        (0u64..14).prop_map(|milliseconds| Span::Since { milliseconds }),
        (0usize..8).prop_map(|count| Span::Newest { count }),
    ]
}

proptest! {
    /// A log holds the written entries less the dropped ones, and a page proves no more than that.
    #[test]
    fn log_is_the_written_less_the_dropped_entries(
        steps in steps(),
        spans in prop::collection::vec((spans(), 1usize..6), 8),
        (from, to) in (ids(), ids()),
    ) {
        let (mut stream, mut model) = (LogStream::default(), Model::default());
        for step in steps {
            match step {
                CommandStep::Append { requested_id, now, payload } => {
                    let id = requested_id.behind(stream.tally().last, now);
                    prop_assert_eq!(id, requested_id.behind(model.last(), now));
                    let Some(id) = id else { continue };
                    stream.push(StreamEntry { id, fields: Fields::new(&[b"data", &payload[..]]) });
                    model.ever.push((id, payload));
                }
                CommandStep::Trim(excess) => prop_assert_eq!(stream.trim(excess), model.trim(excess)),
            }
            prop_assert_eq!(stream.len(), model.held().len());
            prop_assert!(model.ever.is_sorted_by(|(one, _), (other, _)| one < other));
        }
        let range: Vec<EntryId> = stream.range(from..=to).map(|entry| entry.id).collect();
        let expected: Vec<EntryId> =
            model.held().iter().map(|(id, _)| *id).filter(|id| (from..=to).contains(id)).collect();
        prop_assert_eq!(&range, &expected);
        let mut backwards: Vec<EntryId> = stream.range(from..=to).rev().map(|entry| entry.id).collect();
        backwards.reverse();
        prop_assert_eq!(backwards, expected);
        for (span, count) in spans {
            prop_assert_eq!(page(&stream, Some(&model.record()), span, count), model.page(span, count), "{:?}", span);
        }
        for (id, _) in model.held() {
            prop_assert!(stream.holds(*id));
        }
        let entries = stream.entries().cloned().collect();
        prop_assert_eq!(LogStream::restore(entries, stream.tally()), stream);
    }
}

#[test]
fn entry_of_another_program_has_no_payload() {
    let mut stream = LogStream::default();
    stream.push(StreamEntry { id: id(5, 0), fields: Fields::new(&["other", "data"]) });
    let page = page(&stream, None, Span::Newest { count: 1 }, 1);
    assert_eq!(page.entries, [LogEntry { id: id(5, 0), payload: None, to: None, trace: None }]);
}
