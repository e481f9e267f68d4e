//! How far an import is: a bar on a terminal, now and then a line elsewhere.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{output, render::text};

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
const TEMPLATE: &str = "{prefix} {wide_bar} {pos}/{len} rows, {eta} left";

/// The progress of one file.
pub enum Progress {
    Bar(ProgressBar),
    Lines { name: String, done: u64, rows: u64, last: Instant },
}

impl Progress {
    /// Begins a file of so many rows.
    pub fn start(name: &str, rows: u64) -> Self {
        let name = text::line(name);
        if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template(TEMPLATE).expect("the template is valid");
            return Self::Bar(ProgressBar::new(rows).with_style(style).with_prefix(name));
        }
        Self::Lines { name, done: 0, rows, last: Instant::now() }
    }

    /// One more row is done.
    pub fn step(&mut self) {
        match self {
            Self::Bar(bar) => bar.inc(1),
            Self::Lines { name, done, rows, last } => {
                *done += 1;
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    output::remark(format!("{name}: {done}/{rows} rows"));
                }
            }
        }
    }

    /// Takes the bar away: the report follows.
    pub fn finish(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
