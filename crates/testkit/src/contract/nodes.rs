//! Several nodes on one store: who is there, who leads, how many are at work, and what follows when
//! one falls silent.

use std::{collections::BTreeSet, sync::Arc, thread};

use app::{
    command::{Command, NewTask, Output, RecoveryPolicy},
    error::Error,
    nodes::OfNode,
    ports::store::Store as _,
    query::{NodeView, Query, View},
};
use domain::{
    id::{NodeId, ProjectId, TaskId},
    node::{Introduction, Leader, Node, NodeCommand, NodeStatus},
    plan::Policy,
    project::Project,
    session::{Session, SessionCommand, SessionResult, SessionStatus},
    task::{Task, TaskStatus},
};

use super::{
    Make,
    world::{LEASE_MILLIS, World, claim_command, process, request, starts, work},
};

/// How long nodes may stay silent here.
const NODE_LEASE: u64 = 10_000;
/// How long a node that is heard of has to see to its own.
const PATIENCE: u64 = 5_000;
/// What joins the checkouts.
const REMOTE: &str = "git@example.org:team/project";

fn node_id(n: u64) -> NodeId {
    NodeId::from_number(n).expect("a number")
}

fn introduction(n: u64, capacity: u32) -> Introduction {
    Introduction {
        name: format!("n{n}"),
        labels: vec!["zone=a".to_owned()],
        capacity,
        version: "1.0".to_owned(),
        process: process(u32::try_from(n).expect("small")),
        lease_millis: NODE_LEASE,
    }
}

impl World {
    fn tell(&self, n: u64, command: NodeCommand) -> Result<Node, Error> {
        let node = node_id(n);
        match self.run(Command::Node { node, command })? {
            Output::Node { node } => Ok(*node),
            other => panic!("a node answers {other:?}"),
        }
    }

    fn come(&self, n: u64, capacity: u32) -> Node {
        self.tell(n, NodeCommand::Register(introduction(n, capacity)))
            .expect("it registers")
    }

    fn heartbeat(&self, n: u64) -> Node {
        let process = process(u32::try_from(n).expect("small"));
        let lease_millis = NODE_LEASE;
        self.tell(
            n,
            NodeCommand::Heartbeat {
                process,
                lease_millis,
            },
        )
        .expect("it is heard")
    }

    fn check_out(&self, n: u64, root: &str, remote: Option<&str>) -> Result<Project, Error> {
        let checkout = Command::RegisterCheckout {
            node: node_id(n),
            root: root.to_owned(),
            name: "project".to_owned(),
            remote: remote.map(str::to_owned),
        };
        match self.run(checkout)? {
            Output::Project { project } => Ok(project),
            other => panic!("a checkout answers {other:?}"),
        }
    }

    /// Two nodes with checkouts of the project, and room for this many sessions each.
    fn two_nodes(make: Make, capacity: u32) -> Self {
        let mut world = Self::new(make);
        for n in [1, 2] {
            world.come(n, capacity);
            let root = format!("/node{n}/project");
            world.project = world.check_out(n, &root, Some(REMOTE)).expect("it is").id;
        }
        world
    }

    fn claim_on(&self, n: u64, policy: Policy) -> Result<Vec<(Session, Task)>, Error> {
        let of_node = OfNode::new(Arc::clone(&self.store) as _, node_id(n));
        let claimed = of_node.execute(request(claim_command(self.project, policy)))?;
        match claimed.output {
            Output::Claimed { claims, .. } => Ok(claims),
            other => panic!("claiming answers {other:?}"),
        }
    }

    fn claim_one(&self, n: u64) -> (Session, Task) {
        let claims = self.claim_on(n, starts(1)).expect("it claims");
        claims.into_iter().next().expect("a task is ready")
    }

    fn lead(&self, n: u64) -> Leader {
        let (node, lease_millis) = (node_id(n), NODE_LEASE);
        match self.run(Command::Lead { node, lease_millis }) {
            Ok(Output::Leader { leader }) => leader,
            other => panic!("leading answers {other:?}"),
        }
    }

    fn recover_lost(&self, leader: &Leader) -> Result<(Vec<NodeId>, Vec<Session>), Error> {
        let recover = Command::RecoverLost {
            node: leader.node,
            fence: leader.fence,
            patience_millis: PATIENCE,
            recovery: RecoveryPolicy::default(),
        };
        match self.run(recover)? {
            Output::Lost { nodes, sessions } => {
                Ok((nodes.into_iter().map(|node| node.id).collect(), sessions))
            }
            other => panic!("recovery answers {other:?}"),
        }
    }

    fn nodes(&self) -> Vec<NodeView> {
        match self.store.read(&Query::Nodes) {
            Ok(View::Nodes { nodes, .. }) => nodes,
            other => panic!("{other:?}"),
        }
    }
}

