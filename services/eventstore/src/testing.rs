//! A database of a test's own. Only with the feature `testing`, which nothing but
//! dev-dependencies turns on.

mod place;

pub use place::Place;
