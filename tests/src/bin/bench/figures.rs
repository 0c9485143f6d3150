//! Medians, spreads and bounds.

use std::fmt;

/// Several measurements of one thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    /// `None` when there are none.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = if figures.len() % 2 == 1 {
            figures[middle]
        } else {
            f64::midpoint(figures[middle - 1], figures[middle])
        };
        Some(Self { median, least, most })
    }

    /// With so many decimals: the median, and the spread in brackets.
    pub(crate) fn told(&self, decimals: usize) -> String {
        let Self { median, least, most } = self;
        format!("{median:.decimals$} ({least:.decimals$}–{most:.decimals$})")
    }
}

/// What a figure must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    None,
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    /// A figure keeps it.
    pub(crate) fn keeps(self, figure: f64) -> bool {
        match self {
            Self::None => true,
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("–"),
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).unwrap().told(0), "2 (1–3)");
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap().told(1), "2.5 (1.0–4.0)");
    }

    #[test]
    fn bounds_include_themselves() {
        assert!(Bound::AtLeast(0.8).keeps(0.8) && !Bound::AtLeast(0.8).keeps(0.799));
        assert!(Bound::AtMost(0.25).keeps(0.25) && !Bound::AtMost(0.25).keeps(0.251));
        assert!(Bound::None.keeps(f64::NAN));
    }
}
