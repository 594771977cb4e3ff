//! The places of numbers on an axis, and the numbers beside it.

/// How numbers are spread over an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// Evenly, from zero up to a maximum.
    Linear {
        /// The end of the axis; above 0.
        max: f64,
    },
    /// Shares of a whole, from 0 on, where each further nine takes the same length: 0, 0.9, 0.99, …
    Nines {
        /// How many nines the axis has; at least 1.
        count: f64,
    },
}

impl Scale {
    /// An axis from zero that ends at a round number and holds all of these.
    #[must_use]
    pub fn linear(values: impl Iterator<Item = f64>) -> Self {
        let largest = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let step = step(largest);
        Self::Linear { max: (largest / step).ceil().max(1.0) * step }
    }

    /// An axis of shares that holds all of these.
    #[must_use]
    pub fn nines(shares: impl Iterator<Item = f64>) -> Self {
        Self::Nines { count: shares.map(nines).filter(|n| n.is_finite()).fold(1.0, f64::max) }
    }

    /// The place of a number: 0 is the beginning of the axis and 1 its end.
    #[must_use]
    pub fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { max } => value / max,
            Self::Nines { count } => nines(value) / count,
        };
        if place.is_nan() { 0.0 } else { place.clamp(0.0, 1.0) }
    }

    /// The numbers that are written beside the axis, in order, with how they are written.
    #[must_use]
    pub fn ticks(self) -> Vec<(f64, String)> {
        match self {
            Self::Linear { max } => {
                let step = step(max);
                let count = (max / step).round() as u32;
                let decimals = if step >= 1.0 { 0 } else { (-step.log10().floor()) as usize };
                let ticks = (0..=count).map(|number| f64::from(number) * step);
                ticks.map(|value| (value, format!("{value:.decimals$}"))).collect()
            }
            Self::Nines { count } => {
                let ticks = (0..=count.floor() as i32).map(|number| 1.0 - 10_f64.powi(-number));
                let written = |share: f64, number: usize| {
                    let decimals = number.saturating_sub(2);
                    format!("{:.decimals$} %", share * 100.0)
                };
                ticks.enumerate().map(|(number, share)| (share, written(share, number))).collect()
            }
        }
    }
}

/// How many nines a share begins with, as 1 for 0.9 and 2 for 0.99.
fn nines(share: f64) -> f64 {
    -(1.0 - share).log10()
}

/// The distance of ticks on an axis up to a number: 1, 2 or 5 times a power of ten. There are 3 to
/// 8 ticks.
fn step(largest: f64) -> f64 {
    if largest <= 0.0 || !largest.is_finite() {
        return 1.0;
    }
    let magnitude = 10_f64.powf((largest / 5.0).log10().floor());
    let wanted = largest / 5.0 / magnitude;
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| wanted <= *factor * 1.001).unwrap_or(10.0);
    factor * magnitude
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(scale: Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        for (largest, expected) in [
            (0.0, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"][..]),
            (9.3, &["0", "2", "4", "6", "8", "10"]),
            (0.021, &["0.000", "0.005", "0.010", "0.015", "0.020", "0.025"]),
            (10_000.0, &["0", "2000", "4000", "6000", "8000", "10000"]),
            (120.0, &["0", "50", "100", "150"]),
        ] {
            assert_eq!(written(Scale::linear([largest].into_iter())), expected, "{largest}");
        }
        assert_eq!(written(Scale::nines([0.0, 0.99943].into_iter())), ["0 %", "90 %", "99 %", "99.9 %"]);
    }

    #[test]
    fn each_further_nine_takes_the_same_length() {
        let scale = Scale::nines([0.9999].into_iter());
        for (share, place) in [(0.0, 0.0), (0.9, 0.25), (0.99, 0.5), (0.9999, 1.0), (1.0, 1.0)] {
            assert!((scale.place(share) - place).abs() < 1e-9, "{share}: {}", scale.place(share));
        }
    }

    proptest! {
        #[test]
        fn all_numbers_are_on_the_axis_and_in_order(values in prop::collection::vec(0.0..1e9_f64, 1..20)) {
            let scale = Scale::linear(values.iter().copied());
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let places: Vec<f64> = sorted.iter().map(|value| scale.place(*value)).collect();
            prop_assert!(places.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(places.iter().all(|place| (0.0..=1.0).contains(place)));
            let Scale::Linear { max } = scale else { unreachable!() };
            prop_assert!(sorted[sorted.len() - 1] <= max * 1.000_001);
            prop_assert!((2..=10).contains(&scale.ticks().len()), "{:?}", scale.ticks());
        }
    }
}
