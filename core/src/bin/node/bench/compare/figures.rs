//! What was measured of one system, by name, over the rounds.

use std::collections::BTreeMap;

/// Every value that a figure took. Failures are counted beside them, never left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    values: BTreeMap<String, Vec<f64>>,
    errors: BTreeMap<String, u64>,
}

impl Figures {
    pub(super) fn add(&mut self, name: impl Into<String>, value: f64) {
        self.values.entry(name.into()).or_default().push(value);
    }

    pub(super) fn add_errors(&mut self, load: &str, errors: u64) {
        if errors > 0 {
            *self.errors.entry(load.into()).or_default() += errors;
        }
    }

    /// The middle value; of an even number, the mean of the middle two.
    pub(super) fn median(&self, name: &str) -> Option<f64> {
        let mut values = self.values.get(name)?.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        if values.len() % 2 == 1 {
            Some(values[middle])
        } else {
            Some(f64::midpoint(
                *values.get(middle.checked_sub(1)?)?,
                values[middle],
            ))
        }
    }

    pub(super) fn errors(&self) -> impl Iterator<Item = (&str, u64)> {
        self.errors
            .iter()
            .map(|(load, &errors)| (load.as_str(), errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let mut figures = Figures::default();
        assert_eq!(figures.median("x"), None);
        for value in [9.0, 1.0, 5.0] {
            figures.add("x", value);
        }
        assert_eq!(figures.median("x"), Some(5.0));
        figures.add("x", 7.0);
        assert_eq!(figures.median("x"), Some(6.0));
    }

    #[test]
    fn errors_are_summed_and_none_are_not_listed() {
        let mut figures = Figures::default();
        figures.add_errors("put", 0);
        figures.add_errors("get", 2);
        figures.add_errors("get", 3);
        assert_eq!(figures.errors().collect::<Vec<_>>(), [("get", 5)]);
    }
}
