//! Discussions from elsewhere: what an export holds becomes posts and comments.

pub mod clean;
pub mod load;
pub mod report;
pub mod rows;
pub mod sample;
