//! What many runs took.

use std::{
    error::Error,
    thread,
    time::{Duration, Instant},
};

use crate::Done;

/// Runs of the cases with one caller.
const ALONE: usize = 500;

/// The time that half of the runs did not exceed.
pub(crate) fn median(mut act: impl FnMut() -> Done<()>) -> Done<Duration> {
    let mut times = Vec::with_capacity(ALONE);
    for _ in 0..ALONE {
        times.push(timed(&mut act)?);
    }
    quantile(times, 0.5)
}

/// The time that 99 of 100 runs did not exceed.
pub(crate) fn p99(runs: usize, mut act: impl FnMut(usize) -> Done<()>) -> Done<Duration> {
    let mut times = Vec::with_capacity(runs);
    for run in 0..runs {
        times.push(timed(|| act(run))?);
    }
    quantile(times, 0.99)
}

pub(crate) fn timed(act: impl FnOnce() -> Done<()>) -> Done<Duration> {
    let begun = Instant::now();
    act()?;
    Ok(begun.elapsed())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index into a short list"
)]
fn quantile(mut times: Vec<Duration>, share: f64) -> Done<Duration> {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    let index = (last as f64 * share).round() as usize;
    Ok(*times.get(index).ok_or("nothing was measured")?)
}

/// How many a second, from callers that each do `each` of them.
pub(crate) fn together(
    callers: usize,
    each: usize,
    act: impl Fn() -> Done<()> + Sync,
) -> Done<f64> {
    let begun = Instant::now();
    let failed = |error: Box<dyn Error>| error.to_string();
    let caller = || (0..each).try_for_each(|_| act().map_err(failed));
    let results: Vec<Result<(), String>> = thread::scope(|scope| {
        let callers: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
        let ended = callers.into_iter().map(thread::ScopedJoinHandle::join);
        ended
            .map(|ended| ended.unwrap_or_else(|_| Err("a caller panicked".to_owned())))
            .collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    for result in results {
        result?;
    }
    Ok(per_second(callers * each, seconds))
}

#[expect(clippy::cast_precision_loss, reason = "counts of some millions")]
pub(crate) fn per_second(count: usize, seconds: f64) -> f64 {
    count as f64 / seconds
}

/// The one in the middle.
pub(crate) fn middle(mut values: Vec<f64>) -> Done<f64> {
    values.sort_unstable_by(f64::total_cmp);
    Ok(*values.get(values.len() / 2).ok_or("nothing was measured")?)
}
