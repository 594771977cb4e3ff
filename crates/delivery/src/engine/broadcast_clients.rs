//! The clients of a broadcast, and the progress of a pass through them.

/// The numbers of the clients, unordered, and the progress of a pass.
///
/// A pass visits each client once that is there from its beginning to its end; it visits clients
/// that join meanwhile too.
#[derive(Debug, Default)]
pub(super) struct BroadcastClients {
    clients: Vec<u32>,
    next: usize,
}

/// A client with its new place, because another one was removed.
pub(super) type Moved = (u32, usize);

impl BroadcastClients {
    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    pub(super) fn get(&self, index: usize) -> Option<u32> {
        self.clients.get(index).copied()
    }

    /// Adds a client. Returns its place.
    pub(super) fn add(&mut self, client: u32) -> usize {
        self.clients.push(client);
        self.clients.len() - 1
    }

    /// Removes the client at a place. Returns the clients that moved.
    pub(super) fn remove(&mut self, index: usize) -> [Option<Moved>; 2] {
        let mut moved = [None; 2];
        let mut hole = index;
        if index < self.next {
            // The gap is filled with a client that was visited too, so that none is skipped.
            self.next -= 1;
            hole = self.next;
            if hole != index {
                self.clients[index] = self.clients[hole];
                moved[0] = Some((self.clients[index], index));
            }
        }
        self.clients.swap_remove(hole);
        if let Some(&client) = self.clients.get(hole) {
            moved[1] = Some((client, hole));
        }
        moved
    }

    /// Begins a pass.
    pub(super) fn begin_pass(&mut self) {
        self.next = 0;
    }

    /// The next client of the pass; `None` at its end.
    pub(super) fn next_client(&mut self) -> Option<u32> {
        let client = self.get(self.next)?;
        self.next += 1;
        Some(client)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Add,
        Remove(prop::sample::Index),
        Visit,
        Begin,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Add),
            any::<prop::sample::Index>().prop_map(Step::Remove),
            Just(Step::Visit),
            Just(Step::Visit),
            Just(Step::Visit),
            Just(Step::Begin),
        ]
    }

    proptest! {
        /// A pass visits every client once, also if clients join or leave meanwhile.
        #[test]
        fn pass_visits_each_client_once(steps in proptest::collection::vec(step(), 1..300)) {
            let mut broadcast_clients = BroadcastClients::default();
            let mut places: HashMap<u32, usize> = HashMap::new();
            let mut delivered: HashSet<u32> = HashSet::new();
            let mut number = 0;
            for step in steps {
                match step {
                    Step::Add => {
                        places.insert(number, broadcast_clients.add(number));
                        number += 1;
                    }
                    Step::Remove(index) if !broadcast_clients.is_empty() => {
                        let index = index.index(broadcast_clients.len());
                        let client = broadcast_clients.get(index).unwrap();
                        for (client, place) in broadcast_clients.remove(index).into_iter().flatten() {
                            places.insert(client, place);
                        }
                        places.remove(&client);
                        delivered.remove(&client);
                    }
                    Step::Remove(_) => {}
                    Step::Visit => match broadcast_clients.next_client() {
                        Some(client) => prop_assert!(delivered.insert(client), "visited twice"),
                        None => prop_assert_eq!(delivered.len(), places.len(), "a client was skipped"),
                    },
                    Step::Begin => {
                        broadcast_clients.begin_pass();
                        delivered.clear();
                    }
                }
                prop_assert_eq!(broadcast_clients.len(), places.len());
                for (&client, &place) in &places {
                    prop_assert_eq!(broadcast_clients.get(place), Some(client));
                }
            }
        }
    }
}
