//! What an agent used: tokens by kind, and money in integer micro-dollars.

use std::{iter::Sum, ops::AddAssign};

use serde::{Deserialize, Serialize};

/// Tokens and cost, summed over the steps of a session. Sums saturate and never wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Prompt tokens that were not read from a cache.
    pub input: u64,
    /// Answer tokens without reasoning.
    pub output: u64,
    /// Reasoning tokens.
    pub reasoning: u64,
    /// Prompt tokens read from the provider's cache.
    pub cache_read: u64,
    /// Prompt tokens written to the provider's cache.
    pub cache_write: u64,
    /// Cost in millionths of a US dollar; 0 where the agent does not say.
    pub cost_micro_usd: u64,
}

impl Usage {
    /// All tokens together.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        [
            self.output,
            self.reasoning,
            self.cache_read,
            self.cache_write,
        ]
        .into_iter()
        .fold(self.input, u64::saturating_add)
    }

    /// Whether nothing was used.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, step: Self) {
        self.input = self.input.saturating_add(step.input);
        self.output = self.output.saturating_add(step.output);
        self.reasoning = self.reasoning.saturating_add(step.reasoning);
        self.cache_read = self.cache_read.saturating_add(step.cache_read);
        self.cache_write = self.cache_write.saturating_add(step.cache_write);
        self.cost_micro_usd = self.cost_micro_usd.saturating_add(step.cost_micro_usd);
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(steps: I) -> Self {
        steps.fold(Self::default(), |mut total, step| {
            total += step;
            total
        })
    }
}

/// Dollars as agents print them, in millionths; what is negative or no number counts as 0.
#[must_use]
pub fn micro_usd(dollars: f64) -> u64 {
    /// Far above any bill, and still exact in a double.
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    let micros = (dollars * 1e6).round();
    if micros.is_nan() || micros <= 0.0 {
        return 0;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, rounded and capped below 2^53"
    )]
    let whole = micros.min(LARGEST) as u64;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_saturate() {
        let mut total = Usage {
            input: u64::MAX - 1,
            ..Usage::default()
        };
        total += Usage {
            input: 5,
            output: 2,
            cost_micro_usd: 3,
            ..Usage::default()
        };
        assert_eq!(
            (total.input, total.output, total.cost_micro_usd),
            (u64::MAX, 2, 3)
        );
        assert_eq!(total.tokens(), u64::MAX);
    }

    #[test]
    fn dollars_become_whole_micros() {
        assert_eq!(micro_usd(0.00321), 3210);
        assert_eq!(micro_usd(0.1 + 0.2), 300_000);
        for none in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(micro_usd(none), 0);
        }
        assert!(micro_usd(f64::INFINITY) > 1 << 52);
    }
}
