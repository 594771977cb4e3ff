//! The report of a run: one page with figures and plots that needs nothing else, no network and no
//! scripts.

pub mod plot;
pub mod scale;
mod text;

use std::fmt::Write as _;

use self::plot::{Axis, NARROW, Plot, PlotLine, WIDE};
use self::scale::Scale;
use self::text::escaped;
use super::outcome::Outcome;
use super::table;

const STYLE: &str = include_str!("style.css");

/// The page.
#[must_use]
pub fn page(outcome: &Outcome) -> String {
    let verdict = escaped(&table::verdict(outcome));
    let class = if outcome.passed { "passed" } else { "failed" };
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>tidings bench {run}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>tidings bench</h1>\n<p class=\"verdict {class}\">{verdict}</p>\n",
        run = escaped(&outcome.run),
    );
    // Writing to a string cannot fail.
    for (title, text, plot) in plots(outcome) {
        let _ = write!(page, "<section>\n<h2>{title}</h2>\n<p>{text}</p>\n{plot}</section>\n");
    }
    page.push_str("<section>\n<h2>Figures</h2>\n<div class=\"tables\">\n");
    for section in table::sections(outcome) {
        let _ = writeln!(page, "<table>\n<caption>{}</caption>", escaped(section.title));
        for row in section.rows {
            let (name, value) = (escaped(row.name), escaped(&row.value));
            let _ = writeln!(page, "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>");
        }
        page.push_str("</table>\n");
    }
    page.push_str("</div>\n</section>\n</main>\n</body>\n</html>\n");
    page
}

/// Each plot with its title and what is to be known about it.
fn plots(outcome: &Outcome) -> Vec<(&'static str, &'static str, String)> {
    let mut all = vec![
        (
            "Latency over time",
            "From the moment at which an event was due to the moment at which a client had it; by when it was due.",
            course(outcome),
        ),
        (
            "Latency by percentile",
            "So much of all deliveries took no longer. Each further nine takes the same length.",
            curve(outcome),
        ),
    ];
    if let Some(plot) = ramp(outcome) {
        all.push((
            "Memory as connections are made",
            "What the server's memory has grown by since before the first connection, with shared pages counted in part.",
            plot,
        ));
    }
    all
}

fn course(outcome: &Outcome) -> String {
    let line = |name, value: fn(&super::latency::Percentiles) -> f64| {
        let points = outcome.latency_course.iter().map(|i| (i.second, value(&i.latency_ms)));
        PlotLine { name, points: points.collect() }
    };
    let lines = [line("p50", |p| p.p50), line("p99", |p| p.p99), line("max", |p| p.max)];
    drawn("Latency over time", "seconds", "milliseconds", Scale::linear, &lines)
}

fn curve(outcome: &Outcome) -> String {
    let lines = [PlotLine { name: "latency", points: outcome.latency_curve.clone() }];
    drawn("Latency by percentile", "share of deliveries", "milliseconds", Scale::nines, &lines)
}

fn ramp(outcome: &Outcome) -> Option<String> {
    let server = outcome.server.as_ref()?;
    let points = server.ramp.iter().map(|point| (point.open as f64, point.grown_kib / 1024.0)).collect();
    let lines = [PlotLine { name: "memory", points }];
    Some(drawn("Memory as connections are made", "open streams", "MiB", Scale::linear, &lines))
}

/// A plot whose axes hold all of its lines; the upward one begins at zero.
fn drawn(
    description: &str,
    x: &str,
    y: &str,
    x_scale: fn(std::vec::IntoIter<f64>) -> Scale,
    lines: &[PlotLine<'_>],
) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let xs: Vec<f64> = points().map(|point| point.0).collect();
    let plot = Plot {
        description,
        x: Axis { label: x, scale: x_scale(xs.into_iter()) },
        y: Axis { label: y, scale: Scale::linear(points().map(|point| point.1)) },
        lines,
    };
    let pictures = plot.svg(&WIDE) + &plot.svg(&NARROW);
    if lines.len() > 1 { pictures + &plot.legend() } else { pictures }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::good;

    #[test]
    fn page_has_all_plots_and_figures_in_one_file() {
        let page = page(&good());
        assert_eq!(page.matches("<svg ").count(), 2 * 3);
        assert_eq!(page.matches("class=\"line l").count(), 2 * 5);
        let run =
            ["2026-03-01T12:00:00Z", "0.1.0", "2 cores, A &lt;fast&gt; one", "tidings bench --rate 500"];
        assert!(run.iter().all(|words| page.contains(words)), "{page}");
        for words in ["passed: ", "p99.9", "Slow readers", "prefers-color-scheme: dark", "</html>"] {
            assert!(page.contains(words), "{words}");
        }
        for foreign in ["<script", "http://www", "https://", "src=", "url(", "@import", "<link"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(!page.contains("NaN"), "{page}");
        for tag in ["section", "table", "svg", "p", "div", "main"] {
            let opened =
                page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn page_of_a_failed_run_shows_its_figures() {
        let mut outcome = good();
        (outcome.server, outcome.latency_curve, outcome.latency_course) = (None, Vec::new(), Vec::new());
        outcome.url = "http://<script>alert(1)</script>".to_owned();
        outcome.receiving.missing = 4;
        outcome.judge();
        let page = page(&outcome);
        assert!(page.contains("class=\"verdict failed\"") && page.contains("4 deliveries are missing"));
        assert_eq!((page.matches("<svg ").count(), page.matches("<script").count()), (2 * 2, 0));
    }
}
