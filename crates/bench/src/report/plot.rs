//! Plots as SVG within a page: no scripts, and colours from the style sheet of the page alone.

use std::fmt::Write as _;

use super::scale::Scale;
use super::text::escaped;

/// The size of a picture, in the units of its text.
#[derive(Debug)]
pub struct PlotFrame {
    /// The class of the `svg` element; the style sheet shows one for each width of a page.
    class: &'static str,
    width: f64,
    height: f64,
    /// The margin around the lines, for numbers and names.
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

/// For pages as wide as that of a computer.
pub const WIDE: PlotFrame = PlotFrame {
    class: "wide",
    width: 720.0,
    height: 300.0,
    left: 72.0,
    right: 20.0,
    top: 16.0,
    bottom: 52.0,
};

/// For the page of a phone, so that its text need not be made smaller.
pub const NARROW: PlotFrame = PlotFrame {
    class: "narrow",
    width: 328.0,
    height: 250.0,
    left: 64.0,
    right: 16.0,
    top: 16.0,
    bottom: 52.0,
};

/// What a character of the text beside an axis takes at most, and the least distance between two
/// texts.
const CHARACTER: f64 = 7.5;
const GAP: f64 = 8.0;

/// Up to this number of points, each is a mark with its numbers.
const MARKS_MAX: usize = 80;

/// A plot of lines over two axes.
#[derive(Debug)]
pub struct Plot<'a> {
    /// Its description, for screen readers.
    pub description: &'a str,
    /// The axis to the right.
    pub x: Axis<'a>,
    /// The axis upwards.
    pub y: Axis<'a>,
    /// The lines; the page's style sheet knows three.
    pub lines: &'a [PlotLine<'a>],
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
pub struct PlotLine<'a> {
    /// Its name in the legend.
    pub name: &'a str,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

impl PlotFrame {
    /// How long the axis to the right is.
    const fn across(&self) -> f64 {
        self.width - self.left - self.right
    }

    /// How long the axis upwards is.
    const fn up(&self) -> f64 {
        self.height - self.top - self.bottom
    }

    /// Of how many numbers below the axis one is written, so that none covers another.
    fn stride(&self, ticks: &[(f64, String)]) -> usize {
        let longest = ticks.iter().map(|(_, text)| text.len()).max().unwrap_or(0);
        let apart = self.across() / ticks.len().saturating_sub(1).max(1) as f64;
        ((longest as f64 * CHARACTER + GAP) / apart).ceil().max(1.0) as usize
    }
}

impl Plot<'_> {
    /// The plot as an `svg` element.
    #[must_use]
    pub fn svg(&self, frame: &PlotFrame) -> String {
        let description = escaped(self.description);
        let PlotFrame { class, width, height, .. } = frame;
        let mut svg = format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{description}\">\n<title>{description}</title>\n"
        );
        self.draw_axes(frame, &mut svg);
        for (number, line) in self.lines.iter().enumerate() {
            self.draw(frame, &mut svg, number, line);
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

    /// The place of a point in the picture.
    fn at(&self, frame: &PlotFrame, (x, y): (f64, f64)) -> (f64, f64) {
        let right = frame.left + self.x.scale.place(x) * frame.across();
        let down = frame.height - frame.bottom - self.y.scale.place(y) * frame.up();
        (right, down)
    }

    // Writing to a string cannot fail.
    fn draw_axes(&self, frame: &PlotFrame, svg: &mut String) {
        let PlotFrame { left, top, .. } = frame;
        let (floor, end) = (frame.height - frame.bottom, frame.width - frame.right);
        for (value, text) in self.y.scale.ticks() {
            let (_, y) = self.at(frame, (0.0, value));
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{left} {y:.1}H{end}\"/>");
            let (x, y) = (left - 8.0, y + 4.0);
            let _ =
                writeln!(svg, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>", escaped(&text));
        }
        let ticks = self.x.scale.ticks();
        let stride = frame.stride(&ticks);
        for (value, text) in ticks.into_iter().step_by(stride) {
            let (x, _) = self.at(frame, (value, 0.0));
            let (tick, y) = (floor + 5.0, floor + 20.0);
            let _ = writeln!(svg, "<path class=\"axis\" d=\"M{x:.1} {floor}V{tick}\"/>");
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
                escaped(&text)
            );
        }
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M{left} {top}V{floor}H{end}\"/>");
        let (x, y) = (left + frame.across() / 2.0, frame.height - 8.0);
        let label = escaped(self.x.label);
        let _ =
            writeln!(svg, "<text class=\"label\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>");
        let (y, label) = (top + frame.up() / 2.0, escaped(self.y.label));
        let _ = writeln!(
            svg,
            "<text class=\"label\" transform=\"translate(16 {y}) rotate(-90)\" text-anchor=\"middle\">{label}</text>"
        );
    }

    fn draw(&self, frame: &PlotFrame, svg: &mut String, number: usize, line: &PlotLine<'_>) {
        // A figure that is none has no place.
        let finite = |point: &&(f64, f64)| point.0.is_finite() && point.1.is_finite();
        let values: Vec<(f64, f64)> = line.points.iter().filter(finite).copied().collect();
        let points: Vec<(f64, f64)> = values.iter().map(|point| self.at(frame, *point)).collect();
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
            lines: &[PlotLine { name: "p50", points }],
        };
        plot.svg(&WIDE)
    }

    #[test]
    fn points_stand_where_they_belong() {
        let svg = svg(vec![(0.0, 0.0), (10.0, 5.0)]);
        // From the corner of the axes to the end of both.
        assert!(svg.contains("d=\"M72.0 248.0L700.0 16.0\""), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("a &lt;b&gt; &amp; &quot;c&quot;") && !svg.contains("<b>"), "{svg}");
    }

    /// The places of the numbers below the axis, and how long each is.
    fn numbers_below(svg: &str) -> Vec<(f64, f64)> {
        let floor = format!("y=\"{}\" text-anchor=\"middle\">", NARROW.height - NARROW.bottom + 20.0);
        let number = |line: &str| {
            let (before, after) = line.split_once(&floor)?;
            let x = before.split('"').nth(1)?.parse().ok()?;
            Some((x, after.split('<').next()?.len() as f64 * CHARACTER))
        };
        svg.lines().filter_map(number).collect()
    }

    #[test]
    fn numbers_on_a_phone_do_not_cover_each_other() {
        let linear =
            [1.0, 8.0, 0.004, 100_000.0, 8_000_000_000.0].map(|largest| Scale::linear([largest].into_iter()));
        for scale in linear.into_iter().chain([Scale::nines([0.9999999].into_iter())]) {
            let (x, y) =
                (Axis { label: "x", scale }, Axis { label: "y", scale: Scale::linear([1.0].into_iter()) });
            let numbers = numbers_below(&Plot { description: "", x, y, lines: &[] }.svg(&NARROW));
            assert!(numbers.len() >= 2, "{scale:?}: {numbers:?}");
            for pair in numbers.windows(2) {
                let [(x, width), (next, next_width)] = pair else { unreachable!() };
                assert!(x + width / 2.0 < next - next_width / 2.0, "{scale:?}: {numbers:?}");
            }
        }
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
