//! One sign for each state, and an ASCII one where the locale has no other.

use domain::task::TaskStatus;

/// What a row of a table can say by a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Symbol {
    Pending,
    Blocked,
    RetryDue,
    Running,
    NearTimeout,
    Completed,
    Failed,
    Cancelled,
    Retry,
    Check,
    Warning,
    Arrow,
}

impl Symbol {
    pub(crate) fn of(status: TaskStatus) -> Self {
        match status {
            TaskStatus::Pending => Self::Pending,
            TaskStatus::Running => Self::Running,
            TaskStatus::Completed => Self::Completed,
            TaskStatus::Failed => Self::Failed,
            TaskStatus::Cancelled => Self::Cancelled,
        }
    }

    pub(crate) fn text(self, unicode: bool) -> &'static str {
        let (sign, ascii) = match self {
            Self::Pending => ("\u{23f8}", "[ ]"),
            Self::Blocked => ("\u{1f6ab}", "[B]"),
            Self::RetryDue => ("\u{1f504}", "[R]"),
            Self::Running => ("\u{23f1}", "[>]"),
            Self::NearTimeout => ("\u{23f1}\u{26a0}", "[!]"),
            Self::Completed => ("\u{2713}", "[+]"),
            Self::Failed => ("\u{2717}", "[X]"),
            Self::Cancelled => ("\u{2297}", "[-]"),
            Self::Retry => ("\u{21bb}", ">"),
            Self::Check => ("\u{2713}", "OK"),
            Self::Warning => ("\u{26a0}", "!"),
            Self::Arrow => ("\u{2514}\u{2500}>", "`->"),
        };
        if unicode { sign } else { ascii }
    }

    /// The terminal colour of a state.
    pub(crate) fn color(self) -> u8 {
        match self {
            Self::Completed | Self::Check => 32,
            Self::Failed | Self::Blocked => 31,
            Self::NearTimeout | Self::Warning | Self::RetryDue => 33,
            Self::Running => 36,
            Self::Pending | Self::Cancelled | Self::Retry | Self::Arrow => 90,
        }
    }
}
