//! Rows of contenders that are measured one after the other.

use crate::harness::{median, print};

/// The samples of each row and contender, in the order in which they came first.
#[derive(Debug, Default)]
pub struct Figures(Vec<Cell>);

#[derive(Debug)]
struct Cell {
    row: String,
    unit: &'static str,
    contender: &'static str,
    samples: Vec<f64>,
}

impl Figures {
    /// Adds a sample.
    pub fn add(&mut self, row: &str, unit: &'static str, contender: &'static str, sample: f64) {
        eprintln!("{row} {contender}: {sample:.2} {unit}");
        let of = |cell: &&mut Cell| cell.row == row && cell.contender == contender;
        match self.0.iter_mut().find(of) {
            Some(cell) => cell.samples.push(sample),
            None => self.0.push(Cell {
                row: row.to_owned(),
                unit,
                contender,
                samples: vec![sample],
            }),
        }
    }

    /// Prints the medians of the rows that this contender has, it first.
    pub fn print(&self, first: &str) {
        for cell in self.0.iter().filter(|cell| cell.contender == first) {
            let others = self.0.iter().filter(|other| other.contender != first);
            let peers = others.filter(|other| other.row == cell.row);
            for Cell {
                row,
                unit,
                contender,
                samples,
            } in std::iter::once(cell).chain(peers)
            {
                print(row, unit, contender, median(samples.clone()));
            }
        }
    }
}
