//! What to do about a living agent: a pure function of events, wishes and time.

use std::time::Duration;

use domain::{
    completion::Stop,
    session::StopReason,
    time::{Due, Moment, Now},
};

use crate::{
    event::Event,
    wishes::{Loss, Wanted},
};

/// Why the agent's time at work is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It has ended by itself.
    Exited,
    /// It said by a file that it is finished, but has not ended.
    Sentinel,
    /// Its driver asked for it.
    MustStop,
    /// Someone or the clock asked for it.
    Stopped(Stop),
    /// The session is not ours any more.
    Lost(Loss),
}

/// The agent's time at work.
#[derive(Debug)]
pub(crate) struct Watch {
    deadline: Option<Due>,
    /// Seconds that the agent was given at first, and the deadline that they made.
    first: Option<(u64, Due)>,
    /// No deadline is behind this.
    last: Option<Due>,
    warning_millis: u64,
    has_warned: bool,
    linger: Duration,
    /// Since when a sentinel file is there.
    sentinel: Option<Moment>,
}

impl Watch {
    /// A watch over an agent that starts now; returns its deadline with it.
    pub(crate) fn new(
        timeout_seconds: Option<u64>,
        warning_seconds: u64,
        linger: Duration,
        now: &Now,
    ) -> Self {
        let first = timeout_seconds
            .map(|seconds| (seconds, now.after_millis(seconds.saturating_mul(1_000))));
        Self {
            deadline: first.as_ref().map(|(_, due)| due.clone()),
            first,
            last: None,
            warning_millis: warning_seconds.saturating_mul(1_000),
            has_warned: false,
            linger,
            sentinel: None,
        }
    }

    /// The same, over after so long whatever anybody says.
    pub(crate) fn at_most(mut self, session_max: Option<Duration>, now: &Now) -> Self {
        let Some(max) = session_max else {
            return self;
        };
        let due = now.after_millis(u64::try_from(max.as_millis()).unwrap_or(u64::MAX));
        if self
            .deadline
            .as_ref()
            .is_none_or(|deadline| is_later(deadline, &due))
        {
            self.deadline = Some(due.clone());
            self.first = Some((max.as_secs(), due.clone()));
        }
        self.last = Some(due);
        self
    }

    pub(crate) fn deadline(&self) -> Option<&Due> {
        self.deadline.as_ref()
    }

    /// What an event, with what is wanted at that time, means for the agent.
    pub(crate) fn take(&mut self, event: Event, wanted: &Wanted, now: &Now) -> Option<Ending> {
        match event {
            Event::Exited => return Some(Ending::Exited),
            Event::MustStop => return Some(Ending::MustStop),
            Event::Sentinel => {
                self.sentinel.get_or_insert_with(|| now.moment.clone());
            }
            Event::Wishes => {}
        }
        if let Some(loss) = wanted.loss {
            return Some(Ending::Lost(loss));
        }
        if let Some(reason) = wanted.stop {
            return Some(Ending::Stopped(match reason {
                StopReason::Cancel => Stop::Cancel,
                StopReason::ManualTimeout => Stop::ManualTimeout,
                StopReason::Rewind => Stop::Rewind,
            }));
        }
        if let Some(deadline) = &wanted.deadline {
            self.move_deadline(deadline, now);
        }
        None
    }

    fn move_deadline(&mut self, deadline: &Due, now: &Now) {
        let last = self.last.clone().filter(|last| is_later(deadline, last));
        let deadline = last.as_ref().unwrap_or(deadline);
        if self.deadline.as_ref() == Some(deadline) {
            return;
        }
        self.deadline = Some(deadline.clone());
        if self.millis_left(now) > self.warning_millis {
            self.has_warned = false;
        }
    }

    fn millis_left(&self, now: &Now) -> u64 {
        self.deadline
            .as_ref()
            .map_or(u64::MAX, |due| due.millis_left(now))
    }

    fn linger_left(&self, now: &Now) -> u64 {
        let linger = u64::try_from(self.linger.as_millis()).unwrap_or(u64::MAX);
        match &self.sentinel {
            Some(since) => linger.saturating_sub(now.millis_since(since).unwrap_or(u64::MAX)),
            None => u64::MAX,
        }
    }

    /// What the clock alone means for the agent.
    pub(crate) fn due(&self, now: &Now) -> Option<Ending> {
        if self.linger_left(now) == 0 {
            return Some(Ending::Sentinel);
        }
        (self.millis_left(now) == 0).then(|| {
            let seconds = self.limit_seconds();
            Ending::Stopped(Stop::Deadline { seconds })
        })
    }

    /// Seconds until the deadline, once, when the time for a warning has come.
    pub(crate) fn warning(&mut self, now: &Now) -> Option<u64> {
        let left = self.millis_left(now);
        let is_time = left != u64::MAX && left <= self.warning_millis && !self.has_warned;
        is_time.then(|| {
            self.has_warned = true;
            left.div_ceil(1_000)
        })
    }

