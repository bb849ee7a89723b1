//! How a process is named so that another program with the same number is never taken for it.

use serde::{Deserialize, Serialize};

use crate::time::BootId;

/// A process as it can be recognised later: its number, when it started, and where that number
/// holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The process number.
    pub pid: u32,
    /// Start time in the kernel's own unit (clock ticks since boot on Linux).
    pub start_ticks: u64,
    /// The boot in which it ran.
    pub boot: BootId,
    /// The pid namespace in which it was seen under this number; `None` where nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<u64>,
}

impl ProcessIdentity {
    /// Whether both are the same process. A namespace that is not known is no difference.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.pid, self.start_ticks, &self.boot) == (other.pid, other.start_ticks, &other.boot)
            && !self.is_apart(other)
    }

    /// Whether the two were seen in different pid namespaces of one boot, so that neither's number
    /// says anything where the other is.
    #[must_use]
    pub fn is_apart(&self, other: &Self) -> bool {
        let known = self.namespace.zip(other.namespace);
        self.boot == other.boot && known.is_some_and(|(one, another)| one != another)
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// Whether it returned 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_different_namespaces_are_not_compared() {
        let seen = |namespace, boot: &str| ProcessIdentity {
            pid: 7,
            start_ticks: 9,
            boot: BootId(boot.to_owned()),
            namespace,
        };
        let here = seen(Some(1), "a");
        assert!(here.is_same(&here) && !here.is_apart(&here));
        let there = seen(Some(2), "a");
        assert!(there.is_apart(&here) && !there.is_same(&here));
        let unknown = seen(None, "a");
        assert!(unknown.is_same(&here) && !unknown.is_apart(&here));
        let before = seen(Some(2), "b");
        assert!(!before.is_apart(&here) && !before.is_same(&here));
    }

    #[test]
    fn what_was_stored_without_a_namespace_can_be_read() {
        let stored = r#"{"pid":7,"start_ticks":9,"boot":"a"}"#;
        let read: ProcessIdentity = serde_json::from_str(stored).unwrap();
        assert_eq!(read.namespace, None);
        assert_eq!(serde_json::to_string(&read).unwrap(), stored);
    }
}
