//! A whole process with a small post service in it, asked over real sockets.

mod browser;
mod calls;
mod fixture;
mod lifecycle;
mod tokens;