    /// How long nothing happens unless an event does.
    pub(crate) fn pause(&self, now: &Now) -> Option<Duration> {
        let left = self.millis_left(now);
        let warning = if self.has_warned || left == u64::MAX {
            u64::MAX
        } else {
            left.saturating_sub(self.warning_millis)
        };
        let pause = left.min(warning).min(self.linger_left(now));
        (pause != u64::MAX).then(|| Duration::from_millis(pause))
    }

    /// Seconds that the agent had in all, extensions included.
    fn limit_seconds(&self) -> u64 {
        let (Some((seconds, first)), Some(last)) = (&self.first, &self.deadline) else {
            return 0;
        };
        let added = last.moment.millis.saturating_sub(first.moment.millis) / 1_000;
        seconds + added
    }
}

fn is_later(one: &Due, other: &Due) -> bool {
    one.moment.millis > other.moment.millis
}

#[cfg(test)]
mod tests {
    use domain::time::{BootId, Timestamp};

    use super::*;

    fn at(millis: u64) -> Now {
        Now {
            wall: Timestamp::from_millis(i64::try_from(millis).unwrap()),
            moment: Moment {
                boot: BootId("b".to_owned()),
                millis,
            },
        }
    }

    fn watch(seconds: Option<u64>) -> Watch {
        Watch::new(seconds, 60, Duration::from_secs(2), &at(0))
    }

    #[test]
    fn warns_once_then_ends() {
        let mut watch = watch(Some(90));
        assert_eq!(watch.pause(&at(0)), Some(Duration::from_secs(30)));
        assert_eq!(watch.warning(&at(29_999)), None);
        assert_eq!(watch.warning(&at(30_000)), Some(60));
        assert_eq!(watch.warning(&at(31_000)), None);
        assert_eq!(watch.pause(&at(31_000)), Some(Duration::from_secs(59)));
        assert_eq!(watch.due(&at(89_999)), None);
        let timed_out = Ending::Stopped(Stop::Deadline { seconds: 90 });
        assert_eq!(watch.due(&at(90_000)), Some(timed_out));
    }

    #[test]
    fn an_extension_moves_the_end_and_warns_again() {
        let mut watch = watch(Some(10));
        assert_eq!(watch.warning(&at(0)), Some(10));
        let wanted = Wanted {
            deadline: Some(at(0).after_millis(100_000)),
            ..Wanted::default()
        };
        assert_eq!(watch.take(Event::Wishes, &wanted, &at(1_000)), None);
        assert_eq!(watch.due(&at(10_000)), None);
        assert_eq!(watch.warning(&at(40_000)), Some(60));
        let timed_out = Ending::Stopped(Stop::Deadline { seconds: 100 });
        assert_eq!(watch.due(&at(100_000)), Some(timed_out));
    }

    #[test]
    fn no_extension_goes_beyond_the_longest() {
        let longest = Some(Duration::from_secs(50));
        let mut watch = watch(Some(10)).at_most(longest, &at(0));
        assert_eq!(watch.deadline(), Some(&at(0).after_millis(10_000)));
        let wanted = Wanted {
            deadline: Some(at(0).after_millis(100_000)),
            ..Wanted::default()
        };
        assert_eq!(watch.take(Event::Wishes, &wanted, &at(1_000)), None);
        assert_eq!(watch.due(&at(49_999)), None);
        let timed_out = Ending::Stopped(Stop::Deadline { seconds: 50 });
        assert_eq!(watch.due(&at(50_000)), Some(timed_out));
        let unlimited = watch(None).at_most(longest, &at(0));
        assert_eq!(unlimited.due(&at(50_000)), Some(timed_out));
    }

    #[test]
    fn without_a_limit_nothing_is_due_and_nothing_wakes() {
        let mut watch = watch(None);
        assert_eq!(watch.pause(&at(1)), None);
        assert_eq!(watch.warning(&at(u64::from(u32::MAX))), None);
        assert_eq!(watch.due(&at(u64::from(u32::MAX))), None);
    }

    #[test]
    fn a_sentinel_gives_the_agent_a_little_time() {
        let mut watch = watch(None);
        let none = Wanted::default();
        assert_eq!(watch.take(Event::Sentinel, &none, &at(1_000)), None);
        assert_eq!(watch.take(Event::Sentinel, &none, &at(2_000)), None);
        assert_eq!(watch.pause(&at(2_000)), Some(Duration::from_secs(1)));
        assert_eq!(watch.due(&at(3_000)), Some(Ending::Sentinel));
        assert_eq!(
            watch.take(Event::Exited, &none, &at(2_500)),
            Some(Ending::Exited)
        );
    }

    #[test]
    fn a_loss_counts_more_than_a_stop() {
        let mut watch = watch(None);
        let mut wanted = Wanted {
            stop: Some(StopReason::Cancel),
            ..Wanted::default()
        };
        let cancelled = Some(Ending::Stopped(Stop::Cancel));
        assert_eq!(watch.take(Event::Wishes, &wanted, &at(1)), cancelled);
        wanted.loss = Some(Loss::Fence);
        let lost = Some(Ending::Lost(Loss::Fence));
        assert_eq!(watch.take(Event::Wishes, &wanted, &at(1)), lost);
    }
}
