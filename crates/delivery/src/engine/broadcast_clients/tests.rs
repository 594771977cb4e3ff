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
