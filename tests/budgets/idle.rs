//! What an idle connection takes of the program's memory where the engine writes to it.

use super::ALONE;
use super::process::{REQUEST, ask, connect, memory_bytes, quiet, start};

const CLIENTS: usize = 10_000;

/// The most that an idle connection may take, in bytes of user space. The kernel's part comes on
/// top, for any server.
const BUDGET_BYTES: usize = 512;

#[test]
fn an_idle_connection_takes_little() {
    let _alone = ALONE.lock();
    let broker = start(quiet());
    let client = || {
        let mut socket = connect(&broker);
        ask(&mut socket, REQUEST, 1);
        socket
    };
    // What the first connections bring along for all that follow.
    let mut clients: Vec<_> = (0..200).map(|_| client()).collect();
    let before = memory_bytes(&broker);
    clients.extend((0..CLIENTS).map(|_| client()));
    let each = memory_bytes(&broker).saturating_sub(before) / CLIENTS;
    assert!(each <= BUDGET_BYTES, "{each} bytes each");
    println!("{each} bytes each");
}
