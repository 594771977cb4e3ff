//! Warnings about the machine on which a node runs. `tidings check`, the start of a node and the
//! console show the same ones.

use crate::files::{FileBudget, TooFewFiles};
use crate::memory::MemoryBudget;
use tidings_auth::ForwardUrl;
use tidings_bus::redis::access::Finding;

/// Whether the limit of open files allows the configured bounds.
#[must_use]
pub fn open_files(budget: &Result<FileBudget, TooFewFiles>) -> Finding {
    const WHAT: &str = "open files";
    let budget = match budget {
        Ok(budget) => budget,
        Err(error) => {
            let fix = "raise the limit where the broker is started".to_owned();
            return Finding { check: WHAT, result: error.to_string(), fix: Some(fix) };
        }
    };
    let FileBudget { limit, wanted, connections, embedded_clients, .. } = budget;
    let limit = limit.map_or_else(|| "no limit".to_owned(), |limit| format!("a limit of {limit}"));
    if !budget.is_cut() {
        return Finding::good(WHAT, format!("{limit}, and all configured bounds together need {wanted}"));
    }
    let found = format!("{limit} allows {connections} connections and {embedded_clients} Redis clients");
    let fix = format!(
        "raise the limit to {wanted} (`ulimit -n`, LimitNOFILE= of systemd, ulimits of a container), or lower \
         limits.connections or embedded.clients"
    );
    Finding { check: WHAT, result: found, fix: Some(fix) }
}

/// Whether there is as much memory as all configured bounds come to.
#[must_use]
pub fn memory(budget: &MemoryBudget) -> Finding {
    const WHAT: &str = "memory";
    let (configured, available) = budget.mebibytes();
    let available = available.map_or_else(|| "not known".to_owned(), |available| format!("{available} MiB"));
    let found = format!("{available}, and all configured bounds together are {configured} MiB");
    if !budget.is_exceeded() {
        return Finding::good(WHAT, found);
    }
    let fix = "lower limits.ring_bytes, limits.connections, limits.replay_bytes, limits.unsent_bytes, limits.body_bytes or those of [embedded], or give \
               the broker more memory";
    Finding { check: WHAT, result: found, fix: Some(fix.to_owned()) }
}

/// Whether requests to the app leave this machine without TLS. `None` if they do not.
#[must_use]
pub fn app_in_the_clear(url: &ForwardUrl) -> Option<Finding> {
    const FIX: &str = "use https, unless no other program can read or answer on that network: the app gets the cookies of users, and its \
                       responses let clients in";
    url.is_clear_to_others().then(|| Finding {
        check: "the app at auth.forward.url",
        result: "requests reach it without TLS".to_owned(),
        fix: Some(FIX.to_owned()),
    })
}
