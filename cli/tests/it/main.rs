//! The real program, as people run it.

mod arguments;
mod program;
mod token;
mod up;
