//! How far something is that takes long: a bar on a terminal, now and then a line
//! elsewhere.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{output, render::text};

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The progress of one thing.
pub struct Progress {
    bar: Option<ProgressBar>,
    name: String,
    unit: &'static str,
    began: Instant,
    /// How much was done when it began: that tells nothing of the rate.
    before: Option<u64>,
    done: u64,
    total: u64,
    told: Option<Instant>,
}

impl Progress {
    /// Begins something of so many `unit`s, such as `rows`.
    pub fn start(name: &str, total: u64, unit: &'static str) -> Self {
        let name = text::line(name);
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = format!("{{prefix}} {{wide_bar}} {{pos}}/{{len}} {unit}, {{eta}} left");
            let style = ProgressStyle::with_template(&template).expect("the template is valid");
            ProgressBar::new(total).with_style(style).with_prefix(name.clone())
        });
        let began = Instant::now();
        Self { bar, name, unit, began, before: None, done: 0, total, told: Some(began) }
    }

    /// One more is done.
    pub fn step(&mut self) {
        self.before.get_or_insert(0);
        self.tell(self.done + 1, self.total);
    }

    /// So many are done.
    pub fn set(&mut self, done: u64, total: u64) {
        if self.before.is_none() {
            self.before = Some(done);
            if let Some(bar) = &self.bar {
                bar.set_position(done);
                bar.reset_eta();
            }
        }
        self.tell(done, total);
    }

    /// Something else is done now.
    pub fn rename(&mut self, name: &str) {
        let total = self.total;
        self.finish_bar();
        *self = Self { told: None, ..Self::start(name, total, self.unit) };
    }

    fn tell(&mut self, done: u64, total: u64) {
        (self.done, self.total) = (done, total);
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        } else if self.told.is_none_or(|told| told.elapsed() >= LINE_EVERY) {
            self.told = Some(Instant::now());
            output::remark(self.line(self.began.elapsed()));
        }
    }

    /// How far, how fast, and how long still.
    fn line(&self, elapsed: Duration) -> String {
        let Self { name, unit, done, total, .. } = self;
        let line = format!("{name}: {done}/{total} {unit}");
        let made = done.saturating_sub(self.before.unwrap_or_default());
        if made == 0 {
            return line;
        }
        // Far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let (made, left) = (made as f64, total.saturating_sub(*done) as f64);
        let rate = made / elapsed.as_secs_f64().max(0.001);
        format!("{line}, {rate:.0}/s, {:.0} s left", left / rate)
    }

    /// Takes the bar away: the report follows.
    pub fn finish(self) {
        self.finish_bar();
    }

    fn finish_bar(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_fast_it_is_and_how_long_it_takes() {
        let mut progress = Progress::start("folding", 5_000, "events");
        assert_eq!(progress.line(Duration::ZERO), "folding: 0/5000 events");
        progress.set(1_000, 5_000);
        progress.set(3_000, 5_000);
        let line = progress.line(Duration::from_secs(2));
        assert_eq!(line, "folding: 3000/5000 events, 1000/s, 2 s left");
    }
}
