//! Tables of figures, as they come in: `figure`, table, row, column and value, tab-separated.

use std::fmt::Write;

/// All tables, in the order in which they first came.
#[derive(Debug, Default)]
pub(super) struct Tables(Vec<Table>);

/// Rows and columns in the order in which they first came.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<(String, Vec<Option<f64>>)>,
}

impl Tables {
    /// Takes in a line; what is not a figure is none of ours.
    pub(super) fn read(&mut self, line: &str) {
        let parts: Vec<&str> = line.split('\t').collect();
        let ["figure", name, row, column, value] = *parts.as_slice() else {
            return;
        };
        if let Ok(value) = value.parse() {
            self.table(name).set(row, column, value);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Table> {
        self.0.iter()
    }

    fn table(&mut self, name: &str) -> &mut Table {
        let at = self
            .0
            .iter()
            .position(|table| table.name == name)
            .unwrap_or_else(|| {
                self.0.push(Table {
                    name: name.to_owned(),
                    columns: Vec::new(),
                    rows: Vec::new(),
                });
                self.0.len() - 1
            });
        &mut self.0[at]
    }
}

impl Table {
    /// As Markdown, with its chart below.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("\n| |{}\n|---|", cells(self.columns.iter().cloned()));
        text.push_str(&"---:|".repeat(self.columns.len()));
        for (name, values) in &self.rows {
            let values = (0..self.columns.len()).map(|at| values.get(at).copied().flatten());
            let _ = write!(
                text,
                "\n| {name} |{}",
                cells(values.map(|value| value.map_or(String::new(), shown)))
            );
        }
        let _ = write!(text, "\n\n![{0}](charts/{0}.svg)\n", self.name);
        text
    }

    fn set(&mut self, row: &str, column: &str, value: f64) {
        let column = position(&mut self.columns, |known| known == column, || column.to_owned());
        let row = position(
            &mut self.rows,
            |(known, _)| known == row,
            || (row.to_owned(), Vec::new()),
        );
        let values = &mut self.rows[row].1;
        values.resize(values.len().max(column + 1), None);
        values[column] = Some(value);
    }
}

/// Where it is; at the end, when it was not there before.
fn position<T>(all: &mut Vec<T>, is: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> usize {
    all.iter().position(is).unwrap_or_else(|| {
        all.push(new());
        all.len() - 1
    })
}

fn cells(cells: impl Iterator<Item = String>) -> String {
    cells.fold(String::new(), |mut line, cell| {
        let _ = write!(line, " {cell} |");
        line
    })
}

/// Three digits that mean something, and thousands apart.
pub(super) fn shown(value: f64) -> String {
    if value != 0.0 && value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_a_table_in_the_order_in_which_they_came() {
        let mut tables = Tables::default();
        for line in [
            "figure\tjoin\t8\tours\t15.25",
            "figure\tjoin\t8\ttheirs\t1234.5",
            "not a figure",
            "figure\tjoin\t64\tours\t0.5",
        ] {
            tables.read(line);
        }
        let table = tables.iter().next().unwrap();
        let expected = "\n| | ours | theirs |\n|---|---:|---:|\n| 8 | 15.2 | 1,234 |\n| 64 | 0.50 |  |\n\n![join](charts/join.svg)\n";
        assert_eq!(table.markdown(), expected);
    }

    #[test]
    fn large_numbers_have_their_thousands_apart() {
        assert_eq!(shown(1_234_567.0), "1,234,567");
        assert_eq!(shown(123.4), "123");
        assert_eq!(shown(0.0), "0.0");
        assert_eq!(shown(0.034), "0.03");
    }
}
