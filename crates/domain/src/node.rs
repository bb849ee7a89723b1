//! Nodes: homes of Crewboss, each with processes, worktrees and folders of its own, that share a
//! store.

use serde::{Deserialize, Serialize};

use crate::{
    id::{NodeId, ProjectId},
    process::ProcessIdentity,
    rejection::Rejected,
    time::{Moment, Now, Timestamp},
};

/// Bytes of a name or of a label at most.
pub const NAME_BYTES_MAX: usize = 64;
/// Labels of a node at most.
pub const LABELS_MAX: usize = 32;

/// A node as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id, which its home keeps.
    pub id: NodeId,
    /// What people call it.
    pub name: String,
    /// What people say of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Sessions that it carries at once.
    pub capacity: u32,
    /// The program's version.
    pub version: String,
    /// The process that speaks for it.
    pub process: ProcessIdentity,
    /// It is lost from then on unless it is heard of again.
    pub heard_until: Moment,
    /// When it was last heard of.
    pub heard_at: Timestamp,
    /// Nothing new is to be started on it.
    #[serde(default)]
    pub cordoned: bool,
    /// Nor that, and it ends once nothing is at work on it.
    #[serde(default)]
    pub draining: bool,
    /// When it was declared lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Timestamp>,
    /// When it left in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<Timestamp>,
    /// When it first came.
    pub registered_at: Timestamp,
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// It takes work.
    Ready,
    /// It goes on with what it has.
    Cordoned,
    /// And ends then.
    Draining,
    /// It was not heard of in time.
    Lost,
    /// It has ended in order.
    Left,
}

impl NodeStatus {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Lost => "lost",
            Self::Left => "left",
        }
    }
}

/// What a node says of itself when it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// What people call it.
    pub name: String,
    /// What people say of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Sessions that it carries at once.
    pub capacity: u32,
    /// The program's version.
    pub version: String,
    /// The process that speaks for it.
    pub process: ProcessIdentity,
    /// How long it may stay silent.
    pub lease_millis: u64,
}

/// What may be asked of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum NodeCommand {
    /// It comes, or comes back.
    Register(Introduction),
    /// It lives.
    Heartbeat {
        /// The process that speaks for it.
        process: ProcessIdentity,
        /// How long it may stay silent from now on.
        lease_millis: u64,
    },
    /// Nothing new is to be started on it.
    Cordon,
    /// Work may be started on it again.
    Uncordon,
    /// Nothing new is to be started on it, and it is to end.
    Drain,
    /// It ends in order.
    Leave {
        /// The process that speaks for it.
        process: ProcessIdentity,
    },
}

impl NodeCommand {
    /// The command's name, as in rejections.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Register(_) => "register",
            Self::Heartbeat { .. } => "speak",
            Self::Cordon => "cordon",
            Self::Uncordon => "uncordon",
            Self::Drain => "drain",
            Self::Leave { .. } => "leave",
        }
    }
}

impl Node {
    /// A node that comes for the first time.
    #[must_use]
    pub fn new(id: NodeId, introduction: Introduction, now: &Now) -> Self {
        Self {
            id,
            name: introduction.name,
            labels: introduction.labels,
            capacity: introduction.capacity,
            version: introduction.version,
            process: introduction.process,
            heard_until: now.moment.plus_millis(introduction.lease_millis),
            heard_at: now.wall,
            cordoned: false,
            draining: false,
            lost_at: None,
            left_at: None,
            registered_at: now.wall,
        }
    }

    /// Where it stands, as far as was noted.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        match self {
            Self {
                left_at: Some(_), ..
            } => NodeStatus::Left,
            Self {
                lost_at: Some(_), ..
            } => NodeStatus::Lost,
            Self { draining: true, .. } => NodeStatus::Draining,
            Self { cordoned: true, .. } => NodeStatus::Cordoned,
            _ => NodeStatus::Ready,
        }
    }

    /// Whether its time has run out without a word.
    #[must_use]
    pub fn is_silent(&self, now: &Now) -> bool {
        has_ended(&self.heard_until, now)
    }

    /// What it is after a command.
    ///
    /// # Errors
    /// [`Rejected`] where another process speaks for it, or where it is not there to be asked.
    pub fn after(&self, command: &NodeCommand, now: &Now) -> Result<Self, Rejected> {
        let rejected =
            |why: &str| Rejected::new(self.id, self.status().as_str(), command.name(), why);
        let mut node = self.clone();
        match command {
            NodeCommand::Register(introduction) => {
                let is_at_work = self.left_at.is_none() && !self.is_silent(now);
                if is_at_work && introduction.process.boot != self.process.boot {
                    return Err(rejected(
                        "it is at work on another machine, or was a moment ago before a reboot",
                    ));
                }
                return Ok(Self {
                    registered_at: self.registered_at,
                    cordoned: self.cordoned,
                    ..Self::new(self.id, introduction.clone(), now)
                });
            }
            NodeCommand::Heartbeat {
                process,
                lease_millis,
            } => {
                self.require_speaker(process).map_err(rejected)?;
                node.heard_until = now.moment.plus_millis(*lease_millis);
                node.heard_at = now.wall;
                node.lost_at = None;
            }
            NodeCommand::Cordon => node.cordoned = true,
            NodeCommand::Uncordon => {
                node.cordoned = false;
                node.draining = false;
            }
            NodeCommand::Drain => match self.status() {
                NodeStatus::Left | NodeStatus::Lost => return Err(rejected("it is not there")),
                NodeStatus::Ready | NodeStatus::Cordoned | NodeStatus::Draining => {
                    node.draining = true;
                }
            },
            NodeCommand::Leave { process } => {
                self.require_speaker(process).map_err(rejected)?;
                node.left_at = Some(now.wall);
                node.draining = false;
                node.lost_at = None;
            }
        }
        Ok(node)
    }

    fn require_speaker(&self, process: &ProcessIdentity) -> Result<(), &'static str> {
        if self.left_at.is_some() {
            return Err("it has ended: it has to register first");
        }
        if self.process.is_same(process) {
            Ok(())
        } else {
            Err("another process speaks for it")
        }
    }
}

