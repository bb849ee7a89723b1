//! What one run took, and what many runs took together.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};

use crate::shell;

/// One measured run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) wall: Duration,
    /// Of the processes that were waited for; zero where none was.
    pub(crate) cpu: Duration,
}

/// Runs of one case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series(Vec<Sample>);

impl Series {
    pub(crate) fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn median_micros(&self) -> f64 {
        quantile(self.walls(), 0.5)
    }

    pub(crate) fn p95_micros(&self) -> f64 {
        quantile(self.walls(), 0.95)
    }

    pub(crate) fn min_micros(&self) -> f64 {
        quantile(self.walls(), 0.0)
    }

    /// The mean: what a process is charged is rounded, and the roundings cancel out.
    pub(crate) fn cpu_micros(&self) -> f64 {
        let total: Duration = self.0.iter().map(|sample| sample.cpu).sum();
        #[expect(clippy::cast_precision_loss, reason = "a count of repetitions")]
        let count = self.0.len().max(1) as f64;
        micros(total) / count
    }

    fn walls(&self) -> Vec<f64> {
        self.0.iter().map(|sample| micros(sample.wall)).collect()
    }
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The value that this share of the others does not exceed.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a short list"
    )]
    let index = (last as f64 * share).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}

/// Runs a program that must succeed, from before it is made until after it is reaped.
pub(crate) fn time(command: &mut Command) -> Result<Sample> {
    let before = children_cpu()?;
    let watch = shell::start_watch();
    let status = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    let wall = watch.elapsed();
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    let cpu = children_cpu()?.saturating_sub(before);
    Ok(Sample { wall, cpu })
}

/// What all children that were waited for have used.
pub(crate) fn children_cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

/// One of the cases that are measured in turns.
pub(crate) type Case<'a> = Box<dyn FnMut() -> Result<Sample> + 'a>;

/// Runs cases in turns, each round beginning with another one, so that whatever disturbs the
/// machine disturbs them alike. The first round is not counted.
pub(crate) fn in_turns(rounds: usize, mut cases: Vec<Case<'_>>) -> Result<Vec<Series>> {
    let count = cases.len();
    let mut series = vec![Series::default(); count];
    for round in 0..=rounds {
        for turn in 0..count {
            let index = (round + turn) % count;
            let (Some(case), Some(series)) = (cases.get_mut(index), series.get_mut(index)) else {
                continue;
            };
            let sample = case()?;
            if round > 0 {
                series.push(sample);
            }
        }
    }
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values = vec![5.0, 1.0, 3.0, 2.0, 4.0];
        assert!((quantile(values.clone(), 0.5) - 3.0).abs() < f64::EPSILON);
        assert!((quantile(values.clone(), 0.0) - 1.0).abs() < f64::EPSILON);
        assert!((quantile(values, 0.95) - 5.0).abs() < f64::EPSILON);
        assert!(quantile(vec![], 0.5).is_nan());
    }

    #[test]
    fn every_case_gets_as_many_turns() {
        let sample = Sample {
            wall: Duration::from_micros(7),
            cpu: Duration::ZERO,
        };
        let case = || -> Case<'static> { Box::new(move || Ok(sample)) };
        let series = in_turns(4, vec![case(), case(), case()]).unwrap();
        assert!(series.iter().all(|series| series.len() == 4));
    }
}
