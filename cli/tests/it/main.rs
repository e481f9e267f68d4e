//! The real program, as people run it.

mod arguments;
mod import;
mod program;
mod token;
mod up;
