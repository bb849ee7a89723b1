//! Nodes: who is there, what they have, who leads, and what follows when one is lost.

use std::collections::BTreeSet;

use domain::{
    id::{NodeId, ProjectId},
    node::{self, Checkout, Introduction, Leader, Node, NodeCommand},
    project::Project,
    rejection::Rejected,
    session::{Session, SessionCommand},
    time::Now,
};

use super::{Change, change::encode, session::advance_session};
use crate::{
    command::{Output, RecoveryPolicy},
    error::Error,
    event::{NewEvent, Stream, StreamKind},
    ports::store::IdKind,
    query::{Deleted, TaskFilter},
};

/// A node comes, speaks, or is told something.
pub(crate) fn tell_node(
    change: &mut Change<'_>,
    id: NodeId,
    command: &NodeCommand,
) -> Result<Output, Error> {
    let now = change.now();
    let known = change.tx().node(id)?;
    let node = match (known, command) {
        (known, NodeCommand::Register(introduction)) => {
            check(introduction)?;
            require_own_name(change, id, introduction)?;
            match known {
                Some(known) => known.after(command, &now)?,
                None => Node::new(id, introduction.clone(), &now),
            }
        }
        (Some(known), command) => known.after(command, &now)?,
        (None, _) => return Err(Error::not_found("Node", id)),
    };
    change.tx().put_node(&node)?;
    Ok(Output::Node {
        node: Box::new(node),
    })
}

fn check(introduction: &Introduction) -> Result<(), Error> {
    let plain = |text: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=/:".contains(&byte);
        !text.is_empty() && text.len() <= node::NAME_BYTES_MAX && text.bytes().all(is_plain)
    };
    let words = "1 to 64 letters, digits and - _ . = / :";
    if !plain(&introduction.name) {
        return Err(Error::invalid("node name", words));
    }
    if introduction.labels.len() > node::LABELS_MAX {
        let message = format!("{} at most", node::LABELS_MAX);
        return Err(Error::invalid("node labels", message));
    }
    if introduction.labels.iter().any(|label| !plain(label)) {
        return Err(Error::invalid("node label", words));
    }
    if introduction.capacity == 0 || introduction.lease_millis == 0 {
        return Err(Error::invalid("node", "capacity and lease are at least 1"));
    }
    Ok(())
}

/// People mean a node by its name: no two that are there have the same.
fn require_own_name(
    change: &mut Change<'_>,
    id: NodeId,
    introduction: &Introduction,
) -> Result<(), Error> {
    let now = change.now();
    let is_taken = |other: &Node| {
        other.id != id
            && other.name == introduction.name
            && other.left_at.is_none()
            && !other.is_silent(&now)
    };
    if change.tx().nodes()?.iter().any(is_taken) {
        return Err(Error::Exists {
            what: "a node called".to_owned(),
            name: introduction.name.clone(),
        });
    }
    Ok(())
}

/// Takes the lead, keeps it, or says who has it.
pub(crate) fn lead(
    change: &mut Change<'_>,
    node: NodeId,
    lease_millis: u64,
) -> Result<Output, Error> {
    let now = change.now();
    let held = change.tx().leader()?;
    let leader = Leader::asked(held.as_ref(), node, lease_millis, &now);
    if held.as_ref() != Some(&leader) {
        change.tx().put_leader(&leader)?;
    }
    Ok(Output::Leader { leader })
}

/// Declares nodes lost, and requeues what they and others have let go. The leader's own sessions are
/// left to it: it sees which of their processes live.
pub(crate) fn recover_lost(
    change: &mut Change<'_>,
    leader: NodeId,
    fence: u64,
    patience_millis: u64,
    recovery: &RecoveryPolicy,
) -> Result<Output, Error> {
    let now = change.now();
    let held = change.tx().leader()?;
    if !held.is_some_and(|held| held.is_held_by(leader, fence, &now)) {
        let why = "somebody else may lead by now";
        let rejected = Rejected::new(leader, "not the leader", "recover what is lost", why);
        return Err(Error::Rejected(rejected));
    }
    let (lost, heard) = declare_lost(change, &now)?;
    let mut sessions = Vec::new();
    for session in change.tx().live_sessions(None)? {
        let Some(node) = session.node.filter(|node| *node != leader) else {
            continue;
        };
        let patience = if heard.contains(&node) {
            patience_millis
        } else {
            0
        };
        if node::has_ended(&session.lease_until.plus_millis(patience), &now) {
            sessions.push(let_go(change, &session, node, recovery)?);
        }
    }
    Ok(Output::Lost {
        nodes: lost,
        sessions,
    })
}

/// Those that are lost as of now, and those that were heard of in time.
fn declare_lost(
    change: &mut Change<'_>,
    now: &Now,
) -> Result<(Vec<Node>, BTreeSet<NodeId>), Error> {
    let (mut lost, mut heard) = (Vec::new(), BTreeSet::new());
    for node in change.tx().nodes()? {
        if node.left_at.is_some() {
            continue;
        }
        if !node.is_silent(now) {
            heard.insert(node.id);
        } else if node.lost_at.is_none() {
            let node = Node {
                lost_at: Some(now.wall),
                ..node
            };
            change.tx().put_node(&node)?;
            lost.push(node);
        }
    }
    Ok((lost, heard))
}

