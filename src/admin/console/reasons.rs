//! Counts by reason, for the overview.

use serde_json::{Map, Value};

/// Counts in groups, each by reason, always in the same order.
#[derive(Debug, Default)]
pub(super) struct ReasonCounts(Vec<(&'static str, Vec<(&'static str, u64)>)>);

impl ReasonCounts {
    /// Adds a group.
    pub(super) fn with(
        mut self,
        group: &'static str,
        reasons: &[&'static str],
        count: impl Fn(&'static str) -> u64,
    ) -> Self {
        self.0.push((group, reasons.iter().map(|&reason| (reason, count(reason))).collect()));
        self
    }

    /// Returns all counts in their order.
    pub(super) fn totals(&self) -> Vec<u64> {
        self.0.iter().flat_map(|(_, counts)| counts.iter().map(|(_, count)| *count)).collect()
    }

    /// Returns the counts of a group by reason.
    pub(super) fn total(&self, group: &str) -> Value {
        let counts = self.0.iter().find(|(name, _)| *name == group).map(|(_, counts)| counts);
        let object: Map<_, _> = counts
            .into_iter()
            .flatten()
            .map(|(reason, count)| ((*reason).to_owned(), (*count).into()))
            .collect();
        object.into()
    }

    /// Returns all groups with the counts in `recent`, which has the order of
    /// [`totals`](Self::totals). Zeros are left out.
    pub(super) fn recent(&self, recent: &[u64]) -> Value {
        let mut recent = recent.iter().copied();
        let mut groups = Map::new();
        for (group, counts) in &self.0 {
            let counts = counts.iter().zip(recent.by_ref());
            let counts = counts.filter(|(_, count)| *count > 0);
            let object: Map<_, _> =
                counts.map(|((reason, _), count)| ((*reason).to_owned(), count.into())).collect();
            groups.insert((*group).to_owned(), object.into());
        }
        groups.into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_keep_their_groups_and_order() {
        let counts = ReasonCounts::default().with("a", &["x", "y"], |_| 1).with("b", &["z", "x"], |_| 2);
        assert_eq!(counts.totals(), [1, 1, 2, 2]);
        assert_eq!(counts.total("b"), json!({ "z": 2, "x": 2 }));
        assert_eq!(counts.recent(&[0, 5, 6, 0]), json!({ "a": { "y": 5 }, "b": { "z": 6 } }));
    }
}
