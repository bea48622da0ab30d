//! The figures of both systems beside their bars, in Markdown.

use super::figures::Figures;
use super::plan::{self, Bar, Figure};
use crate::processes::Program;
use std::fmt::Write;

/// The whole table, with what was compared above it and errors below it.
pub(super) fn markdown(measured: &[(Program, Figures)]) -> String {
    let of = |wanted: fn(&Program) -> bool| measured.iter().find(|(program, _)| wanted(program));
    let etcd = of(|program| matches!(program, Program::Etcd(_)));
    let ours = of(|program| matches!(program, Program::Quorate(_)));
    let mut text = String::new();
    for (program, _) in measured {
        let version = program
            .version()
            .unwrap_or_else(|| "version unknown".into());
        line(&mut text, format_args!("* {}: {version}", program.name()));
    }
    line(
        &mut text,
        format_args!("\n| figure | etcd | quorate | ratio | bar | |"),
    );
    line(&mut text, format_args!("|---|--:|--:|--:|---|---|"));
    for figure in plan::figures() {
        let median = |of: Option<&(Program, Figures)>| {
            of.and_then(|(_, figures)| figures.median(&figure.name))
        };
        line(
            &mut text,
            format_args!("{}", row(&figure, median(etcd), median(ours))),
        );
    }
    for (program, figures) in measured {
        for (load, errors) in figures.errors() {
            let name = program.name();
            line(
                &mut text,
                format_args!("\n{name} answered {errors} requests of `{load}` with errors."),
            );
        }
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("a string takes everything");
}

fn row(figure: &Figure, etcd: Option<f64>, ours: Option<f64>) -> String {
    let decimals = figure.decimals;
    let shown =
        |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.decimals$}"));
    let ratio = match (etcd, ours) {
        (Some(etcd), Some(ours)) if etcd > 0.0 => format!("{:.2}", ours / etcd),
        _ => "–".into(),
    };
    let (name, bar) = (&figure.name, figure.bar);
    let verdict = bar.judge(etcd, ours);
    format!(
        "| {name} | {} | {} | {ratio} | {} | {verdict} |",
        shown(etcd),
        shown(ours),
        bar.words()
    )
}

impl Bar {
    fn words(self) -> String {
        match self {
            Bar::None => String::new(),
            Bar::AtLeastTimes(times) => format!("≥ {times}×"),
            Bar::AtMostTimes(times) => format!("≤ {times}×"),
            Bar::AtMost(most) => format!("≤ {most}"),
        }
    }

    /// Kept, missed with by how much, or not run; an empty cell where nothing is asked.
    fn judge(self, etcd: Option<f64>, ours: Option<f64>) -> String {
        let (value, limit, most) = match (self, etcd, ours) {
            (Bar::None, _, _) => return String::new(),
            (Bar::AtMost(limit), _, Some(ours)) => (ours, limit, true),
            (Bar::AtMostTimes(times), Some(etcd), Some(ours)) => (ours, times * etcd, true),
            (Bar::AtLeastTimes(times), Some(etcd), Some(ours)) => (ours, times * etcd, false),
            _ => return "not run".into(),
        };
        let kept = if most { value <= limit } else { value >= limit };
        match (kept, limit == 0.0) {
            (true, _) => "kept".into(),
            (false, true) => "**missed**".into(),
            (false, false) => format!("**missed** by {:.0} %", (value / limit - 1.0).abs() * 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_kept_missed_or_not_run() {
        let cases = [
            (Bar::AtLeastTimes(1.5), Some(100.0), Some(150.0), "kept"),
            (
                Bar::AtLeastTimes(1.5),
                Some(100.0),
                Some(120.0),
                "**missed** by 20 %",
            ),
            (Bar::AtMostTimes(0.6), Some(100.0), Some(60.0), "kept"),
            (
                Bar::AtMostTimes(0.6),
                Some(100.0),
                Some(90.0),
                "**missed** by 50 %",
            ),
            (Bar::AtMost(20.0), None, Some(19.0), "kept"),
            (Bar::AtMost(0.0), None, Some(1.0), "**missed**"),
            (Bar::AtMost(20.0), Some(1.0), None, "not run"),
            (Bar::AtMostTimes(0.6), None, Some(1.0), "not run"),
            (Bar::None, Some(1.0), Some(2.0), ""),
        ];
        for (bar, etcd, ours, verdict) in cases {
            assert_eq!(bar.judge(etcd, ours), verdict, "{bar:?} {etcd:?} {ours:?}");
        }
    }

    #[test]
    fn every_figure_has_a_row_even_if_nothing_was_measured() {
        let mut ours = Figures::default();
        ours.add(plan::START, 123.4);
        let text = markdown(&[(Program::Quorate("/nowhere/quorate".into()), ours)]);
        assert_eq!(text.matches("\n| ").count(), plan::figures().len() + 1);
        assert!(
            text.contains("| one node, start to first write, ms | – | 123 | – | ≤ 300 | kept |")
        );
    }
}