/// A node says who it is, lives, is told to stop, and leaves.
pub fn a_node_comes_and_goes(make: Make) {
    let world = World::new(make);
    let one = world.come(1, 3);
    assert_eq!((one.status(), one.capacity), (NodeStatus::Ready, 3));
    world.clock.advance(NODE_LEASE - 1);
    assert!(world.heartbeat(1).heard_until.millis > one.heard_until.millis);
    let status = |command| world.tell(1, command).map(|node| node.status());
    assert_eq!(status(NodeCommand::Cordon), Ok(NodeStatus::Cordoned));
    assert_eq!(status(NodeCommand::Drain), Ok(NodeStatus::Draining));
    assert_eq!(status(NodeCommand::Uncordon), Ok(NodeStatus::Ready));
    let process = process(1);
    let leave = || NodeCommand::Leave {
        process: process.clone(),
    };
    assert_eq!(status(leave()), Ok(NodeStatus::Left));
    assert!(matches!(status(leave()), Err(Error::Rejected(_))));
    assert!(matches!(
        world.tell(7, NodeCommand::Cordon),
        Err(Error::NotFound { .. })
    ));
    let back = world.come(1, 4);
    assert_eq!(
        (back.status(), back.registered_at),
        (NodeStatus::Ready, one.registered_at)
    );
    let views = world.nodes();
    assert_eq!((views.len(), views[0].node.capacity), (1, 4));
}

/// Two nodes that are there have two names; what is no name is refused, and nothing is stored.
pub fn a_node_is_meant_by_its_name(make: Make) {
    let world = World::new(make);
    world.come(1, 1);
    let come_as = |name: &str, capacity| {
        let introduction = Introduction {
            name: name.to_owned(),
            capacity,
            ..introduction(2, 1)
        };
        world.tell(2, NodeCommand::Register(introduction))
    };
    assert!(matches!(come_as("n1", 1), Err(Error::Exists { .. })));
    for (name, capacity) in [("", 1), ("a b", 1), ("a\n", 1), ("two", 0)] {
        assert!(matches!(
            come_as(name, capacity),
            Err(Error::Invalid { .. })
        ));
    }
    assert_eq!(world.nodes().len(), 1);
    world.clock.advance(NODE_LEASE);
    come_as("n1", 1).expect("the other one is silent");
}

