//! The timeline as a picture: stacked areas over time, as a stand-alone SVG.

use std::fmt::Write;

use super::run::{Point, Simulation};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 80.0;
const TOP: f64 = 50.0;
const PLOT_WIDTH: f64 = WIDTH - LEFT - 20.0;
const PLOT_HEIGHT: f64 = HEIGHT - TOP - 70.0;

/// One band of the picture: its name, its colour, and what it counts.
type Band = (&'static str, &'static str, fn(&Point) -> u64);

/// From the bottom up. The colours differ in lightness too, for those who see few of them.
const BANDS: [Band; 5] = [
    ("updated and proven", "#1b7837", |point| point.counts.proven),
    ("updated, not proven", "#a6dba0", |point| point.counts.unproven),
    ("failed, refused or lost", "#b2182b", |point| {
        point.counts.failed + point.counts.rejected + point.counts.timed_out
    }),
    ("in progress", "#fdae61", |point| point.counts.in_progress),
    ("told or waiting", "#d9d9d9", |point| point.counts.queued),
];

/// Draws a simulation.
pub fn chart(simulation: &Simulation, title: &str) -> String {
    let most = simulation.waves.iter().map(|wave| wave.devices).sum::<u64>().max(1) as f64;
    let last = simulation.timeline.last().map_or(1, |point| point.minute).max(1) as f64;
    let x = |minute: u64| LEFT + minute as f64 / last * PLOT_WIDTH;
    let y = |devices: f64| TOP + PLOT_HEIGHT - devices / most * PLOT_HEIGHT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"28\" font-size=\"17\">{}</text>\n",
        escape(title)
    );
    let mut floor = vec![0u64; simulation.timeline.len()];
    for (_, colour, count) in BANDS {
        let top: Vec<u64> = simulation.timeline.iter().zip(&floor).map(|(point, floor)| floor + count(point)).collect();
        let edge = |heights: &[u64]| -> Vec<String> {
            let points = simulation.timeline.iter().zip(heights);
            points.map(|(point, height)| format!("{:.1},{:.1}", x(point.minute), y(*height as f64))).collect()
        };
        let (upper, mut lower) = (edge(&top), edge(&floor));
        lower.reverse();
        let _ = writeln!(svg, "<polygon fill=\"{colour}\" points=\"{} {}\"/>", upper.join(" "), lower.join(" "));
        floor = top;
    }
    for tick in 0..=4 {
        let devices = most * f64::from(tick) / 4.0;
        let at = y(devices);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"black\" stroke-opacity=\"0.15\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{devices:.0}</text>",
            LEFT + PLOT_WIDTH,
            LEFT - 8.0,
            at + 4.0
        );
        let minute = last * f64::from(tick) / 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(minute as u64),
            TOP + PLOT_HEIGHT + 20.0,
            span(minute as u64)
        );
    }
    for wave in &simulation.waves {
        if let Some(started) = wave.started {
            let at = x(started);
            let _ = writeln!(
                svg,
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" stroke=\"black\" stroke-dasharray=\"3 3\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                TOP + PLOT_HEIGHT,
                at + 4.0,
                TOP + 12.0,
                escape(&wave.name)
            );
        }
    }
    for (index, (name, colour, _)) in BANDS.iter().enumerate() {
        let left = LEFT + index as f64 * 170.0;
        let top = HEIGHT - 30.0;
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{top}\" width=\"14\" height=\"14\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{}\">{name}</text>",
            left + 20.0,
            top + 12.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn span(minutes: u64) -> String {
    match (minutes / 1440, minutes % 1440 / 60) {
        (0, 0) => format!("{minutes} min"),
        (0, hours) => format!("{hours} h"),
        (days, 0) => format!("{days} d"),
        (days, hours) => format!("{days} d {hours} h"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
