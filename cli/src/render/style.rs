//! Colours, where standard output is a terminal that has them and `NO_COLOR` is not
//! set.

use owo_colors::{OwoColorize as _, Stream::Stdout};

macro_rules! styles {
    ($($(#[$doc:meta])* $name:ident => $($method:ident).+;)*) => {$(
        $(#[$doc])*
        pub fn $name(text: &str) -> String {
            text.if_supports_color(Stdout, |text| text.$($method()).+.to_string()).to_string()
        }
    )*};
}

styles! {
    /// Titles.
    strong => bold;
    /// Who wrote something.
    person => cyan;
    /// Ids, times and lines of the tree.
    faint => dimmed;
    /// What waits.
    pending => yellow;
    /// What is refused, deleted or different.
    bad => red;
    /// What is approved or equal.
    good => green;
}
