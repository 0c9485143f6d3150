//! Tables and verdicts, the same on the terminal and on a page.

use crate::figures::Bound;

/// A table in Markdown.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(ToString::to_string).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// With columns of equal width, or what stands in its place when nothing was measured.
    pub(crate) fn text(&self) -> String {
        if self.is_empty() {
            return "Not measured.".to_owned();
        }
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} "));
            format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
        };
        let rule = widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|");
        let (header, rows) = self.rows.split_first().unwrap();
        let rows: String = rows.iter().map(line).collect();
        format!("{}|{rule}|\n{rows}", line(header))
    }
}

/// Holds figures against their bounds.
#[derive(Default)]
pub(crate) struct Judge {
    judged: usize,
    missed: Vec<String>,
}

impl Judge {
    /// The bound as a cell, which says so when it is missed.
    pub(crate) fn cell(&mut self, what: &str, figure: f64, bound: Bound) -> String {
        if bound == Bound::None {
            return bound.to_string();
        }
        self.judged += 1;
        if bound.keeps(figure) {
            return bound.to_string();
        }
        self.missed.push(format!("{what}: {figure:.2}, bound {bound}"));
        format!("{bound} **MISSED**")
    }

    /// How many bounds are missed, and which.
    pub(crate) fn summary(&self) -> String {
        let mut text = format!("{} of {} bounds MISSED.\n", self.missed.len(), self.judged);
        for missed in &self.missed {
            text += &format!("- {missed}\n");
        }
        text
    }
}

/// Figures that were taken one by one.
pub(crate) struct Lines(Table);

impl Lines {
    pub(crate) fn new() -> Self {
        Self(Table::new(&["what", "measured", "bound"]))
    }

    /// Adds a figure, as it is told and as it is judged.
    pub(crate) fn add(&mut self, judge: &mut Judge, what: &str, (told, figure): (String, f64), bound: Bound) {
        println!("{what}: {told}");
        let cell = judge.cell(what, figure, bound);
        self.0.row(vec![what.to_owned(), told, cell]);
    }

    pub(crate) fn text(&self) -> String {
        self.0.text()
    }
}