/// Who carries out what one alone is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// The node.
    pub node: NodeId,
    /// Rises with every change of hands.
    pub fence: u64,
    /// Its right ends here unless renewed.
    pub until: Moment,
}

impl Leader {
    /// Who leads once `node` has asked for it: itself where nobody else does, under a new fence
    /// where its right had ended.
    #[must_use]
    pub fn asked(held: Option<&Self>, node: NodeId, lease_millis: u64, now: &Now) -> Self {
        let until = now.moment.plus_millis(lease_millis);
        match held {
            Some(held) if !has_ended(&held.until, now) => {
                if held.node == node {
                    return Self {
                        until,
                        ..held.clone()
                    };
                }
                held.clone()
            }
            _ => Self {
                node,
                fence: held.map_or(0, |held| held.fence) + 1,
                until,
            },
        }
    }

    /// Whether `node` leads under this fence.
    #[must_use]
    pub fn is_held_by(&self, node: NodeId, fence: u64, now: &Now) -> bool {
        self.node == node && self.fence == fence && !has_ended(&self.until, now)
    }
}

/// Whether a right has ended: its time has come, or it was given in another boot.
#[must_use]
pub fn has_ended(until: &Moment, now: &Now) -> bool {
    now.moment.boot != until.boot || now.moment.millis >= until.millis
}

/// Where a node has a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkout {
    /// The node.
    pub node: NodeId,
    /// The project.
    pub project: ProjectId,
    /// Its directory there: absolute, without symbolic links.
    pub root: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::BootId;

    fn at(millis: u64) -> Now {
        Now {
            wall: Timestamp::from_millis(i64::try_from(millis).unwrap()),
            moment: Moment {
                boot: BootId("store".to_owned()),
                millis,
            },
        }
    }

    fn process(pid: u32, boot: &str) -> ProcessIdentity {
        ProcessIdentity {
            pid,
            start_ticks: 1,
            boot: BootId(boot.to_owned()),
            namespace: None,
        }
    }

    fn introduction(pid: u32, boot: &str) -> Introduction {
        Introduction {
            name: "one".to_owned(),
            labels: vec![],
            capacity: 2,
            version: "1".to_owned(),
            process: process(pid, boot),
            lease_millis: 100,
        }
    }

    fn node() -> Node {
        Node::new("node_7".parse().unwrap(), introduction(1, "a"), &at(0))
    }

    #[test]
    fn a_silent_node_that_is_heard_of_again_is_back() {
        let lost = Node {
            lost_at: Some(at(100).wall),
            ..node()
        };
        assert!(!node().is_silent(&at(99)) && node().is_silent(&at(100)));
        let heartbeat = |pid| NodeCommand::Heartbeat {
            process: process(pid, "a"),
            lease_millis: 100,
        };
        let back = lost.after(&heartbeat(1), &at(150)).unwrap();
        assert_eq!(back.status(), NodeStatus::Ready);
        assert!(!back.is_silent(&at(249)));
        lost.after(&heartbeat(2), &at(150)).unwrap_err();
    }

    #[test]
    fn a_copied_home_does_not_speak_for_a_node_at_work() {
        let come = |boot, millis| {
            let command = NodeCommand::Register(introduction(9, boot));
            node().after(&command, &at(millis))
        };
        come("b", 99).unwrap_err();
        come("a", 99).unwrap();
        come("b", 100).unwrap();
    }

    #[test]
    fn what_was_cordoned_stays_so_and_what_has_left_says_nothing() {
        let cordoned = node().after(&NodeCommand::Cordon, &at(1)).unwrap();
        let back = NodeCommand::Register(introduction(2, "a"));
        let back = cordoned.after(&back, &at(2)).unwrap();
        assert_eq!(back.status(), NodeStatus::Cordoned);
        let leave = NodeCommand::Leave {
            process: process(2, "a"),
        };
        let left = back.after(&leave, &at(3)).unwrap();
        assert_eq!(left.status(), NodeStatus::Left);
        left.after(&leave, &at(4)).unwrap_err();
        left.after(&NodeCommand::Drain, &at(4)).unwrap_err();
    }

    #[test]
    fn a_leader_is_followed_under_a_higher_fence() {
        let (one, two): (NodeId, NodeId) = ("node_1".parse().unwrap(), "node_2".parse().unwrap());
        let first = Leader::asked(None, one, 10, &at(0));
        assert_eq!(Leader::asked(Some(&first), two, 10, &at(9)), first);
        let renewed = Leader::asked(Some(&first), one, 10, &at(9));
        assert_eq!((renewed.fence, renewed.until.millis), (1, 19));
        let second = Leader::asked(Some(&renewed), two, 10, &at(19));
        assert_eq!((second.node, second.fence), (two, 2));
        assert!(second.is_held_by(two, 2, &at(28)));
        assert!(!second.is_held_by(two, 2, &at(29)));
        assert!(!second.is_held_by(one, 1, &at(20)));
        // The same one after a silence is not the one that it was.
        assert_eq!(Leader::asked(Some(&second), two, 10, &at(40)).fence, 3);
    }
}
