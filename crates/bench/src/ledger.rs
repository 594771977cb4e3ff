//! What one client has received of its workspace's numbered events: each once and in order, or not.

use std::ops::Range;

/// The most holes that are kept open for events that come late. Of those beyond it the oldest are
/// given up as missing.
const HOLES_MAX: usize = 256;

/// What an event was to the client that got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// It came for the first time, and behind all that came before.
    InOrder,
    /// It came for the first time, and others that follow it had come before.
    Late,
    /// It had come before.
    Again,
}

/// The account of one client.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// The number after the highest that came.
    next: u64,
    /// Numbers below `next` that did not come, in order.
    holes: Vec<Hole>,
    /// The broker said that events may be missing, and none came since.
    reported: bool,
    received: u64,
    duplicates: u64,
    late: u64,
    resets: u64,
    /// Missing events whose holes were given up.
    settled: Missing,
}

#[derive(Debug, Clone)]
struct Hole {
    range: Range<u64>,
    reported: bool,
}

/// How many events are missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    /// The broker said in the stream, right where they are missing, that some may be.
    pub reported: u64,
    /// It said nothing.
    pub unreported: u64,
}

/// What a ledger comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Different events that came.
    pub received: u64,
    /// Events that came again.
    pub duplicates: u64,
    /// Events that came behind others that follow them.
    pub out_of_order: u64,
    /// The number of resets that the client got.
    pub resets: u64,
    /// Events that did not come.
    pub missing: Missing,
}

impl Ledger {
    /// An event came.
    pub fn receive(&mut self, sequence: u64) -> Receipt {
        if sequence >= self.next {
            let reported = std::mem::take(&mut self.reported);
            if sequence > self.next {
                self.open_hole(Hole { range: self.next..sequence, reported });
            }
            self.next = sequence.saturating_add(1);
            self.received += 1;
            return Receipt::InOrder;
        }
        if self.fill(sequence) {
            self.received += 1;
            self.late += 1;
            Receipt::Late
        } else {
            self.duplicates += 1;
            Receipt::Again
        }
    }

    /// The broker said that events may be missing here.
    pub fn reset(&mut self) {
        self.resets += 1;
        self.reported = true;
    }

    /// The account when so many events, numbered from 0, were published. `failed` are, in order,
    /// those of them that were not: they need not have come, and may have.
    #[must_use]
    pub fn close(&self, published: u64, failed: &[u64]) -> DeliveryCounts {
        let mut missing = self.settled;
        let tail = Hole { range: self.next..published.max(self.next), reported: self.reported };
        for hole in self.holes.iter().chain([&tail]) {
            let count = hole.range.end - hole.range.start;
            let among = |limit: u64| failed.partition_point(|&sequence| sequence < limit) as u64;
            missing.add(count - (among(hole.range.end) - among(hole.range.start)), hole.reported);
        }
        let Self { received, duplicates, late, resets, .. } = *self;
        DeliveryCounts { received, duplicates, out_of_order: late, resets, missing }
    }

    fn open_hole(&mut self, hole: Hole) {
        if self.holes.len() >= HOLES_MAX {
            let oldest = self.holes.remove(0);
            self.settled.add(oldest.range.end - oldest.range.start, oldest.reported);
        }
        self.holes.push(hole);
    }

    /// Takes a number out of its hole; returns false if it is in none.
    fn fill(&mut self, sequence: u64) -> bool {
        let at = self.holes.partition_point(|hole| hole.range.end <= sequence);
        let Some(hole) = self.holes.get_mut(at).filter(|hole| hole.range.contains(&sequence)) else {
            return false;
        };
        let (before, after) = (hole.range.start..sequence, sequence + 1..hole.range.end);
        match (before.is_empty(), after.is_empty()) {
            (true, true) => drop(self.holes.remove(at)),
            (true, false) => hole.range = after,
            (false, true) => hole.range = before,
            (false, false) => {
                let reported = hole.reported;
                hole.range = before;
                self.holes.insert(at + 1, Hole { range: after, reported });
            }
        }
        true
    }
}

impl Missing {
    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.reported + self.unreported
    }

    fn add(&mut self, count: u64, reported: bool) {
        if reported {
            self.reported += count;
        } else {
            self.unreported += count;
        }
    }
}

impl DeliveryCounts {
    /// Adds another client's.
    pub fn add(&mut self, other: Self) {
        self.received += other.received;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.resets += other.resets;
        self.missing.reported += other.missing.reported;
        self.missing.unreported += other.missing.unreported;
    }
}

#[cfg(test)]
mod tests;