/// One repository, two nodes, two directories: one project. Elsewhere it is another.
pub fn checkouts_are_joined_by_their_repository(make: Make) {
    let world = World::new(make);
    let first = world.check_out(1, "/a", Some(REMOTE)).expect("new");
    let second = world.check_out(2, "/b", Some(REMOTE)).expect("joined");
    assert_eq!(first.id, second.id);
    assert_eq!((first.root.as_str(), second.root.as_str()), ("/a", "/b"));
    let other = world.check_out(2, "/a", None).expect("another");
    assert_ne!(other.id, first.id);
    assert_eq!(other.root, "/a");
    let again = world.check_out(1, "/a", None).expect("known");
    assert_eq!(again, first);
    assert!(matches!(
        world.check_out(1, "/c", Some(REMOTE)),
        Err(Error::Exists { .. })
    ));
    let seen = |n| -> Vec<(ProjectId, String)> {
        match world.store.read(&Query::CheckedOut { node: node_id(n) }) {
            Ok(View::Projects { projects }) => {
                projects.into_iter().map(|p| (p.id, p.root)).collect()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(seen(1), [(first.id, "/a".to_owned())]);
    assert_eq!(
        seen(2),
        [(first.id, "/b".to_owned()), (other.id, "/a".to_owned())]
    );
    // What this machine had before it was a node stays what it was.
    let before = world.check_out(3, "/project", None).expect("known");
    assert_eq!(before.id, world.project);
}

/// A directory with tasks does not become another project; an empty one may.
pub fn a_checkout_with_tasks_stays_its_own_project(make: Make) {
    let mut world = World::two_nodes(make, 1);
    let joined = world.project;
    let apart = world.check_out(3, "/c", None).expect("new");
    world.project = apart.id;
    let _waiting = world.create(work("here"));
    let refused = world.check_out(3, "/c", Some(REMOTE));
    assert!(matches!(refused, Err(Error::Rejected(_))));
    let empty = world.check_out(4, "/d", None).expect("new");
    let moved = world.check_out(4, "/d", Some(REMOTE)).expect("it joins");
    assert_ne!(empty.id, joined);
    assert_eq!(moved.id, joined);
}

/// A node claims only where it has a checkout, and its sessions say where they are.
pub fn a_node_claims_what_it_has(make: Make) {
    let world = World::two_nodes(make, 5);
    let task = world.create(work("x"));
    world.come(3, 5);
    assert!(matches!(
        world.claim_on(3, starts(1)),
        Err(Error::Rejected(_))
    ));
    let (session, claimed) = world.claim_one(2);
    assert_eq!(claimed.id, task.id);
    assert_eq!(session.node, Some(node_id(2)));
    assert!(session.is_elsewhere(Some(node_id(1))));
    assert!(!session.is_elsewhere(Some(node_id(2))));
    let carried: Vec<u32> = world.nodes().iter().map(|view| view.sessions).collect();
    assert_eq!(carried, [0, 1, 0]);
}

/// The node's capacity and the store's own limit hold, whoever claims; a cordoned node gets nothing.
pub fn no_node_and_no_store_is_over_its_cap(make: Make) {
    let world = World::two_nodes(make, 2);
    for n in 0..10 {
        let _queued = world.create(work(&format!("{n}")));
    }
    let most = |store_max| Policy {
        store_max: Some(store_max),
        ..starts(10)
    };
    let claimed = |n, store_max| world.claim_on(n, most(store_max)).expect("it claims").len();
    assert_eq!(claimed(1, 3), 2, "its capacity");
    assert_eq!(claimed(2, 3), 1, "what the store has room for");
    assert_eq!(claimed(2, 3), 0);
    assert_eq!(claimed(2, 4), 1);
    assert_eq!(claimed(2, 5), 0, "its capacity");
    world.tell(1, NodeCommand::Cordon).expect("it is there");
    let (session, _) = world.sessions_on(1).remove(0);
    world
        .finish(&session, SessionResult::Completed)
        .expect("it ends");
    assert_eq!(claimed(1, 5), 0, "it is cordoned");
    world.tell(1, NodeCommand::Uncordon).expect("it is there");
    assert_eq!(claimed(1, 5), 1);
    // One that was declared lost and claims again before it is heard of has no more room than before.
    world.clock.advance(NODE_LEASE);
    let leader = world.lead(2);
    assert_eq!(world.recover_lost(&leader).expect("it leads").0.len(), 2);
    assert_eq!(claimed(1, 9), 0);
}

/// Six nodes that claim at once, again and again, are never over the store's limit, the project's
/// or the agent's; and each task is claimed once.
pub fn many_nodes_claim_within_every_cap(make: Make) {
    let mut world = World::new(make);
    for n in 1..=6 {
        world.come(n, 3);
        let root = format!("/node{n}/project");
        world.project = world.check_out(n, &root, Some(REMOTE)).expect("it is").id;
    }
    for n in 0..60 {
        let _queued = world.create(work(&format!("{n}")));
    }
    let policy = Policy {
        running_max: Some(6),
        per_agent_max: [(super::world::agent("coder"), 5)].into(),
        store_max: Some(7),
        ..starts(4)
    };
    let world = &world;
    thread::scope(|scope| {
        for n in 1..=6 {
            let policy = policy.clone();
            scope.spawn(move || {
                for _ in 0..200 {
                    let claims = world.claim_on(n, policy.clone()).expect("it claims");
                    assert!(world.live() <= 5, "the agent's cap is the least");
                    for (session, _) in claims {
                        world
                            .finish(&session, SessionResult::Completed)
                            .expect("it ends");
                    }
                    if world.counts().get(&TaskStatus::Completed) == Some(&60) {
                        return;
                    }
                }
            });
        }
    });
    assert_eq!(world.counts(), [(TaskStatus::Completed, 60)].into());
    super::log::verify(&world.contents().log);
}

/// One leads; another follows it under a higher fence once it is silent, and what the first says then
/// changes nothing.
pub fn one_node_leads_at_a_time(make: Make) {
    let world = World::two_nodes(make, 1);
    let first = world.lead(1);
    assert_eq!((first.node, first.fence), (node_id(1), 1));
    assert_eq!(world.lead(2), first);
    world.clock.advance(NODE_LEASE - 1);
    assert_eq!(world.lead(1).fence, 1, "renewed");
    world.clock.advance(NODE_LEASE);
    let second = world.lead(2);
    assert_eq!((second.node, second.fence), (node_id(2), 2));
    assert!(matches!(
        world.recover_lost(&first),
        Err(Error::Rejected(_))
    ));
    let (lost, _) = world.recover_lost(&second).expect("it leads");
    assert_eq!(lost, [node_id(1), node_id(2)], "neither was heard of");
    let (lost, _) = world.recover_lost(&second).expect("it leads");
    assert_eq!(lost, [], "once each");
}

/// A silent node's sessions are requeued when their own leases have ended, under a higher fence; what
/// comes late is told so, and a node that is heard of again is back.
pub fn a_lost_nodes_work_goes_back_to_the_queue(make: Make) {
    let world = World::two_nodes(make, 5);
    let task = world.create(work("x"));
    let (session, _) = world.claim_one(1);
    let begun = SessionCommand::Begin { runner: process(9) };
    let session = world.say(&session, begun).expect("it begins");
    let leader = world.lead(2);
    world.clock.advance(LEASE_MILLIS - 1);
    world.heartbeat(2);
    let leader = Leader {
        fence: world.lead(2).fence,
        ..leader
    };
    let (lost, let_go) = world.recover_lost(&leader).expect("it leads");
    assert_eq!(lost, [node_id(1)]);
    assert_eq!(let_go, [], "its session's own lease still runs");
    assert_eq!(world.nodes()[0].node.status(), NodeStatus::Lost);
    world.clock.advance(1);
    let (_, let_go) = world.recover_lost(&leader).expect("it leads");
    assert_eq!(let_go.len(), 1);
    assert_eq!(let_go[0].status, SessionStatus::Orphaned);
    let again = world.task(task.id);
    assert_eq!(again.status(), TaskStatus::Pending);
    let (second, _) = world.claim_one(2);
    assert!(second.fence > session.fence);
    let late = [
        world.run(Command::RenewLease {
            session: session.id,
            fence: session.fence,
            lease_millis: LEASE_MILLIS,
        }),
        world
            .say(&session, SessionCommand::Verify { gates: vec![] })
            .map(|session| Output::Session {
                session: Box::new(session),
            }),
    ];
    for word in late {
        assert!(matches!(word, Err(Error::FenceLost { .. })), "{word:?}");
    }
    let unheard = world.finish(&session, SessionResult::Completed);
    assert_eq!(
        unheard.expect("it is over").status,
        SessionStatus::Orphaned,
        "its outcome is not taken"
    );
    assert_eq!(world.task(task.id).sessions(), [second.id]);
    assert_eq!(world.heartbeat(1).status(), NodeStatus::Ready);
}

/// A node that is heard of has a while to see to its own: it alone can look at their processes.
pub fn a_living_node_sees_to_its_own_first(make: Make) {
    let world = World::two_nodes(make, 5);
    let _task = world.create(work("x"));
    let (session, _) = world.claim_one(1);
    let fence = world.lead(2).fence;
    let look = |after| {
        world.clock.advance(after);
        for n in [1, 2] {
            world.heartbeat(n);
        }
        let leader = world.lead(2);
        world.recover_lost(&leader).expect("it leads").1.len()
    };
    for _ in 0..4 {
        assert_eq!(look(LEASE_MILLIS / 4), 0);
    }
    assert_eq!(look(PATIENCE - 1), 0);
    assert_eq!(look(1), 1);
    assert!(world.lead(2).fence >= fence);
    // Nothing is said of the leader's own.
    let (own, _) = world.claim_one(2);
    assert_ne!(own.id, session.id);
    for _ in 0..8 {
        assert_eq!(look(NODE_LEASE - 1), 0);
    }
}

/// After every kind of loss each task is done once in the end.
pub fn nothing_is_lost_with_nodes(make: Make) {
    let world = World::two_nodes(make, 4);
    let tasks: BTreeSet<TaskId> = (0..12)
        .map(|n| {
            world
                .create(NewTask {
                    prompt: format!("{n}"),
                    ..work("x")
                })
                .id
        })
        .collect();
    for _ in 0..2 {
        world.claim_on(1, starts(4)).expect("it claims");
        world.clock.advance(LEASE_MILLIS);
        let leader = world.lead(2);
        let (_, gone) = world.recover_lost(&leader).expect("it leads");
        assert_eq!(gone.len(), 4);
    }
    world.heartbeat(2);
    let mut done = BTreeSet::new();
    loop {
        let claims = world.claim_on(2, starts(4)).expect("it claims");
        if claims.is_empty() {
            break;
        }
        for (session, task) in claims {
            world
                .finish(&session, SessionResult::Completed)
                .expect("it ends");
            assert!(done.insert(task.id));
        }
    }
    assert_eq!(done, tasks);
}

impl World {
    fn live(&self) -> u32 {
        let mut live = 0;
        self.store.look(&mut |reader| {
            live = reader.occupied(None).expect("counted");
        });
        live
    }

    fn sessions_on(&self, n: u64) -> Vec<(Session, TaskId)> {
        let query = Query::LiveSessions { project: None };
        match self.store.read(&query) {
            Ok(View::Sessions { sessions }) => sessions
                .into_iter()
                .filter(|session| session.node == Some(node_id(n)))
                .map(|session| (session.clone(), session.task))
                .collect(),
            other => panic!("{other:?}"),
        }
    }
}
