//! Whether a service carries out commands: what the relay says and everybody else asks.

/// Whether commands are carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Not yet: the journal is being compared with its stream. Says what is waited for.
    Comparing(String),
    /// Yes.
    Open,
    /// No: the journal and the stream differ. Says what was found.
    Halted(String),
}
