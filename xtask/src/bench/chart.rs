//! A table as horizontal bars: one group a row, one bar a column, each with its figure. Plain SVG, for a page.

use std::fmt::Write;

use super::table::{Table, shown};

const LEFT: f64 = 260.0;
const WIDTH: f64 = 420.0;
const BAR: f64 = 16.0;

/// The columns that are figures, not ratios of them.
pub(super) fn svg(table: &Table) -> String {
    let drawn: Vec<usize> = (0..table.columns.len())
        .filter(|at| !table.columns[*at].contains(" / "))
        .collect();
    let values = || {
        table
            .rows
            .iter()
            .flat_map(|(_, values)| drawn.iter().filter_map(|at| *values.get(*at)?))
    };
    let most = values().fold(f64::MIN_POSITIVE, f64::max);
    let mut body = String::new();
    let mut y = 8.0;
    for (row, values) in &table.rows {
        let _ = writeln!(
            body,
            "<text x=\"8\" y=\"{:.0}\" class=\"row\">{}</text>",
            y + 12.0,
            escaped(row)
        );
        y += 18.0;
        for (colour, at) in drawn.iter().enumerate() {
            let Some(value) = values.get(*at).copied().flatten() else {
                continue;
            };
            let long = (value / most * WIDTH).max(1.0);
            let _ = writeln!(
                body,
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
                 <rect x=\"{LEFT:.0}\" y=\"{y:.0}\" width=\"{long:.1}\" height=\"{:.0}\" fill=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
                LEFT - 6.0,
                y + 11.0,
                escaped(&table.columns[*at]),
                BAR - 3.0,
                COLOURS[colour % COLOURS.len()],
                LEFT + long + 5.0,
                y + 11.0,
                shown(value),
            );
            y += BAR;
        }
        y += 6.0;
    }
    let width = LEFT + WIDTH + 90.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {y:.0}\" width=\"{width:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\"><style>.row{{font-weight:bold}}</style>\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Told apart also without red and green.
const COLOURS: &[&str] = &["#0072b2", "#e69f00", "#56b4e9", "#999999", "#cc79a7", "#f0e442"];

#[cfg(test)]
mod tests {
    use super::super::table::Tables;
    use super::*;

    #[test]
    fn the_largest_figure_is_the_longest_bar_and_ratios_are_not_drawn() {
        let mut tables = Tables::default();
        tables.read("figure\tt\ta<b\tours\t10");
        tables.read("figure\tt\ta<b\ttheirs\t20");
        tables.read("figure\tt\ta<b\ttheirs / ours\t2");
        let drawing = svg(tables.iter().next().unwrap());
        assert_eq!(drawing.matches("<rect x").count(), 2);
        assert!(drawing.contains("width=\"420.0\"") && drawing.contains("width=\"210.0\""));
        assert!(drawing.contains("a&lt;b"));
    }
}
