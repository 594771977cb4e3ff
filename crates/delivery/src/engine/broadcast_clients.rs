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
mod tests;
