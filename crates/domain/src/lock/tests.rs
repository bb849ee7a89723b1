//! Any sequence of requests, looks, releases and pauses keeps the rules.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    Ask, Holder, Lock, LockEvent, LockRefused, LockState, Mode, Numbers, Release, Resource, Table,
    Token, Totals,
};
use crate::{
    id::LockId,
    task::Priority,
    time::{BootId, Moment, Now, Timestamp},
};

#[derive(Debug, Clone)]
enum Act {
    Ask {
        holder: u8,
        resources: Vec<u8>,
        mode: Mode,
        priority: u8,
        waits: bool,
    },
    Look(usize),
    Leave(usize),
    Renew(usize),
    Release(usize),
    Force(u8),
    Cleanup(u8),
    Pass(u64),
}

const RESOURCES: &[&str] = &[
    "a",
    "b",
    "src/",
    "src/api/",
    "src/api/x",
    "src/api",
    "docs/y",
];

fn resource(number: u8) -> Resource {
    RESOURCES[usize::from(number) % RESOURCES.len()]
        .parse()
        .unwrap()
}

fn holder(number: u8) -> Holder {
    format!("h{}", number % 5).parse().unwrap()
}

fn act() -> impl Strategy<Value = Act> {
    let mode = prop_oneof![
        Just(Mode::Exclusive),
        Just(Mode::Shared),
        Just(Mode::Intent)
    ];
    prop_oneof![
        8 => (any::<u8>(), prop::collection::vec(any::<u8>(), 1..4), mode, 1..=10_u8, any::<bool>())
            .prop_map(|(holder, resources, mode, priority, waits)| Act::Ask {
                holder, resources, mode, priority, waits
            }),
        3 => any::<usize>().prop_map(Act::Look),
        1 => any::<usize>().prop_map(Act::Leave),
        2 => any::<usize>().prop_map(Act::Renew),
        5 => any::<usize>().prop_map(Act::Release),
        1 => any::<u8>().prop_map(Act::Force),
        1 => any::<u8>().prop_map(Act::Cleanup),
        2 => (0..4_000_u64).prop_map(Act::Pass),
    ]
}

struct World {
    table: Table,
    /// What follows from the events alone.
    told: BTreeMap<LockId, Lock>,
    totals: Totals,
    numbers: Numbers,
    now: Now,
    tokens: Vec<Token>,
    queued: u64,
    ended: BTreeSet<LockId>,
}

impl World {
    fn new() -> Self {
        Self {
            table: Table::default(),
            told: BTreeMap::new(),
            totals: Totals::default(),
            numbers: Numbers::default(),
            now: Now {
                wall: Timestamp::from_millis(1_800_000_000_000),
                moment: Moment {
                    boot: BootId("b".to_owned()),
                    millis: 1_000,
                },
            },
            tokens: vec![],
            queued: 0,
            ended: BTreeSet::new(),
        }
    }

    fn pick(&self, number: usize, wanted: impl Fn(&Lock) -> bool) -> Option<Lock> {
        let found: Vec<&Lock> = self.table.locks().filter(|lock| wanted(lock)).collect();
        (!found.is_empty()).then(|| found[number % found.len()].clone())
    }

