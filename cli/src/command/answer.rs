//! What commands about one resource answer.

use crate::{error::Error, json, options::Options, output};

/// A resource and the position of the answer that held it.
pub type Answer<R> = Result<(R, String), Error>;

/// Calls a method whose answer holds a resource in a field:
/// `answer!(post, client.posts().get_post(request))`.
macro_rules! answer {
    ($field:ident, $client:ident.$service:ident().$method:ident($request:expr)) => {{
        let answer = $crate::client::rpc!($client.$service().$method($request))?;
        Ok((answer.$field.unwrap_or_default(), answer.position))
    }};
}
pub(super) use answer;

/// Prints what was answered.
pub fn print<R: json::Resource>(
    options: &Options,
    answer: Answer<R>,
    show: impl Fn(&R) -> String,
) -> Result<(), Error> {
    let (resource, position) = answer?;
    output::print(match options.json {
        true => json::line(&resource, &position),
        false => show(&resource),
    })
}