fn let_go(
    change: &mut Change<'_>,
    session: &Session,
    node: NodeId,
    recovery: &RecoveryPolicy,
) -> Result<Session, Error> {
    let orphan = SessionCommand::Orphan {
        why: format!("{node} gave no sign of it in time"),
        runner: session.runner.clone(),
        lease_until: session.lease_until.clone(),
        counts: true,
    };
    match advance_session(change, session.id, session.fence, &orphan, recovery)? {
        Output::Session { session } => Ok(*session),
        _ => Err(Error::corrupt("another answer than was asked for")),
    }
}

/// Says where a node has a project. A repository joins checkouts of several nodes to one project; a
/// directory that was registered on this machine before it was a node stays what it was.
pub(crate) fn register_checkout(
    change: &mut Change<'_>,
    node: NodeId,
    root: &str,
    name: &str,
    remote: Option<&str>,
) -> Result<Output, Error> {
    let checkouts = change.tx().checkouts(None)?;
    let here = checkouts
        .iter()
        .find(|known| known.node == node && known.root == root)
        .map(|known| known.project);
    let joined = match remote {
        Some(remote) => change.tx().project_of_remote(remote)?,
        None => None,
    };
    let project = match (here, joined) {
        (Some(here), Some(joined)) if here != joined.id => {
            require_empty(change, here, &joined)?;
            joined
        }
        (_, Some(joined)) => joined,
        (Some(here), None) => known_project(change, here)?,
        (None, None) => {
            let before = change.tx().project_at(root)?;
            let is_ours =
                |known: &Project| !checkouts.iter().any(|other| other.project == known.id);
            match before.filter(is_ours) {
                Some(project) => project,
                None => new_project(change, node, root, name)?,
            }
        }
    };
    let project = join(change, project, remote)?;
    if here != Some(project.id) {
        require_one_place(&checkouts, node, &project)?;
        let checkout = Checkout {
            node,
            project: project.id,
            root: root.to_owned(),
        };
        change.tx().put_checkout(&checkout)?;
        tell(change, project.id, "project.checked_out", &checkout)?;
    }
    Ok(Output::Project {
        project: Project {
            root: root.to_owned(),
            ..project
        },
    })
}

fn known_project(change: &mut Change<'_>, id: ProjectId) -> Result<Project, Error> {
    let known = change.tx().project(id)?;
    known.ok_or_else(|| Error::not_found("Project", id))
}

fn new_project(
    change: &mut Change<'_>,
    node: NodeId,
    root: &str,
    name: &str,
) -> Result<Project, Error> {
    let number = change.tx().next_number(IdKind::Project)?;
    let id = ProjectId::from_number(number).ok_or_else(|| Error::corrupt("ids are used up"))?;
    // Another machine may have something else at the same place.
    let root = match change.tx().project_at(root)? {
        Some(_) => format!("{root}@{node}"),
        None => root.to_owned(),
    };
    let project = Project {
        id,
        root,
        name: name.to_owned(),
        created_at: change.now().wall,
        remote: None,
    };
    change.tx().insert_project(&project)?;
    tell(change, id, "project.registered", &project)?;
    Ok(project)
}

fn join(
    change: &mut Change<'_>,
    mut project: Project,
    remote: Option<&str>,
) -> Result<Project, Error> {
    let Some(remote) = remote.filter(|remote| project.remote.as_deref() != Some(*remote)) else {
        return Ok(project);
    };
    change.tx().set_remote(project.id, remote)?;
    project.remote = Some(remote.to_owned());
    tell(change, project.id, "project.joined_by", &project)?;
    Ok(project)
}

/// A node has one checkout of a project: its worktrees, folders and branches are there.
fn require_one_place(checkouts: &[Checkout], node: NodeId, project: &Project) -> Result<(), Error> {
    let mut of_node = checkouts.iter().filter(|known| known.node == node);
    match of_node.find(|known| known.project == project.id) {
        None => Ok(()),
        Some(other) => Err(Error::Exists {
            what: format!("another checkout of {} on this node, at", project.name),
            name: other.root.clone(),
        }),
    }
}

/// A directory with tasks of its own does not become another project.
fn require_empty(change: &mut Change<'_>, here: ProjectId, joined: &Project) -> Result<(), Error> {
    for archived in [false, true] {
        let filter = TaskFilter {
            project: Some(here),
            archived,
            deleted: Deleted::With,
            ..TaskFilter::default()
        };
        if !change.tx().tasks(&filter, 1)?.is_empty() {
            let why = format!("its repository is that of {}, and it has tasks", joined.id);
            let rejected = Rejected::new(here, "registered", "join another project", &why);
            return Err(Error::Rejected(rejected));
        }
    }
    Ok(())
}

fn tell<T: serde::Serialize>(
    change: &mut Change<'_>,
    project: ProjectId,
    kind: &'static str,
    payload: &T,
) -> Result<(), Error> {
    change
        .append(NewEvent {
            project,
            stream: Stream {
                kind: StreamKind::Project,
                id: project.number(),
            },
            kind,
            fence: None,
            payload: encode(payload)?,
        })
        .map(drop)
}