    fn act(&mut self, act: &Act) {
        let (table, numbers, now) = (&mut self.table, &mut self.numbers, &self.now.clone());
        let held = |lock: &Lock| lock.token().is_some();
        match act {
            Act::Pass(millis) => {
                self.now = Now {
                    wall: Timestamp::from_millis(
                        now.wall.as_millis() + i64::try_from(*millis).unwrap(),
                    ),
                    moment: now.moment.plus_millis(*millis),
                };
            }
            Act::Ask {
                holder: by,
                resources,
                mode,
                priority,
                waits,
            } => {
                let ask = Ask {
                    resources: resources.iter().map(|number| resource(*number)).collect(),
                    mode: *mode,
                    holder: holder(*by),
                    priority: Priority::try_from(*priority).unwrap(),
                    ttl_millis: 3_000,
                    wait_millis: if *waits { 20_000 } else { 0 },
                    token: None,
                    wake: None,
                };
                let ask = ask.checked().unwrap();
                match table.acquire(&ask, numbers, now) {
                    Ok(_) | Err(LockRefused::Busy { .. } | LockRefused::Deadlock { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            Act::Look(number) => {
                if let Some(lock) = self.pick(*number, Lock::is_waiting) {
                    drop(self.table.look(lock.id, &mut self.numbers, now));
                }
            }
            Act::Leave(number) => {
                if let Some(lock) = self.pick(*number, Lock::is_waiting) {
                    assert!(self.table.leave(lock.id, &mut self.numbers, now));
                }
            }
            Act::Renew(number) => {
                if let Some(token) = self.pick(*number, held).and_then(|lock| lock.token()) {
                    drop(self.table.renew(token, None, &mut self.numbers, now));
                }
            }
            Act::Release(number) => {
                if let Some(token) = self.pick(*number, held).and_then(|lock| lock.token()) {
                    drop(
                        self.table
                            .release(&Release::of(token), &mut self.numbers, now),
                    );
                }
            }
            Act::Force(number) => {
                let resource = resource(*number);
                for lock in table.force(&resource, "root", numbers, now) {
                    assert!(lock.resources.contains(&resource));
                }
            }
            Act::Cleanup(number) => {
                let name = holder(*number).to_string();
                let why = super::Gone::Forced {
                    by: "root".to_owned(),
                };
                table.cleanup(&name, &why, numbers, now);
                let gone = |lock: &&Lock| !matches!(lock.state, LockState::Gone { .. });
                assert!(
                    !table
                        .locks()
                        .filter(gone)
                        .any(|lock| lock.holder.to_string() == name)
                );
            }
        }
        self.follow();
        self.check();
    }

    fn follow(&mut self) {
        for event in self.table.take_events() {
            self.totals.count(&event);
            let lock = event.lock();
            match &event {
                LockEvent::Granted { .. } => self.tokens.push(lock.token().unwrap()),
                LockEvent::Queued { .. } => self.queued += 1,
                _ => {}
            }
            if event.keeps() {
                assert!(!self.ended.contains(&lock.id), "nothing comes back");
                self.told.insert(lock.id, lock.clone());
            } else {
                self.told.remove(&lock.id);
                self.ended.insert(lock.id);
            }
        }
    }

    fn check(&self) {
        let rows: BTreeMap<LockId, Lock> = self
            .table
            .locks()
            .map(|lock| (lock.id, lock.clone()))
            .collect();
        assert_eq!(rows, self.told, "the events tell all of it");
        assert!(
            self.tokens.windows(2).all(|pair| pair[0] < pair[1]),
            "tokens rise"
        );
        let held: Vec<&Lock> = self
            .table
            .locks()
            .filter(|lock| lock.token().is_some())
            .collect();
        for (at, one) in held.iter().enumerate() {
            for other in &held[at + 1..] {
                assert!(
                    !one.is_against(&other.resources, other.mode),
                    "{one:?} beside {other:?}"
                );
            }
        }
        self.no_circle();
    }

    /// Whoever follows whom each waiter waits for never comes back to it.
    fn no_circle(&self) {
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for lock in self.table.locks().filter(|lock| lock.is_waiting()) {
            let own = lock.holder.to_string();
            if lock.is_over(&self.now.moment) {
                continue;
            }
            let by = self.table.blockers(lock, &self.now.moment);
            let others = by
                .iter()
                .map(|by| by.holder.to_string())
                .filter(|other| *other != own);
            edges.entry(own.clone()).or_default().extend(others);
        }
        for start in edges.keys() {
            let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
            while let Some(next) = open.pop() {
                for other in edges.get(next).into_iter().flatten() {
                    assert_ne!(other, start, "a circle is left: {edges:?}");
                    if seen.insert(other) {
                        open.push(other);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_history_keeps_the_rules(acts in prop::collection::vec(act(), 1..60)) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
        }
        let totals = world.totals;
        prop_assert_eq!(totals.granted, world.tokens.len() as u64);
        // Everybody who is patient gets a turn: holders release, waiters look.
        for _ in 0..400 {
            let open = |lock: &Lock| !matches!(lock.state, LockState::Gone { .. });
            if world.pick(0, open).is_none() {
                return Ok(());
            }
            world.act(&Act::Release(0));
            world.act(&Act::Look(0));
        }
        prop_assert!(false, "somebody waits for ever: {:?}", world.table);
    }

    /// Of requests of one priority for one thing, those that came first are first.
    #[test]
    fn the_order_is_that_of_coming(
        priorities in prop::collection::vec(1..=10_u8, 2..20),
        pauses in prop::collection::vec(0..400_u64, 20),
    ) {
        let mut world = World::new();
        world.act(&Act::Ask {
            holder: 0, resources: vec![0], mode: Mode::Exclusive, priority: 5, waits: false,
        });
        let mut asked = Vec::new();
        for (number, priority) in priorities.iter().enumerate() {
            world.act(&Act::Pass(pauses[number % pauses.len()]));
            let ask = Ask {
                wait_millis: 3_600_000,
                ttl_millis: 3_600_000,
                priority: Priority::try_from(*priority).unwrap(),
                ..Ask::exclusive(resource(0), format!("w{number}").parse().unwrap())
            };
            // Nobody is silent for so long that it leaves.
            let waiting: Vec<LockId> = world.table.locks().map(|lock| lock.id).collect();
            for id in waiting {
                drop(world.table.look(id, &mut world.numbers, &world.now));
            }
            let lock = world.table.acquire(&ask, &mut world.numbers, &world.now).unwrap();
            asked.push((lock.place(), lock.id));
            world.follow();
        }
        asked.sort();
        for (_, id) in asked {
            let held = world.pick(0, |lock| lock.token().is_some()).unwrap();
            let release = Release::of(held.token().unwrap());
            world.table.release(&release, &mut world.numbers, &world.now).unwrap();
            let next = world.table.lock(id).unwrap();
            prop_assert!(next.token().is_some(), "{:?} is next", next);
        }
    }
}
