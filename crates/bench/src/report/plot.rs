//! Plots as SVG that stands in a page: no scripts, and colours by the page's style sheet alone.

use std::fmt::Write as _;

use super::scale::Scale;
use super::text::escaped;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
/// What stands around the lines: numbers, names and air.
const LEFT: f64 = 72.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 52.0;

/// Up to so many points each is a mark that tells its numbers.
const MARKS_MAX: usize = 80;

/// A plot of lines over two axes.
#[derive(Debug)]
pub struct Plot<'a> {
    /// What it shows, for those who hear it.
    pub description: &'a str,
    /// The axis to the right.
    pub x: Axis<'a>,
    /// The axis upwards.
    pub y: Axis<'a>,
    /// The lines; the page's style sheet knows three.
    pub lines: &'a [Line<'a>],
}

/// An axis.
#[derive(Debug)]
pub struct Axis<'a> {
    /// What it is of, with its unit.
    pub label: &'a str,
    /// How numbers are spread on it.
    pub scale: Scale,
}

/// A line.
#[derive(Debug)]
pub struct Line<'a> {
    /// Its name in the legend.
    pub name: &'a str,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

impl Plot<'_> {
    /// The plot as an `svg` element.
    #[must_use]
    pub fn svg(&self) -> String {
        let description = escaped(self.description);
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{description}\">\n<title>{description}</title>\n"
        );
        self.draw_axes(&mut svg);
        for (number, line) in self.lines.iter().enumerate() {
            self.draw(&mut svg, number, line);
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// What the lines are called, as a paragraph for under the plot.
    #[must_use]
    pub fn legend(&self) -> String {
        let names = self
            .lines
            .iter()
            .enumerate()
            .map(|(number, line)| format!("<span class=\"key k{number}\"></span>{}", escaped(line.name)));
        format!("<p class=\"legend\">{}</p>\n", names.collect::<Vec<_>>().join(" "))
    }

    /// Where a point stands in the picture.
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let right = LEFT + self.x.scale.place(x) * (WIDTH - LEFT - RIGHT);
        let down = HEIGHT - BOTTOM - self.y.scale.place(y) * (HEIGHT - TOP - BOTTOM);
        (right, down)
    }

    // Writing to a string cannot fail.
    fn draw_axes(&self, svg: &mut String) {
        let (floor, end) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (value, text) in self.y.scale.ticks() {
            let (_, y) = self.at((0.0, value));
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{end}\"/>");
            let (x, y) = (LEFT - 8.0, y + 4.0);
            let _ =
                writeln!(svg, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>", escaped(&text));
        }
        for (value, text) in self.x.scale.ticks() {
            let (x, _) = self.at((value, 0.0));
            let (tick, y) = (floor + 5.0, floor + 20.0);
            let _ = writeln!(svg, "<path class=\"axis\" d=\"M{x:.1} {floor}V{tick}\"/>");
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
                escaped(&text)
            );
        }
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{floor}H{end}\"/>");
        let (x, y) = (LEFT + (WIDTH - LEFT - RIGHT) / 2.0, HEIGHT - 8.0);
        let label = escaped(self.x.label);
        let _ =
            writeln!(svg, "<text class=\"label\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>");
        let (y, label) = (TOP + (HEIGHT - TOP - BOTTOM) / 2.0, escaped(self.y.label));
        let _ = writeln!(
            svg,
            "<text class=\"label\" transform=\"translate(16 {y}) rotate(-90)\" text-anchor=\"middle\">{label}</text>"
        );
    }

    fn draw(&self, svg: &mut String, number: usize, line: &Line<'_>) {
        // A figure that is none has no place.
        let finite = |point: &&(f64, f64)| point.0.is_finite() && point.1.is_finite();
        let values: Vec<(f64, f64)> = line.points.iter().filter(finite).copied().collect();
        let points: Vec<(f64, f64)> = values.iter().map(|point| self.at(*point)).collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        if !path.is_empty() {
            let _ = writeln!(svg, "<path class=\"line l{number}\" d=\"M{}\"/>", path.join("L"));
        }
        if points.len() > MARKS_MAX {
            return;
        }
        for ((x, y), (value_x, value_y)) in points.iter().zip(&values) {
            let words = escaped(&format!("{}: {value_x:.6}, {value_y:.3}", line.name));
            let _ = writeln!(
                svg,
                "<circle class=\"mark m{number}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"><title>{words}</title></circle>"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svg(points: Vec<(f64, f64)>) -> String {
        let values = points.clone();
        let plot = Plot {
            description: "a <b> & \"c\"",
            x: Axis { label: "seconds", scale: Scale::linear(values.iter().map(|point| point.0)) },
            y: Axis { label: "ms", scale: Scale::linear(values.iter().map(|point| point.1)) },
            lines: &[Line { name: "p50", points }],
        };
        plot.svg()
    }

    #[test]
    fn points_stand_where_they_belong() {
        let svg = svg(vec![(0.0, 0.0), (10.0, 5.0)]);
        // From the corner of the axes to the end of both.
        assert!(svg.contains("d=\"M72.0 248.0L700.0 16.0\""), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("a &lt;b&gt; &amp; &quot;c&quot;") && !svg.contains("<b>"), "{svg}");
    }

    #[test]
    fn nothing_and_much_can_be_drawn() {
        assert_eq!(svg(Vec::new()).matches("class=\"line").count(), 0);
        assert!(svg(vec![(1.0, 1.0)]).contains("class=\"line l0\""));
        let many = svg((0..500).map(|number| (f64::from(number), 1.0)).collect());
        assert!(many.contains("class=\"line l0\"") && !many.contains("<circle"), "{many}");
        assert!(!svg(vec![(f64::NAN, f64::INFINITY)]).contains("NaN"));
    }
}
