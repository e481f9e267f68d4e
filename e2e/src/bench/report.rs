//! The table that a run prints.

use serde::Serialize;

/// One row: what was measured, against what, and what is to be reached.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub what: &'static str,
    /// The measured value, with its unit.
    pub measured: String,
    /// The baseline of the same run, with its unit; empty where there is none.
    pub baseline: String,
    /// The number that counts: a ratio to the baseline, or the value itself.
    pub value: f64,
    /// What is to be reached, in words.
    pub reach: String,
    /// Whether it is.
    pub reached: bool,
}

impl Row {
    /// A row whose value is to be at least `least`.
    pub fn at_least(
        what: &'static str,
        measured: String,
        baseline: String,
        value: f64,
        least: f64,
    ) -> Self {
        let reach = format!("≥ {least}");
        Self { what, measured, baseline, value, reach, reached: value >= least }
    }

    /// A row whose value is to be at most `most`.
    pub fn at_most(
        what: &'static str,
        measured: String,
        baseline: String,
        value: f64,
        most: f64,
    ) -> Self {
        let reach = format!("≤ {most}");
        Self { what, measured, baseline, value, reach, reached: value <= most }
    }
}

/// Prints the rows as a table, or as one JSON object a line.
///
/// # Errors
/// If a row cannot be written as JSON.
pub fn print(rows: &[Row], json: bool) -> crate::Result {
    if json {
        for row in rows {
            println!("{}", serde_json::to_string(row)?);
        }
        return Ok(());
    }
    println!(
        "{:<44} {:>20} {:>20} {:>10} {:>10}",
        "what", "measured", "baseline", "value", "reach"
    );
    for row in rows {
        let mark = if row.reached { "" } else { "  not reached" };
        println!(
            "{:<44} {:>20} {:>20} {:>10.2} {:>10}{mark}",
            row.what, row.measured, row.baseline, row.value, row.reach
        );
    }
    Ok(())
}
