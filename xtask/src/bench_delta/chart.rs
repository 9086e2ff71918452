//! A bar chart of patch sizes against the best peer, as SVG.

use std::fmt::Write as _;

use super::{Row, best_peer, tools::Tool};

/// Pixels of a bar, of a group's title, of the names' column and of the bars' column.
const BAR: usize = 14;
const TITLE: usize = 24;
const NAMES: usize = 180;
const WIDTH: usize = 560;
/// Ratio at the right end; longer bars are cut there.
const MOST: f64 = 2.0;

/// Draws a group of bars for each pair, a bar for each tool.
pub(super) fn draw(tools: &[Tool], rows: &[Row]) -> String {
    let height = rows.len() * (TITLE + tools.len() * BAR) + 40;
    let one = NAMES as f64 + WIDTH as f64 / MOST;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        NAMES + WIDTH + 80
    );
    let mut y = 10;
    for row in rows {
        let Some(peer) = best_peer(tools, row) else { continue };
        y += TITLE;
        _ = writeln!(svg, "<text x=\"8\" y=\"{}\" font-weight=\"bold\">{}</text>", y - 6, row.pair);
        for (tool, run) in tools.iter().zip(&row.runs) {
            let Some(run) = run else { continue };
            let ratio = run.patch as f64 / peer as f64;
            let width = ratio.min(MOST) / MOST * WIDTH as f64;
            let colour = if tool.ours { "#1f77b4" } else { "#b0b0b0" };
            _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><rect x=\"{NAMES}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" \
                 fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{}\">{} ({ratio:.2})</text>",
                NAMES - 6,
                y + BAR - 4,
                tool.name,
                BAR - 3,
                NAMES as f64 + width + 4.0,
                y + BAR - 4,
                run.patch
            );
            y += BAR;
        }
    }
    _ = writeln!(svg, "<line x1=\"{one}\" x2=\"{one}\" y1=\"10\" y2=\"{y}\" stroke=\"#d62728\"/>");
    _ = writeln!(svg, "<text x=\"{one}\" y=\"{}\" text-anchor=\"middle\">best peer = 1</text>\n</svg>", y + 16);
    svg
}
